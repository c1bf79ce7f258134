"""Model files: one safetensors file that is data and nothing else.

The file says everything the model needs: each layer with every field, the shapes, the classes, the
scale of the inputs. It is read by a closed schema, so defaults that change later change no old
file, and nothing in it is run, imported by name, unpickled or taken for a path. Its arrays are
``layers.0.w``, ``layers.0.b``, ``layers.2.w`` ... and, where layers remember, ``state.0.NAME``.

A committee is one file too, of a format of its own: how its members answer together, the name of
each one's view, and for each member what a model's file would say. Its arrays are
``members.0.layers.0.w`` and so on. How the files are laid out is in ``storage/tensors.py``.

Either kind has one more entry, ``preparation``, if what it learned from was a table or a folder of
pictures: what makes inputs of raw rows or files (``data/preparation.py``).
"""

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deltarule import storage
from deltarule.committee import MOST_MEMBERS, Committee
from deltarule.data import preparation
from deltarule.errors import ModelFileError
from deltarule.network import Model, Network
from deltarule.network.layers import Shape
from deltarule.network.network import HostParams
from deltarule.storage import printable

FORMAT = storage.Format("model", version=1, limit=16 << 20)
COMMITTEE = storage.Format("committee", version=1, limit=32 << 20)
PROVENANCE_LIMIT = 1 << 18  # bytes of JSON

_FIELDS = ("classes", "layers", "network_shape", "provenance", "scale", "shape")
_COMMITTEE_FIELDS = ("combine", "members", "shape", "views")
_PREPARATION = "preparation"
_PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))


