"""What a search compares: trials, their order, and how many go how far. Nothing here trains."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

METRICS = ("validation_accuracy", "validation_cost")
SEARCHES = ("halving", "random")
ETA = 3  # a stage keeps one trial of three, for three times as many epochs
LEAST = 3  # epochs of the first stage: one alone favours what is merely quick


@dataclass(frozen=True)
class Trial:
    """Where a trial stands: what it tries, how far it is, and its best epoch so far.

    Args:
        number: 1 for the first.
        values: its hyper-parameters.
        epochs: done, of those it is to do in this stage.
        of: how many epochs these are.
        best_epoch: the epoch that did best by the metric; None before the first finite one.
        validation_cost, validation_accuracy: of that epoch.
        diverged: why it ended before its last epoch, if it did.
        over: whether it is done with this stage.
    """

    number: int
    values: Mapping[str, Any]
    epochs: int = 0
    of: int = 0
    best_epoch: int | None = None
    validation_cost: float | None = None
    validation_accuracy: float | None = None
    diverged: str | None = None
    over: bool = False

    def after(
        self, history: Sequence[Mapping[str, Any]], metric: str, diverged: str | None = None
    ) -> "Trial":
        """Return where the trial stands once ``history`` is written."""
        fields = asdict(self) | {"epochs": len(history), "diverged": diverged}
        finite = [record for record in history if math.isfinite(sum(record.values()))]
        if finite:
            best = min(finite, key=lambda record: order(record, metric))
            fields |= {name: best.get(name) for name in METRICS} | {"best_epoch": best["epoch"]}
        return Trial(**fields)

    def describe(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return asdict(self)


def order(record: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Return a key that puts the better of two records first: equal accuracies by their costs."""
    cost = float(record["validation_cost"])
    return (-record["validation_accuracy"] if metric == METRICS[0] else cost, cost)


def ranked(trials: Iterable[Trial], metric: str) -> list[Trial]:
    """Return the trials, the best first; equal ones by number, those that diverged last.

    >>> a, b = (Trial(n, {}, 1, 1, 1, cost, 0.9) for n, cost in ((1, 0.4), (2, 0.3)))
    >>> [trial.number for trial in ranked([a, b, Trial(3, {}, diverged="...")], METRICS[0])]
    [2, 1, 3]
    """

    def key(trial: Trial) -> tuple[float, ...]:
        if trial.diverged is not None or trial.best_epoch is None:
            return math.inf, math.inf, trial.number
        return *order(vars(trial), metric), trial.number

    return sorted(trials, key=key)


def stages(search: str, trials: int, epochs: int) -> list[tuple[int, int]]:
    """Return how many trials run and to which epoch, stage by stage; the last one to ``epochs``.

    Successive halving (Jamieson and Talwalkar 2016) with a factor of 3: a stage keeps a third of
    the trials, n_(k+1) = n_k // 3, for three times as many epochs, as often as the trials last
    and the first stage has 3 epochs. Random search is one stage.

    >>> stages("halving", 27, 27)
    [(27, 3), (9, 9), (3, 27)]
    >>> stages("halving", 20, 30)
    [(20, 3), (6, 10), (2, 30)]
    """
    found = [(trials, epochs)]
    if search == "random":
        return found
    times = 0
    while trials // ETA ** (times + 1) >= 1 and epochs // ETA ** (times + 1) >= LEAST:
        times += 1
    return [(trials // ETA**k, round(epochs / ETA ** (times - k))) for k in range(times + 1)]


def promoted(trials: Iterable[Trial], metric: str, most: int) -> list[Trial]:
    """Return the best ``most`` trials, of those that have not diverged."""
    return [trial for trial in ranked(trials, metric) if trial.diverged is None][:most]
