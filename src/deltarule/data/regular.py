"""Files that users name: only regular ones are opened, and it is known what was read of them."""

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any

from deltarule.errors import DataError


def open_regular(path: str | os.PathLike[str], expected: str) -> io.FileIO:
    """Return the regular file ``path``, open for reading.

    Raises ``DataError`` with the end of a sentence for anything else, and ``OSError``.
    """
    # Looked at before it is opened: opening a FIFO waits for a writer that may never come.
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise DataError(f"is {what}; expected {expected}.")
    return io.FileIO(path)


def whole_file(path: str | os.PathLike[str], expected: str, most: int) -> tuple[bytes, str]:
    """Return the bytes of a regular file and their SHA-256 as hex.

    Raises ``DataError`` for anything else, for more than ``most`` bytes, and for a file that
    changes size while it is read.
    """
    try:
        with open_regular(path, expected) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise DataError(f"has {size:,} bytes, the most is {most:,}; take a part of it.")
            raw = file.readall()
    except DataError as problem:
        raise DataError(f"{path} {problem}") from None
    except MemoryError as error:
        raise DataError(f"{path} is larger than the memory that is free.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {reason}; check the path.") from error
    if len(raw) != size:
        raise DataError(
            f"{path} changed while it was read: it had {size:,} bytes, {len(raw):,} came; wait "
            "until it is written, then read it again."
        )
    return raw, hashlib.sha256(raw).hexdigest()


def file_record(path: str | os.PathLike[str], size: int, sha256: str) -> dict[str, Any]:
    """Return what the record of a run says of a file: its name, size and SHA-256."""
    return {"name": Path(path).name, "bytes": size, "sha256": sha256}
