"""Pooling: the largest or the mean of the pixels under a window, gradients by hand."""

import math
from dataclasses import dataclass
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from deltarule.network import companion
from deltarule.network.kernels.choice import by_companion, current
from deltarule.network.kernels.products import settled

Pair = tuple[int, int]
NOWHERE: tuple[Pair, Pair] = ((0, 0), (0, 0))


@dataclass(frozen=True)
class _Window:
    """Where the window goes on the image."""

    size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]

    @property
    def tiles(self) -> bool:
        """Whether windows lie side by side, so that no pixel is in two."""
        return self.size == self.stride

    @property
    def backend(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[Pair, ...]]:
        """Return window, stride and padding over all four axes."""
        return (1, *self.size, 1), (1, *self.stride, 1), ((0, 0), *self.padding, (0, 0))

    def rows(self, height: int) -> int:
        """Return how many windows there are from top to bottom."""
        return (height + sum(self.padding[0]) - self.size[0]) // self.stride[0] + 1

    def columns(self, width: int) -> int:
        """Return how many windows there are from left to right."""
        return (width + sum(self.padding[1]) - self.size[1]) // self.stride[1] + 1

    def edges(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """Return what to add around the image so that the windows just cover it."""
        down = (self.rows(height) - 1) * self.stride[0] + self.size[0]
        right = (self.columns(width) - 1) * self.stride[1] + self.size[1]
        (top, _), (left, _) = self.padding
        return [
            (0, 0, 0),
            (top, down - height - top, 0),
            (left, right - width - left, 0),
            (0, 0, 0),
        ]

    def views(self, x: jax.Array, outside: float) -> list[jax.Array]:
        """Return for each place in the window the pixels that lie there, in row-major order."""
        _, height, width, _ = x.shape
        x = lax.pad(x, jnp.asarray(outside, x.dtype), self.edges(height, width))
        last = (self.rows(height) - 1) * self.stride[0], (self.columns(width) - 1) * self.stride[1]
        return [
            x[:, i : i + last[0] + 1 : self.stride[0], j : j + last[1] + 1 : self.stride[1]]
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
    if by_companion("pooling", x, x.size) and math.prod(window) <= companion.MOST_PLACES:
        return companion.max_pool(x, window, stride, padding)
    at = _Window(window, stride, padding)
    if current().convolution == "backend":
        largest: jax.Array = lax.reduce_window(x, -jnp.inf, lax.max, *at.backend)
        return largest
    return _max_pool(x, at, x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_pool(x: jax.Array, at: _Window, shape: tuple[int, ...]) -> jax.Array:
    return reduce(jnp.maximum, at.views(x, -jnp.inf))


def _max_forward(x: jax.Array, at: _Window, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return the largest pixels and, to be saved, the place of each in its window."""
    views = at.views(x, -jnp.inf)
    largest = reduce(jnp.maximum, views)
    kind = jnp.int8 if len(views) <= 128 else jnp.int32
    place = jnp.full(largest.shape, len(views) - 1, kind)
    for k in reversed(range(len(views) - 1)):
        place = jnp.where(views[k] == largest, jnp.asarray(k, kind), place)
    return largest, settled(place)


def _max_backward(
    at: _Window, shape: tuple[int, ...], place: jax.Array, g: jax.Array
) -> tuple[jax.Array]:
    if at.tiles:
        return (settled(_spread(at, shape, place, g)),)
    shares = [jnp.where(place == k, g, 0) for k in range(math.prod(at.size))]
    (dx,) = jax.linear_transpose(lambda x: at.views(x, 0), jnp.zeros(shape, g.dtype))(shares)
    return (settled(dx),)


def _spread(at: _Window, shape: tuple[int, ...], place: jax.Array, g: jax.Array) -> jax.Array:
    """Return ``g`` at the saved places of windows side by side: one pass over the image."""
    n, height, width, channels = shape
    places = np.arange(math.prod(at.size), dtype=place.dtype).reshape(at.size[0], 1, at.size[1], 1)
    tiles = jnp.where(place[:, :, None, :, None] == places, g[:, :, None, :, None], 0)
    _, rows, _, columns, _, _ = tiles.shape
    image = tiles.reshape(n, rows * at.size[0], columns * at.size[1], channels)
    back = [(-before, -after, 0) for before, after, _ in at.edges(height, width)]
    return lax.pad(image, jnp.zeros((), g.dtype), back)


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
    if by_companion("pooling", x, x.size):
        return companion.avg_pool(x, window, stride, padding)
    at = _Window(window, stride, padding)
    rows = _pixels(x.shape[1], window[0], stride[0], padding[0])
    columns = _pixels(x.shape[2], window[1], stride[1], padding[1])
    share = 1 / np.outer(rows, columns)[:, :, None]
    if current().convolution == "backend":
        total: jax.Array = lax.reduce_window(x, 0.0, lax.add, *at.backend)
    else:
        total = reduce(jnp.add, at.views(x, 0))
    return total * jnp.asarray(share, x.dtype)


def _pixels(size: int, window: int, stride: int, padding: Pair) -> np.ndarray:
    """Return how many pixels of the image each window covers along one axis."""
    inside = np.pad(np.ones(size), padding)
    covered: np.ndarray = np.lib.stride_tricks.sliding_window_view(inside, window)[::stride].sum(1)
    return covered
