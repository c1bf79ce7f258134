"""A race of optimizers: the same data, the same first weights, each at its own best learning rate.

What is compared is the cost of the whole training set with its penalties, measured after every
epoch, against three budgets: epochs, gradient evaluations and seconds. A gradient evaluation is
the gradient of every training example once: an epoch of batches is one, an iteration of a method
with a line search one or more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import numpy as np

from deltarule.choices import choose
from deltarule.data import Dataset
from deltarule.errors import DivergedError
from deltarule.learning import Callback, Recipe, Run, evaluate, fit
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.learning.penalties import value as penalty
from deltarule.learning.setup import first_parameters
from deltarule.network import Model, Network

FACTORS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the usual learning rate: the grid
Watcher = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """Where a racer stood after an epoch: the cost, and what it had taken to get there."""

    epoch: int
    gradient_evaluations: float
    seconds: float
    cost: float


@dataclass(frozen=True)
class Lap:
    """One run: its learning rate, its seed, a point for the start and for each epoch.

    ``learning_rate`` is None for methods that find the length of their steps themselves.
    ``diverged`` says why it ended early, if it did.
    """

    learning_rate: float | None
    seed: int
    points: tuple[Point, ...]
    diverged: str | None = None

    @property
    def cost(self) -> float:
        """The last cost; infinite if the run diverged."""
        return float("inf") if self.diverged else self.points[-1].cost


@dataclass(frozen=True)
class Racer:
    """What became of an optimizer: its laps at the best rate, one a seed, and the other rates.

    ``grid`` holds the last cost of the first seed for each learning rate, None where it diverged;
    ``left_out`` says why it could not start.
    """

    optimizer: str
    laps: tuple[Lap, ...] = ()
    grid: tuple[tuple[float, float | None], ...] = ()
    left_out: str | None = None

    @property
    def finished(self) -> bool:
        """Whether it ran with any learning rate at all."""
        return bool(self.laps) and self.laps[0].diverged is None

    def final(self, what: str = "cost") -> tuple[float, float, float]:
        """Return median, lowest and highest last value of a field of ``Point`` over the seeds."""
        values = [getattr(lap.points[-1], what) for lap in self.laps]
        return float(np.median(values)), min(values), max(values)


@dataclass(frozen=True)
class Result:
    """A race: what was run, and the racers in the order of their last costs."""

    network: str
    examples: int
    passes: float
    recipe: dict[str, Any]
    racers: tuple[Racer, ...]

    def describe(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return asdict(self)


def race(
    network: Network,
    train: Dataset,
    optimizers: Sequence[str] | None = None,
    *,
    passes: int = 30,
    recipe: Recipe | None = None,
    full_batch: bool = False,
    seeds: int = 1,
    watch: Watcher = lambda said: None,
) -> Result:
    """Let optimizers train ``network`` on ``train`` from the same start; all by default.

    Args:
        passes: the budget: each stops at the end of the epoch in which it has evaluated so many
            gradients.
        recipe: cost, penalties, batch size, seed and precision; the optimizer is replaced.
        full_batch: let methods that work on batches take all examples at every step as well.
        seeds: how many first weights and shuffles; learning rates are chosen with the first.
        watch: called with a line about each run that has ended.

    Raises ``ValueError`` if nothing could run.

    >>> from deltarule.data import Dataset
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    >>> xor = Dataset(x, np.array([0, 1, 1, 0]), classes=("0", "1"))
    >>> network = Network([2, 4, 2], activation="tanh", output="softmax")
    >>> race(network, xor, ["sgd", "bfgs"], passes=30).racers[0].optimizer
    'bfgs'
    """
    names = list(OPTIMIZERS) if optimizers is None else list(dict.fromkeys(optimizers))
    for name in names:
        choose("optimizer", name, OPTIMIZERS)
    if passes < 1 or seeds < 1:
        raise ValueError(f"passes and seeds must be at least 1, got {passes} and {seeds}.")
    base = recipe or Recipe()
    racers = []
    for name in names:
        try:
            racers.append(_ran(network, train, name, passes, base, full_batch, seeds, watch))
        except ValueError as error:
            racers.append(Racer(name, left_out=str(error)))
            watch(f"{name}: left out")
    if not any(racer.laps for racer in racers):
        raise ValueError(f"no optimizer could start: {racers[0].left_out}")
    racers.sort(key=lambda racer: racer.final()[0] if racer.finished else float("inf"))
    described = {k: v for k, v in base.describe().items() if k not in ("optimizer", "epochs")}
    return Result(network.summary(train.shape), len(train), passes, described, tuple(racers))


def _ran(
    network: Network, train: Dataset, name: str, passes: int, base: Recipe, full_batch: bool,
    seeds: int, watch: Watcher,
) -> Racer:  # fmt: skip
    """Return what became of the optimizer ``name``."""
    method = OPTIMIZERS[name]
    size = len(train) if method.all_data or full_batch else base.batch_size
    recipe = replace(
        base,
        optimizer=name,
        epochs=passes,
        batch_size=size,
        learning_rate=None,
        schedule="constant",
    )
    usual = method.learning_rate
    rates = [None] if usual is None else [float(f"{usual * factor:.3g}") for factor in FACTORS]
    _warm_up(network, train, recipe)
    laps = []
    for rate in rates:
        laps.append(_lap(network, train, replace(recipe, learning_rate=rate), passes))
        watch(f"{name}{'' if rate is None else f' at {rate:g}'}: {laps[-1].cost:.4g}")
    best = min(laps, key=lambda lap: lap.cost)
    ends = (None if lap.diverged else lap.cost for lap in laps)
    grid = tuple((rate, end) for rate, end in zip(rates, ends, strict=True) if rate is not None)
    again = [
        _lap(network, train, replace(recipe, learning_rate=best.learning_rate, seed=seed), passes)
        for seed in range(base.seed + 1, base.seed + seeds)
    ]
    return Racer(name, (best, *again), grid)


def _warm_up(network: Network, train: Dataset, recipe: Recipe) -> None:
    """Compile what the laps will run, so that no lap pays for it."""
    fit(network, train, train, replace(recipe, epochs=1), callbacks=[_Budget(1)])


def _lap(network: Network, train: Dataset, recipe: Recipe, passes: int) -> Lap:
    budget, diverged = _Budget(passes), None
    try:
        fit(network, train, train, recipe, callbacks=[budget])
    except DivergedError as error:
        diverged = str(error)
    points = (_start(network, train, recipe), *_points(budget.run))
    return Lap(recipe.learning_rate, recipe.seed, points, diverged)  # type: ignore[arg-type]


class _Budget(Callback):
    """Stop a run whose gradients are spent; remember it, for it may end in an error."""

    def __init__(self, passes: int) -> None:
        self.passes = passes

    def started(self, run: Run) -> None:
        self.run = run

    def epoch_ended(self, run: Run) -> None:
        if _spent(run.history[-1]) >= self.passes:
            run.stop("its gradients are spent")


def _spent(record: dict[str, Any]) -> float:
    return float(record.get("gradient_evaluations", record["epoch"]))


def _points(run: Run) -> Iterator[Point]:
    seconds = 0.0
    for record in run.history:
        seconds += record["seconds"]
        cost = record["validation_cost"] + record["penalty"]
        if np.isfinite(cost):
            yield Point(record["epoch"], _spent(record), seconds, cost)


def _start(network: Network, train: Dataset, recipe: Recipe) -> Point:
    """Return the point before the first step, the same for every optimizer."""
    with jax.enable_x64(recipe.precision == "float64"):
        params, state = first_parameters(network, train, recipe, None)
        price = float(penalty(params, recipe.l1, recipe.l2))
        first, before = jax.tree.map(np.asarray, (params, state))
    model = Model(network, first, before, train.shape, train.classes, train.scale)
    return Point(0, 0.0, 0.0, evaluate(model, train, recipe.cost).cost + price)
