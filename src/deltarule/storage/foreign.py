"""Files that are often given where a model file is meant, known by their first bytes.

Nothing here opens, unpacks or interprets any of them.
"""

import re

_NEVER = "deltarule never loads pickles, because loading one can run any code"

_STARTS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and others write"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
)

# Protocols 2 to 5 start with their number; 0 and 1 with what they hold: a mark and a container, a
# mark and a number, a global or an empty container.
_PICKLE = re.compile(
    rb"\x80[\x02-\x05]|\([dl]p\d|\(I\d+\n|\(K.[KMq]|c[A-Za-z_][\w.]*\n\w+\n|[\]}]q", re.DOTALL
)
_ONNX = re.compile(rb"\x08[\x01-\x20]\x12[\x01-\x40][\w.-]")  # a version, then the producer's name
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|\?xml)", re.IGNORECASE)

_IN_ZIP = (
    (b"data.pkl", f"a PyTorch file, which holds a Python pickle; {_NEVER}"),
    (b".npy", "a NumPy .npz archive"),
    (b"metadata.json", "a Keras model file"),
    (b"config.json", "a Keras model file"),
)


def foreign_kind(start: bytes) -> str | None:
    """Return what the file that begins with ``start`` is, in words; None if it is not known.

    >>> foreign_kind(b"PK")
    >>> foreign_kind(b"%PDF-1.7")
    'a PDF document'
    """
    if start.startswith(b"PK\x03\x04"):
        first = start[30 : 30 + int.from_bytes(start[26:28], "little")]  # its first entry's name
        return next((kind for end, kind in _IN_ZIP if first.endswith(end)), "a zip archive")
    if _PICKLE.match(start):
        return f"a Python pickle; {_NEVER}"
    if _ONNX.match(start):
        return "an ONNX file"
    if _HTML.match(start):
        return "a web page, perhaps an error message saved by a download"
    return next((kind for magic, kind in _STARTS if start.startswith(magic)), None)
