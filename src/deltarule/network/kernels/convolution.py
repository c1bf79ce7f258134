"""Convolution: as one matrix product of patches, or the backend's own.

Patches are what the kernel sees at each place, a row each; times the weights they give the
outputs, and the two products of backpropagation are those of any dense layer. What costs time is
not the arithmetic but the copies, so ``_Blocks`` lets one patch serve several neighbouring outputs.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.network import companion
from deltarule.network.kernels.activations import activate, finish
from deltarule.network.kernels.choice import by_companion, current, wide, working
from deltarule.network.kernels.products import contract, rounded, settled, turned

Pair = tuple[int, int]
AXES = ("NHWC", "OHWI", "NHWC")

BLOCKS = (1, 2, 4, 8)  # outputs worked out together
# What a block costs, in columns of a matrix product (docs/decisions/0008-convolution-on-a-cpu.md)
LANES = 16  # columns come in vectors
COPY = 40  # to copy a number into the patches, there and back
SHORT_RUN = 4  # numbers: a run of this many is copied at half the speed


@dataclass(frozen=True)
class _Geometry:
    """Where the kernel goes on the image."""

    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int = 1

    def pixels(self, x: tuple[int, ...], w: tuple[int, ...]) -> Pair:
        """Return rows and columns of the outputs for images and weights of these shapes."""
        rows, columns = (
            (x[1 + i] + sum(self.padding[i]) - (w[1 + i] - 1) * self.dilation[i] - 1)
            // self.stride[i] + 1
            for i in (0, 1)
        )  # fmt: skip
        return rows, columns

    def multiplications(self, x: tuple[int, ...], w: tuple[int, ...]) -> int:
        """Return how many numbers are multiplied for images and weights of these shapes."""
        return x[0] * math.prod(self.pixels(x, w)) * math.prod(w)


def convolve(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "identity",
) -> jax.Array:
    """Return f(b[f] + sum over p, q, c of x[n, s i + d p, s j + d q, c] w[f, p, q, c]).

    ``x`` is [n, height, width, channels], ``w`` [filters, height, width, channels / groups];
    stride s and dilation d are (height, width), padding is ((top, bottom), (left, right)) zeros.
    With groups the first filters see the first channels, and so on.

    >>> import jax.numpy as jnp
    >>> image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> convolve(image, jnp.ones((1, 2, 2, 1)))[0, :, :, 0].tolist()
    [[8.0, 12.0], [20.0, 24.0]]
    """
    at = _Geometry(stride, padding, dilation, groups)
    if by_companion("convolution", x, at.multiplications(x.shape, w.shape)):
        with_it, after = companion.split(activation, companion.WITH_PRODUCTS)
        y = companion.convolve(
            working(x), w, b, stride=stride, padding=padding, dilation=dilation, groups=groups,
            activation=with_it,
        )  # fmt: skip
        return activate(y, after)
    return finish(_convolve(wide(x), w, at), b, activation)


def _convolve(x: jax.Array, w: jax.Array, at: _Geometry) -> jax.Array:
    half, groups = current().product == "bfloat16", at.groups
    if current().convolution == "backend":
        return _backend_rounded(x, w, at) if half else _backend(x, w, at)
    if groups == 1:
        return _by_patches(x, w, at, half)
    x = x.reshape(*x.shape[:3], groups, -1)
    w = w.reshape(groups, -1, *w.shape[1:])
    y = jax.vmap(lambda x, w: _by_patches(x, w, at, half), (3, 0), 3)(x, w)
    return y.reshape(*y.shape[:3], -1)


def _backend(x: jax.Array, w: jax.Array, at: _Geometry, **sums: Any) -> jax.Array:
    y: jax.Array = lax.conv_general_dilated(
        x,
        w,
        at.stride,
        at.padding,
        rhs_dilation=at.dilation,
        dimension_numbers=AXES,
        feature_group_count=at.groups,
        **sums,
    )
    return y


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _backend_rounded(x: jax.Array, w: jax.Array, at: _Geometry) -> jax.Array:
    sums = _backend(rounded(x), rounded(w), at, preferred_element_type=jnp.float32)
    return sums.astype(x.dtype)


def _backend_forward(x: jax.Array, w: jax.Array, at: _Geometry) -> Any:
    return _backend_rounded(x, w, at), (x, w)


def _backend_backward(at: _Geometry, saved: Any, g: jax.Array) -> Any:
    x, w = saved
    _, pull = jax.vjp(partial(_backend, at=at), rounded(x), rounded(w))
    dx, dw = pull(rounded(g))
    return dx.astype(x.dtype), dw.astype(w.dtype)


_backend_rounded.defvjp(_backend_forward, _backend_backward)


@dataclass(frozen=True)
class _Blocks:
    """How images are cut: each row of the product works out a block of neighbouring outputs.

    A block of ``block`` outputs sees ``reach`` columns of the image and starts ``step`` columns
    after the block on its left; there are ``blocks`` of them in each of ``rows`` rows, enough for
    ``columns`` outputs. The weights of a block are the kernel and zeros, moved along.

    A wider block multiplies by more zeros, but copies each pixel less often and in longer runs,
    and gives the product more columns: it pays where channels or filters are few.
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
        """Return the fastest cut for images and weights of these shapes."""
        rows, columns = at.pixels(x, w)
        across = (w[2] - 1) * at.dilation[1] + 1
        cuts = []
        for block in BLOCKS[: 1 + columns.bit_length()]:
            step = block * at.stride[1]
            reach = across + step - at.stride[1]
            cuts.append(_Blocks(block, -(-columns // block), step, reach, rows, columns, at))
        return min(cuts, key=lambda cut: cut.cost(channels=w[3], filters=w[0]))

    def cost(self, channels: int, filters: int) -> float:
        """Return the time of a training step in some unit, as a model fitted to measurements."""
        outputs = -(-self.block * filters // LANES) * LANES
        copy = COPY * (1 + SHORT_RUN / (self.step * channels))
        return self.blocks * self.reach * (outputs + copy)

    def patches(self, x: jax.Array, kernel_rows: int) -> jax.Array:
        """Return what each block sees: [blocks, kernel rows * reach * channels]."""
        n, _, width, channels = x.shape
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


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_patches(x: jax.Array, w: jax.Array, at: _Geometry, half: bool) -> jax.Array:
    return _patches_forward(x, w, at, half)[0]


def _patches_forward(
    x: jax.Array, w: jax.Array, at: _Geometry, half: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    cut = _Blocks.of(x.shape, w.shape, at)
    patches, kernels = _operands(x, w, cut, half)
    y = contract(patches, kernels, 1, 1).astype(x.dtype)
    y = y.reshape(x.shape[0], cut.rows, cut.blocks * cut.block, w.shape[0])
    return y[:, :, : cut.columns], (x, w)


def _operands(x: jax.Array, w: jax.Array, cut: _Blocks, half: bool) -> tuple[jax.Array, jax.Array]:
    """Return patches and weights, both [.., kernel rows * reach * channels]."""
    if not half:
        return cut.patches(settled(x), w.shape[1]), cut.weights(w)
    # Copying bfloat16 goes through float32 and is slow; copying the same bits as integers is not.
    bits = lax.bitcast_convert_type(settled(rounded(x)), jnp.uint16)
    patches = lax.bitcast_convert_type(cut.patches(bits, w.shape[1]), jnp.bfloat16)
    return patches, cut.weights(rounded(w))


def _patches_backward(at: _Geometry, half: bool, saved: Any, g: jax.Array) -> Any:
    x, w = saved
    cut = _Blocks.of(x.shape, w.shape, at)
    patches, kernels = _operands(x, w, cut, half)
    g = settled(rounded(g)) if half else g
    g = jnp.pad(g, ((0, 0), (0, 0), (0, cut.blocks * cut.block - cut.columns), (0, 0)))
    g = g.reshape(patches.shape[0], -1)
    dw = contract(turned(g), patches, 1, 0) if half else contract(g, patches, 0, 0)
    dp = contract(g, kernels, 1, 0)
    (dx,) = jax.linear_transpose(lambda x: cut.patches(x, w.shape[1]), x)(dp.astype(x.dtype))
    (dw,) = jax.linear_transpose(cut.weights, w)(dw.astype(w.dtype))
    return settled(dx), dw


_by_patches.defvjp(_patches_forward, _patches_backward)
