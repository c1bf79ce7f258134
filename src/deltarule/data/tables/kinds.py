"""What a column holds: numbers, categories, or something a network is better off without.

The rules are those of docs/tables.md, and every one can be overruled by naming the column.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from deltarule.data.tables.table import TEXT, Array, Field, Table
from deltarule.errors import DataError

Kind = Literal["number", "category"]
KINDS: tuple[Kind, ...] = ("number", "category")

MOSTLY = 0.5  # with this share of numbers a column is meant to hold numbers
IDENTIFIER_ROWS = 20  # from here on values that are all different say which row, not what
LONGEST_LEVEL = 200  # characters; longer is a text, not a category

_MONTH = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})|\d{4}-\d{2}"
    rf"|\d{{1,2}}[ .-]+{_MONTH}[ .,-]+(\d{{4}}|\d{{2}})|{_MONTH} \d{{1,2}},? \d{{4}})"
    r"([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|UTC|[AaPp][Mm]|[+-]\d{2}:?\d{2})?)?\s*",
    re.IGNORECASE,
)
_CODE = re.compile(r"\s*[+-]?0\d")
_GROUPED = re.compile(r"\s*[+-]?(\d+(,\d+)+|\d{1,3}([ '\u2019\u00a0\u202f]\d{3})+)([.,]\d+)?\s*")


class Finding(NamedTuple):
    """What was found out about a column: its kind, None if it is left out, and why.

    ``field`` is the column itself; one of numbers has been turned from text into numbers.
    """

    kind: Kind | None
    note: str
    field: Field


def find(table: Table, field: Field, forced: Kind | None, decimal: str) -> Finding:
    """Return what a column holds. Raises ``DataError`` for dates, and for numbers among text."""
    if field.missing.all():
        raise DataError(
            f"column {field.name!r} holds no value at all; leave it out with "
            f"drop=[{field.name!r}] (--drop)."
        )
    if forced:
        if forced == "number":
            field = _as_numbers(field, numbers(table, field, decimal))
        return Finding(forced, "as asked for", field)
    first = field.texts()[int(np.flatnonzero(~field.missing)[0])] if field.date else ""
    if field.date:
        raise _date(table, field, first)
    if field.values.dtype == TEXT:
        return _find_text(table, field, decimal)
    return _find_number(field, numbers(table, field, decimal))


def numbers(table: Table, field: Field, decimal: str) -> Array:
    """Return the values [n] as float64, NaN where they are missing.

    Raises ``DataError`` with the line of a value that is no number, or beyond the range of them.
    """
    values, wrong = parsed(field, decimal)
    if wrong.any():
        raise _no_number(table, field, int(np.flatnonzero(wrong)[0]), settled=True)
    return _finite(table, field, values)


def _finite(table: Table, field: Field, values: Array) -> Array:
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        row = int(infinite[0])
        raise DataError(
            f"{table.where(row)}: column {field.name!r} holds {field.texts()[row]!r:.80}, beyond "
            "the range of numbers (1.8e308); correct it, or leave it empty."
        )
    return values


def parsed(field: Field, decimal: str = ".") -> tuple[Array, Array]:
    """Return the values as float64 [n], NaN where there is none, and which are no numbers [n]."""
    if field.values.dtype != TEXT:
        return field.values, np.zeros(len(field.values), bool)
    texts = field.values.copy()
    odd = np.strings.find(texts, "_") >= 0  # Python reads 1_000 as a number
    if decimal == ",":
        odd |= np.strings.find(texts, ".") >= 0
        texts = np.strings.replace(texts, ",", ".")
    texts[field.missing] = "nan"
    try:
        values = texts.astype(np.float64)
    except ValueError:
        known = {text: _number(text) for text in set(texts.tolist())}
        values = np.array([known[text] for text in texts.tolist()])
    values[odd] = np.nan
    return values, np.isnan(values) & ~field.missing


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _find_number(field: Field, values: Array) -> Finding:
    present = values[~field.missing]
    low, high = present.min(), present.max()
    if low == high and not field.missing.any():
        return Finding(None, f"left out: always {low:g}", field)
    steps = np.diff(np.sort(present / 2))  # halves: twice 1e308 is beyond the range
    if len(present) >= IDENTIFIER_ROWS and (steps == 0.5).all() and float(low).is_integer():
        return Finding(None, f"left out: numbers the rows, {low:g} to {high:g}", field)
    return Finding("number", f"{low:g} to {high:g}", _as_numbers(field, values))


def _find_text(table: Table, field: Field, decimal: str) -> Finding:
    values, wrong = parsed(field, decimal)
    if not wrong.any() and not has_codes(field, values):
        return _find_number(field, _finite(table, field, values))
    rows = np.flatnonzero(~field.missing)
    counts = Counter(field.values[rows].tolist())
    share = 1 - wrong.sum() / len(rows)
    if all(_DATE.fullmatch(text) for text in counts):
        raise _date(table, field, str(field.values[rows[0]]))
    grouped = sum(counts[text] for text in counts if _GROUPED.fullmatch(text))
    if share < 1 and (share >= MOSTLY or wrong.sum() == grouped):
        raise _no_number(table, field, int(np.flatnonzero(wrong)[0]), settled=False)
    return _find_category(field, counts)


def _find_category(field: Field, counts: Mapping[str, int]) -> Finding:
    n = sum(counts.values())
    if len(counts) == 1 and not field.missing.any():
        return Finding(None, f"left out: always {next(iter(counts))!r:.60}", field)
    if any(len(text) > LONGEST_LEVEL for text in counts):
        return Finding(None, f"left out: text of more than {LONGEST_LEVEL} characters", field)
    if n >= IDENTIFIER_ROWS and len(counts) == n:
        return Finding(None, "left out: different in every row, so it names the row", field)
    if truth_values(counts):
        return Finding("category", "true or false", field)
    return Finding("category", f"{len(counts):,} different values", field)


def has_codes(field: Field, values: Array) -> bool:
    """Do numbers in text begin with a zero, as 01234? They are codes, no quantities.

    ``values`` are the numbers; below 1 they may begin with a zero.
    """
    if field.values.dtype != TEXT:
        return False
    zero = np.strings.startswith(np.strings.lstrip(field.values, " +-"), "0")
    return any(_CODE.match(text) for text in field.values[zero & (np.abs(values) >= 1)].tolist())


def _as_numbers(field: Field, values: Array) -> Field:
    return Field(field.name, values, field.missing)


def truth_values(texts: Mapping[str, int]) -> bool:
    """Are all of ``texts`` "true" or "false", in whatever case?"""
    return all(text.casefold() in ("true", "false") for text in texts)


def _date(table: Table, field: Field, example: str) -> DataError:
    return DataError(
        f"column {field.name!r} holds dates ({example!r:.60}), which a network cannot read; write "
        f"the year, the month or the days since an event as numbers, or leave the column out with "
        f"drop=[{field.name!r}] (--drop)."
    )


def _no_number(table: Table, field: Field, row: int, *, settled: bool) -> DataError:
    """Say what to do, also that it may be a category unless its kind is ``settled``."""
    text, name = field.texts()[row], field.name
    start = f"{table.where(row)}: column {name!r} holds {text!r:.60} among numbers"
    kind = f"columns={{{name!r}: 'category'}} (--category)"
    if _GROUPED.fullmatch(text):
        names = "" if settled else f", and {kind} for names"
        return DataError(
            f"{start}; if that is a decimal comma say decimal=',' (--decimal ,), if thousands are "
            f"set apart write the numbers without{names}."
        )
    if settled:
        return DataError(f"{start}; correct it.")
    return DataError(
        f"{start}; correct it, leave it empty if it stands for no value (in Python "
        f"missing_values=[...] may name it), or say {kind}."
    )
