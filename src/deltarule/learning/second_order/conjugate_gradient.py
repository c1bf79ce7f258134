"""Nonlinear conjugate gradient (Hestenes and Stiefel 1952; Fletcher and Reeves 1964).

Each step goes to the lowest point along a direction that undoes as little as it can of the steps
before (LeCun et al. 1998, equations 41 to 43):

    p_k = -g_k + beta_k p_{k-1}
    Polak-Ribiere    beta_k = (g_k - g_{k-1})'g_k / g_{k-1}'g_{k-1}, and 0 where that is negative
    Fletcher-Reeves  beta_k = g_k'g_k / g_{k-1}'g_{k-1}

On a quadratic of N dimensions N exact steps reach the minimum. Elsewhere what was learned of
earlier directions wears out, so it begins anew with p = -g after every N steps, when successive
gradients are far from orthogonal (Powell 1977), and when p would not lead downhill.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from deltarule.learning.second_order.line_search import searched
from deltarule.network.network import Params

FLATNESS = 0.1  # c2: the directions rely on searches that come close to the minimum
ORTHOGONAL = 0.2  # |g_k'g_{k-1}| / |g_k|^2 above which successive gradients are not


class Conjugate(NamedTuple):
    """The last gradient and direction, and the steps made since the directions began anew."""

    gradient: Params
    direction: Params
    age: jax.Array


def conjugate_gradient(*, fletcher_reeves: bool = False) -> optax.GradientTransformationExtraArgs:
    """Return the method with beta of Polak and Ribiere, or of Fletcher and Reeves."""
    direction = optax.GradientTransformation(_start, _fletcher_reeves if fletcher_reeves else _plus)
    return searched(direction, FLATNESS)


def _start(params: Params) -> Conjugate:
    zeros = jax.tree.map(jnp.zeros_like, params)
    return Conjugate(zeros, zeros, jnp.zeros((), jnp.int32))


def _plus(
    gradient: Params, last: Conjugate, params: Params | None = None
) -> tuple[Params, Conjugate]:
    change = optax.tree.vdot(optax.tree.sub(gradient, last.gradient), gradient)
    return _next(gradient, last, jnp.maximum(change, 0))


def _fletcher_reeves(
    gradient: Params, last: Conjugate, params: Params | None = None
) -> tuple[Params, Conjugate]:
    return _next(gradient, last, optax.tree.vdot(gradient, gradient))


def _next(gradient: Params, last: Conjugate, numerator: jax.Array) -> tuple[Params, Conjugate]:
    """Return -g + beta p with beta = numerator / |g of before|^2, and what to remember."""
    square = optax.tree.vdot(gradient, gradient)
    before = optax.tree.vdot(last.gradient, last.gradient)
    count = sum(array.size for array in jax.tree.leaves(gradient))
    overlap = jnp.abs(optax.tree.vdot(gradient, last.gradient))
    anew = (before == 0) | (last.age >= count) | (overlap > ORTHOGONAL * square)
    beta = jnp.where(anew, 0, numerator / jnp.where(before == 0, 1, before))
    way = jax.tree.map(lambda g, p: beta * p - g, gradient, last.direction)
    uphill = optax.tree.vdot(way, gradient) >= 0
    way = jax.tree.map(lambda p, g: jnp.where(uphill, -g, p), way, gradient)
    age = jnp.where(anew | uphill, 1, last.age + 1)
    return way, Conjugate(gradient, way, age)