def save_model(model: Model | Committee, path: str | Path) -> None:
    """Write ``model``, or a committee of models, to the file ``path``, whole or not at all.

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
    format = FORMAT if isinstance(model, Model) else COMMITTEE
    header = _header(model)
    if model.preparation is not None:
        header[_PREPARATION] = preparation.describe(model.preparation)
    arrays = {name: np.asarray(array) for name, array in _named(model)}
    try:
        slots = {name: storage.Slot(array.dtype, array.shape) for name, array in arrays.items()}
        _check_slots(_described(header, format), slots)
    except ValueError as error:
        raise ValueError(f"the {format.name} cannot be saved: it {error}") from None
    storage.write_tensors(path, arrays, header, format)


def load_model(path: str | Path, *, allow_nonfinite: bool = False) -> Model | Committee:
    """Return the model, or the committee, in the file ``path``.

    With ``allow_nonfinite`` a model is also given whose weights are not all finite, to look at.
    Raises ``ModelFileError`` for a file that is missing, damaged, foreign, made by a newer version
    or not what it says; ``OSError`` if it cannot be read.
    """
    format = _claimed(path)
    with storage.open_tensors(path, format) as file:
        try:
            described = _described(file.header, format)
            _check_slots(described, file.slots)  # before memory is asked for
            arrays = file.read()
            if not allow_nonfinite:
                _check_finite(arrays)
        except ModelFileError:
            raise
        except ValueError as error:
            raise ModelFileError(f"{printable(path)} {error}") from None
    if isinstance(described, Model):
        return _filled(described, "", arrays)
    members = (_filled(member, prefix, arrays) for prefix, member in _members(described))
    return replace(described, members=tuple(members))


def _claimed(path: str | Path) -> storage.Format:
    """Return the format that a file claims; whether it keeps to it is judged on opening it."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            size = int.from_bytes(file.read(8), "little")
            text = file.read(min(size, COMMITTEE.limit)).decode()
        claim = storage.parsed(storage.parsed(text)["__metadata__"]["deltarule"])["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return FORMAT
    return COMMITTEE if claim == COMMITTEE.name else FORMAT


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its other end


def _header(model: Model | Committee) -> dict[str, Any]:
    if isinstance(model, Committee):
        members = [_header(member) for member in model.members]
        return {
            "combine": model.combine,
            "members": members,
            "shape": _sizes(model.shape),
            "views": list(model.views),
        }
    return {
        "classes": [str(name) for name in model.classes],
        "layers": model.network.describe(),
        "network_shape": _sizes(model.network.shape),
        "provenance": model.provenance,
        "scale": float(model.scale),
        "shape": _sizes(model.shape),
    }


def _described(header: dict[str, Any], format: storage.Format) -> Model | Committee:
    """Build what ``header`` describes, with placeholders for arrays that only have shapes.

    Raises ``ValueError`` for anything not in the schema.
    """
    header = dict(header)
    raw = header.pop(_PREPARATION, None)
    model = _described_model(header) if format == FORMAT else _described_committee(header)
    return model if raw is None else _prepared(model, preparation.from_description(raw))


def _prepared(model: Model | Committee, rule: preparation.Preparation) -> Model | Committee:
    """Return ``model`` with what makes inputs of raw rows or files, if they go together."""
    preparation.check(rule, model.shape, model.classes)
    if isinstance(model, Model):
        return replace(model, preparation=rule)
    members = tuple(replace(member, preparation=rule) for member in model.members)
    return replace(model, members=members)


def _described_committee(header: dict[str, Any]) -> Committee:
    _check_entries(header, _COMMITTEE_FIELDS)
    members, views, combine = header["members"], header["views"], header["combine"]
    if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
        raise ValueError(f"must have a list of members, got {members!r:.80}.")
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise ValueError(f"must have 1 to {MOST_MEMBERS:,} members, got {len(members):,}.")
    named = isinstance(views, list) and all(isinstance(name, str) for name in views)
    if not named or len(views) != len(members):
        raise ValueError(f"must have a list of the name of each member's view, got {views!r:.80}.")
    models = []
    for position, member in enumerate(members):
        try:
            models.append(_described_model(member))
        except ValueError as error:
            raise ValueError(f"has in members.{position} a model that {error}") from None
    shape = _shape("shape", header["shape"] or None)  # an empty one would mean: find out
    try:
        return Committee(tuple(models), tuple(views), combine, shape)
    except ValueError as error:
        raise ValueError(f"describes no committee that can be built: {error!s:.300}") from None


def _described_model(header: dict[str, Any]) -> Model:
    _check_entries(header, _FIELDS)
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
    return Model(network, params, state, shape, tuple(classes), scale, header["provenance"])


def _members(model: Model | Committee) -> list[tuple[str, Model]]:
    """Return each model with what the names of its arrays begin with."""
    if isinstance(model, Model):
        return [("", model)]
    return [(f"members.{position}.", member) for position, member in enumerate(model.members)]


def _named(model: Model | Committee) -> Iterator[tuple[str, np.ndarray]]:
    """Give every array its name in the file."""
    for prefix, member in _members(model):
        for kind, layers in (("layers", member.params), ("state", member.state)):
            for position, layer in enumerate(layers):
                for name, array in layer.items():
                    yield f"{prefix}{kind}.{position}.{name}", array


def _filled(model: Model, prefix: str, arrays: dict[str, np.ndarray]) -> Model:
    """Return ``model`` with the arrays of the file in place of placeholders."""

    def filled(kind: str, layers: HostParams) -> HostParams:
        return tuple(
            {name: arrays[f"{prefix}{kind}.{position}.{name}"] for name in layer}
            for position, layer in enumerate(layers)
        )

    params, state = filled("layers", model.params), filled("state", model.state)
    return replace(model, params=params, state=state)


def _check_entries(header: dict[str, Any], fields: tuple[str, ...]) -> None:
    if set(header) != set(fields):
        raise ValueError(f"must have the entries {', '.join(fields)}; it has {sorted(header)}.")


def _check_provenance(provenance: Any) -> None:
    if not isinstance(provenance, dict):
        raise ValueError(f"must have a dictionary as provenance, got {provenance!r:.80}.")
    size = len(storage.dumped(storage.encoded(provenance, "provenance")).encode())
    if size > PROVENANCE_LIMIT:
        raise ValueError(
            f"must have a provenance of at most {PROVENANCE_LIMIT:,} bytes, got {size:,}."
        )


def _check_slots(described: Model | Committee, slots: dict[str, storage.Slot]) -> None:
    """Hold the arrays that are there against those the network needs."""
    expected = {name: array.shape for name, array in _named(described)}
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
    for prefix, member in _members(described):
        weights = [name for name, _ in _named(member) if name.startswith("layers.")]
        precisions = {slots[prefix + name].dtype for name in weights}
        if len(precisions) > 1 or not precisions.issubset(_PRECISIONS):
            found = ", ".join(sorted(str(precision) for precision in precisions))
            where = f" in {prefix[:-1]}" if prefix else ""
            raise ValueError(
                f"must hold weights all of float32 or all of float64, got {found}{where}."
            )


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
