"""The folder for what can be made or fetched again: downloads and compiled programs."""

import functools
import os
import sys
import tempfile
from pathlib import Path


def cache_path(name: str) -> Path:
    """Return where ``name`` is kept: in ``$DELTARULE_CACHE``, else in the system's cache.

    Nothing is made, so that a cache that can only be read is still read.
    """
    return _cache() / name


def cache_folder(name: str) -> Path:
    """Return ``cache_path(name)`` as a folder that can be written.

    Where it cannot, as without a home, it is a temporary folder and a warning on stderr says so.
    """
    folder = cache_path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        fallback = _temporary_cache() / name
        fallback.mkdir(exist_ok=True)
        return fallback


def _cache() -> Path:
    if chosen := os.environ.get("DELTARULE_CACHE"):
        return Path(chosen)
    import pooch

    try:
        cache = Path(pooch.os_cache("deltarule"))
    except RuntimeError:  # there is no home; older versions answer "~/..."
        return _temporary_cache()
    return cache if cache.is_absolute() else _temporary_cache()


@functools.cache
def _temporary_cache() -> Path:
    # A new folder for each process: one with a name known beforehand could be a trap of others.
    folder = Path(tempfile.mkdtemp(prefix="deltarule-"))
    print(
        f"warning: the cache folder cannot be written, so what belongs there goes to {folder} and "
        "is not found again; set DELTARULE_CACHE to a folder of yours.",
        file=sys.stderr,
        flush=True,
    )
    return folder
