"""Batch normalisation: by the companion in two passes over memory, otherwise the formulas."""

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.network import companion
from deltarule.network.kernels.activations import activate
from deltarule.network.kernels.choice import by_companion, wide


def batch_norm(
    x: jax.Array, scale: jax.Array, shift: jax.Array, epsilon: float, activation: str = "identity"
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return f(scale (x - mean) / sqrt(variance + epsilon) + shift), mean and variance.

    Both are taken over all axes of ``x`` [..., channels] but the last, the variance with n in its
    denominator.

    >>> import jax.numpy as jnp
    >>> y, mean, variance = batch_norm(jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1), 0.0)
    >>> y.tolist(), mean.tolist(), variance.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    if by_companion("batch_norm", x, x.size):
        with_it, after = companion.split(activation, companion.WITH_NORMS)
        y, mean, variance = companion.batch_norm(x, scale, shift, epsilon, with_it)
        return activate(y, after), mean, variance
    axes = tuple(range(x.ndim - 1))
    mean = wide(x).mean(axis=axes)
    variance = jnp.square(wide(x) - mean).mean(axis=axes)
    return normalize(x, mean, variance, scale, shift, epsilon, activation), mean, variance


def normalize(
    x: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    scale: jax.Array,
    shift: jax.Array,
    epsilon: float,
    activation: str = "identity",
) -> jax.Array:
    """Return f(scale (x - mean) / sqrt(variance + epsilon) + shift) for given mean and variance."""
    if by_companion("batch_norm", x, x.size):
        with_it, after = companion.split(activation, companion.WITH_NORMS)
        y = companion.normalize(x, mean, variance, scale, shift, epsilon, with_it)
        return activate(y, after)
    factor = scale * lax.rsqrt(variance + epsilon)
    y = (wide(x) - mean) * factor + shift
    return activate(y.astype(x.dtype), activation)
