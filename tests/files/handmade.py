"""Tensor files put together by hand, so that they can be wrong in every way, with right sums."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CODES = {"float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8"}


def container(text: str | bytes | dict[str, Any], data: bytes = b"") -> bytes:
    """Return a safetensors file with this header; nothing is checked."""
    if isinstance(text, dict):
        text = json.dumps(text)
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def tensor_file(
    arrays: dict[str, np.ndarray], fields: dict[str, Any], *, inner: str | None = None
) -> bytes:
    """Return a tensor file with right sums.

    ``fields`` are put into our entry; ``inner`` is its whole text, in which 64 letters Z hold the
    place of the sum.
    """
    entries: dict[str, Any] = {}
    data = b""
    for name in sorted(arrays):
        array = arrays[name]
        place = [len(data), len(data) + array.nbytes]
        entries[name] = {
            "dtype": CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": place,
        }
        data += array.tobytes()
    ours = {"tensors_sha256": hashlib.sha256(data).hexdigest(), "sha256": "Z" * 64, **fields}
    entries["__metadata__"] = {"deltarule": inner or json.dumps(ours)}
    return summed(container(entries, data))


def summed(raw: bytes) -> bytes:
    """Put the sum of everything before the arrays where 64 letters Z hold its place."""
    end = 8 + int.from_bytes(raw[:8], "little")
    head, place = raw[:end], b"Z" * 64
    digest = hashlib.sha256(head.replace(place, b"")).hexdigest().encode()
    return head.replace(place, digest) + raw[end:]


def flipped(path: Path, good: bytes) -> Iterator[int]:
    """Make ``path`` a copy of ``good`` with one wrong bit, again and again; yield the bit."""
    count = 10_000 if os.environ.get("DELTARULE_TORTURE") else 2_000
    path.write_bytes(good)
    with path.open("r+b", buffering=0) as file:
        for bit in map(int, np.random.default_rng(76).integers(0, len(good) * 8, count)):
            byte = good[bit // 8]
            os.pwrite(file.fileno(), bytes([byte ^ (1 << (bit % 8))]), bit // 8)
            yield bit
            os.pwrite(file.fileno(), bytes([byte]), bit // 8)
    assert path.read_bytes() == good
