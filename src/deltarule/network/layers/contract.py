"""The contract of a layer, in ten lines. Every other file here shows layers that obey it.

A layer is a value: a frozen dataclass of hyper-parameters and nothing else. Parameters and state
belong to the caller, so one layer object serves any number of networks, seeds and threads.

    init(rng, shape) -> params, state, shape       shapes leave the batch axis out
    apply(params, state, x, key=, train=) -> y, state

``params`` and ``state`` are dictionaries of arrays: parameters are learned, state is what else a
layer remembers between batches. ``x`` is batched, channels last. ``key`` feeds chance and
``train`` says whether there may be any. ``init`` with ``rng=None`` draws nothing and allocates
nothing: it says shapes. A parameter named "w" is a weight: L1 and L2 act on it, on nothing else.
A layer with ``takes_activation = True`` has one more argument of ``apply``, the name of the
activation that follows it, and applies that too: so both are worked out in one pass over memory.
A new layer is one class, its entry in ``LAYERS`` (``blocks.py``) and one row in ``tests/laws/``.
"""

import math
from typing import Any, Protocol

import jax
import numpy as np

from deltarule.network.initializers import initializer

Rng = np.random.Generator | None
Shape = tuple[int, ...]
Arrays = dict[str, jax.Array]
HostArrays = dict[str, np.ndarray]
Size = tuple[int, int]  # height and width

MOST_WEIGHTS = 1 << 40  # of one layer


class Layer(Protocol):
    """What every layer can do; see the head of this file."""

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw parameters for inputs of ``shape``; also return the shape of the outputs."""

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return the outputs for the batch ``x`` and the state after it."""


def takes_activation(layer: Layer) -> bool:
    """Say whether ``layer.apply`` can also apply the activation after it."""
    return getattr(layer, "takes_activation", False)


def is_weight(name: str) -> bool:
    """Say whether the parameter called ``name`` is a weight; those of inner layers have a path.

    >>> is_weight("w"), is_weight("0.w"), is_weight("b")
    (True, True, False)
    """
    return name.rsplit(".", 1)[-1] == "w"


def positive(name: str, number: Any) -> int:
    """Return ``number``, or raise a ``ValueError`` if it counts nothing."""
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {number!r}.")
    return int(number)


def size(name: str, value: Any) -> Size:
    """Return a height and a width; one number stands for both."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a number or (height, width), got {value!r}.")
    return positive(f"{name} of the height", pair[0]), positive(f"{name} of the width", pair[1])


def small(name: str, number: Any, *, below: float = math.inf) -> float:
    """Return ``number`` as a float, at least 0 and less than ``below``, or raise."""
    real = isinstance(number, (int, float, np.floating)) and not isinstance(number, bool)
    if not real or not 0 <= number < below:
        limit = f" and less than {below:g}" if math.isfinite(below) else " and finite"
        raise ValueError(f"{name} must be a number of at least 0{limit}, got {number!r}.")
    return float(number)


def image(layer: str, shape: Shape) -> tuple[int, int, int]:
    """Return height, width and channels; raise a ``ValueError`` if ``shape`` is no image's."""
    if len(shape) != 3:
        raise ValueError(
            f"{layer} expects inputs with the axes (height, width, channels), got shape {shape}; "
            "say the shape of an image, such as Network(..., shape=(28, 28, 1))."
        )
    return shape[0], shape[1], shape[2]


def draw(name: str, rng: Rng, shape: Shape) -> np.ndarray:
    """Draw the weights [units, inputs...] of a layer whose units have prod(inputs) inputs each."""
    units, inputs = shape[0], math.prod(shape[1:])
    if units * inputs > MOST_WEIGHTS:
        raise ValueError(
            f"a layer of {units:,} units with {inputs:,} inputs each has more weights than any "
            f"machine holds ({8 * units * inputs:.1e} bytes); choose fewer units."
        )
    if rng is None:
        return np.broadcast_to(0.0, shape)  # a view of one number
    return initializer(name)(rng, units, inputs).reshape(shape)
