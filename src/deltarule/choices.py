"""Looking a name up in one of the library's tables, with an error that helps."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(argument: str, name: str, table: Mapping[str, T]) -> T:
    """Return ``table[name]``, or raise a ``ValueError`` that names the closest match.

    >>> choose("cost", "quadratik", {"quadratic": 1, "cross_entropy": 2})
    Traceback (most recent call last):
    ValueError: cost must be one of quadratic, cross_entropy; got 'quadratik' (did you mean 'quadratic'?).
    """  # noqa: E501
    if isinstance(name, str) and name in table:
        return table[name]
    close = difflib.get_close_matches(str(name), table, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(f"{argument} must be one of {', '.join(table)}; got {name!r}{hint}.")
