"""A model: a network with its parameters, the names of its classes and the scale of its inputs.

It is what training returns, what a model file holds, and what answers questions.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network import kernels
from deltarule.network.activations import activation
from deltarule.network.layers.contract import Shape
from deltarule.network.network import HostParams, Network, Params, images_at_once

CHUNK = 1024  # examples asked at once, fewer images; remainders are padded to a power of two
NUMBERS = 1 << 22  # of their inputs, at most


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, ready to be asked.

    Args:
        network: the architecture.
        params, state: a dictionary of NumPy arrays a layer.
        shape: of one input, as the data has it; its size is that of the network's input.
        classes: the names of the classes, in the order of the outputs; empty for regression.
        scale: the network sees ``x * scale``: 1/255 for the bytes of an image.
        provenance: where the model comes from: plain data for its file.
        preparation: what makes its inputs of raw rows or files; that of the data it learned from.
    """

    network: Network
    params: HostParams
    state: HostParams
    shape: Shape
    classes: tuple[str, ...] = ()
    scale: float = 1.0
    provenance: dict[str, Any] = field(default_factory=dict)
    preparation: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of the parameters."""
        arrays = [array for layer in self.params for array in layer.values()]
        return arrays[0].dtype if arrays else np.dtype(np.float32)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return the last layer's weighted inputs z [n, outputs] for raw inputs x [n, ...]."""
        if not hasattr(x, "dtype"):  # else a part at a time, also of what is read from the disk
            x = np.asarray(x)
        self._check_shape(x.shape)
        most = min(images_at_once(self.network, self.shape) or CHUNK, self._held)
        slices = [slice(first, first + most) for first in range(0, len(x), most)]
        given: Any = x.read(slices) if hasattr(x, "read") else map(x.__getitem__, slices)
        parts = [self._ask(self._as_taken(part)) for part in given]
        outputs = self.network.output_shape(self.shape)
        return np.concatenate(parts) if parts else np.zeros((0, *outputs), self.dtype)

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs a [n, outputs]: probabilities of the classes for softmax."""
        with jax.enable_x64(self.dtype == np.float64):
            return np.asarray(activation(self.network.output)(jnp.asarray(self.logits(x))))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the class index [n] of the largest output, or the outputs for regression.

        The indices are those of ``Dataset.y``; ``labels`` gives names.
        """
        return self.logits(x).argmax(axis=1) if self.classes else self.outputs(x)

    def labels(self, x: np.ndarray) -> list[str]:
        """Return the names of the predicted classes."""
        if not self.classes:
            raise ValueError("labels are names of classes, but this model has none: use predict.")
        return [self.classes[index] for index in self.predict(x)]

    @property
    def _held(self) -> int:
        """How many inputs may be held at once: a power of two, for ``_ask`` pads to one."""
        return 1 << (max(NUMBERS // math.prod(self.shape), 1).bit_length() - 1)

    def _check_shape(self, shape: Shape) -> None:
        if len(shape) < 2 or math.prod(shape[1:]) != math.prod(self.shape):
            raise ValueError(
                f"x must hold inputs of shape {self.shape} behind a batch axis, got an array of "
                f"shape {shape}; for a single input pass x[None]."
            )

    def _as_taken(self, x: np.ndarray) -> np.ndarray:
        x = narrowed("x", np.asarray(x), self.dtype)
        return x.reshape(len(x), *(self.network.shape or self.shape))

    def _ask(self, x: np.ndarray) -> np.ndarray:
        # A compiled program serves one shape: padding keeps their number small.
        padded = 1 << max(len(x) - 1, 0).bit_length()
        filled = np.concatenate([x, np.zeros((padded - len(x), *x.shape[1:]), x.dtype)])
        with jax.enable_x64(self.dtype == np.float64):
            z = _logits(
                self.network, kernels.current(), self.params, self.state, filled, self.scale
            )
            return np.asarray(z)[: len(x)]


@partial(jax.jit, static_argnums=(0, 1))
def _logits(
    network: Network,
    how: kernels.Kernels,
    params: Params,
    state: Params,
    x: jax.Array,
    scale: float,
) -> jax.Array:
    dtype = next((a.dtype for layer in params for a in layer.values()), jnp.float32)
    with kernels.using(how):
        z, _ = network.logits(params, state, scaled(x, scale, dtype))
    return z


def narrowed(name: str, x: np.ndarray, dtype: Any) -> np.ndarray:
    """Return raw inputs in a type the device takes: bytes stay bytes, 8 bytes become ``dtype``.

    Left to itself JAX drops the upper half of a 64-bit integer and turns 1e300 into infinity.
    """
    if x.dtype.kind not in "buif":
        raise ValueError(f"{name} must hold real numbers, got an array of {x.dtype}.")
    wanted = np.dtype(dtype) if x.dtype.itemsize >= 8 else x.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # said below, as an error
        narrow = x.astype(wanted, copy=False)
    if x.dtype.itemsize > wanted.itemsize and np.isinf(narrow).sum() > np.isinf(x).sum():
        raise ValueError(
            f"{name} holds numbers beyond the range of {wanted}, {np.finfo(wanted).max:.1e}; scale "
            "them, or use float64."
        )
    return narrow


def scaled(x: jax.Array, scale: jax.Array | float, dtype: Any) -> jax.Array:
    """Return what a network sees of raw inputs: ``x * scale`` in the precision of the run."""
    return x.astype(dtype) * jnp.asarray(scale, dtype)
