"""The space that a search draws from: a range or a few choices for each hyper-parameter.

Rates and penalties are numbers that a compiled program is given, so they may have any value. What
shapes the program (sizes, dropout, batch size) has few choices, so that trials share programs.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import stats
from sklearn.model_selection import ParameterGrid, ParameterSampler

from deltarule.choices import choose
from deltarule.learning import Recipe
from deltarule.seeds import generator

DIGITS = 3  # significant ones of a drawn number: what a table shows is what was run
AROUND = 30.0  # times the usual learning rate, and one over it: the ends of the usual range


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``: log-uniform, so that 0.01:0.1 comes as often as 0.1:1.

    ``log=False`` draws uniformly. Raises ``ValueError`` unless low < high, and 0 < low with log.

    >>> Range(0.001, 1)
    Range(low=0.001, high=1, log=True)
    """

    low: float
    high: float
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"a range must go from a number up to a larger one, got {self.low:g}:{self.high:g}."
            )
        if self.log and self.low <= 0:
            raise ValueError(
                f"a log-uniform range must begin above 0, got {self.low:g}:{self.high:g}; begin "
                "where the effect vanishes, such as 1e-7, or list choices: 0,0.001,0.01."
            )


@dataclass(frozen=True)
class Choices:
    """A few values, each as likely as the others; a single one is fixed.

    >>> Choices((10, 32, 100)).values
    (10, 32, 100)
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(f"choices must be at least one, and different, got {self.values}.")


Space = Mapping[str, Range | Choices]


@dataclass(frozen=True)
class Kind:
    """How a hyper-parameter is written and drawn: its type, and how a range is meant."""

    number: type[int] | type[float] | type[str]
    log: bool | None = None  # None: no ranges, for each value is a program of its own


KINDS = {
    "hidden": Kind(str),
    "dropout": Kind(float),
    "batch_size": Kind(int),
    "learning_rate": Kind(float, log=True),
    "momentum": Kind(float, log=False),
    "l1": Kind(float, log=True),
    "l2": Kind(float, log=True),
}
OF_NETWORK = ("hidden", "dropout")  # the others are fields of a recipe


def usual_space(recipe: Recipe, examples: int) -> dict[str, Range | Choices]:
    """Return the space searched by default, for the optimizer of ``recipe``.

    The learning rate lies around what is usual for the optimizer; l2 around the lambda/n of the
    book. ``examples`` are those to train on: no batch is larger.

    >>> usual_space(Recipe(), 1000)["learning_rate"]
    Range(low=0.003, high=3.0, log=True)
    """
    method = recipe.method
    space: dict[str, Range | Choices] = {"hidden": Choices(("30", "100", "300"))}
    if not method.all_data:
        sizes = tuple(size for size in (10, 32) if size <= examples)
        space |= {"dropout": Choices((0.0, 0.3)), "batch_size": Choices(sizes or (examples,))}
    if method.learning_rate is not None:
        low, high = method.learning_rate / AROUND, method.learning_rate * AROUND
        space["learning_rate"] = Range(float(f"{low:.1g}"), float(f"{high:.1g}"))
    if method.momentum:
        space["momentum"] = Range(0.5, 0.99, log=False)
    return space | {"l1": Range(1e-7, 1e-4), "l2": Range(1e-6, 1e-2)}


def parsed(name: str, text: str) -> Range | Choices:
    """Return what ``text`` says of the hyper-parameter ``name``: low:high, choices or one value.

    >>> parsed("learning_rate", "0.001:1"), parsed("hidden", "30,100x50")
    (Range(low=0.001, high=1.0, log=True), Choices(values=('30', '100x50')))
    """
    kind, option = choose("name", name, KINDS), f"--{name.replace('_', '-')}"
    try:
        if ":" not in text:
            return Choices(tuple(_value(name, part.strip()) for part in text.split(",")))
        if kind.log is None:
            raise ValueError(
                "each value makes a compiled program of its own, so it takes choices with commas "
                f"between, got the range {text}"
            )
        low, high = (_value(name, part.strip()) for part in text.split(":", 1))
        return Range(low, high, kind.log)
    except ValueError as error:
        raise ValueError(f"{option}: {str(error).rstrip('.')}.") from None


def layers_of(hidden: str) -> list[int]:
    """Return the units of each hidden layer that ``hidden`` names, the first at the inputs.

    >>> layers_of("100x50")
    [100, 50]
    """
    try:
        units = [int(part) for part in str(hidden).split("x")]
    except ValueError:
        units = [0]
    if min(units) < 1:
        raise ValueError(
            f"hidden layers must be numbers of units such as 100, or 100x50 for two, got {hidden!r}"
        )
    return units


def configurations(space: Space, seed: int, trials: int) -> list[dict[str, Any]]:
    """Return the hyper-parameters of trials 1, 2, ... in order: fewer if there are no more.

    The i-th depends on the space, the seed and i alone (Bergstra and Bengio 2012).

    >>> configurations({"batch_size": Choices((10, 32))}, seed=0, trials=5)
    [{'batch_size': 10}, {'batch_size': 32}]
    """
    lists = {name: _drawn_from(each) for name, each in space.items()}
    count = trials
    if all(isinstance(each, Choices) for each in space.values()):
        # A finite space is drawn from without repetition: as a permutation of all there is,
        # because the sampler's first n of N would depend on n.
        count = len(ParameterGrid(lists))
    chance = int(generator(seed, "trials").integers(2**32, dtype="uint32"))
    sampler = ParameterSampler(lists, n_iter=count, random_state=chance)
    return [
        {name: _rounded(drawn[name], space[name]) for name in space}
        for drawn in itertools.islice(sampler, trials)
    ]


def describe(space: Space) -> dict[str, Any]:
    """Return the space as plain data."""
    return {
        name: list(each.values) if isinstance(each, Choices) else vars(each)
        for name, each in space.items()
    }


def _drawn_from(each: Range | Choices) -> Any:
    if isinstance(each, Choices):
        return list(each.values)
    if each.log:
        return stats.loguniform(each.low, each.high)
    return stats.uniform(each.low, each.high - each.low)


def _rounded(value: Any, where: Range | Choices) -> Any:
    if isinstance(where, Choices):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), where.low), where.high)


def _value(name: str, text: str) -> Any:
    kind = KINDS[name]
    if name == "hidden":
        layers_of(text)
        return text
    try:
        number: Any = kind.number(text)
    except ValueError:
        number = math.nan
    if name == "dropout" and not 0 <= number < 1:
        raise ValueError(f"each share to drop must be at least 0 and below 1, got {text!r}")
    if math.isfinite(number):
        return number
    what = "a whole number" if kind.number is int else "a number"
    raise ValueError(f"each value must be {what}, got {text!r}")
