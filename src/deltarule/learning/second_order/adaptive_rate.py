"""A learning rate that follows the gradient (LeCun, Bottou, Orr and Mueller 1998, 4.7).

    (17)  w   <- w - eta g
    (18)  r   <- (1 - delta) r + delta g
    (19)  eta <- eta + alpha eta (beta |r| - eta)

r is a leaky mean of the gradient. Far from a minimum gradients agree, r is long and eta grows; near
it they point everywhere, r is short and eta falls towards beta |r|, down to 0 at a minimum that
stays where it is. One that moves makes r long again (Murata, Mueller, Ziehe and Amari 1997).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from deltarule.network.network import Params

# The paper gives no numbers. On small networks of digits these learn from any first rate between
# 0.01 and 0.1 with batches of 1 and of 10; a beta of 1 or a delta of 0.05 diverge with batches of
# 1, where the noise alone makes r long, and a beta of 0.1 is several times as slow.
ALPHA = 0.1  # how fast eta follows
BETA = 0.5  # the learning rate at a mean gradient of length 1
DELTA = 0.01  # the share of a new gradient in the mean


class Adaptive(NamedTuple):
    """The leaky mean r of the gradient, and the learning rate in use."""

    mean: Params
    eta: jax.Array


def adaptive_rate(
    learning_rate: jax.Array | float,
    alpha: float = ALPHA,
    beta: float = BETA,
    delta: float = DELTA,
) -> optax.GradientTransformation:
    """Return gradient descent from the rate ``learning_rate`` on.

    >>> method = adaptive_rate(0.5, alpha=0.1, beta=1.0, delta=0.5)
    >>> step, state = method.update(({"w": jnp.array([2.0])},), method.init(({"w": jnp.ones(1)},)))
    >>> step[0]["w"].tolist(), float(state.eta)  # r = 1, eta = 0.5 + 0.1 0.5 (1 - 0.5)
    ([-1.0], 0.5249999761581421)
    """

    def init(params: Params) -> Adaptive:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return Adaptive(jax.tree.map(jnp.zeros_like, params), jnp.asarray(learning_rate, dtype))

    def update(
        gradients: Params, state: Adaptive, params: Params | None = None
    ) -> tuple[Params, Adaptive]:
        step = jax.tree.map(lambda g: -state.eta * g, gradients)
        mean = jax.tree.map(lambda r, g: r + delta * (g - r), state.mean, gradients)
        eta = state.eta + alpha * state.eta * (beta * optax.tree.norm(mean) - state.eta)
        return step, Adaptive(mean, eta.astype(state.eta.dtype))

    return optax.GradientTransformation(init, update)
