"""L-BFGS (Nocedal 1980): BFGS for many weights, which remembers the last steps instead of M.

M g is worked out from the last ``MEMORY`` pairs of delta and phi in two passes over them (Liu and
Nocedal 1989; Nocedal and Wright 2006, algorithm 7.4). The directions are optax's.
"""

import optax

from deltarule.learning.second_order.bfgs import FLATNESS
from deltarule.learning.second_order.line_search import searched

MEMORY = 10  # pairs of steps; each takes as much memory as two copies of the weights


def lbfgs() -> optax.GradientTransformationExtraArgs:
    """Return BFGS with limited memory."""
    direction = optax.chain(optax.scale_by_lbfgs(MEMORY), optax.scale(-1.0))
    return searched(direction, FLATNESS, first_trial="one")
