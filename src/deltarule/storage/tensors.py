"""A tensor file: named arrays and a header of plain data in one safetensors file.

The safetensors container is eight bytes, the length of a JSON text; that text, which gives each
array's type, shape and place; and the bytes of the arrays. Ours keeps one entry "deltarule" in the
``__metadata__`` of that text, JSON again:

    format, version    what the file is, for example "model" and 1
    header             plain data: what else belongs to the arrays
    tensors_sha256     of the arrays' bytes, in the order of their names
    sha256             of everything before the arrays, these 64 digits left out

There is no date and no order by chance in it: the same content is the same bytes. Reading trusts
nothing: each length is held against the size of the file before memory is asked for, each place
must follow the one before, and both sums must be right. Nothing is ever run, imported or unpickled.
"""

import hashlib
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deltarule.errors import ModelFileError
from deltarule.storage.disk import AnyPath, explained, write_atomically
from deltarule.storage.foreign import foreign_kind
from deltarule.storage.plain import decoded, dumped, encoded, parsed
from deltarule.storage.text import printable

Arrays = dict[str, np.ndarray]

_KEY = "deltarule"
_FIELDS = {"format": str, "version": int, "header": dict, "tensors_sha256": str, "sha256": str}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,256}")
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype(np.uint16),
    "I16": np.dtype(np.int16),
    "F16": np.dtype(np.float16),
    "U32": np.dtype(np.uint32),
    "I32": np.dtype(np.int32),
    "F32": np.dtype(np.float32),
    "U64": np.dtype(np.uint64),
    "I64": np.dtype(np.int64),
    "F64": np.dtype(np.float64),
}
_MAX_AXES = 32


class Format(NamedTuple):
    """What a tensor file is for, the newest version known, and the most bytes before the arrays."""

    name: str
    version: int
    limit: int = 1 << 20


