"""Plain data and its JSON text, written and read strictly.

Plain data is what JSON has: text, numbers, booleans, None, lists, and dictionaries with text as
keys. JSON has no infinity and no NaN, which a history may hold; such a number is written as
``{"__float__": "nan"}``. Reading refuses what Python's ``json`` lets pass: keys given twice, the
words NaN and Infinity, nesting without end, half characters, numbers of any length.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

_DEEPEST = 32
_LARGEST = 1 << 64
_MARK = "__float__"


def marked(number: float) -> dict[str, str]:
    """Return how a number that is not finite is stored so that it can be read back."""
    return {_MARK: repr(float(number))}


def encoded(
    value: Any, name: str, special: Callable[[float], Any] = marked, _depth: int = 0
) -> Any:
    """Return ``value`` as JSON can hold it; ``special`` stands in for numbers not finite.

    Raises ``ValueError`` that says which part, as ``name[3].key``, is no plain data.

    >>> encoded({"sizes": (2, 1), "cost": float("inf")}, "header")
    {'sizes': [2, 1], 'cost': {'__float__': 'inf'}}
    """
    if _depth > _DEEPEST:
        raise ValueError(f"{name[:80]} is nested more than {_DEEPEST} deep; store it flatter.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST:
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else special(value)
    if isinstance(value, str) and _whole(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [encoded(v, f"{name}[{i}]", special, _depth + 1) for i, v in enumerate(value)]
    if isinstance(value, Mapping) and _keys_fit(value):
        return {str(k): encoded(v, f"{name}.{k}", special, _depth + 1) for k, v in value.items()}
    raise ValueError(
        f"{name} must be plain data (text, numbers, booleans, None, lists, dictionaries with text "
        f"but {_MARK} as keys), got {value!r:.80} of type {type(value).__name__}; convert it first."
    )


def decoded(value: Any, _depth: int = 0) -> Any:
    """Return what ``encoded`` was given. Raises ``ValueError`` for what it never returns."""
    if _depth > _DEEPEST:
        raise ValueError(f"data nested more than {_DEEPEST} deep")
    if isinstance(value, str) and not _whole(value):
        raise ValueError("half a character in a text")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError("a number too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number too large")
    if isinstance(value, list):
        return [decoded(v, _depth + 1) for v in value]
    if isinstance(value, dict):
        if _MARK in value:
            return _special(value)
        return {decoded(k): decoded(v, _depth + 1) for k, v in value.items()}
    return value


def dumped(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def parsed(text: str) -> Any:
    """Return what the JSON ``text`` says. Raises ``ValueError`` in a few words."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("data nested too deep") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid JSON, {error.msg} at character {error.pos}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key given twice")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"the word {word} in place of a number")


def _special(value: dict[str, Any]) -> float:
    if len(value) != 1 or value[_MARK] not in ("nan", "inf", "-inf"):
        raise ValueError(f"an unknown number in {_MARK}")
    return float(value[_MARK])


def _keys_fit(value: Mapping[Any, Any]) -> bool:
    return _MARK not in value and all(isinstance(key, str) and _whole(key) for key in value)


def _whole(text: str) -> bool:
    """Is every character of ``text`` a whole one? Half a surrogate pair cannot be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
