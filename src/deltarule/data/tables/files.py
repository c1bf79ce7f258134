"""Open the files of a table: only regular ones, whole, and with a sentence when that fails."""

import os
from pathlib import Path
from typing import Any

from deltarule.data import regular
from deltarule.data.tables.frames import from_arrow
from deltarule.data.tables.table import Source, Table
from deltarule.errors import DataError

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".parquet")
TABS = (".tsv", ".tab")  # these are divided by tabs
MOST_BYTES = 8 << 30  # a table is held in memory
MOST_CELLS = 1 << 31  # of a Parquet file, whose few bytes may claim any number


def whole_file(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return the bytes of a table's file and their SHA-256 as hex.

    Raises ``DataError`` for what is no regular file, and for one that changes while it is read.
    """
    return regular.whole_file(path, f"a file {', '.join(SUFFIXES)}", MOST_BYTES)


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
