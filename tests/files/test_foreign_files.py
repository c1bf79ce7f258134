"""Files of others given as ours: named where they are known, refused always, never opened up."""

import gzip
import os
import pickle
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import tensor_file

from deltarule.errors import ModelFileError
from deltarule.storage import Format, read_tensors
from deltarule.storage.foreign import foreign_kind

EXAMPLE = Format("example", 1)
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array([7], np.int64)}
HEADER = {"steps": 3, "name": "drei"}
FIELDS = {"format": "example", "version": 1, "header": HEADER}
GOOD = tensor_file(ARRAYS, FIELDS)


def _read(tmp_path: Path, raw: bytes) -> Any:
    path = tmp_path / "file"
    path.write_bytes(raw)
    return read_tensors(path, EXAMPLE)


def _zip(*names: str) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def _npz() -> bytes:
    buffer = BytesIO()
    np.savez(buffer, x=np.zeros(3))
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


PICKLED = [{"w": [1.0] * 300}, [1, 2], (1, 2), {}, [], np.zeros(9), os.getcwd, Path("a")]
PICKLES = {
    f"pickle {protocol} of {type(value).__name__} {place}": (
        pickle.dumps(value, protocol),
        "a Python pickle; deltarule never loads pickles",
    )
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    for place, value in enumerate(PICKLED)
}
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
FOREIGN = PICKLES | {
    "old PyTorch": (OLD_TORCH, "a Python pickle"),
    "PyTorch": (_zip("archive/data.pkl", "archive/data/0"), "a PyTorch file, which holds a Python"),
    "npz": (_npz(), "a NumPy .npz archive"),
    "npy": (_npy(), "a NumPy array file"),
    "Keras": (_zip("metadata.json", "config.json", "model.weights.h5"), "a Keras model file"),
    "zip": (_zip("photo.jpg"), "a zip archive"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "ONNX of PyTorch": (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "an ONNX file"),
    "ONNX of scikit-learn": (b"\x08\x0a\x12\x08skl2onnx\x1a\x061.16.0", "an ONNX file"),
    "HTML": (b"<!DOCTYPE html>\n<html><title>404</title>", "a web page"),
    "HTML with space": (b"\r\n  <HTML><body>", "a web page"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "a Git LFS pointer",
    ),
    "gzip": (gzip.compress(GOOD), "a gzip file; unpack it first"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(100), "a GGUF file"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_files_of_others_are_named(tmp_path: Path, case: str) -> None:
    raw, words = FOREIGN[case]
    with pytest.raises(ModelFileError, match=f"is not a deltarule example file: it is {words}"):
        _read(tmp_path, raw)


def test_unknown_files_are_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for raw in [b"hello, world", b"x,y\n1,2\n" * 100, bytes(1000), *map(random.bytes, [9] * 100)]:
        with pytest.raises(ModelFileError):
            _read(tmp_path, raw)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_our_own_file_is_never_taken_for_a_pickle(tmp_path: Path, length: int) -> None:
    """The length of the text comes first, and here it looks like the start of a pickle."""
    empty = tensor_file({}, {**FIELDS, "header": {"a": ""}})
    header = {"a": "x" * (8 + length - len(empty))}
    raw = tensor_file({}, {**FIELDS, "header": header})
    assert "pickle" in str(foreign_kind(raw))
    assert _read(tmp_path, raw)[1] == header


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(GOOD)
    cases = {
        tmp_path / "none": "there is no file",
        tmp_path / "file" / "below": "there is no file",
        tmp_path: "is a folder or a device",
        tmp_path / "pipe": "is a folder or a device",
        Path("/dev/zero"): "is a folder or a device",
    }
    for path, words in cases.items():
        with pytest.raises(ModelFileError, match=words):
            read_tensors(path, EXAMPLE)
    with pytest.raises(OSError, match=r"cannot read .*loop"):
        read_tensors(tmp_path / "loop", EXAMPLE)
