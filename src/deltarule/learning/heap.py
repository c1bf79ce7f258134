"""Memory that a compiled call gives back, kept for the next one.

A call asks for all the room it works in at once, and gives it back at its end. The C library of
Linux maps what is larger than 32 MiB anew each time, and the system fills every page of it with
zeros: with 57 MiB that took as long as half a step of training (docs/decisions/, 23).
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

MAPPED_FROM = 1 << 25  # bytes from which on glibc maps every request at last

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # their numbers in malloc.h
_KEPT = (1 << 31) - 1  # bytes, the most that can be said

_lock = threading.Lock()
_inside = 0


@contextmanager
def kept(room: int) -> Iterator[None]:
    """Let the C library keep what is freed inside the block, where calls need ``room`` bytes.

    At the end everything that is free goes back to the system. Where calls need less than is
    mapped anew, or the C library is another than glibc, nothing is done.
    """
    library = _glibc()
    if library is None or room < MAPPED_FROM:
        yield
        return
    _count(library, 1)
    try:
        yield
    finally:
        _count(library, -1)


def _count(library: Any, change: int) -> None:
    """Note that a block began or ended; the first and the last of several make the difference."""
    global _inside
    with _lock:
        _inside += change
        if change == _inside == 1:
            library.mallopt(_MMAP_THRESHOLD, _KEPT)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)
        elif _inside == 0:
            # what they come to by themselves once an array of 32 MiB has been freed
            library.mallopt(_MMAP_THRESHOLD, MAPPED_FROM)
            library.mallopt(_TRIM_THRESHOLD, 2 * MAPPED_FROM)
            library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """Return the C library of this process if it is glibc, else None."""
    try:
        if not os.confstr("CS_GNU_LIBC_VERSION"):
            return None
        library = ctypes.CDLL(None)
        _ = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, ValueError):  # no confstr, no such name, no such function
        return None
    return library
