"""Pooling by the companion: one pass over the image each way."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network.companion.loading import array, call

Pair = tuple[int, int]
MOST_PLACES = 256  # in a window: the place of the largest is kept in a byte
NOWHERE: tuple[Pair, Pair] = ((0, 0), (0, 0))


def max_pool(
    x: jax.Array, window: Pair, stride: Pair, padding: tuple[Pair, Pair] = NOWHERE
) -> jax.Array:
    """Return the largest pixel under each window, as ``kernels.max_pool``.

    ``x`` is [n, height, width, channels] in float32 or bfloat16; a window has at most 256 pixels.
    Where several are largest, the gradient goes to the first; NaN is larger than any number.

    >>> from deltarule.network import companion
    >>> image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> if companion.is_there():
    ...     y = max_pool(image, (2, 2), (2, 2))
    ...     assert y[0, :, :, 0].tolist() == [[5.0, 7.0], [13.0, 15.0]]
    """
    if math.prod(window) > MOST_PLACES:
        raise ValueError(f"window must hold at most {MOST_PLACES} pixels, got {window}.")
    return _widened(_max_pool, x, window, stride, padding)


def avg_pool(
    x: jax.Array, window: Pair, stride: Pair, padding: tuple[Pair, Pair] = NOWHERE
) -> jax.Array:
    """Return the mean of the pixels under each window, as ``kernels.avg_pool``.

    ``x`` is [n, height, width, channels] in float32 or bfloat16; padding does not count.

    >>> from deltarule.network import companion
    >>> image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> if companion.is_there():
    ...     y = avg_pool(image, (2, 2), (2, 2))
    ...     assert y[0, :, :, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    """
    return _widened(_avg_pool, x, window, stride, padding)


def _widened(pool: Callable[..., jax.Array], x: jax.Array, *where: Any) -> jax.Array:
    # Where windows overlap gradients are added up, and sums are float32.
    if where[0] == where[1] or x.dtype == jnp.float32:
        return pool(x, x.shape, *where)
    return pool(x.astype(jnp.float32), x.shape, *where).astype(x.dtype)


def _windows(window: Pair, stride: Pair, padding: tuple[Pair, Pair]) -> dict[str, np.ndarray]:
    before = [pad[0] for pad in padding]
    return {
        name: np.array(pair, np.int64)
        for name, pair in (("window", window), ("stride", stride), ("before", before))
    }


def _outputs(
    x: jax.Array, window: Pair, stride: Pair, padding: tuple[Pair, Pair]
) -> tuple[int, ...]:
    rows, columns = (
        (n + sum(pad) - size) // step + 1
        for n, pad, size, step in zip(x.shape[1:3], padding, window, stride, strict=True)
    )
    if rows < 0 or columns < 0:
        raise ValueError(
            f"window must fit on the images with their padding, got {window} on {x.shape[1:3]}."
        )
    return x.shape[0], rows, columns, x.shape[3]


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _max_pool(x: jax.Array, shape: tuple[int, ...], *where: Any) -> jax.Array:
    return _max_forward(x, shape, *where)[0]


def _max_forward(x: jax.Array, shape: tuple[int, ...], *where: Any) -> tuple[jax.Array, jax.Array]:
    y = array(_outputs(x, *where), x.dtype)
    places = array(y.shape, jnp.uint8)
    found: tuple[jax.Array, jax.Array] = call(
        "deltarule_max_pool_forward", (y, places), x, **_windows(*where)
    )
    return found


def _max_backward(shape: tuple[int, ...], *arguments: Any) -> tuple[jax.Array]:
    *where, places, g = arguments
    dx = array(shape, g.dtype)
    return (call("deltarule_max_pool_backward", dx, g, places, **_windows(*where)),)


_max_pool.defvjp(_max_forward, _max_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _avg_pool(x: jax.Array, shape: tuple[int, ...], *where: Any) -> jax.Array:
    y = array(_outputs(x, *where), x.dtype)
    found: jax.Array = call("deltarule_avg_pool_forward", y, x, **_windows(*where))
    return found


def _avg_forward(x: jax.Array, shape: tuple[int, ...], *where: Any) -> tuple[jax.Array, None]:
    return _avg_pool(x, shape, *where), None


def _avg_backward(shape: tuple[int, ...], *arguments: Any) -> tuple[jax.Array]:
    *where, _, g = arguments
    dx = array(shape, g.dtype)
    return (call("deltarule_avg_pool_backward", dx, g, **_windows(*where)),)


_avg_pool.defvjp(_avg_forward, _avg_backward)
