"""Convolution: the same small weights everywhere in an image. Read ``contract.py`` first.

What it computes stands here; how is the affair of ``kernels.py``.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax

from deltarule.network import kernels
from deltarule.network.initializers import initializer
from deltarule.network.layers.contract import (
    Arrays,
    HostArrays,
    Rng,
    Shape,
    Size,
    draw,
    image,
    positive,
    size,
)

Padding = str | int
Margins = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)


@dataclass(frozen=True)
class Conv:
    """z[i, j, f] = b[f] + sum over u, v, c of x[i s + u d, j s + v d, c] w[f, u, v, c].

    x is [batch, height, width, channels]; w is [filters, kernel height, kernel width, channels /
    groups]; b is [filters]. s is the stride and d the dilation. (Fukushima 1980; LeCun et al. 1989;
    groups: Krizhevsky, Sutskever and Hinton 2012; dilation: Yu and Koltun 2016.)

    Args:
        filters: how many maps come out.
        kernel, stride, dilation: a number, or (height, width).
        padding: "valid" for none; "same" for zeros around the image so that the output is the
            input's size over the stride, rounded up; or how many zeros on every side.
        groups: the channels and the filters are cut into so many parts that do not see each other.
        bias: whether there is b; layers that BatchNorm follows need none.
        weight_init, bias_init: entries of ``initializers.py``; n is their inputs, kernel area x
            channels / groups.
    """

    takes_activation: ClassVar[bool] = True

    filters: int
    kernel: Size | int = 3
    stride: Size | int = 1
    padding: Padding = "valid"
    dilation: Size | int = 1
    groups: int = 1
    bias: bool = True
    weight_init: str = "scaled_normal"
    bias_init: str = "zeros"

    def __post_init__(self) -> None:
        """Refuse what could not be built."""
        for name in ("filters", "groups"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, size(name, getattr(self, name)))
        object.__setattr__(self, "padding", checked_padding(self.padding))
        if type(self.bias) is not bool:
            raise ValueError(f"bias must be True or False, got {self.bias!r}.")
        if self.filters % self.groups:
            raise ValueError(
                f"filters must be a multiple of the {self.groups} groups, got {self.filters}."
            )
        initializer(self.weight_init)
        initializer(self.bias_init)

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw w [filters, kernel height, kernel width, channels / groups] and b [filters]."""
        height, width, channels = image("Conv", shape)
        if channels % self.groups:
            raise ValueError(
                f"Conv expects inputs whose channels divide into {self.groups} groups, got shape "
                f"{shape}."
            )
        reach = self._reach()
        rows, columns = covered("Conv", (height, width), reach, self.stride, self.padding)
        params = {"w": draw(self.weight_init, rng, self._weights(channels))}
        if self.bias:
            params["b"] = draw(self.bias_init, rng, (self.filters,))
        return params, {}, (rows, columns, self.filters)

    def apply(
        self,
        params: Arrays,
        state: Arrays,
        x: jax.Array,
        *,
        key: jax.Array,
        train: bool,
        activation: str = "identity",
    ) -> tuple[jax.Array, Arrays]:
        """Return f(z) [batch, rows, columns, filters]."""
        y = kernels.convolve(
            x, params["w"], params["b"] if self.bias else None, stride=size("stride", self.stride),
            padding=margins(x.shape[1:3], self._reach(), self.stride, self.padding),
            dilation=size("dilation", self.dilation), groups=self.groups, activation=activation,
        )  # fmt: skip
        return y, state

    def _reach(self) -> Size:
        """How many pixels a kernel spans, holes included."""
        (high, wide), (d, e) = size("kernel", self.kernel), size("dilation", self.dilation)
        return (high - 1) * d + 1, (wide - 1) * e + 1

    def _weights(self, channels: int) -> Shape:
        return (self.filters, *size("kernel", self.kernel), channels // self.groups)


def checked_padding(padding: object) -> Padding:
    """Return ``padding`` if it is "valid", "same" or a number of pixels."""
    if padding in ("valid", "same"):
        return str(padding)
    if type(padding) is int and padding >= 0:
        return padding
    raise ValueError(f"padding must be 'valid', 'same' or a number of pixels, got {padding!r}.")


def margins(shape: tuple[int, ...], reach: Size, stride: Size | int, padding: Padding) -> Margins:
    """Return how many pixels to add: (top, bottom), (left, right).

    For "same" as many as the last window lacks, the odd one below and to the right.
    """
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if padding == "valid":
        return (0, 0), (0, 0)
    both = []
    for n, window, step in zip(shape, reach, size("stride", stride), strict=True):
        missing = max((-(-n // step) - 1) * step + window - n, 0)
        both.append((missing // 2, missing - missing // 2))
    return both[0], both[1]


def covered(layer: str, shape: Size, reach: Size, stride: Size | int, padding: Padding) -> Size:
    """Return rows and columns of the outputs; raise a ``ValueError`` if no window fits."""
    around = margins(shape, reach, stride, padding)
    steps = size("stride", stride)
    rows, columns = (
        (n + sum(add) - window) // step + 1
        for n, add, window, step in zip(shape, around, reach, steps, strict=True)
    )
    if rows < 1 or columns < 1:
        raise ValueError(
            f"{layer} expects images of at least {reach[0]} x {reach[1]} pixels with their "
            f"padding, got {shape[0]} x {shape[1]}; choose a smaller kernel or window, or more "
            "padding."
        )
    return rows, columns