class Slot(NamedTuple):
    """The type and shape of an array that has not been read yet."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def write_tensors(
    path: AnyPath, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any], format: Format
) -> None:
    """Write ``arrays`` and ``header`` to the file ``path``, whole or not at all.

    Names are 1 to 256 of the characters A-Z a-z 0-9 . _ -; the header is plain data: text, numbers,
    booleans, None, lists and dictionaries with text as keys (tuples come back as lists).
    Raises ``ValueError`` for anything else, ``OSError`` if the disk refuses.
    """
    ready = {name: _stored(name, array) for name, array in arrays.items()}
    fields = {
        "format": format.name,
        "version": format.version,
        "header": encoded(header, "header"),
        "tensors_sha256": _digest(ready),
    }
    # A file cannot contain its own sum: the sum is taken with its 64 digits left out. Their place
    # is kept by digits that occur nowhere else, being the sum of the text they are put into.
    place = hashlib.sha256(dumped(fields).encode()).hexdigest()
    raw = save(ready, {_KEY: dumped({**fields, "sha256": place})})
    end = 8 + int.from_bytes(raw[:8], "little")
    if end > format.limit:
        raise ValueError(
            f"header must fit in {format.limit:,} bytes with the list of arrays, but takes "
            f"{end:,}; store less in it."
        )
    head = raw[:end]
    sha256 = hashlib.sha256(head.replace(place.encode(), b"")).hexdigest()
    write_atomically(path, head.replace(place.encode(), sha256.encode()) + raw[end:])


def read_tensors(path: AnyPath, format: Format) -> tuple[Arrays, dict[str, Any]]:
    """Return the arrays and the header that ``write_tensors`` put in the file ``path``.

    Raises ``ModelFileError`` if the file is missing, damaged, foreign or made by a newer version;
    ``OSError`` if it cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tensors(f"{folder}/a", {"x": np.arange(3)}, {"step": 7}, Format("example", 1))
    ...     read_tensors(f"{folder}/a", Format("example", 1))
    ({'x': array([0, 1, 2])}, {'step': 7})
    """
    with open_tensors(path, format) as file:
        return file.read(), file.header


@contextmanager
def open_tensors(path: AnyPath, format: Format) -> Iterator["TensorFile"]:
    """Open a tensor file and read all but its arrays, so that they can be judged first.

    Raises as ``read_tensors``.
    """
    with _opened(path) as file:
        yield TensorFile(path, file, format)


class TensorFile:
    """An open tensor file.

    ``header`` is its plain data; ``slots`` the type and shape of each array. ``read`` gives the
    arrays; no memory is asked for before.
    """

    header: dict[str, Any]
    slots: dict[str, Slot]

    def __init__(self, path: AnyPath, file: BinaryIO, format: Format) -> None:
        self._path, self._file = path, file
        with _blamed(path):
            self._size = os.fstat(file.fileno()).st_size
            self._head = _read_head(file, self._size, format)
            self.slots, metadata = _container(self._head, self._size)
            fields = _our_fields(metadata, self._head, format)
            self._sha256 = fields["tensors_sha256"]
            self.header = _intact(decoded, fields["header"])
            if not isinstance(self.header, dict):
                raise _damage("its header is a number")

    def read(self) -> Arrays:
        """Return the arrays by name. Raises ``ModelFileError`` if a byte of them has changed."""
        with _blamed(self._path):
            self._file.seek(0)
            raw = self._file.read(self._size)
            if len(raw) != self._size or not raw.startswith(self._head):
                raise ValueError("was changed while it was read; try again.")
            try:
                arrays = load(raw)
            except SafetensorError as error:
                raise _damage(str(error)) from None
            if _digest(arrays) != self._sha256:
                raise _damage("the sum of its arrays is wrong")
            return {name: arrays[name] for name in sorted(arrays)}


@contextmanager
def _opened(path: AnyPath) -> Iterator[BinaryIO]:
    no_file = f"{printable(path)} is a folder or a device, not a file; give the file itself."
    with explained("read", path):
        try:
            file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
        except (FileNotFoundError, NotADirectoryError):
            raise ModelFileError(f"there is no file {printable(path)}; correct the path.") from None
        except IsADirectoryError:
            raise ModelFileError(no_file) from None
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelFileError(no_file)
            yield file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would wait for its other end


@contextmanager
def _blamed(path: AnyPath) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ModelFileError(f"{printable(path)} {error}") from None


def _damage(what: str) -> ValueError:
    return ValueError(f"is damaged ({printable(what)[:200]}); use another copy.")


def _intact(reader: Callable[[Any], Any], value: Any) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise _damage(str(error)) from None


def _read_head(file: BinaryIO, size: int, format: Format) -> bytes:
    """Return the length and the JSON text before the arrays, or say what else the file is."""
    start = file.read(4096)
    end = 8 + int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or end > format.limit:
        kind = foreign_kind(start)
        if kind:
            raise ValueError(f"is not a deltarule {format.name} file: it is {kind}.")
        if size == 0:
            raise _damage("it is empty")
        raise ValueError(
            f"is not a deltarule {format.name} file, or is damaged: it does not begin as one."
        )
    if end > size:
        raise _damage(f"its header ends at byte {end:,}, the file at {size:,}")
    file.seek(0)
    return file.read(end)


def _container(head: bytes, size: int) -> tuple[dict[str, Slot], Any]:
    """Return the slots and the metadata of a safetensors header, every claim of it checked."""
    try:
        entries = _intact(parsed, head[8:].decode())
    except UnicodeDecodeError:
        raise _damage("its header is not UTF-8") from None
    metadata = entries.pop("__metadata__", None)  # the text begins with "{": it is a dictionary
    places = [(*_slot(name, entry), name) for name, entry in entries.items()]
    position = 0
    for begin, end, _, name in sorted(places, key=lambda place: place[:2]):
        if begin != position:
            raise _damage(f"array {name} begins at byte {begin}, expected {position}")
        position = end
    if len(head) + position != size:
        raise _damage(f"its arrays end at byte {len(head) + position:,}, the file at {size:,}")
    return {name: slot for _, _, slot, name in places}, metadata


def _slot(name: str, entry: Any) -> tuple[int, int, Slot]:
    if not _NAME.fullmatch(name):
        raise _damage(f"{name[:80]!r} cannot be the name of an array")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damage(f"array {name} must have dtype, shape and data_offsets, no more")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise _damage(f"array {name} has an unknown dtype")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > _MAX_AXES:
        raise _damage(f"array {name} has an impossible shape")
    if not _counts(offsets) or len(offsets) != 2:
        raise _damage(f"array {name} has impossible data_offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise _damage(f"array {name} of shape {shape} cannot take {end - begin} bytes")
    return begin, end, Slot(dtype, tuple(shape))


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _our_fields(metadata: Any, head: bytes, format: Format) -> dict[str, Any]:
    """Return the fields of our entry, once the sum says that they are as they were written."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise ValueError(
            f"is a safetensors file, but not a deltarule {format.name} file: deltarule did not "
            "write it."
        )
    fields = _intact(parsed, metadata[_KEY])
    if not isinstance(fields, dict) or type(fields.get("version")) is not int:
        raise _damage("it has no version")
    if fields.get("format") != format.name:
        raise ValueError(
            f"is a deltarule {str(fields.get('format'))[:40]!r} file, expected a "
            f"{format.name!r} file; give one of those."
        )
    if fields["version"] > format.version:
        raise ValueError(
            f"was made by a newer version of deltarule: its format is {fields['version']}, this "
            f"version reads up to {format.version}; update deltarule."
        )
    if set(metadata) != {_KEY} or {k: type(v) for k, v in fields.items()} != _FIELDS:
        raise _damage(f"its entries are not those of format {format.version}")
    sha256 = fields["sha256"]
    if hashlib.sha256(head.replace(sha256.encode(), b"")).hexdigest() != sha256:
        raise _damage("the sum of its header is wrong")
    return fields


def _stored(name: str, array: Any) -> np.ndarray:
    """Return ``array`` laid out as the file has it."""
    found = np.asarray(array)
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name of an array must be 1 to 256 of A-Z a-z 0-9 . _ -, got {name[:80]!r}."
        )
    if found.dtype.newbyteorder("=") not in _DTYPES.values() or found.ndim > _MAX_AXES:
        raise ValueError(
            f"array {name} must be of booleans, integers or floats and have at most {_MAX_AXES} "
            f"axes, got {found.dtype} of shape {found.shape}; convert it first."
        )
    return np.asarray(found, dtype=found.dtype.newbyteorder("<"), order="C")


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(arrays[name].reshape(-1).view(np.uint8).data)
    return total.hexdigest()
