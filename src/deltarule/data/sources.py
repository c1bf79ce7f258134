"""Whatever a user names as data: a known set, IDX files, a table, a folder of pictures, arrays.

``open_source`` finds out which it is and reads it; what it returns says what was understood, and
what it takes to know later what was learned from.
"""

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from deltarule.data.arrays import divide_arrays, read_arrays
from deltarule.data.dataset import Splits
from deltarule.data.digits import divide_digits, read_digits
from deltarule.data.mnist import (
    FASHION_MNIST,
    MNIST,
    divide_images,
    has_idx_files,
    read_folder,
    read_published,
)
from deltarule.data.pictures import read_images
from deltarule.data.preparation import describe
from deltarule.data.tables import read_table
from deltarule.data.tables.files import SUFFIXES as TABLES
from deltarule.data.whole import Rows, Whole, described
from deltarule.errors import DataError

Kind = Literal["known", "idx", "table", "pictures", "arrays"]

KNOWN: dict[str, Callable[[], Whole]] = {
    "digits": read_digits,
    "mnist": partial(read_published, MNIST),
    "fashion-mnist": partial(read_published, FASHION_MNIST),
}
ARRAYS = (".npz", ".npy")
SEVERAL = "tables with the same columns, or two .npy files, inputs and answers"


@dataclass(frozen=True)
class Reading:
    """How raw data are to be read, where that is not found out: as for ``read_table`` and
    ``read_images``.

    ``category`` and ``number`` name the columns that are such whatever they look like.
    """

    target: str | None = None
    task: str | None = None
    category: Sequence[str] = ()
    number: Sequence[str] = ()
    drop: Sequence[str] = ()
    missing: str = "error"
    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    size: tuple[int, int] | None = None
    colour: bool | None = None
    fit: str | None = None
    skip_bad: bool = False
    stream: bool = False


OF_TABLES = (
    "target", "task", "category", "number", "drop", "missing", "delimiter", "encoding", "decimal",
)  # fmt: skip
OF_PICTURES = ("size", "colour", "fit", "skip_bad", "stream")
ASKED = tuple(each.name for each in fields(Reading))


@dataclass(frozen=True)
class Source:
    """Data that were opened.

    Attributes:
        kind: what they are.
        splits: the three parts.
        report: what was understood, in lines for a person to read.
        record: as plain data, what it takes to know later what was learned from: files with
            their SHA-256, the rows or files of each part, and the versions of what read them.
    """

    kind: Kind
    splits: Splits
    report: tuple[str, ...]
    record: Mapping[str, Any] = field(repr=False)


def open_source(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    validation: float | None = None,
    reading: Reading | None = None,
    decode: bool = True,
) -> Source:
    """Return the data that ``source`` names, read, divided and described.

    ``source``: as for ``load``; or a table, with ``reading.target`` its column to predict; or
    several files. ``validation``: as for ``load``. Without ``decode``, of pictures only the headers
    are read, and nothing is kept of them.

    Raises ``DataError`` for data that are not there, cannot be read or cannot be learned from, and
    ``DownloadError`` if a known set cannot be fetched.

    >>> print("\\n".join(open_source("digits").report))
    digits: a known set
    train: 1,257 examples of shape (8, 8), uint8, 10 classes
    validation: 180 examples
    test: 360 examples
    """
    names: list[Any] = list(source) if isinstance(source, list | tuple) else [source]
    reading, kind = reading or Reading(), kind_of(names)
    _check_reading(reading, kind)
    if kind == "table":
        return _table(names, validation, reading)
    if kind == "pictures":
        return _pictures(names, validation, reading, decode=decode)
    return _plain(kind, names, validation)


def kind_of(names: Sequence[str | os.PathLike[str]]) -> Kind:
    """Return what these are, by name and by what lies there; nothing is read."""
    if not names:
        raise DataError(f"source must name data: {', '.join(KNOWN)}, a file or a folder.")
    if len(names) == 1 and names[0] in KNOWN:
        return "known"
    if known := [name for name in names if name in KNOWN]:
        raise DataError(f"{known[0]} is a whole set and stands alone; got {len(names)} sources.")
    paths = [_existing(name) for name in names]
    if len(paths) == 1 and paths[0].is_dir():
        return "idx" if has_idx_files(paths[0]) or not _has_folders(paths[0]) else "pictures"
    endings = {path.suffix.lower() for path in paths}
    if endings <= set(TABLES):
        return "table"
    if endings <= set(ARRAYS):
        return "arrays"
    if len(paths) > 1:
        raise DataError(f"several sources must be {SEVERAL}; got {', '.join(map(str, names))}.")
    raise DataError(
        f"source {str(names[0])!r} must be one of {', '.join(KNOWN)}, a table "
        f"({', '.join(TABLES)}), arrays ({', '.join(ARRAYS)}), a folder with a folder of pictures "
        "for each class, or a folder with four IDX files."
    )


