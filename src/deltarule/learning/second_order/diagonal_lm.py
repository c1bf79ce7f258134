"""Stochastic diagonal Levenberg-Marquardt (LeCun, Bottou, Orr and Mueller 1998, 9.1).

Each parameter has a learning rate of its own, small where the cost is sharply curved:

    (61)  eta_k = epsilon / (<h_k> + mu)                        epsilon is ``learning_rate``
    (62)  <h>   <- (1 - gamma) <h> + gamma d2E/dw^2             mu is ``damping``

The second derivatives are those of ``second_derivatives.py``, measured on a few hundred examples
before each epoch; between epochs it is gradient descent. mu keeps a weight on which the cost does
not depend from getting an infinite rate.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from deltarule.learning.objective import Evaluations, none_yet
from deltarule.network.network import Params

EXAMPLES = 500  # measured before each epoch, as for LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998)
GAMMA = 0.5  # of equation 62; between 0.2 and 1 it hardly matters on digits


class Diagonal(NamedTuple):
    """The running mean <h> of second derivatives, and how many measurements are in it."""

    curvature: Params
    measured: jax.Array
    evaluations: Evaluations


def diagonal_lm(
    learning_rate: jax.Array | float, damping: jax.Array | float
) -> optax.GradientTransformation:
    """Return the method; before an epoch ``remember`` gives it what was measured.

    >>> method = diagonal_lm(0.1, damping=0.5)
    >>> w = ({"w": jnp.zeros(2)},)
    >>> state = remember(method.init(w), ({"w": jnp.array([0.5, 4.5])},), passes=0.0)
    >>> step, _ = method.update(({"w": jnp.array([1.0, 1.0])},), state)
    >>> step[0]["w"].tolist()  # -0.1/(0.5 + 0.5), -0.1/(4.5 + 0.5)
    [-0.10000000149011612, -0.019999999552965164]
    """

    def init(params: Params) -> Diagonal:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Diagonal(zeros, jnp.zeros((), jnp.int32), none_yet())

    def update(
        gradients: Params, state: Diagonal, params: Params | None = None
    ) -> tuple[Params, Diagonal]:
        step = jax.tree.map(
            lambda g, h: (-learning_rate / (h + damping) * g).astype(g.dtype),
            gradients, state.curvature,
        )  # fmt: skip
        return step, state

    return optax.GradientTransformation(init, update)


def remember(opt_state: Any, found: Params, passes: jax.Array | float) -> Any:
    """Return the optimizer's state after measuring second derivatives ``found``, h.

    The first measurement is taken as it is. ``passes`` over the training data were made for it:
    its work, forward and backward, is that of a gradient of as many examples.
    """

    def after(state: Any) -> Any:
        if not isinstance(state, Diagonal):
            return state
        share = jnp.where(state.measured == 0, 1, GAMMA)
        mean = jax.tree.map(
            lambda old, new: old + share.astype(old.dtype) * (new.astype(old.dtype) - old),
            state.curvature, found,
        )  # fmt: skip
        return Diagonal(mean, state.measured + 1, state.evaluations.plus(gradient=passes))

    # it may be one of a chain, after the clipping of gradients
    return jax.tree.map(after, opt_state, is_leaf=lambda state: isinstance(state, Diagonal))
