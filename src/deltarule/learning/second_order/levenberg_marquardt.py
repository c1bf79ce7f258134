"""Levenberg-Marquardt (Levenberg 1944; Marquardt 1963), for the quadratic cost.

A mean of squares C = |a - y|^2 / 2n has about the Hessian J'J / n, J the derivatives of the outputs
a: what is left out vanishes with the errors. The step (LeCun et al. 1998, equation 47) is
s = -(J'J / n + mu I)^-1 g, see ``damping.py``. The rows of J are found as in the paper, by one
backpropagation for each output with its error set to 1. Where the outputs are linear in the
weights J'J / n is the Hessian, and a step with mu = 0 ends in the minimum.
"""

import jax
import jax.numpy as jnp
import optax
from jax.scipy.linalg import cho_factor, cho_solve

from deltarule.learning.objective import Objective
from deltarule.learning.second_order.damping import Solve, damped
from deltarule.network.network import Params

DAMPING = 1e-3
MOST_PARAMETERS = 3_000  # a step takes n^3 operations, and several matrices of n^2 numbers


def levenberg_marquardt(
    damping: jax.Array | float = DAMPING,
) -> optax.GradientTransformationExtraArgs:
    """Return Levenberg and Marquardt's method; ``damping`` is mu of the first step."""
    return damped(_system, damping)


def _system(objective: Objective, params: Params, gradient: jax.Array) -> tuple[Solve, float]:
    matrix = objective.gauss_newton(params)
    identity = jnp.eye(len(gradient), dtype=gradient.dtype)

    def solve(mu: jax.Array) -> jax.Array:
        step: jax.Array = -cho_solve(cho_factor(matrix + mu * identity), gradient)
        return step  # not a number where rounding makes the matrix indefinite: mu grows

    return solve, float(objective.outputs)
