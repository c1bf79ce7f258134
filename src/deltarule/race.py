"""A race of optimizers: the same data, the same first weights, each at its own best learning rate.

What is compared is the cost of the whole training set with its penalties, measured after every
epoch, against three budgets: epochs, gradient evaluations and seconds. A gradient evaluation is
the gradient of every training example once: an epoch of batches is one, an iteration of a method
with a line search one or more.
"""

from collections.abc import Callable, Sequence
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

GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # learning rates, in shares of the usual one
BEYOND, MOST_BEYOND = 3.0, 8  # the grid grows by this factor, and so often at most
INTERRUPTED = "interrupted before it was through"
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

    Points are those within the budget, and those before the cost was no number. ``learning_rate``
    is None for methods that find the length of their steps themselves. ``diverged`` says why it
    ended early, if it did.
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
    ``left_out`` says why it has no laps.
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
        """Return median, lowest and highest last value of a field of ``Point`` over the seeds.

        The cost of a lap that diverged is infinite.
        """
        values = [lap.cost if what == "cost" else getattr(lap.points[-1], what)
                  for lap in self.laps]  # fmt: skip
        return float(np.median(values)), min(values), max(values)


@dataclass(frozen=True)
class Result:
    """A race: what was run, and the racers in the order of their last costs."""

    network: str
    examples: int
    passes: int
    full_batch: bool
    recipe: dict[str, Any]
    racers: tuple[Racer, ...]
    interrupted: bool = False

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
    grid: Sequence[float] = GRID,
    full_batch: bool = False,
    seeds: int = 1,
    watch: Watcher = lambda said: None,
) -> Result:
    """Let optimizers train ``network`` on ``train`` from the same start; all by default.

    Args:
        passes: the budget: each has the epochs after which it has evaluated at most so many
            gradients of all examples.
        recipe: cost, penalties, batch size, seed and precision; the optimizer is replaced.
        grid: the learning rates to try, in shares of what is usual for the optimizer. Where the
            best is the lowest or the highest, more are tried beyond it.
        full_batch: let methods that work on batches take all examples at every step as well.
        seeds: how many first weights and shuffles; learning rates are chosen with the first.
        watch: called with a line about each run that has ended.

    After Ctrl-C the result has what was through by then; before that, ``KeyboardInterrupt``
    is raised. Raises ``ValueError`` if nothing could run.

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
    if not grid or not all(0 < share < np.inf for share in grid):
        raise ValueError(f"grid must hold at least one number above 0, got {list(grid)}.")
    course = _Course(network, train, recipe or Recipe(), passes, full_batch)
    racers = _raced(course, names, tuple(sorted(grid)), seeds, watch)
    if not any(racer.laps for racer in racers):
        raise ValueError(f"no optimizer could start: {racers[0].left_out}")
    racers.sort(key=lambda racer: racer.final()[0] if racer.finished else np.inf)
    described = course.recipe.describe()
    del described["optimizer"], described["epochs"], described["learning_rate"]
    return Result(
        network.summary(train.shape), len(train), passes, full_batch, described, tuple(racers),
        interrupted=any(racer.left_out == INTERRUPTED for racer in racers),
    )  # fmt: skip


def _raced(
    course: "_Course", names: list[str], grid: tuple[float, ...], seeds: int, watch: Watcher
) -> list[Racer]:
    racers: list[Racer] = []
    for name in names:
        try:
            racers.append(_ran(course, name, grid, seeds, watch))
        except ValueError as error:
            racers.append(Racer(name, left_out=str(error)))
            watch(f"{name}: left out")
        except KeyboardInterrupt:
            if not any(racer.laps for racer in racers):
                raise
            late = names[len(racers) :]
            return [*racers, *(Racer(name, left_out=INTERRUPTED) for name in late)]
    return racers


def _ran(
    course: "_Course", name: str, grid: tuple[float, ...], seeds: int, watch: Watcher
) -> Racer:
    """Return what became of the optimizer ``name``."""

    def tried(rate: float | None, seed: int = course.recipe.seed) -> Lap:
        lap = course.lap(name, rate, seed)
        at = "" if rate is None else f" at {rate:g}"
        of = "" if seed == course.recipe.seed else f", seed {seed}"
        watch(f"{name}{at}{of}: {'diverged' if lap.diverged else f'{lap.cost:.4g}'}")
        return lap

    usual = OPTIMIZERS[name].learning_rate
    laps = [tried(None)] if usual is None else _searched(tried, [usual * share for share in grid])
    best = min(laps, key=lambda lap: lap.cost)
    again = [tried(best.learning_rate, best.seed + more) for more in range(1, seeds)]
    ends = tuple(
        (lap.learning_rate, None if lap.diverged else lap.cost)
        for lap in laps if lap.learning_rate is not None
    )  # fmt: skip
    return Racer(name, (best, *again), ends)


def _searched(tried: Callable[[float], Lap], rates: list[float]) -> list[Lap]:
    """Return the laps at ``rates``, and beyond an end of them for as long as the best is there."""
    laps = {rate: tried(rate) for rate in map(_rounded, rates)}
    for _ in range(MOST_BEYOND):
        best = min(laps, key=lambda rate: (laps[rate].cost, rate))  # if all diverged, the lowest
        if min(laps) < best < max(laps):
            break
        further = _rounded(best * BEYOND if best == max(laps) else best / BEYOND)
        laps[further] = tried(further)
    return [laps[rate] for rate in sorted(laps)]


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")


class _Course:
    """What all racers share: the network, the data, the budget, and where they start from."""

    def __init__(
        self, network: Network, train: Dataset, recipe: Recipe, passes: int, full_batch: bool
    ) -> None:
        self.network, self.train, self.recipe = network, train, recipe
        self.passes, self.full_batch = passes, full_batch
        self._starts: dict[int, Point] = {}

    def lap(self, name: str, rate: float | None, seed: int) -> Lap:
        """Run the optimizer once."""
        whole = OPTIMIZERS[name].all_data or self.full_batch
        recipe = replace(
            self.recipe, optimizer=name, learning_rate=rate, seed=seed, epochs=self.passes,
            batch_size=len(self.train) if whole else self.recipe.batch_size,
        )  # fmt: skip
        budget, diverged = _Budget(self.passes), None
        try:
            fit(self.network, self.train, self.train, recipe, callbacks=[budget])
        except DivergedError as error:
            diverged = str(error)
        if budget.run.stopped == "interrupted":
            raise KeyboardInterrupt  # fit has stopped gracefully; half a lap is none
        points = [self._start(seed), *_points(budget.run)]
        finite = next((i for i, p in enumerate(points) if not np.isfinite(p.cost)), len(points))
        if finite < len(points):
            diverged = diverged or f"the cost after epoch {points[finite].epoch} is not finite"
        kept = (p for p in points[:finite] if p.gradient_evaluations <= self.passes)
        return Lap(rate, seed, tuple(kept), diverged)

    def _start(self, seed: int) -> Point:
        """Return the point before the first step, the same for every optimizer."""
        if seed not in self._starts:
            cost = _first_cost(self.network, self.train, replace(self.recipe, seed=seed))
            self._starts[seed] = Point(0, 0.0, 0.0, cost)
        return self._starts[seed]


class _Budget(Callback):
    """Stop a run whose gradients are spent; remember it, for it may end in an error."""

    def __init__(self, passes: int) -> None:
        self.passes = passes

    def started(self, run: Run) -> None:
        self.run = run
        run.warm_up()

    def epoch_ended(self, run: Run) -> None:
        if _spent(run.history[-1]) >= self.passes:
            run.stop("its gradients are spent")


def _spent(record: dict[str, Any]) -> float:
    return float(record.get("gradient_evaluations", record["epoch"]))


def _points(run: Run) -> list[Point]:
    points, seconds = [], 0.0
    for record in run.history:
        seconds += record["seconds"]
        cost = record["validation_cost"] + record["penalty"]
        points.append(Point(record["epoch"], _spent(record), seconds, cost))
    return points


def _first_cost(network: Network, train: Dataset, recipe: Recipe) -> float:
    with jax.enable_x64(recipe.precision == "float64"):
        params, state = first_parameters(network, train, recipe, None)
        price = float(penalty(params, recipe.l1, recipe.l2))
        first, before = jax.tree.map(np.asarray, (params, state))
    model = Model(network, first, before, train.shape, train.classes, train.scale)
    return evaluate(model, train, recipe.cost).cost + price
