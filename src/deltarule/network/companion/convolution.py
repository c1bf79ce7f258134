"""Convolutions by the companion: oneDNN's, with bias and activation in the same pass."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from deltarule.network.companion.products import gradients, outputs, remembered

Pair = tuple[int, int]


@dataclass(frozen=True)
class _Attributes:
    """Where the kernel goes on the image, and what is done to the sums."""

    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int
    activation: str

    def outputs(self, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[int, ...]:
        """Return [n, rows, columns, filters] for images and weights of these shapes."""
        rows, columns = (
            (length + sum(pad) - (kernel - 1) * holes - 1) // step + 1
            for length, pad, kernel, holes, step in zip(
                x[1:3], self.padding, w[1:3], self.dilation, self.stride, strict=True
            )
        )
        if rows < 1 or columns < 1:
            raise ValueError(
                f"w must fit on the images with their padding, got {w[1:3]} on {x[1:3]}."
            )
        return x[0], rows, columns, w[0]

    def for_handler(self) -> dict[str, Any]:
        """Return the attributes as the handler takes them."""
        return {
            "stride": np.array(self.stride, np.int64),
            "padding": np.array(self.padding, np.int64).reshape(-1),
            "dilation": np.array(self.dilation, np.int64),
            "groups": np.int64(self.groups),
            "activation": self.activation,
        }


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
    """Return f(x * w + b): the convolution of ``kernels.convolve``, a bias and an activation.

    ``x`` is [n, height, width, channels] in float32 or bfloat16, and so is the result; ``w``
    [filters, height, width, channels / groups] and ``b`` [filters] or None are float32, and so are
    their gradients. ``activation`` is one of ``WITH_PRODUCTS``, whose slope follows from their
    output. The gradient of ``x`` is not worked out where nobody asks for it.

    >>> from deltarule.network import companion
    >>> import jax.numpy as jnp
    >>> image, w = jnp.arange(9.0).reshape(1, 3, 3, 1), jnp.ones((1, 2, 2, 1))
    >>> if companion.is_there():
    ...     assert convolve(image, w)[0, :, :, 0].tolist() == [[8.0, 12.0], [20.0, 24.0]]
    """
    return _convolve(x, w, b, _Attributes(stride, padding, dilation, groups, activation))


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _convolve(x: jax.Array, w: jax.Array, b: jax.Array | None, how: _Attributes) -> jax.Array:
    return outputs("convolution", how.outputs(x.shape, w.shape), x, w, b, **how.for_handler())


def _forward(x: Any, w: Any, b: Any, how: _Attributes) -> Any:
    return remembered(lambda *arrays: _convolve(*arrays, how), x, w, b, how.activation)


def _backward(how: _Attributes, saved: Any, g: Any) -> Any:
    return gradients("convolution", saved, g, **how.for_handler())


_convolve.defvjp(_forward, _backward, symbolic_zeros=True)
