"""A source as it is before it is divided, and the rows of it that make up each part."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.data.dataset import Dataset, Splits
from deltarule.data.unread import Array
from deltarule.errors import DataError

PARTS = ("train", "validation", "test")
Rows = range | Array  # of one part, from 0


@dataclass(frozen=True)
class Whole:
    """What a source holds, and what was read for it.

    Attributes:
        own: the parts that it has of its own; "train" is always there, and what is lacking is taken
            out of it.
        files: name, size and SHA-256 of each file that was read.
        versions: of the packages that the examples come from.
    """

    own: Mapping[str, Dataset]
    files: tuple[dict[str, Any], ...] = ()
    versions: Mapping[str, str] | None = None

    def part(self, name: str, rows: Rows) -> Dataset:
        """Return the part ``name``: these rows of its own examples, or of those of "train"."""
        data = self.own.get(name, self.own["train"])
        return data[slice(rows.start, rows.stop) if isinstance(rows, range) else rows]

    def splits(self, rows: Mapping[str, Rows]) -> Splits:
        """Return the three parts."""
        return Splits(**{name: self.part(name, rows[name]) for name in PARTS})

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples there are of each part of its own."""
        return {name: len(data) for name, data in self.own.items()}


def described(rows: Mapping[str, Rows]) -> dict[str, Any]:
    """Return rows as plain data: a list, or where they follow each other first and end."""
    return {
        name: {"start": each.start, "stop": each.stop} if isinstance(each, range) else each.tolist()
        for name, each in rows.items()
    }


def stored_rows(stored: object, sizes: Mapping[str, int]) -> dict[str, Rows]:
    """Return the rows of each part that a run has stored, as ``described`` has them.

    ``sizes`` is that of ``Whole``. Raises ``DataError`` if they cannot be the rows of such data.
    """
    if not isinstance(stored, dict) or set(stored) != set(PARTS):
        raise DataError(_DAMAGED.format("are not those of three parts"))
    rows = {name: _checked(name, stored[name], sizes.get(name, sizes["train"])) for name in PARTS}
    shared = [np.asarray(rows[name]) for name in PARTS if name == "train" or name not in sizes]
    taken = np.concatenate(shared)
    if len(np.unique(taken)) < len(taken):
        raise DataError(_DAMAGED.format("are in more than one part, or twice in one"))
    return rows


_DAMAGED = "the rows that the run has stored {}; put its data.json back as it was."


def _checked(name: str, stored: Any, n: int) -> Rows:
    if isinstance(stored, dict) and set(stored) == {"start", "stop"}:
        start, stop = stored["start"], stored["stop"]
        if type(start) is type(stop) is int and 0 <= start <= stop <= n:
            return range(start, stop)
    elif isinstance(stored, list) and all(type(row) is int and 0 <= row < n for row in stored):
        return np.array(stored, np.intp)
    raise DataError(_DAMAGED.format(f"for {name} do not fit the {n:,} that there are"))
