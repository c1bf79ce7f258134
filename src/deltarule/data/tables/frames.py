"""Frames of pandas, polars and pyarrow as tables, without importing any of the three."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from deltarule.data.tables.table import TEXT, Array, Field, Table, check_names, text_field
from deltarule.errors import DataError

EXACT = 1 << 53  # from here on float64 does not hold every whole number
Reader = Callable[[str, Any, tuple[str, ...]], Field]


def library_of(source: Any) -> str | None:
    """Return "pandas", "polars" or "pyarrow" for a frame of theirs, None for anything else."""
    library = type(source).__module__.split(".")[0]
    kinds = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "Table"}
    return library if kinds.get(library) == type(source).__name__ else None


def from_frame(frame: Any, missing_values: tuple[str, ...]) -> Table:
    """Return the table a frame holds. Raises ``DataError`` for columns that are no table's."""
    library = library_of(frame)
    if library is None:
        raise DataError(
            "table must be a frame of pandas, polars or pyarrow, got "
            f"{type(frame).__name__}; read_rows reads files."
        )
    if library == "pyarrow":
        return from_arrow(frame, missing_values, "the table")
    names = [str(name) for name in frame.columns]
    if library == "pandas":
        series = [frame.iloc[:, position] for position in range(len(names))]
        return _table(names, series, _from_pandas, missing_values, "the frame")
    return _table(names, frame.get_columns(), _from_polars, missing_values, "the frame")


def from_arrow(content: Any, missing_values: tuple[str, ...], where: str) -> Table:
    """Return the table that an Arrow table holds; ``where`` names it in messages."""
    columns = content.columns
    return _table(content.column_names, columns, _from_arrow, missing_values, where)


def like(source: Any, columns: dict[str, Array]) -> Any:
    """Return ``columns`` as a frame of the library of ``source``, with its index if it has one.

    Where ``source`` is no frame they are returned as they came.
    """
    library = library_of(source)
    if library == "pandas":
        return type(source)(columns, index=source.index)
    if library == "pyarrow":
        return type(source).from_pydict(columns)
    return type(source)(columns) if library else columns


def _table(
    names: list[str], columns: list[Any], read: Reader, missing_values: tuple[str, ...], where: str
) -> Table:
    check_names(names, where)
    if not names or not len(columns[0]):
        raise DataError(f"{where} has no data rows; expected at least one.")
    pairs = zip(names, columns, strict=True)
    return Table({name: read(name, values, missing_values) for name, values in pairs})


def _from_pandas(name: str, series: Any, missing_values: tuple[str, ...]) -> Field:
    missing = np.asarray(series.isna(), bool)
    kind = getattr(series.dtype, "kind", "O")  # also of pandas' own types with missing values
    if kind in "Mm":
        return _dates(name, [str(value) for value in series.tolist()], missing)
    if kind in "iuf":
        return _numbers(name, series.tolist() if kind in "iu" else series, missing)
    return _objects(name, series.astype(object).tolist(), missing, missing_values)


def _from_polars(name: str, series: Any, missing_values: tuple[str, ...]) -> Field:
    missing = np.asarray(series.is_null().to_numpy(), bool)
    if series.dtype.is_temporal():
        return _dates(name, [str(value) for value in series.to_list()], missing)
    if series.dtype.is_float():
        return _numbers(name, series.to_numpy(), missing)
    return _objects(name, series.to_list(), missing, missing_values)


def _from_arrow(name: str, column: Any, missing_values: tuple[str, ...]) -> Field:
    from pyarrow import types

    missing = np.asarray(column.is_null().to_numpy(), bool)
    if types.is_temporal(column.type):
        return _dates(name, [str(value) for value in column.to_pylist()], missing)
    if types.is_floating(column.type):
        return _numbers(name, column.to_numpy(), missing)
    return _objects(name, column.to_pylist(), missing, missing_values)


def _dates(name: str, texts: list[str], missing: Array) -> Field:
    return Field(name, np.array(texts, TEXT), missing, date=True)


def _numbers(name: str, values: Any, missing: Array) -> Field:
    """Return a column of numbers; NaN is a missing value. Long whole numbers stay text."""
    if isinstance(values, list):
        values = [np.nan if absent else v for v, absent in zip(values, missing, strict=True)]
        if any(abs(value) > EXACT for value in values):
            texts = ["" if value != value else str(int(value)) for value in values]
            return Field(name, np.array(texts, TEXT), missing)
    elif hasattr(values, "to_numpy"):
        values = values.to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.array(values, np.float64)
    return Field(name, numbers, missing | np.isnan(numbers))


def _objects(
    name: str, values: list[Any], missing: Array, missing_values: tuple[str, ...]
) -> Field:
    """Return a column of Python objects: all numbers, or text and truth values."""
    values = [v.item() if isinstance(v, np.generic) else v for v in values]
    kinds = {type(value) for value, absent in zip(values, missing, strict=True) if not absent}
    if kinds and kinds <= {int, float, Decimal}:
        if kinds != {int}:
            values = [np.nan if a else float(v) for v, a in zip(values, missing, strict=True)]
        return _numbers(name, values, missing)
    if kinds and kinds <= {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}:
        return _dates(name, [str(value) for value in values], missing)
    odd = [kind.__name__ for kind in kinds - {int, float, str, bool}]
    if odd:
        raise DataError(
            f"column {name!r} holds values of type {odd[0]}; expected numbers, text, true and "
            "false; turn it into such columns, or take it out of the table."
        )
    texts = ["" if absent else _text(v) for v, absent in zip(values, missing, strict=True)]
    field = text_field(name, np.array(texts, TEXT), missing_values)
    return Field(name, field.values, field.missing | missing)


def _text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise DataError(f"the text {value!r:.80} has half a character; mend it.") from None
    return str(value)
