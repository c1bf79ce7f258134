"""Layers made of layers: Residual, Concat, Scale; and the table of all layers.

With them a network is a graph: every winner of ILSVRC from 2012 to 2017 can be said, but for
outputs on the way that only help training, as GoogLeNet has two. Read ``chain.py`` first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from deltarule.network.layers.chain import Layers, apply_chain, init_chain
from deltarule.network.layers.contract import Arrays, HostArrays, Layer, Rng, Shape
from deltarule.network.layers.convolution import Conv
from deltarule.network.layers.dense import Activation, Dense, Dropout, Flatten
from deltarule.network.layers.inputs import Decorrelate, Standardize
from deltarule.network.layers.norms import BatchNorm, LayerNorm, LocalResponseNorm
from deltarule.network.layers.pooling import AvgPool, GlobalAvgPool, MaxPool

Branches = tuple[Layers, ...]


@dataclass(frozen=True)
class Residual:
    """y = f(x) + s(x): f are ``layers``, s the ``shortcut``, by default x itself.

    (He et al. 2016.) Both must give the same shape.

    >>> block = Residual((Conv(8, padding="same"), Activation("relu")), shortcut=(Conv(8, 1),))
    >>> block.init(None, (5, 5, 3))[2]
    (5, 5, 8)
    """

    layers: Layers
    shortcut: Layers = ()

    def __post_init__(self) -> None:
        """Refuse what are no layers."""
        object.__setattr__(self, "layers", checked_layers("layers", self.layers, least=1))
        object.__setattr__(self, "shortcut", checked_layers("shortcut", self.shortcut))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw what the inner layers draw, the shortcut's under "shortcut."."""
        params, state, ours = init_chain(self.layers, rng, shape)
        more, remembered, theirs = init_chain(self.shortcut, rng, shape, "shortcut.")
        if ours != theirs:
            raise ValueError(
                f"Residual adds two outputs of one shape; for inputs of shape {shape} its layers "
                f"give {ours} and its shortcut {theirs}: give it a shortcut such as "
                "(Conv(filters, 1, stride),)."
            )
        return params | more, state | remembered, ours

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return f(x) + s(x)."""
        key, other = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        y, after = apply_chain(self.layers, params, state, x, key=key, train=train)
        s, remembered = apply_chain(
            self.shortcut, params, state, x, key=other, train=train, prefix="shortcut."
        )
        return y + s, after | remembered


@dataclass(frozen=True)
class Concat:
    """The outputs of several ``branches`` side by side, along the channels (Szegedy et al. 2015).

    Every branch is a tuple of layers and sees the same input; an empty one passes it on.

    >>> Concat(((Conv(4, 1),), (Conv(8, 3, padding="same"),))).init(None, (5, 5, 3))[2]
    (5, 5, 12)
    """

    branches: Branches

    def __post_init__(self) -> None:
        """Refuse what are no layers."""
        if not isinstance(self.branches, (tuple, list)) or not self.branches:
            raise ValueError(
                f"branches must be tuples of layers, at least one; got {self.branches!r}."
            )
        branches = tuple(checked_layers("every branch", branch) for branch in self.branches)
        object.__setattr__(self, "branches", branches)

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw what the branches draw, under their number."""
        params: HostArrays = {}
        state: HostArrays = {}
        shapes = []
        for number, branch in enumerate(self.branches):
            drawn, remembered, gives = init_chain(branch, rng, shape, f"{number}.")
            params, state = params | drawn, state | remembered
            shapes.append(gives)
        if len({gives[:-1] for gives in shapes}) > 1:
            raise ValueError(
                f"Concat joins outputs that differ in channels only; for inputs of shape {shape} "
                f"its branches give {shapes}: mind their padding and strides."
            )
        return params, state, (*shapes[0][:-1], sum(gives[-1] for gives in shapes))

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return the outputs of the branches, in order, along the last axis."""
        outputs: list[jax.Array] = []
        after: Arrays = {}
        for number, branch in enumerate(self.branches):
            y, remembered = apply_chain(
                branch, params, state, x, key=jax.random.fold_in(key, number), train=train,
                prefix=f"{number}.",
            )  # fmt: skip
            outputs.append(y)
            after |= remembered
        return jnp.concatenate(outputs, axis=-1), after


@dataclass(frozen=True)
class Scale:
    """y = x s(x): ``layers`` give one factor for each channel of each example.

    With s = mean of each map, Dense, relu, Dense, sigmoid this is squeeze and excitation (Hu, Shen
    and Sun 2018).

    >>> gate = (GlobalAvgPool(), Dense(2), Activation("relu"), Dense(8), Activation("sigmoid"))
    >>> Scale(gate).init(None, (5, 5, 8))[2]
    (5, 5, 8)
    """

    layers: Layers

    def __post_init__(self) -> None:
        """Refuse what are no layers."""
        object.__setattr__(self, "layers", checked_layers("layers", self.layers, least=1))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Draw what the inner layers draw."""
        params, state, gives = init_chain(self.layers, rng, shape)
        if gives != shape[-1:]:
            raise ValueError(
                f"Scale needs one factor for each of the {shape[-1]} channels of inputs of shape "
                f"{shape}, but its layers give the shape {gives}: end them with "
                f"Dense({shape[-1]})."
            )
        return params, state, shape

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return x times its factors."""
        s, after = apply_chain(self.layers, params, state, x, key=key, train=train)
        return x * s.reshape(len(s), *[1] * (x.ndim - 2), s.shape[-1]), after


LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Dense, Activation, Dropout, Flatten,
        Conv, MaxPool, AvgPool, GlobalAvgPool,
        BatchNorm, LayerNorm, LocalResponseNorm,
        Residual, Concat, Scale,
        Standardize, Decorrelate,
    )
}  # fmt: skip


def checked_layers(name: str, layers: Any, least: int = 0, hint: str = "") -> Layers:
    """Return ``layers`` as a tuple, or raise a ``ValueError`` if one of them is no layer."""
    if not isinstance(layers, (tuple, list)) or len(layers) < least:
        raise ValueError(f"{name} must be a tuple of layers, got {layers!r}.")
    for layer in layers:
        if type(layer) not in LAYERS.values():
            raise ValueError(f"a layer must be one of {', '.join(LAYERS)}; got {layer!r}.{hint}")
    return tuple(layers)


def inside(layer: Layer) -> tuple[Layers, ...]:
    """Return the chains of layers that ``layer`` is made of; all of them see its input."""
    if isinstance(layer, Residual):
        return layer.layers, layer.shortcut
    if isinstance(layer, Concat):
        return layer.branches
    return (layer.layers,) if isinstance(layer, Scale) else ()


def every(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield ``layers`` and all that they are made of."""
    for layer in layers:
        yield layer
        for chain in inside(layer):
            yield from every(chain)


def walk(layers: Sequence[Layer], shape: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
    """Yield each layer that is made of no others, the shape it takes and the shape it gives."""
    for layer in layers:
        gives = layer.init(None, shape)[2]
        if not inside(layer):
            yield layer, shape, gives
        for chain in inside(layer):
            yield from walk(chain, shape)
        shape = gives
