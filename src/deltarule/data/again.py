"""A part of a run's data, found again by the rows or files that the record of the run has stored.

Nothing is divided anew: what divides may do it in another way in another version, and would put
examples that were learned from among those to be judged by.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.data.dataset import Dataset
from deltarule.data.pictures.folder import list_folder
from deltarule.data.pictures.unread import unread_files
from deltarule.data.regular import open_regular
from deltarule.data.sources import Kind, Reading, kind_of, read_whole, title_of
from deltarule.data.tables.reading import Rows, load
from deltarule.data.whole import stored_rows
from deltarule.errors import DataError

DAMAGED = "what the run has stored of its data is damaged ({}); put its data.json back as it was."


def part_again(
    names: Sequence[str],
    part: str,
    record: Mapping[str, Any],
    *,
    preparation: Any = None,
    reading: Reading | None = None,
) -> Dataset | None:
    """Return the part of ``names`` that ``record``, of a ``Source``, says; None of other data.

    ``preparation``: that of the model. ``reading``: how the run has read its table.

    Raises ``DataError`` if what is stored does not fit the data, and as ``open_source``.
    """
    kind = kind_of(names)
    if record.get("kind") != kind:
        return None
    try:
        if kind == "table":
            return _of_table(names, part, record, preparation, reading or Reading())
        if kind == "pictures":
            return _of_pictures(names[0], part, record, preparation)
        return _of_whole(kind, names, part, record)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(DAMAGED.format(f"{type(error).__name__}: {error}")) from None


def _of_table(
    names: Sequence[str], part: str, record: Mapping[str, Any], columns: Any, reading: Reading
) -> Dataset | None:
    table = load(
        list(names),
        delimiter=reading.delimiter,
        encoding=reading.encoding,
        missing_values=columns.missing_values,
    )
    if [source.sha256 for source in table.sources] != [each["sha256"] for each in record["files"]]:
        return None
    rows = stored_rows(record["rows"], {"train": len(table)})[part]
    chosen = table.take(np.asarray(rows))
    return Rows(columns.encode(chosen), chosen, columns, names).dataset(Path(names[0]).stem)


def _of_pictures(
    folder: str, part: str, record: Mapping[str, Any], pictures: Any
) -> Dataset | None:
    listing, stored = list_folder(folder), record["files"]
    if [file.name for file in listing.files] != [each[0] for each in stored]:
        return None
    rows = stored_rows(record["indices"], {"train": len(stored)})[part]
    files = [listing.files[row] for row in rows]
    paths = [listing.path(file) for file in files]
    if any(_sha256(path) != stored[row][1] for row, path in zip(rows, paths, strict=True)):
        return None
    x: Any = unread_files(paths, pictures)
    y = np.array([file.label for file in files], np.int32)
    return Dataset(x, y, listing.classes, 1 / 255, listing.folder.name or "pictures", pictures)


def _of_whole(
    kind: Kind, names: Sequence[str], part: str, record: Mapping[str, Any]
) -> Dataset | None:
    """Return a part of a known set, of IDX files or of arrays."""
    whole = read_whole(kind, names)
    if kind == "known":
        same = record["report"][0] == title_of(kind, names)  # however its files are packed
    else:
        same = [each["sha256"] for each in record["files"]] == [
            each["sha256"] for each in whole.files
        ]
    if not same:
        return None
    data = whole.part(part, stored_rows(record["rows"], whole.sizes)[part])
    if data.fingerprint() != record["parts"][part]["fingerprint"]:
        raise DataError(DAMAGED.format(f"its rows of {part} are not the examples of the run"))
    return data


def _sha256(path: Path) -> str:
    try:
        with open_regular(path, "a picture") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, DataError):
        return ""  # not the file that was learned from, whatever it is
