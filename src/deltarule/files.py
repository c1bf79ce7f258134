"""Model files: one safetensors file that is data and nothing else.

The file says everything the model needs: each layer with every field, the shapes, the classes, the
scale of the inputs. It is read by a closed schema, so defaults that change later change no old
file, and nothing in it is run, imported by name, unpickled or taken for a path. Its arrays are
``layers.0.w``, ``layers.0.b``, ``layers.2.w`` ... and, where layers remember, ``state.0.NAME``.
How the file is laid out is in ``storage/tensors.py``.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deltarule import storage
from deltarule.errors import ModelFileError
from deltarule.network import Model, Network
from deltarule.network.layers import Shape
from deltarule.network.network import HostParams
from deltarule.storage import printable

FORMAT = storage.Format("model", version=1)
PROVENANCE_LIMIT = 1 << 18  # bytes of JSON

_FIELDS = ("classes", "layers", "network_shape", "provenance", "scale", "shape")
_PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))


def save_model(model: Model, path: str | Path) -> None:
    """Write ``model`` to the file ``path``, whole or not at all.

    The same model gives the same bytes. Raises ``ValueError`` if the model is no model that
    ``load_model`` could give back, ``OSError`` if the disk refuses; an older file stays as it was.

    >>> import tempfile
    >>> network = Network([2, 1])
    >>> params, state = network.init(np.random.default_rng(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(Model(network, params, state, shape=(2,)), f"{folder}/model.safetensors")
    ...     load_model(f"{folder}/model.safetensors").shape
    (2,)
    """
    header = {
        "classes": [str(name) for name in model.classes],
        "layers": model.network.describe(),
        "network_shape": _sizes(model.network.shape),
        "provenance": model.provenance,
        "scale": float(model.scale),
        "shape": _sizes(model.shape),
    }
    arrays = {name: np.asarray(array) for name, array in _named(model.params, model.state)}
    try:
        described = _described(header)
        slots = {name: storage.Slot(array.dtype, array.shape) for name, array in arrays.items()}
        _check_slots(described, slots)
    except ValueError as error:
        raise ValueError(f"the model cannot be saved: it {error}") from None
    storage.write_tensors(path, arrays, header, FORMAT)


def load_model(path: str | Path, *, allow_nonfinite: bool = False) -> Model:
    """Return the model in the file ``path``.

    With ``allow_nonfinite`` a model is also given whose weights are not all finite, to look at.
    Raises ``ModelFileError`` for a file that is missing, damaged, foreign, made by a newer version
    or not what it says; ``OSError`` if it cannot be read.
    """
    with storage.open_tensors(path, FORMAT) as file:
        try:
            described = _described(file.header)
            _check_slots(described, file.slots)  # before memory is asked for
            arrays = file.read()
            if not allow_nonfinite:
                _check_finite(arrays)
        except ModelFileError:
            raise
        except ValueError as error:
            raise ModelFileError(f"{printable(path)} {error}") from None
    return Model(
        network=described.network,
        params=_filled("layers", described.params, arrays),
        state=_filled("state", described.state, arrays),
        shape=described.shape,
        classes=tuple(file.header["classes"]),
        scale=file.header["scale"],
        provenance=file.header["provenance"],
    )


class _Described(NamedTuple):
    """What a header describes; params and state are placeholders that only have shapes."""

    network: Network
    params: HostParams
    state: HostParams
    shape: Shape


def _described(header: dict[str, Any]) -> _Described:
    """Build what ``header`` describes. Raises ``ValueError`` for anything not in the schema."""
    if set(header) != set(_FIELDS):
        raise ValueError(f"must have the entries {', '.join(_FIELDS)}; it has {sorted(header)}.")
    layers, classes, scale = header["layers"], header["classes"], header["scale"]
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ValueError(f"must have a list of layers, got {layers!r:.80}.")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"must have a list of names as classes, got {classes!r:.80}.")
    if not isinstance(scale, float) or not math.isfinite(scale):
        raise ValueError(f"must have a finite number as scale, got {scale!r:.80}.")
    _check_provenance(header["provenance"])
    shape = _shape("shape", header["shape"])
    known = header["network_shape"]
    try:
        network = Network.from_description(
            layers, shape=None if known is None else _shape("network_shape", known)
        )
        params, state = network.init(None, shape)
        outputs = network.output_shape(shape)
    except ValueError as error:
        raise ValueError(f"describes no network that can be built: {error!s:.300}") from None
    if classes and outputs != (len(classes),):
        raise ValueError(
            f"must have as many classes as outputs; it has {len(classes)} classes and outputs of "
            f"shape {outputs}."
        )
    return _Described(network, params, state, shape)


def _named(params: HostParams, state: HostParams) -> Iterator[tuple[str, np.ndarray]]:
    """Give every array its name in the file."""
    for kind, layers in (("layers", params), ("state", state)):
        for position, layer in enumerate(layers):
            for name, array in layer.items():
                yield f"{kind}.{position}.{name}", array


def _filled(kind: str, layers: HostParams, arrays: dict[str, np.ndarray]) -> HostParams:
    """Return ``layers`` with the arrays of the file in place of placeholders."""
    return tuple(
        {name: arrays[f"{kind}.{position}.{name}"] for name in layer}
        for position, layer in enumerate(layers)
    )


def _check_provenance(provenance: Any) -> None:
    if not isinstance(provenance, dict):
        raise ValueError(f"must have a dictionary as provenance, got {provenance!r:.80}.")
    size = len(storage.dumped(storage.encoded(provenance, "provenance")).encode())
    if size > PROVENANCE_LIMIT:
        raise ValueError(
            f"must have a provenance of at most {PROVENANCE_LIMIT:,} bytes, got {size:,}."
        )


def _check_slots(described: _Described, slots: dict[str, storage.Slot]) -> None:
    """Hold the arrays that are there against those the network needs."""
    expected = {name: array.shape for name, array in _named(described.params, described.state)}
    for name, shape in expected.items():
        if name not in slots:
            raise ValueError(f"lacks the array {name} of shape {shape} that its layers need.")
        if slots[name].shape != shape:
            raise ValueError(
                f"has the array {name} of shape {slots[name].shape}, but its layers need {shape}."
            )
    for name in slots:
        if name not in expected:
            raise ValueError(
                f"has the array {name} of shape {slots[name].shape}, which its layers do not need."
            )
    precisions = {slot.dtype for name, slot in slots.items() if name.startswith("layers.")}
    if len(precisions) > 1 or not precisions.issubset(_PRECISIONS):
        found = ", ".join(sorted(str(precision) for precision in precisions))
        raise ValueError(f"must hold weights all of float32 or all of float64, got {found}.")


def _check_finite(arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        wrong = array.size - int(np.isfinite(array).sum())
        if wrong:
            raise ValueError(
                f"holds {wrong:,} numbers in {name} that are NaN or infinite; pass "
                "allow_nonfinite=True to look at them, or use a model from before training failed."
            )


def _sizes(shape: Shape | None) -> list[int] | None:
    return None if shape is None else [int(size) for size in shape]


def _shape(name: str, value: Any) -> Shape:
    if not isinstance(value, list) or len(value) > 32:
        raise ValueError(f"must have a list of sizes as {name}, got {value!r:.80}.")
    if not all(type(size) is int and 1 <= size < 1 << 63 for size in value):
        raise ValueError(f"must have sizes of at least 1 as {name}, got {value!r:.80}.")
    return tuple(value)
