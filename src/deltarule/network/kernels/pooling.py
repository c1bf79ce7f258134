"""Pooling: the largest or the mean of the pixels under a window, gradients by hand."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Pair = tuple[int, int]
NOWHERE: tuple[Pair, Pair] = ((0, 0), (0, 0))


@dataclass(frozen=True)
class _Window:
    """Where the window goes on the image."""

    size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]

    def pad(self, x: jax.Array, value: float) -> jax.Array:
        """Return ``x`` with its border."""
        return jnp.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=value)

    def views(self, x: jax.Array) -> list[jax.Array]:
        """Return for each place in the window the pixels that lie there, in row-major order."""
        n, height, width, channels = x.shape
        ends = [
            (size - window) // stride * stride + 1
            for size, window, stride in zip((height, width), self.size, self.stride, strict=True)
        ]
        return [
            lax.slice(
                x, (0, i, j, 0), (n, i + ends[0], j + ends[1], channels), (1, *self.stride, 1)
            )
            for i in range(self.size[0])
            for j in range(self.size[1])
        ]


def max_pool(
    x: jax.Array, window: Pair, stride: Pair, padding: tuple[Pair, Pair] = NOWHERE
) -> jax.Array:
    """Return the largest pixel under each window: [n, rows, columns, channels].

    ``x`` is [n, height, width, channels]; outside the image is minus infinity. Where several are
    largest, the gradient goes to the first of them, row by row; NaN is larger than any number.

    >>> import jax.numpy as jnp
    >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), (2, 2), (2, 2))[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    return _max_pool(x, _Window(window, stride, padding))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x: jax.Array, at: _Window) -> jax.Array:
    return _largest(x, at)[0]


def _largest(x: jax.Array, at: _Window) -> tuple[jax.Array, jax.Array]:
    """Return the largest pixels and their places in the window."""
    first, *others = at.views(at.pad(x, -jnp.inf))
    most = at.size[0] * at.size[1] - 1
    place = jnp.zeros(first.shape, jnp.int8 if most <= np.iinfo(np.int8).max else jnp.int32)
    largest = first
    for k, view in enumerate(others, 1):
        larger = (view > largest) | (jnp.isnan(view) & ~jnp.isnan(largest))
        largest = jnp.where(larger, view, largest)
        place = jnp.where(larger, jnp.asarray(k, place.dtype), place)
    return largest, place


def _max_forward(x: jax.Array, at: _Window) -> Any:
    largest, place = _largest(x, at)
    return largest, (place, x)


def _max_backward(at: _Window, saved: Any, g: jax.Array) -> tuple[jax.Array]:
    place, x = saved  # of x only the shape
    shares = [jnp.where(place == k, g, 0) for k in range(at.size[0] * at.size[1])]
    (dx,) = jax.linear_transpose(lambda x: at.views(at.pad(x, 0)), x)(shares)
    return (dx,)


_max_pool.defvjp(_max_forward, _max_backward)


def avg_pool(
    x: jax.Array, window: Pair, stride: Pair, padding: tuple[Pair, Pair] = NOWHERE
) -> jax.Array:
    """Return the mean of the pixels under each window; what lies outside the image is left out.

    ``x`` is [n, height, width, channels].

    >>> import jax.numpy as jnp
    >>> avg_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), (2, 2), (2, 2))[0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    at = _Window(window, stride, padding)
    rows, columns = (
        _pixels(size, *parts)
        for size, *parts in zip(x.shape[1:3], window, stride, padding, strict=True)
    )
    total = sum(at.views(at.pad(x, 0)), start=jnp.zeros((), x.dtype))
    return total / jnp.asarray(np.outer(rows, columns)[:, :, None], x.dtype)


def _pixels(size: int, window: int, stride: int, padding: Pair) -> np.ndarray:
    """Return how many pixels of the image each window covers along one axis."""
    inside = np.pad(np.ones(size), padding)
    return np.lib.stride_tricks.sliding_window_view(inside, window)[::stride].sum(1)