def _check_reading(reading: Reading, kind: Kind) -> None:
    usual = Reading()
    meant = {"table": OF_TABLES, "pictures": OF_PICTURES}.get(kind, ())
    odd = [name for name in ASKED if getattr(reading, name) != getattr(usual, name)]
    for name in odd:
        if name not in meant:
            goes = "a table" if name in OF_TABLES else "a folder of pictures"
            raise DataError(f"{name} goes with {goes}, and would be ignored here; leave it out.")


def _existing(name: str | os.PathLike[str]) -> Path:
    try:
        path = Path(name)
        os.stat(name)
    except FileNotFoundError:
        raise _unknown(name) from None
    except (OSError, TypeError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"source {name!r} cannot be read: {reason}; check the path.") from error
    return path


def _unknown(source: str | os.PathLike[str]) -> DataError:
    close = difflib.get_close_matches(str(source).lower(), KNOWN, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return DataError(
        f"source {str(source)!r} is neither a known set nor a folder or file{hint}; "
        f"the sets are {', '.join(KNOWN)}."
    )


def _has_folders(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_dir() and not entry.name.startswith(".") for entry in entries)
    except OSError:
        return False


# ---- each kind


def read_whole(kind: Kind, names: Sequence[str | os.PathLike[str]]) -> Whole:
    """Return a known set, IDX files or arrays as they are before they are divided."""
    if kind == "known":
        return KNOWN[str(names[0])]()
    return read_folder(Path(names[0])) if kind == "idx" else read_arrays(names)


def _divide(kind: Kind, name: Any, whole: Whole, validation: float | None) -> dict[str, Rows]:
    if kind == "arrays":
        return divide_arrays(whole, validation)
    if name == "digits" and kind == "known":
        return divide_digits(whole, validation)
    return divide_images(whole, validation)


def _plain(kind: Kind, names: Any, validation: float | None) -> Source:
    """Return data that need no preparation: a known set, IDX files or arrays."""
    whole = read_whole(kind, names)
    rows = _divide(kind, names[0], whole, validation)
    splits = whole.splits(rows)
    train = splits.train
    answers = f"{len(train.classes)} classes" if train.classes else f"{train.y.shape[1]} targets"
    report = (
        title_of(kind, names),
        f"train: {len(train):,} examples of shape {train.shape}, {train.x.dtype}, {answers}",
        f"validation: {len(splits.validation):,} examples",
        f"test: {len(splits.test):,} examples",
    )
    parts = {
        name: {"examples": len(part), "fingerprint": part.fingerprint()}
        for name, part in vars(splits).items()
    }
    record = {
        "kind": kind,
        "report": report,
        "parts": parts,
        "files": list(whole.files),
        "versions": dict(whole.versions or {}),
        "rows": described(rows),
    }
    return Source(kind, splits, report, record)


def title_of(kind: Kind, names: Any) -> str:
    """Return the first line of the report on a known set, IDX files or arrays."""
    if kind == "known":
        return f"{names[0]}: a known set"
    if kind == "idx":
        return f"{Path(names[0]).absolute().name}: four IDX files"
    return f"{', '.join(Path(name).name for name in names)}: arrays"


def _table(names: Any, validation: float | None, reading: Reading) -> Source:
    if both := set(reading.number) & set(reading.category):
        raise DataError(
            f"column {min(both)!r} must be a number or a category, got both; leave it out of "
            "one of them (--number, --category)."
        )
    categories: dict[str, Any] = dict.fromkeys(reading.category, "category")
    data = read_table(
        names,
        reading.target,
        task=reading.task,  # type: ignore[arg-type]  # checked there
        columns={**dict.fromkeys(reading.number, "number"), **categories},
        drop=reading.drop,
        missing=reading.missing,  # type: ignore[arg-type]  # checked there
        validation=validation,
        delimiter=reading.delimiter,
        encoding=reading.encoding,
        decimal=reading.decimal,
    )
    describe(data.columns)  # too long for a model file is said now, not after training
    parquet = any(Path(name).suffix.lower() == ".parquet" for name in names)
    record = {
        "kind": "table",
        "report": data.report,
        "files": [asdict(each) for each in data.sources],
        "versions": {"pyarrow": version("pyarrow")} if parquet else {},
        "rows": {part: rows.tolist() for part, rows in data.rows.items()},
    }
    return Source("table", data.splits, data.report, record)


def _pictures(names: Any, validation: float | None, reading: Reading, *, decode: bool) -> Source:
    data = read_images(
        names[0],
        size=reading.size,
        colour=reading.colour,
        fit=reading.fit,  # type: ignore[arg-type]  # checked there
        skip_bad=reading.skip_bad,
        stream=reading.stream,
        validation=validation,
        decode_all=decode,
    )
    record = {
        "kind": "pictures",
        "report": data.report,
        "versions": {"pillow": version("pillow")},
        **data.record(),
    }
    return Source("pictures", data.splits, data.report, record)
