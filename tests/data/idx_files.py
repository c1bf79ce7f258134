"""Writing IDX files, which only tests need."""

import gzip
import struct
from pathlib import Path

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
STEMS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    header = bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, array, *, packed=None):
    content = idx_bytes(array)
    packed = path.suffix == ".gz" if packed is None else packed
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    return path


def small_set(n_train=60, n_test=10, classes=3, side=4, seed=0):
    """Return random training images and labels, test images and labels."""
    rng = np.random.default_rng(seed)
    return [
        part
        for n in (n_train, n_test)
        for part in (
            rng.integers(0, 256, (n, side, side), dtype=np.uint8),
            (np.arange(n) % classes).astype(np.uint8),
        )
    ]


def write_set(folder: Path, arrays=None, *, ending="-ubyte.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(STEMS, arrays or small_set(), strict=True):
        write_idx(folder / f"{stem}{ending}", array)
    return folder
