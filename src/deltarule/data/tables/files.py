"""Open the files of a table: only regular ones, whole, and with a sentence when that fails."""

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Any

from deltarule.data.tables.frames import from_arrow
from deltarule.data.tables.table import Source, Table
from deltarule.errors import DataError

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".parquet")
TABS = (".tsv", ".tab")  # these are divided by tabs
MOST_BYTES = 8 << 30  # a table is held in memory
MOST_CELLS = 1 << 31  # of a Parquet file, whose few bytes may claim any number


def whole_file(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return the bytes of a regular file and their SHA-256 as hex.

    Raises ``DataError`` for anything else, and for a file that changes size while it is read.
    """
    try:
        # Looked at before it is opened: opening a FIFO waits for a writer that may never come.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
            raise DataError(f"{path} is {what}; expected a file {', '.join(SUFFIXES)}.")
        with io.FileIO(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise DataError(
                    f"{path} has {size:,} bytes, the most is {MOST_BYTES:,}; take a part of it."
                )
            raw = file.readall()
    except DataError:
        raise
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


def read_parquet(path: str | os.PathLike[str], missing_values: tuple[str, ...]) -> Table:
    """Return the table in a Parquet file.

    Raises ``DataError`` if it is damaged or pyarrow is not there.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path} needs pyarrow, which is not installed; pip install 'deltarule[tables]', or "
            "write the table as CSV."
        ) from error
    raw, digest = whole_file(path)
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(raw))
        cells = file.metadata.num_rows * file.metadata.num_columns
        if cells > MOST_CELLS:
            raise DataError(
                f"{path} declares {cells:,} fields, the most is {MOST_CELLS:,}; read a part."
            )
        content: Any = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{path} is no Parquet file that can be read: {reason}") from error
    table = from_arrow(content, missing_values, str(path))
    source = Source(str(path), len(raw), len(table), digest)
    return Table(table.fields, (source,), (0,), None)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return how the name of a table's file ends; ``DataError`` unless it is one we read."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, got "
            f"{suffix or 'no ending'!r}; rename or convert it."
        )
    return suffix
