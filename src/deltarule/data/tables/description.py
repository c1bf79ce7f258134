"""Columns as plain data and back, for model files: a closed schema, every size bounded."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deltarule.data.dataset import MAX_CLASSES
from deltarule.data.tables.kinds import LONGEST_LEVEL
from deltarule.data.tables.parts import MOST_LEVELS, POLICIES, Category, Number, Target
from deltarule.data.tables.table import LONGEST_NAME, MOST_COLUMNS
from deltarule.errors import DataError

if TYPE_CHECKING:
    from deltarule.data.tables.columns import Columns

VERSION = 1
LARGEST = sys.float_info.max
MOST_WORDS = 100  # that stand for a missing value

_FIELDS = ("columns", "decimal", "missing", "missing_values", "target", "version")
_NUMBER = ("deviation", "fill", "indicator", "kind", "mean", "name")
_CATEGORY = ("indicator", "kind", "levels", "name")
_CLASSES = ("classes", "name")
_REGRESSION = ("deviation", "mean", "name")


def described(columns: "Columns") -> dict[str, Any]:
    """Return ``columns`` as dictionaries, lists, text, numbers and truth values."""
    target = columns.target
    return {
        "version": VERSION,
        "columns": [_column(column) for column in columns.columns],
        "target": {"name": target.name, "classes": list(target.classes)}
        if target.classes
        else {"name": target.name, "mean": target.mean, "deviation": target.deviation},
        "missing": columns.missing,
        "missing_values": list(columns.missing_values),
        "decimal": columns.decimal,
    }


def read(description: Any) -> dict[str, Any]:
    """Return the fields of the ``Columns`` that ``described`` was given.

    Raises ``DataError`` for an entry that is unknown, lacking, of another type or out of bounds.
    """
    version = description.get("version") if isinstance(description, Mapping) else None
    if type(version) is int and version > VERSION:
        raise DataError(
            f"columns are of version {version}, made by a newer deltarule; this one reads "
            f"{VERSION}: upgrade."
        )
    given = _entries("columns", description, _FIELDS)
    if type(version) is not int or version != VERSION:
        raise DataError(f"version of columns must be {VERSION}, got {version!r:.80}.")
    entries = _list("columns", given["columns"], 1, MOST_COLUMNS)
    parts = tuple(_read_column(f"columns[{i}]", entry) for i, entry in enumerate(entries))
    target = _read_target(given["target"])
    names = [part.name for part in parts] + [target.name]
    if len(set(names)) < len(names):
        raise DataError("columns must have different names, and none that of the target.")
    words = _texts("missing_values", given["missing_values"], 0, MOST_WORDS, LONGEST_LEVEL)
    missing = _one_of("missing", given["missing"], POLICIES)
    return {
        "columns": parts,
        "target": target,
        "missing": missing,
        "missing_values": words,
        "decimal": _one_of("decimal", given["decimal"], (".", ",")),
    }


def _column(column: Number | Category) -> dict[str, Any]:
    if isinstance(column, Category):
        return {
            "kind": "category",
            "name": column.name,
            "levels": list(column.levels),
            "indicator": column.indicator,
        }
    return {
        "kind": "number",
        "name": column.name,
        "mean": column.mean,
        "deviation": column.deviation,
        "fill": column.fill,
        "indicator": column.indicator,
    }


def _read_column(place: str, entry: Any) -> Number | Category:
    kind = entry.get("kind") if isinstance(entry, Mapping) else None
    if kind == "category":
        given = _entries(place, entry, _CATEGORY)
        levels = _texts(f"{place}.levels", given["levels"], 0, MOST_LEVELS, LONGEST_LEVEL)
        return Category(_name(place, given), levels, _flag(place, given))
    if kind != "number":
        raise DataError(f"{place} must be a number or a category, got {entry!r:.80}.")
    given = _entries(place, entry, _NUMBER)
    fill = None if given["fill"] is None else _number(f"{place}.fill", given["fill"])
    moments = _moments(place, given)
    return Number(_name(place, given), *moments, fill, _flag(place, given))


def _read_target(entry: Any) -> Target:
    if isinstance(entry, Mapping) and "classes" in entry:
        given = _entries("target", entry, _CLASSES)
        classes = _texts("target.classes", given["classes"], 2, MAX_CLASSES, LONGEST_LEVEL)
        return Target(_name("target", given), classes)
    given = _entries("target", entry, _REGRESSION)
    return Target(_name("target", given), (), *_moments("target", given))


def _moments(place: str, given: Mapping[str, Any]) -> tuple[float, float]:
    deviation = _number(f"{place}.deviation", given["deviation"])
    if deviation <= 0:
        raise DataError(f"{place}.deviation must be above 0, got {deviation}.")
    return _number(f"{place}.mean", given["mean"]), deviation


def _entries(place: str, value: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or set(value) != set(names):
        found = sorted(map(str, value)) if isinstance(value, Mapping) else value
        raise DataError(f"{place} must have the entries {', '.join(names)}; got {found!r:.200}.")
    return value


def _list(place: str, value: Any, least: int, most: int) -> list[Any]:
    if type(value) is not list or not least <= len(value) <= most:
        raise DataError(
            f"{place} must be a list of {least} to {most:,} entries, got {value!r:.80}."
        )
    return value


def _texts(place: str, value: Any, least: int, most: int, longest: int) -> tuple[str, ...]:
    texts = tuple(_text(place, text, longest) for text in _list(place, value, least, most))
    if len(set(texts)) < len(texts):
        raise DataError(f"{place} must be different texts, but some occur twice.")
    return texts


def _text(place: str, value: Any, longest: int) -> str:
    if (
        type(value) is not str
        or len(value) > longest
        or any("\ud800" <= c <= "\udfff" for c in value)
    ):
        raise DataError(
            f"{place} must hold text of at most {longest} characters, got {value!r:.80}."
        )
    return value


def _name(place: str, given: Mapping[str, Any]) -> str:
    name = _text(f"{place}.name", given["name"], LONGEST_NAME)
    if not name.strip():
        raise DataError(f"{place}.name must not be empty.")
    return name


def _number(place: str, value: Any) -> float:
    if type(value) not in (int, float) or not -LARGEST <= value <= LARGEST:
        raise DataError(f"{place} must be a finite number, got {value!r:.80}.")
    return float(value)


def _flag(place: str, given: Mapping[str, Any]) -> bool:
    value = given["indicator"]
    if type(value) is not bool:
        raise DataError(f"{place}.indicator must be true or false, got {value!r:.80}.")
    return value


def _one_of(place: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if type(value) is not str or value not in choices:
        raise DataError(f"{place} must be one of {', '.join(choices)}; got {value!r:.80}.")
    return value
