"""BFGS (Broyden, Fletcher, Goldfarb, Shanno 1970), with the inverse Hessian as a matrix.

The direction is p = -M g, M an estimate of the inverse Hessian that is improved after every step,
so that M maps the last change of the gradient onto the last change of the weights. With
delta = w_t - w_{t-1} and phi = g_t - g_{t-1},

    M <- M + (1 + phi'M phi / delta'phi) delta delta' / delta'phi
           - (delta phi'M + M phi delta') / delta'phi

This is equation 44 of LeCun et al. 1998 with its first sign corrected: it is printed as a product.
M stays positive definite, and p downhill, as long as delta'phi > 0, which the Wolfe conditions
of the line search see to; an update where rounding may decide the sign is left out. M starts as the
identity, scaled before its first update by delta'phi / phi'phi (Nocedal and Wright 2006, eq. 6.20).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from deltarule.learning.second_order.line_search import searched
from deltarule.network.network import Params

FLATNESS = 0.9  # c2: the length 1 is nearly right, and trials are better spent on directions
MOST_PARAMETERS = 10_000  # M of so many takes 400 MB, twice that while it is improved


class InverseHessian(NamedTuple):
    """The estimate M [n, n] after so many updates, and the last weights and gradient [n]."""

    matrix: jax.Array
    weights: jax.Array
    gradient: jax.Array
    updates: jax.Array


def bfgs() -> optax.GradientTransformationExtraArgs:
    """Return the method of Broyden, Fletcher, Goldfarb and Shanno."""
    direction = optax.GradientTransformation(_start, _direction)
    return searched(direction, FLATNESS, first_trial="one")


def _start(params: Params) -> InverseHessian:
    weights, _ = ravel_pytree(params)
    identity = jnp.eye(len(weights), dtype=weights.dtype)
    return InverseHessian(identity, weights, jnp.zeros_like(weights), jnp.zeros((), jnp.int32))


def _direction(
    gradients: Params, last: InverseHessian, params: Params | None = None
) -> tuple[Params, InverseHessian]:
    weights, _ = ravel_pytree(params)
    gradient, shaped = ravel_pytree(gradients)
    delta, phi = weights - last.weights, gradient - last.gradient
    use = sound(delta, phi)  # not before the first step, where delta is 0
    matrix = jax.lax.cond(use, lambda: _updated(last, delta, phi), lambda: last.matrix)
    way: Params = shaped(-matrix @ gradient)
    return way, InverseHessian(matrix, weights, gradient, last.updates + use)


def _updated(last: InverseHessian, delta: jax.Array, phi: jax.Array) -> jax.Array:
    scale = jnp.where(last.updates == 0, (delta @ phi) / (phi @ phi), 1)
    return improved(scale * last.matrix, delta, phi)


def improved(m: jax.Array, delta: jax.Array, phi: jax.Array) -> jax.Array:
    """Return M [n, n] after a step ``delta`` [n] that changed the gradient by ``phi`` [n].

    >>> improved(jnp.eye(2), jnp.array([1.0, 0.0]), jnp.array([2.0, 0.0])).tolist()
    [[0.5, 0.0], [0.0, 1.0]]
    """
    product, m_phi = delta @ phi, m @ phi
    outer = jnp.outer(delta, m_phi)
    longer = 1 + phi @ m_phi / product
    better: jax.Array = m + (longer * jnp.outer(delta, delta) - outer - outer.T) / product
    return better


def sound(delta: jax.Array, phi: jax.Array) -> jax.Array:
    """Return whether delta'phi is positive for certain: by more than rounding could make it."""
    least = float(np.sqrt(np.finfo(phi.dtype).eps))
    return delta @ phi > least * jnp.sqrt((delta @ delta) * (phi @ phi))
