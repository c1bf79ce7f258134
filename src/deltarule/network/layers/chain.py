"""Layers one after another, inside a network or inside another layer.

The arrays of inner layers live in the outer layer's dictionary under a path: "0.w" is the weight of
the first inner layer. So whatever reads params and state meets one kind of thing.
"""

from collections.abc import Sequence

import jax

from deltarule.network.layers.contract import Arrays, HostArrays, Layer, Rng, Shape

Layers = tuple[Layer, ...]


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
    for position, layer in enumerate(layers):
        path = f"{prefix}{position}."
        x, remembered = layer.apply(
            _below(params, path), _below(state, path), x,
            key=jax.random.fold_in(key, position), train=train,
        )  # fmt: skip
        after |= {f"{path}{name}": array for name, array in remembered.items()}
    return x, after


def _below(arrays: Arrays, path: str) -> Arrays:
    return {name[len(path) :]: array for name, array in arrays.items() if name.startswith(path)}
