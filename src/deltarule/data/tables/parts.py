"""What single columns become: numbers standardised, categories one-hot encoded, a target."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deltarule.data.tables.kinds import LONGEST_LEVEL, numbers, truth_values
from deltarule.data.tables.table import Array, Field, Table
from deltarule.errors import DataError

Missing = Literal["error", "impute", "drop"]
POLICIES: tuple[Missing, ...] = ("error", "impute", "drop")

MOST_LEVELS = 100  # of a category; rarer ones are "other"
LEAST_SEEN = 2  # training rows a level needs to be one of its own


@dataclass(frozen=True)
class Number:
    """A column of numbers, of which the network sees (x - mean) / deviation.

    ``fill`` stands in for a missing value, None if there may be none; with ``indicator`` a second
    input is 1 where the value is missing.
    """

    name: str
    mean: float
    deviation: float
    fill: float | None = None
    indicator: bool = False

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs this column becomes."""
        return (self.name, f"{self.name} missing") if self.indicator else (self.name,)

    def encode(self, table: Table, field: Field, decimal: str) -> Array:
        """Return the inputs [n, 1 or 2]."""
        values = numbers(table, field, decimal)
        if self.fill is not None:
            values = np.where(field.missing, self.fill, values)
        # Divided first: the difference of two numbers of 1e308 is beyond the range.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            z = (values / self.deviation - self.mean / self.deviation).astype(np.float32)
        if not np.isfinite(z).all():
            row = int(np.flatnonzero(~np.isfinite(z))[0])
            raise DataError(
                f"{table.where(row)}: column {self.name!r} holds {values[row]:g}, too far from "
                f"the mean {self.mean:g} of the training rows to be told in float32; correct it."
            )
        return np.stack([z, field.missing], axis=1) if self.indicator else z[:, None]


@dataclass(frozen=True)
class Category:
    """A column of categories: an input for each level, one for all others, each 0 or 1.

    With ``indicator`` a missing value has an input of its own, else it counts as "other".
    """

    name: str
    levels: tuple[str, ...]
    indicator: bool = False

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs this column becomes."""
        names = tuple(f"{self.name}={level}" for level in self.levels)
        return (*names, f"{self.name} other", *([f"{self.name} missing"] * self.indicator))

    def encode(self, table: Table, field: Field, decimal: str) -> Array:
        """Return the inputs [n, levels + 1 or 2]."""
        places = {level: place for place, level in enumerate(self.levels)}
        other = len(self.levels)
        fold = bool(places) and truth_values(dict.fromkeys(places, 1))
        texts = field.texts()
        codes = np.array([places.get(t.casefold() if fold else t, other) for t in texts], np.intp)
        codes[field.missing] = other + self.indicator
        inputs = np.zeros((len(codes), other + 1 + self.indicator), np.float32)
        inputs[np.arange(len(codes)), codes] = 1
        return inputs


@dataclass(frozen=True)
class Target:
    """The column to predict: ``classes``, or for regression the mean and deviation of a number."""

    name: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What is predicted: a class or a number."""
        return "classification" if self.classes else "regression"


def number_column(name: str, values: Array, missing: Missing) -> Number:
    """Return a ``Number`` measured on training values [n], NaN where there is none."""
    present = values[~np.isnan(values)]
    if not len(present):
        raise DataError(
            f"column {name!r} has no value in the training rows; leave it out with drop=[{name!r}] "
            "(--drop)."
        )
    mean, deviation = moments(name, present)
    impute = missing == "impute"
    fill = float(np.median(present)) if impute else None
    return Number(name, mean, deviation, fill, impute and len(present) < len(values))


def moments(name: str, values: Array) -> tuple[float, float]:
    """Return mean and deviation of finite values; the deviation of a constant is 1."""
    largest = float(np.abs(values).max())
    if largest == 0 or values.min() == values.max():
        return float(values[0]), 1.0
    shares = values / largest  # the square of 1e200 is beyond the range
    deviation = float(shares.std()) * largest
    return float(shares.mean()) * largest, deviation if deviation > 0 else 1.0


def category_column(field: Field, missing: Missing) -> Category:
    """Return a ``Category`` measured on training rows: its most frequent levels, in order."""
    texts = [t for t, absent in zip(field.texts(), field.missing, strict=True) if not absent]
    counts = Counter(texts)
    if truth_values(counts):
        counts = Counter(text.casefold() for text in texts)
    fit = [t for t, n in counts.items() if n >= LEAST_SEEN and len(t) <= LONGEST_LEVEL]
    levels = sorted(fit, key=lambda text: (-counts[text], text))[:MOST_LEVELS]
    indicator = missing == "impute" and bool(field.missing.any())
    return Category(field.name, tuple(sorted(levels)), indicator)
