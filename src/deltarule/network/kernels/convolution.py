"""Convolution: as one matrix product of patches, or the backend's own."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.network.kernels.choice import current
from deltarule.network.kernels.products import contract, rounded, turned

Pair = tuple[int, int]
AXES = ("NHWC", "OHWI", "NHWC")


@dataclass(frozen=True)
class _Geometry:
    """Where the kernel goes on the image."""

    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int = 1


def convolve(
    x: jax.Array,
    w: jax.Array,
    *,
    stride: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> jax.Array:
    """Return y[n, i, j, f] = sum over p, q, c of x[n, s i + d p, s j + d q, c] w[f, p, q, c].

    ``x`` is [n, height, width, channels], ``w`` [filters, height, width, channels / groups];
    stride s and dilation d are (height, width), padding is ((top, bottom), (left, right)) zeros.
    With groups the first filters see the first channels, and so on.

    >>> import jax.numpy as jnp
    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> convolve(image, jnp.ones((1, 2, 2, 1)))[0, :, :, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    at = _Geometry(stride, padding, dilation, groups)
    kernels = current()
    half = kernels.product == "bfloat16"
    if kernels.convolution == "native":
        return _native_rounded(x, w, at) if half else _native(x, w, at)
    if groups == 1:
        return _by_patches(x, w, at, half)
    x = x.reshape(*x.shape[:3], groups, -1)
    w = w.reshape(groups, -1, *w.shape[1:])
    y = jax.vmap(lambda x, w: _by_patches(x, w, at, half), (3, 0), 3)(x, w)
    return y.reshape(*y.shape[:3], -1)


def _native(x: jax.Array, w: jax.Array, at: _Geometry, **sums: Any) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        w,
        at.stride,
        at.padding,
        rhs_dilation=at.dilation,
        dimension_numbers=AXES,
        feature_group_count=at.groups,
        **sums,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _native_rounded(x: jax.Array, w: jax.Array, at: _Geometry) -> jax.Array:
    sums = _native(rounded(x), rounded(w), at, preferred_element_type=jnp.float32)
    return sums.astype(x.dtype)


def _native_forward(x: jax.Array, w: jax.Array, at: _Geometry) -> Any:
    return _native_rounded(x, w, at), (x, w)


def _native_backward(at: _Geometry, saved: Any, g: jax.Array) -> Any:
    x, w = saved
    _, pull = jax.vjp(partial(_native, at=at), rounded(x), rounded(w))
    dx, dw = pull(rounded(g))
    return dx.astype(x.dtype), dw.astype(w.dtype)


_native_rounded.defvjp(_native_forward, _native_backward)


@dataclass(frozen=True)
class _Blocks:
    """How the image is cut: each row of the product works out a block of neighbouring outputs.

    A block of ``block`` outputs in a row sees ``reach`` columns of the image and starts ``step``
    columns after the block before it. The weights of its outputs are one kernel, moved along.
    """

    block: int
    blocks: int
    step: int
    reach: int
    rows: int
    columns: int
    at: _Geometry

    @staticmethod
    def of(x: tuple[int, ...], w: tuple[int, ...], at: _Geometry) -> "_Blocks":
        """Return the cut for images and weights of these shapes."""
        (top, left), (height, width) = _reach(w, at), x[1:3]
        rows = (height + sum(at.padding[0]) - top) // at.stride[0] + 1
        columns = (width + sum(at.padding[1]) - left) // at.stride[1] + 1
        block = min(columns, _block(w, at))
        step = block * at.stride[1]
        reach = left + step - at.stride[1]
        return _Blocks(block, -(-columns // block), step, reach, rows, columns, at)

    def patches(self, x: jax.Array, kernel_rows: int) -> jax.Array:
        """Return what each block sees: [blocks, kernel rows * reach * channels]."""
        n, height, width, channels = x.shape
        at = self.at
        parts = -(-self.reach // self.step)
        right = (self.blocks - 1 + parts) * self.step - width - at.padding[1][0]
        edges = ((0, 0, 0), (*at.padding[0], 0), (at.padding[1][0], right, 0), (0, 0, 0))
        x = lax.pad(x, jnp.zeros((), x.dtype), edges)
        x = x.reshape(n, x.shape[1], -1, self.step * channels)
        last = (self.rows - 1) * at.stride[0] + 1
        views = [
            x[:, i : i + last : at.stride[0], j : j + self.blocks, : seen * channels]
            for i in range(0, kernel_rows * at.dilation[0], at.dilation[0])
            for j in range(parts)
            for seen in [min(self.step, self.reach - j * self.step)]
        ]
        return lax.concatenate(views, 3).reshape(n * self.rows * self.blocks, -1)

    def weights(self, w: jax.Array) -> jax.Array:
        """Return the weights of a block: [outputs * filters, kernel rows * reach * channels]."""
        zero, holes = jnp.zeros((), w.dtype), self.at.dilation[1] - 1
        size = (w.shape[2] - 1) * self.at.dilation[1] + 1
        moved = [
            lax.pad(w, zero, ((0, 0, 0), (0, 0, 0), (j, self.reach - size - j, holes), (0, 0, 0)))
            for j in range(0, self.step, self.at.stride[1])
        ]
        return jnp.stack(moved).reshape(self.block * w.shape[0], -1)


def _reach(w: tuple[int, ...], at: _Geometry) -> Pair:
    return (w[1] - 1) * at.dilation[0] + 1, (w[2] - 1) * at.dilation[1] + 1


import os


def _block(w: tuple[int, ...], at: _Geometry) -> int:
    b = os.environ.get("BLOCK")
    if b:
        return int(b.split(",")[0 if w[3] == 1 else 1])
    return 1


def _bits(x: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(lax.optimization_barrier(rounded(x)), jnp.uint16)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_patches(x: jax.Array, w: jax.Array, at: _Geometry, half: bool) -> jax.Array:
    return _patches_forward(x, w, at, half)[0]


def _patches_forward(x: jax.Array, w: jax.Array, at: _Geometry, half: bool) -> Any:
    cut = _Blocks.of(x.shape, w.shape, at)
    patches = _seen(x, w, cut, half)
    kernels = cut.weights(rounded(w) if half else w)
    y = contract(patches, kernels, 1, 1).astype(x.dtype)
    y = y.reshape(x.shape[0], cut.rows, cut.blocks * cut.block, w.shape[0])
    return y[:, :, : cut.columns], (x, w)


def _seen(x: jax.Array, w: jax.Array, cut: _Blocks, half: bool) -> jax.Array:
    if not half:
        return cut.patches(x, w.shape[1])
    bits = lax.bitcast_convert_type(lax.optimization_barrier(rounded(x)), jnp.uint16)
    return lax.bitcast_convert_type(cut.patches(bits, w.shape[1]), jnp.bfloat16)


def _patches_backward(at: _Geometry, half: bool, saved: Any, g: jax.Array) -> Any:
    x, w = saved
    cut = _Blocks.of(x.shape, w.shape, at)
    patches = _seen(x, w, cut, half)
    kernels = cut.weights(rounded(w) if half else w)
    g = rounded(g) if half else g
    g = jnp.pad(g, ((0, 0), (0, 0), (0, cut.blocks * cut.block - cut.columns), (0, 0)))
    g = g.reshape(patches.shape[0], -1)
    dw = contract(turned(g), patches, 1, 0) if half else contract(g, patches, 0, 0)
    dp = contract(g, kernels, 1, 0)
    (dx,) = jax.linear_transpose(lambda x: cut.patches(x, w.shape[1]), x)(dp.astype(x.dtype))
    (dw,) = jax.linear_transpose(cut.weights, w)(dw.astype(w.dtype))
    return dx, dw


_by_patches.defvjp(_patches_forward, _patches_backward)
