"""Read IDX files, the format of MNIST, plain or gzipped, without trusting a byte of them.

An IDX file is: two zero bytes, a byte for the type, a byte for the number of axes, a big-endian
32-bit length for each axis, then the numbers in C order. Nothing may follow.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

import hashlib
import io
import math
import os
import struct
import zlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deltarule.data.regular import file_record, open_regular
from deltarule.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAGIC = {"images": 0x00000803, "labels": 0x00000801}  # bytes with three axes, bytes with one
NAMES = {MAGIC["images"]: "an image file", MAGIC["labels"]: "a label file"}
MOST_AXES = 64  # NumPy's own limit
BLOCK = 1 << 16
GZIP_RATIO = 1032  # deflate's best: 258 bytes from two bits


def read_idx(
    path: str | os.PathLike[str], *, expect: Literal["images", "labels"] | None = None
) -> npt.NDArray[Any]:
    """Return the array of an IDX file, in the byte order of this machine.

    ``expect``: "images" (bytes [n, height, width]), "labels" (bytes [n]) or None (any IDX type).
    Memory used is the declared size, and no more than the file can hold is ever set aside.

    Raises ``DataError`` if the file is unreadable, truncated, damaged, followed by anything, of
    another kind, or declares a size it does not have.
    """
    return read_recorded(path, expect)[0]


def read_recorded(
    path: str | os.PathLike[str], expect: str | None
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Return the array as ``read_idx``, and name, size and SHA-256 of the file as it was read."""
    try:
        with open_regular(path, "an IDX file") as file:
            size = os.fstat(file.fileno()).st_size
            packed = os.pread(file.fileno(), 2, 0) == b"\x1f\x8b"
            read = _Hashed(file)
            if packed:
                array = _parse(_OneMember(read), size * GZIP_RATIO, expect)
            else:
                array = _parse(read, size, expect)
            return array, file_record(path, read.size, read.sha256.hexdigest())
    except DataError as problem:
        raise DataError(f"{path} {problem}") from None
    except zlib.error as error:
        raise DataError(f"{path} is damaged ({error}); get a fresh copy.") from error
    except MemoryError as error:
        raise DataError(f"{path} is larger than the memory that is free.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}; check the path.") from error


class _Hashed(io.RawIOBase):
    """A file that is read once from its start, and the SHA-256 of what has been read of it."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.sha256, self.size = hashlib.sha256(), 0

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        self.size += count
        return count


class _OneMember(io.RawIOBase):
    """The unpacked content of a gzip file of exactly one member.

    The standard library's gzip module skips zeros after the end and joins further members, so a
    file with something appended would pass. Unpacks no more than is asked for.
    """

    def __init__(self, packed: io.RawIOBase) -> None:
        self._packed = packed
        self._inflate = zlib.decompressobj(wbits=31)  # 31: gzip header, CRC and length checked

    def readinto(self, buffer: Any) -> int:
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._packed.read(BLOCK)
            if not packed:
                raise EOFError
            if data := self._inflate.decompress(packed, len(buffer)):
                buffer[: len(data)] = data
                return len(data)
        if self._inflate.unused_data or self._packed.read(1):
            raise DataError("has bytes after the end of its gzip data; get a fresh copy.")
        return 0


def _parse(stream: io.RawIOBase, most: int, expect: str | None) -> npt.NDArray[Any]:
    """Read an array of which stream can hold at most ``most`` bytes, header included."""
    dtype, axes = _kind(_header(stream, 4, so_far=0), expect)
    shape = struct.unpack(f">{axes}I", _header(stream, 4 * axes, so_far=4))
    size = math.prod(shape) * dtype.itemsize  # Python's integers: three 32-bit lengths overflow 64
    start = 4 + 4 * axes
    sides = " x ".join(map(str, shape))
    if not size:
        raise DataError(f"declares the shape {sides}, which holds nothing.")
    if start + size > most:
        raise _truncated(start + size, f"at most {most}", sides)
    array = np.empty(size // dtype.itemsize, dtype)
    filled = _fill(stream, array.view(np.uint8).data)
    if filled < size:
        raise _truncated(start + size, str(start + filled), sides)
    try:
        more = stream.readinto(bytearray(1))
    except EOFError:
        raise _truncated(start + size, f"{start + size} without the gzip trailer", sides) from None
    if more:
        raise DataError(
            f"holds more than the {start + size} bytes that its shape {sides} declares."
        )
    return array.astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def _kind(magic: bytes, expect: str | None) -> tuple[np.dtype[Any], int]:
    """Return the type and the number of axes that the first four bytes of a file declare."""
    number = int.from_bytes(magic, "big")
    fits = magic[:2] == b"\0\0" and magic[2] in TYPES and 1 <= magic[3] <= MOST_AXES
    if not fits or (expect and number != MAGIC[expect]):
        wanted = f"an IDX {expect.removesuffix('s')} file" if expect else "an IDX file"
        found = NAMES.get(number, "something else")
        if int.from_bytes(magic, "little") in NAMES:
            found = "little-endian, where IDX is big-endian"
        raise DataError(f"is not {wanted} (magic 0x{number:08x} is {found}).")
    return np.dtype(TYPES[magic[2]]), magic[3]


def _header(stream: io.RawIOBase, size: int, *, so_far: int) -> bytes:
    buffer = bytearray(size)
    filled = _fill(stream, memoryview(buffer))
    if filled < size:
        raise _truncated(so_far + size, str(so_far + filled), "of its header")
    return bytes(buffer)


def _fill(stream: io.RawIOBase, view: memoryview) -> int:
    """Fill ``view`` as far as ``stream`` goes and return the number of bytes filled."""
    filled = 0
    try:
        while filled < len(view) and (count := stream.readinto(view[filled:])):
            filled += count
    except EOFError:
        pass
    return filled


def _truncated(expected: int, got: str, shape: str) -> DataError:
    return DataError(
        f"is truncated: expected {expected} bytes ({shape}), got {got}; get a fresh copy."
    )
