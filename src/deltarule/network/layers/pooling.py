"""Pooling: one number for each window of each map. Read ``contract.py`` first."""

from dataclasses import dataclass

import jax

from deltarule.network import kernels
from deltarule.network.layers.contract import Arrays, HostArrays, Rng, Shape, Size, image, size
from deltarule.network.layers.convolution import (
    Margins,
    Padding,
    checked_padding,
    covered,
    margins,
)


@dataclass(frozen=True)
class _Pool:
    """Windows of ``window`` pixels, ``stride`` pixels apart; by default side by side.

    Args:
        window, stride: a number, or (height, width); a stride below the window overlaps.
        padding: "valid" leaves out what fills no window; "same" and numbers as in ``Conv``.
    """

    window: Size | int = 2
    stride: Size | int | None = None
    padding: Padding = "valid"

    def __post_init__(self) -> None:
        """Refuse what could not be built."""
        object.__setattr__(self, "window", size("window", self.window))
        stride = self.window if self.stride is None else self.stride
        object.__setattr__(self, "stride", size("stride", stride))
        object.__setattr__(self, "padding", checked_padding(self.padding))
        if isinstance(self.padding, int) and 2 * self.padding > min(self._window):
            raise ValueError(
                f"padding must be at most half the window, so that no window lies outside; got "
                f"{self.padding} for {self._window[0]} x {self._window[1]}."
            )

    @property
    def _window(self) -> Size:
        return size("window", self.window)

    @property
    def _stride(self) -> Size:
        return size("stride", self.stride)

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Nothing to draw; each window becomes a pixel."""
        height, width, channels = image(type(self).__name__, shape)
        rows, columns = covered(
            type(self).__name__, (height, width), self._window, self._stride, self.padding
        )
        return {}, {}, (rows, columns, channels)

    def _arguments(self, x: jax.Array) -> tuple[jax.Array, Size, Size, Margins]:
        around = margins(x.shape[1:3], self._window, self._stride, self.padding)
        return x, self._window, self._stride, around


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest number of each window (Zhou and Chellappa 1988; Ranzato et al. 2007).

    Where several are largest the gradient goes to the first, row by row. ``window``, ``stride`` and
    ``padding`` as in ``Conv``; by default windows lie side by side and what fills none is left out.
    """

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return the maxima [batch, rows, columns, channels]."""
        return kernels.max_pool(*self._arguments(x)), state


@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of each window, over the pixels that exist: padding does not count.

    (LeCun et al. 1989: subsampling.) ``window``, ``stride`` and ``padding`` as in ``MaxPool``.
    """

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return the means [batch, rows, columns, channels]."""
        return kernels.avg_pool(*self._arguments(x)), state


@dataclass(frozen=True)
class GlobalAvgPool:
    """The mean of each map: (height, width, channels) becomes (channels,) (Lin et al. 2013)."""

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Nothing to draw; one number a channel is left."""
        return {}, {}, (image("GlobalAvgPool", shape)[2],)

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return the means [batch, channels]."""
        return x.mean(axis=(1, 2)), state
