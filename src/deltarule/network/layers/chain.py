"""Layers one after another, inside a network or inside another layer.

The arrays of inner layers live in the outer layer's dictionary under a path: "0.w" is the weight of
the first inner layer. So whatever reads params and state meets one kind of thing.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax

from deltarule.network.layers.contract import (
    Arrays,
    HostArrays,
    Layer,
    Rng,
    Shape,
    takes_activation,
)
from deltarule.network.layers.dense import Activation

Layers = tuple[Layer, ...]
Apply = Callable[..., tuple[jax.Array, Arrays]]


def init_chain(
    layers: Sequence[Layer], rng: Rng, shape: Shape, prefix: str = ""
) -> tuple[HostArrays, HostArrays, Shape]:
    """Draw the parameters of ``layers``, named by ``prefix`` and position; as ``Layer.init``."""
    params: HostArrays = {}
    state: HostArrays = {}
    for position, layer in enumerate(layers):
        drawn, remembered, shape = layer.init(rng, shape)
        params |= {f"{prefix}{position}.{name}": array for name, array in drawn.items()}
        state |= {f"{prefix}{position}.{name}": array for name, array in remembered.items()}
    return params, state, shape


def steps(layers: Sequence[Layer]) -> Iterator[tuple[int, Apply]]:
    """Yield the position and the ``apply`` of each layer, in order.

    An activation goes along with the layer before it where that layer ``takes_activation``: what
    is worked out together passes through memory once.
    """
    for position, layer in enumerate(layers):
        after = layers[position + 1] if position + 1 < len(layers) else None
        if isinstance(layer, Activation) and position and takes_activation(layers[position - 1]):
            continue
        apply: Apply = layer.apply
        if takes_activation(layer) and isinstance(after, Activation):
            apply = partial(apply, activation=after.name)
        yield position, apply


def apply_chain(
    layers: Sequence[Layer],
    params: Arrays,
    state: Arrays,
    x: jax.Array,
    *,
    key: jax.Array,
    train: bool,
    prefix: str = "",
) -> tuple[jax.Array, Arrays]:
    """Return the last layer's outputs and the state of all of them after; as ``Layer.apply``."""
    after: Arrays = {}
    for position, apply in steps(layers):
        path = f"{prefix}{position}."
        x, remembered = apply(
            _below(params, path), _below(state, path), x,
            key=jax.random.fold_in(key, position), train=train,
        )  # fmt: skip
        after |= {f"{path}{name}": array for name, array in remembered.items()}
    return x, after


def _below(arrays: Arrays, path: str) -> Arrays:
    return {name[len(path) :]: array for name, array in arrays.items() if name.startswith(path)}
