"""The compiled kernels of deltarule: a library of handlers that XLA calls.

There is nothing here to be called by hand. deltarule finds this package by itself, uses it where
it is faster, and does without it where it is not installed; ``DELTARULE_NATIVE=0`` turns it off.
"""

import ctypes
from pathlib import Path

INTERFACE = 3  # counts the changes of handlers that deltarule must know of


def load() -> ctypes.CDLL:
    """Return the library; ``OSError`` if this system cannot load it."""
    library = ctypes.CDLL(str(Path(__file__).with_name("libdeltarule_native.so")))
    for function in (library.deltarule_describe, library.deltarule_handlers):
        function.restype = ctypes.c_char_p
    return library


def describe() -> str:
    """Return the version of oneDNN and the instructions it uses here."""
    said: bytes = load().deltarule_describe()
    return said.decode()


def has_bfloat16() -> bool:
    """Return whether oneDNN has kernels for bfloat16 here: it needs AVX-512 or AMX."""
    return "AVX-512" in describe() or "AMX" in describe()


def handlers() -> dict[str, "ctypes._FuncPointer"]:
    """Return the functions of the library that follow XLA's foreign function interface."""
    library = load()
    names: bytes = library.deltarule_handlers()
    return {name: getattr(library, name) for name in names.decode().split()}
