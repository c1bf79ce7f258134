"""The layers of plain networks: Dense, Activation, Dropout, Flatten. Read ``contract.py`` first."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp

from deltarule.network import kernels
from deltarule.network.activations import activation
from deltarule.network.initializers import initializer
from deltarule.network.layers.contract import Arrays, HostArrays, Rng, Shape, draw, positive


@dataclass(frozen=True)
class Dense:
    """z = x W' + b: every neuron sees every input.

    W is [units, inputs], a row per neuron as in the book; b is [units]; x is [batch, inputs].
    ``init`` and ``bias_init`` name entries of ``initializers.py``.
    """

    takes_activation: ClassVar[bool] = True

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
        w = draw(self.weight_init, rng, (self.units, shape[0]))
        b = draw(self.bias_init, rng, (self.units,))
        return {"w": w, "b": b}, {}, (self.units,)

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
        """Return f(x W' + b)."""
        return kernels.dense(x, params["w"], params["b"], activation), state


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
        return kernels.activate(x, self.name), state


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
