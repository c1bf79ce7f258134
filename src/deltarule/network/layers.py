"""Layers: the contract in ten lines, then one screen for each layer.

A layer is a value: a frozen dataclass of hyper-parameters and nothing else. Parameters and state
belong to the caller, so one layer object serves any number of networks, seeds and threads.

    init(rng, shape) -> params, state, shape       shapes leave the batch axis out
    apply(params, state, x, key=, train=) -> y, state

``params`` and ``state`` are dictionaries of arrays: parameters are learned, state is what else a
layer remembers between batches. ``x`` is batched, channels last. ``key`` feeds chance and
``train`` says whether there may be any. ``init`` with ``rng=None`` draws nothing and allocates
nothing: it says shapes. A parameter named "w" is a weight: L1 and L2 act on it, on nothing else.
A new layer is one class here and one row in ``tests/laws/``.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network.activations import activation
from deltarule.network.initializers import initializer

Rng = np.random.Generator | None
Shape = tuple[int, ...]
Arrays = dict[str, jax.Array]
HostArrays = dict[str, np.ndarray]

MOST_WEIGHTS = 1 << 40  # of one layer


class Layer(Protocol):
    """What every layer can do; see the head of this file."""

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw parameters for inputs of ``shape``; also return the shape of the outputs."""

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return the outputs for the batch ``x`` and the state after it."""


def positive(name: str, number: Any) -> int:
    """Return ``number``, or raise a ``ValueError`` if it counts nothing."""
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {number!r}.")
    return int(number)


def _draw(name: str, rng: Rng, fan_out: int, fan_in: int) -> np.ndarray:
    if fan_out * fan_in > MOST_WEIGHTS:
        raise ValueError(
            f"a layer of {fan_out:,} units with {fan_in:,} inputs each has more weights than any "
            f"machine holds ({8 * fan_out * fan_in:.1e} bytes); choose fewer units."
        )
    if rng is None:
        return np.broadcast_to(0.0, (fan_out, fan_in))  # a view of one number
    return initializer(name)(rng, fan_out, fan_in)


@dataclass(frozen=True)
class Dense:
    """z = x W' + b: every neuron sees every input.

    W is [units, inputs], a row per neuron as in the book; b is [units]; x is [batch, inputs].
    ``init`` and ``bias_init`` name entries of ``initializers.py``.
    """

    units: int
    weight_init: str = "scaled_normal"
    bias_init: str = "zeros"

    def __post_init__(self) -> None:
        """Refuse what could not be built."""
        object.__setattr__(self, "units", positive("units", self.units))
        initializer(self.weight_init)
        initializer(self.bias_init)

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw W [units, inputs] and b [units]."""
        if len(shape) != 1:
            raise ValueError(
                f"Dense expects inputs with one axis, got shape {shape}; put Flatten() before it."
            )
        w = _draw(self.weight_init, rng, self.units, shape[0])
        b = _draw(self.bias_init, rng, self.units, 1)
        return {"w": w, "b": b[:, 0]}, {}, (self.units,)

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return x W' + b."""
        # Contracting over the second axis of both keeps W as it is stored: no copy, and fast for
        # a batch of one as well as of many (measured; see docs/decisions/).
        z = jax.lax.dot_general(x, params["w"], (((1,), (1,)), ((), ())))  # [batch, units]
        return z + params["b"], state


@dataclass(frozen=True)
class Activation:
    """a = f(z), element by element (softmax: along the last axis); ``name`` is in the table."""

    name: str

    def __post_init__(self) -> None:
        """Refuse a name that is not in the table."""
        activation(self.name)

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Nothing to draw; the shape stays."""
        return {}, {}, shape

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return f(x)."""
        return activation(self.name)(x), state


@dataclass(frozen=True)
class Dropout:
    """While training, set each input to 0 with probability ``rate``; divide the rest by 1 - rate.

    The expected output is the input, so nothing is scaled at prediction (Hinton et al. 2012;
    Srivastava et al. 2014, section 10). ``rate`` is the share dropped, not the share kept.
    """

    rate: float

    def __post_init__(self) -> None:
        """Refuse a rate that is not a share, and 1, which would drop everything."""
        if not isinstance(self.rate, (int, float)) or not 0 <= self.rate < 1:
            raise ValueError(
                f"rate must be the share of inputs to drop, at least 0 and below 1; "
                f"got {self.rate!r}."
            )
        object.__setattr__(self, "rate", float(self.rate))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Nothing to draw; the shape stays."""
        return {}, {}, shape

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return x with inputs dropped while training, x itself at prediction."""
        if not train or self.rate == 0:
            return x, state
        kept = jax.random.bernoulli(key, 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0), state


@dataclass(frozen=True)
class Flatten:
    """Lay the axes of each example in one row: (height, width, channels) becomes (inputs,)."""

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Nothing to draw; the axes become one."""
        return {}, {}, (math.prod(shape),)

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return x as [batch, inputs]."""
        return x.reshape(x.shape[0], -1), state


LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer for layer in (Dense, Activation, Dropout, Flatten)
}
