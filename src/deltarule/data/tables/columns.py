"""The preprocessing of a table as data: what each column becomes, measured on training rows.

A ``Columns`` travels with the model. It turns raw rows into the inputs of the network and its
outputs back into classes, or into numbers in the unit of the target.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltarule.data.tables import description as plain
from deltarule.data.tables.frames import from_frame
from deltarule.data.tables.kinds import has_codes, numbers, parsed, truth_values
from deltarule.data.tables.parts import Category, Missing, Number, Target
from deltarule.data.tables.table import Array, Field, Table, close_to, listed, spelled
from deltarule.errors import DataError

MOST_BYTES = 4 << 30  # of encoded rows


@dataclass(frozen=True)
class Columns:
    """What each column of a table becomes, in the order of the inputs, and how it is read.

    Args:
        columns: a ``Number`` or a ``Category`` for each column that is used.
        target: what is predicted.
        missing: "error" and "drop" refuse missing values in rows to predict, "impute" fills them.
        missing_values: the texts that stand for no value.
        decimal: the mark before the decimals of a number in text, "." or ",".

    >>> columns = Columns((Number("age", 40.0, 10.0), Category("city", ("Bonn", "Rome"))),
    ...                   Target("churned", ("no", "yes")))
    >>> columns.input_names
    ('age', 'city=Bonn', 'city=Rome', 'city other')
    >>> Columns.from_description(columns.describe()) == columns
    True
    >>> columns.decode(np.array([[0.9, 0.1]]))
    array(['no'], dtype='<U3')
    """

    columns: tuple[Number | Category, ...]
    target: Target
    missing: Missing = "error"
    missing_values: tuple[str, ...] = ("",)
    decimal: str = "."

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, one for each column of what ``encode`` returns."""
        return tuple(name for column in self.columns for name in column.input_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the inputs of one row."""
        return (len(self.input_names),)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty for regression."""
        return self.target.classes

    def encode(self, table: Any) -> Array:
        """Return the inputs float32 [n, inputs] of raw rows: a ``Table`` or a frame.

        Columns may stand in any order, those not needed are ignored. Raises ``DataError`` for
        columns that are not there, with close matches, and for values that cannot be encoded.
        """
        table = table if isinstance(table, Table) else from_frame(table, self.missing_values)
        absent = [column.name for column in self.columns if column.name not in table.fields]
        if absent:
            others = [n for n in table.names if n not in {c.name for c in self.columns}]
            named = ", ".join(f"{name!r:.80}{close_to(name, others)}" for name in absent[:10])
            raise DataError(
                f"the table lacks {len(absent)} of the {len(self.columns)} columns the model was "
                f"trained on: {named}; its other columns are {listed(others) or 'none'}."
            )
        if self.missing != "impute":
            names = [column.name for column in self.columns]
            refuse_missing(table, names, "train anew with missing='impute' (--missing impute)")
        check_size(len(table), [(c.name, len(c.input_names)) for c in self.columns])
        inputs = np.empty((len(table), len(self.input_names)), np.float32)
        start = 0
        for column in self.columns:
            part = column.encode(table, table.fields[column.name], self.decimal)
            inputs[:, start : start + part.shape[1]] = part
            start += part.shape[1]
        return inputs

    def answers(self, table: Table) -> Array:
        """Return the target as a ``Dataset`` has it: class indices [n], or standardised [n, 1].

        Raises ``DataError`` if it is not there, misses values or has classes never seen.
        """
        field = table.column(self.target.name, "target")
        refuse_missing(table, [field.name], "leave those rows out")
        if self.target.task == "regression":
            values = numbers(table, field, self.decimal)
            return ((values - self.target.mean) / self.target.deviation)[:, None]
        places = {name: place for place, name in enumerate(self.classes)}
        texts = class_names(table, field, self.decimal)
        unknown = [row for row, text in enumerate(texts) if text not in places]
        if unknown:
            row = unknown[0]
            raise DataError(
                f"{table.where(row)}: target {field.name!r} holds {texts[row]!r:.80}, not one of "
                f"the classes {listed(self.classes)}; correct it or train anew."
            )
        return np.array([places[text] for text in texts], np.int32)

    def decode(self, outputs: Any) -> Array:
        """Return what outputs [n, k] mean: names of classes [n], or numbers [n] in their unit."""
        outputs = np.asarray(outputs, np.float64)
        if self.classes:
            names: Array = np.array(self.classes)[outputs.argmax(axis=1)]
            return names
        values: Array = outputs.reshape(-1) * self.target.deviation + self.target.mean
        return values

    def describe(self) -> dict[str, Any]:
        """Return the columns as plain data, for the model file; ``from_description`` reads it."""
        return plain.described(self)

    @classmethod
    def from_description(cls, description: Any) -> "Columns":
        """Return what ``describe`` described. Raises ``DataError`` for anything else."""
        return cls(**plain.read(description))


def class_names(table: Table, field: Field, decimal: str) -> list[str]:
    """Return the class of each row as text: numbers as 1 however written, true and false small."""
    values, wrong = parsed(field, decimal)
    if not wrong.any() and not has_codes(field, values):
        return [spelled(value) for value in numbers(table, field, decimal).tolist()]
    texts = field.texts()
    return [t.casefold() for t in texts] if truth_values(Counter(texts)) else texts


def refuse_missing(table: Table, names: list[str], remedy: str) -> None:
    """Raise ``DataError`` if values are missing, naming columns, counts and the first place.

    ``remedy``: what to do besides filling them.
    """
    holes = [(name, table.fields[name].missing) for name in names]
    holes = [(name, missing) for name, missing in holes if missing.any()]
    if not holes:
        return
    first = min(int(np.flatnonzero(missing)[0]) for _, missing in holes)
    counts = ", ".join(f"{name!r:.80} ({missing.sum():,})" for name, missing in holes[:10])
    more = f" and {len(holes) - 10} more" if len(holes) > 10 else ""
    raise DataError(
        f"values are missing in {counts}{more}, first in {table.where(first)}; fill them, or "
        f"{remedy}."
    )


def check_size(n: int, widths: list[tuple[str, int]]) -> None:
    """Raise ``DataError`` before rows are encoded that would need too much memory."""
    size = 4 * n * sum(width for _, width in widths)
    if size > MOST_BYTES:
        name, width = max(widths, key=lambda pair: pair[1])
        raise DataError(
            f"{n:,} rows of {sum(w for _, w in widths):,} inputs need {size / 2**30:.0f} GiB, the "
            f"most is {MOST_BYTES >> 30}; {name!r:.80} alone becomes {width} inputs: leave "
            "columns out or take fewer rows."
        )
