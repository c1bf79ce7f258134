"""Layers as plain data and back, for model files.

The schema is closed: nothing is imported by name.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from deltarule.choices import choose
from deltarule.network.layers.blocks import LAYERS, Branches
from deltarule.network.layers.chain import Layers
from deltarule.network.layers.contract import Layer, Size
from deltarule.network.layers.convolution import Padding

Plain = dict[str, Any]


def describe(layer: Layer) -> Plain:
    """Return ``layer`` as plain data; ``layer_from`` reads it.

    >>> describe(LAYERS["MaxPool"](2))
    {'layer': 'MaxPool', 'window': [2, 2], 'stride': [2, 2], 'padding': 'valid'}
    """
    fields = dataclasses.fields(layer)  # type: ignore[arg-type]
    values = {field.name: _plain(getattr(layer, field.name)) for field in fields}
    return {"layer": type(layer).__name__, **values}


def layer_from(entry: Any) -> Layer:
    """Return the layer that ``describe`` described.

    Raises ``ValueError`` for a layer or a field that is not known, or of another type.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"a layer must be described by its fields, got {entry!r:.80}.")
    kind = choose("layer", entry.get("layer", "nothing"), LAYERS)
    fields = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in entry.items() if name != "layer"}
    if set(given) != set(fields):
        raise ValueError(
            f"layer {kind.__name__} expects the fields {sorted(fields)}, got {sorted(given)}."
        )
    return kind(**{name: _read(kind, name, fields[name], given[name]) for name in fields})


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return describe(cast(Layer, value)) if dataclasses.is_dataclass(value) else value


def _layers(value: Any) -> Layers:
    if not all(isinstance(entry, Mapping) for entry in _list(value)):
        raise TypeError
    return tuple(layer_from(entry) for entry in value)


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _pair(value: Any) -> Size:
    if len(_list(value)) != 2 or any(type(number) is not int for number in value):
        raise TypeError
    return value[0], value[1]


def _exactly(*kinds: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise TypeError
        return value

    return read


_READERS: dict[Any, tuple[str, Callable[[Any], Any]]] = {  # by the type of a field
    **{kind: (kind.__name__, _exactly(kind)) for kind in (int, float, str, bool)},
    Size | int: ("[height, width]", _pair),
    Size | int | None: ("[height, width]", _pair),
    Padding: ("str or int", _exactly(str, int)),
    Layers: ("a list of layers", _layers),
    Branches: ("a list of lists of layers", lambda value: tuple(map(_layers, _list(value)))),
}


def _read(kind: type[Layer], name: str, annotation: Any, value: Any) -> Any:
    expected, reader = _READERS[annotation]
    try:
        return reader(value)
    except TypeError:
        raise ValueError(
            f"{name} of layer {kind.__name__} must be of type {expected}, got {value!r:.80}."
        ) from None
