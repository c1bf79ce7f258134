"""Batch normalisation by the companion: as few passes over memory as there can be."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network.companion.loading import array, call

Normalised = tuple[jax.Array, jax.Array, jax.Array]


def batch_norm(
    x: jax.Array, scale: jax.Array, shift: jax.Array, epsilon: float, activation: str = "identity"
) -> Normalised:
    """Return f(scale (x - mean) / sqrt(variance + epsilon) + shift), mean and variance.

    ``x`` is [..., channels] in float32 or bfloat16, and so is the first; the others are [channels]
    in float32, over all axes but the last, the variance with n in its denominator. ``activation``
    is "identity" or "relu". No gradient flows through mean and variance that are returned.

    >>> from deltarule.network import companion
    >>> x, one, zero = jnp.array([[1.0], [3.0]]), jnp.ones(1), jnp.zeros(1)
    >>> if companion.is_there():
    ...     y, mean, variance = batch_norm(x, one, zero, 0.0, "relu")
    ...     assert (y.tolist(), mean.tolist()) == ([[0.0], [1.0]], [2.0])
    """
    return _batch_norm(x, scale, shift, epsilon, activation)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _batch_norm(
    x: jax.Array, scale: jax.Array, shift: jax.Array, epsilon: float, activation: str
) -> Normalised:
    column = array(scale.shape, jnp.float32)
    results = (array(x.shape, x.dtype), column, column)
    found: Normalised = call(
        "deltarule_batch_norm_forward", results, x, scale, shift,
        epsilon=np.float32(epsilon), activation=activation,
    )  # fmt: skip
    return found


def _forward(
    x: jax.Array, scale: jax.Array, shift: jax.Array, epsilon: float, activation: str
) -> tuple[Normalised, Any]:
    y, mean, variance = _batch_norm(x, scale, shift, epsilon, activation)
    return (y, mean, variance), (x, mean, variance, scale, shift)


def _backward(epsilon: float, activation: str, saved: Any, g: Normalised) -> Normalised:
    x, *columns = saved
    column = array(columns[0].shape, jnp.float32)
    results = (array(x.shape, x.dtype), column, column)
    gradients: Normalised = call(
        "deltarule_batch_norm_backward", results, x, g[0], *columns,
        epsilon=np.float32(epsilon), activation=activation,
    )  # fmt: skip
    return gradients


_batch_norm.defvjp(_forward, _backward)


def normalize(
    x: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    scale: jax.Array,
    shift: jax.Array,
    epsilon: float,
    activation: str = "identity",
) -> jax.Array:
    """Return f(scale (x - mean) / sqrt(variance + epsilon) + shift), all but ``x`` [channels]."""
    return _normalize(x, mean, variance, scale, shift, epsilon, activation)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _normalize(
    x: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
    scale: jax.Array,
    shift: jax.Array,
    epsilon: float,
    activation: str,
) -> jax.Array:
    result: jax.Array = call(
        "deltarule_batch_norm_apply", array(x.shape, x.dtype),
        x, mean, variance, scale, shift, epsilon=np.float32(epsilon), activation=activation,
    )  # fmt: skip
    return result


def _normalize_forward(*arguments: Any) -> tuple[jax.Array, Any]:
    return _normalize(*arguments), arguments[:5]


def _normalize_backward(epsilon: float, activation: str, saved: Any, g: jax.Array) -> Any:
    # Asked for at prediction, rarely: the plain formula will do.
    def plain(x: jax.Array, *columns: jax.Array) -> jax.Array:
        mean, variance, scale, shift = columns
        factor = scale * jax.lax.rsqrt(variance + epsilon)
        z = (x.astype(jnp.float32) - mean) * factor + shift
        return (jax.nn.relu(z) if activation == "relu" else z).astype(x.dtype)

    return jax.vjp(plain, *saved)[1](g)


_normalize.defvjp(_normalize_forward, _normalize_backward)
