"""A table as it was read: named columns of numbers or text, and where each row stands."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.dtypes import StringDType

from deltarule.errors import DataError

Array = npt.NDArray[Any]

TEXT = StringDType()  # 16 bytes a text: those of up to 15 bytes need nothing besides
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
LONGEST_NAME = 1000  # characters
MOST_COLUMNS = 10_000
MOST_NAMED = 10  # columns that a message lists


@dataclass(frozen=True, eq=False)
class Field:
    """One column: ``values`` [n], float64 or text, and where they are ``missing`` [n].

    ``date`` says that the source gave it the type of a date or time.
    """

    name: str
    values: Array
    missing: Array
    date: bool = False

    def take(self, rows: Array) -> "Field":
        """Return the column with these rows only."""
        return Field(self.name, self.values[rows], self.missing[rows], self.date)

    def texts(self) -> list[str]:
        """Return each value as text; a whole number is written without a point."""
        if self.values.dtype == TEXT:
            return list(self.values.tolist())
        return [spelled(value) for value in self.values.tolist()]


@dataclass(frozen=True)
class Source:
    """A file that was read, for the record of a run: name, bytes, rows and SHA-256 as hex."""

    name: str
    size: int
    rows: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length, and where row i stands: in line ``lines[i]`` of its source.

    ``starts`` are the first rows of the ``sources``. A frame has neither sources nor lines, and in
    a Parquet file the line is 0. ``delimiters`` separate the fields of the sources that are text.
    Of a table that was taken from another, ``rows`` are the rows there.
    """

    fields: dict[str, Field]
    sources: tuple[Source, ...] = ()
    starts: tuple[int, ...] = ()
    lines: Array | None = None
    delimiters: tuple[str, ...] = ()
    rows: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())).values)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns in the order of the source."""
        return tuple(self.fields)

    def where(self, row: int) -> str:
        """Return where a row stands, for a message: "line 17", "march.csv line 17", "row 16"."""
        if self.rows is not None:
            row = int(self.rows[row])
        number = int(np.searchsorted(self.starts, row, side="right")) - 1 if self.starts else 0
        prefix = f"{self.sources[number].name} " if len(self.sources) > 1 else ""
        if self.lines is not None and self.lines[row]:
            return f"{prefix}line {self.lines[row]}"
        return f"{prefix}row {row - (self.starts[number] if self.starts else 0)} (from 0)"

    def take(self, rows: Array) -> "Table":
        """Return a table with these rows only, which still knows where they stand."""
        fields = {name: field.take(rows) for name, field in self.fields.items()}
        return replace(self, fields=fields, rows=rows)

    def column(self, name: str, argument: str = "column") -> Field:
        """Return the column called ``name``; a ``DataError`` names the closest one."""
        if name not in self.fields:
            raise DataError(
                f"{argument} {name!r} is not in the table{close_to(name, self.names)}; "
                f"it has {listed(self.names)}."
            )
        return self.fields[name]


def joined(tables: Sequence[Table]) -> Table:
    """Return the rows of several tables with the same columns, one below the other."""
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        if set(table.names) != set(first.names):
            odd = sorted(set(table.names) ^ set(first.names))
            raise DataError(
                f"{table.sources[0].name} must have the columns of {first.sources[0].name}, but "
                f"only one of them has {listed(odd)}; read them apart or rename the columns."
            )
    fields = {name: _below([table.fields[name] for table in tables]) for name in first.names}
    lengths = [len(table) for table in tables]
    known = any(table.lines is not None for table in tables)
    lines = [np.zeros(len(t), np.intp) if t.lines is None else t.lines for t in tables]
    return Table(
        fields,
        sources=tuple(source for table in tables for source in table.sources),
        starts=tuple(int(start) for start in np.cumsum([0, *lengths[:-1]])),
        lines=np.concatenate(lines) if known else None,
        delimiters=tuple(dict.fromkeys(mark for table in tables for mark in table.delimiters)),
    )


def _below(fields: Sequence[Field]) -> Field:
    if len({field.values.dtype for field in fields}) > 1:  # numbers here, text there
        fields = [
            Field(field.name, np.array(field.texts(), TEXT), field.missing, field.date)
            for field in fields
        ]
    values = np.concatenate([field.values for field in fields])
    missing = np.concatenate([field.missing for field in fields])
    return Field(fields[0].name, values, missing, any(field.date for field in fields))


def text_field(name: str, values: Array, missing_values: Iterable[str]) -> Field:
    """Return a column of text in which ``missing_values`` stand for no value."""
    missing = np.zeros(len(values), bool)
    for word in missing_values:
        missing |= values == word
    return Field(name, values, missing)


def check_names(names: Sequence[str], where: str) -> None:
    """Raise ``DataError`` unless all names are different, not empty and of sensible length."""
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{where} names {len(names):,} columns, the most is {MOST_COLUMNS:,}; keep the ones "
            "that matter, or transpose the table if rows and columns are exchanged."
        )
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(
                f"{where}: column {position} has no name; give it one (pandas writes a nameless "
                "index unless told index=False)."
            )
        if len(name) > LONGEST_NAME:
            raise DataError(
                f"{where}: the name of column {position} has {len(name):,} characters, the most "
                f"is {LONGEST_NAME:,}; is this line a header?"
            )
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise DataError(f"{where}: the name {name!r:.80} has half a character; rename it.")
        if name in seen:
            raise DataError(
                f"{where}: columns {seen[name]} and {position} are both called {name!r}; "
                "rename one of them."
            )
        seen[name] = position


def spelled(value: float) -> str:
    """Return a number as text: 3.0 as "3", so that 3 and 3.0 are one level of a category."""
    return str(int(value)) if value.is_integer() else repr(value)


def listed(names: Iterable[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    names = [repr(name)[:80] for name in names]
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def close_to(name: str, names: Iterable[str]) -> str:
    """Return a hint at the closest of ``names``, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    if not close:  # case counts as a difference of letters
        close = [each for each in names if each.casefold().strip() == name.casefold().strip()][:1]
    return f" (did you mean {close[0]!r}?)" if close else ""
