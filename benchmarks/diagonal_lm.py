"""A claim tested: is stochastic diagonal Levenberg-Marquardt three times as fast as tuned SGD?

LeCun, Bottou, Orr and Müller (1998, section 9.1) call it "about three times faster" than stochastic
gradient descent carefully tuned. ``python benchmarks/diagonal_lm.py`` trains on MNIST with both,
stores every curve and puts the table into docs/optimizers.md; ``--only NAME`` runs one network and
``--draw`` only draws.

Both are tuned: each runs at every rate (and damping) of its grid, from equal weights and with
equal orders of examples. What SGD has reached after some epochs, at the rate that got it there
first, is a goal; the other method is tuned to get there first too. Curves are medians over the
seeds. Passes count gradients of all training examples, those for second derivatives too.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product, zip_longest
from pathlib import Path
from typing import Any

from report import put, table
from run import HERE, RESULTS, machine, versions

from deltarule import Network, Recipe, data, fit
from deltarule.data import Splits
from deltarule.errors import DivergedError
from deltarule.network.layers import Activation, AvgPool, Conv, Dense, Flatten, Standardize

Tuning = tuple[float, float | None]  # learning rate, damping
Curve = list[dict[str, float]]  # a row an epoch

FOLDER = RESULTS / "diagonal_lm"
PAGE = HERE.parent / "docs" / "optimizers.md"
MARKER = "diagonal_lm"
METHODS = ("sgd", "diagonal_lm")
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
DAMPINGS = (0.02, 0.1)
GOALS = (1, 2, 3, 5, 8, 12)  # after so many epochs of SGD
UNITS = ("passes", "seconds")
HEADS = tuple(f"times faster in {unit}" for unit in UNITS)
MEASURES = {"train_cost": ("training cost", ".4f"), "validation_error": ("validation error", ".2%")}


def grids(first: int) -> dict[str, tuple[Tuning, ...]]:
    """Return five rates a method, for sgd those three times as large; ``first`` of ``RATES``."""
    sgd, diagonal = RATES[first + 1 : first + 6], RATES[first : first + 5]
    return {
        "sgd": tuple((rate, None) for rate in sgd),
        "diagonal_lm": tuple(product(diagonal, DAMPINGS)),
    }


@dataclass(frozen=True)
class Trial:
    """A network on which the claim is tested, with the paper's tanh, targets and inputs."""

    title: str
    layers: tuple[Any, ...]
    batch_size: int
    epochs: int
    seeds: int
    grids: Mapping[str, Sequence[Tuning]]
    shape: tuple[int, int, int] = (28, 28, 1)

    def network(self) -> Network:
        """Return the network, its inputs standardised as one."""
        return Network(Standardize("channel"), *self.layers, shape=self.shape)

    def recipe(self, method: str, tuning: Tuning, seed: int) -> Recipe:
        """Return the quadratic cost and a method as it is tuned."""
        rate, damping = tuning
        return Recipe(
            cost="quadratic", optimizer=method, learning_rate=rate, damping=damping, seed=seed,
            batch_size=self.batch_size, epochs=self.epochs,
        )  # fmt: skip


_TANH = Activation("lecun_tanh")
_DENSE = (Flatten(), Dense(30), _TANH, Dense(10), _TANH)
_LENET1 = (
    Conv(4, 5), _TANH, AvgPool(2), Conv(12, 5), _TANH, AvgPool(2), Flatten(), Dense(10), _TANH,
)  # fmt: skip
TRIALS = {
    "dense-online": Trial("784-30-10, one example a step", _DENSE, 1, 12, 3, grids(0)),
    "dense-batches": Trial("784-30-10, ten examples a step", _DENSE, 10, 12, 3, grids(1)),
    "lenet1-online": Trial("LeNet-1, one example a step", _LENET1, 1, 6, 2, grids(0)),
}


def run(trial: Trial, splits: Splits) -> dict[str, Any]:
    """Return the curves of a trial as plain data; the methods take turns."""
    warm(trial, splits)
    grids = ([(method, each) for each in grid] for method, grid in trial.grids.items())
    curves: dict[str, dict[str, Curve]] = {method: {} for method in trial.grids}
    for method, tuning in filter(None, chain(*zip_longest(*grids))):
        runs = [curve(trial, splits, method, tuning, seed) for seed in range(trial.seeds)]
        curves[method][label(tuning)] = found = middle(runs)
        last = f"cost {found[-1]['train_cost']:.4g}" if found else "diverged"
        print(f"{trial.title}: {method} at {label(tuning)}: {last}", file=sys.stderr, flush=True)
    return {
        "title": trial.title, "epochs": trial.epochs, "seeds": trial.seeds,
        "examples": len(splits.train), "machine": machine(), "versions": versions(),
        "curves": curves,
    }  # fmt: skip


def label(tuning: Tuning) -> str:
    """Return what a method was tuned to, in words.

    >>> label((0.003, None)), label((0.003, 0.1))
    ('0.003', '0.003, damping 0.1')
    """
    rate, damping = tuning
    return f"{rate:g}" if damping is None else f"{rate:g}, damping {damping:g}"


def warm(trial: Trial, splits: Splits) -> None:
    """Train once with each method, so that no epoch that is timed compiles."""
    for method, grid in trial.grids.items():
        curve(trial, splits, method, grid[0], seed=0, epochs=1)


def curve(
    trial: Trial, splits: Splits, method: str, tuning: Tuning, seed: int, epochs: int | None = None
) -> Curve:
    """Return what each epoch reached, with the passes and the seconds so far; empty if diverged."""
    recipe = trial.recipe(method, tuning, seed)
    if epochs:
        recipe = Recipe(**{**recipe.describe(), "epochs": epochs})
    try:
        history = fit(trial.network(), splits.train, splits.validation, recipe).history
    except DivergedError:
        return []
    seconds, rows = 0.0, []
    for record in history:
        seconds += record["seconds"]
        rows.append({
            "passes": record.get("gradient_evaluations", float(record["epoch"])),
            "seconds": seconds,
            "train_cost": record["train_cost"],
            "validation_error": 1 - record["validation_accuracy"],
        })  # fmt: skip
    return rows


def middle(runs: Sequence[Curve]) -> Curve:
    """Return the median of each number over the seeds; empty if one of them diverged."""
    if not all(runs):
        return []
    return [
        {what: float(f"{statistics.median(row[what] for row in rows):.6g}") for what in rows[0]}
        for rows in zip(*runs, strict=True)
    ]


def reached(rows: Curve, measure: str, goal: float, unit: str) -> float:
    """Return after how many ``unit`` ``measure`` first was at most ``goal``; infinite if never.

    Between two epochs on a straight line.
    """
    before: dict[str, float] | None = None
    for row in rows:
        if row[measure] <= goal:
            if before is None:
                return row[unit]
            share = (before[measure] - goal) / (before[measure] - row[measure])
            return before[unit] + share * (row[unit] - before[unit])
        before = row
    return math.inf


def fastest(tuned: dict[str, Curve], measure: str, goal: float, unit: str) -> tuple[float, str]:
    """Return the fewest ``unit`` to ``goal``, and what the method was tuned to."""
    return min((reached(rows, measure, goal, unit), to) for to, rows in tuned.items())


def goals(tuned: dict[str, Curve], measure: str) -> dict[int, float]:
    """Return the lowest ``measure`` by some epochs; an epoch that gains none is out."""
    found: dict[int, float] = {}
    for epoch in GOALS:
        rows = [row for curve in tuned.values() for row in curve[:epoch]]
        best = min((row[measure] for row in rows), default=math.inf)
        enough = any(len(curve) >= epoch for curve in tuned.values())
        if enough and best < min(found.values(), default=math.inf):
            found[epoch] = best
    return found


def tables(results: dict[str, dict[str, Any]]) -> str:
    """Return the stored trials in Markdown."""
    heads = ("", "reached", "sgd: passes", "at", "diagonal_lm: passes", "at", *HEADS)
    parts = []
    for result in results.values():
        seeds = f"{result['seeds']} seed{'s' * (result['seeds'] > 1)}"
        parts.append(f"{result['title']}, {result['examples']:,} examples, {seeds}:")
        rows = [row for measure in MEASURES for row in _rows(result["curves"], measure)]
        parts.append(table(heads, rows))
    return "\n\n".join(parts)


def _rows(curves: dict[str, dict[str, Curve]], measure: str) -> list[tuple[str, ...]]:
    title, shown = MEASURES[measure]
    rows = []
    for goal in goals(curves["sgd"], measure).values():
        cells = []
        for method in METHODS:
            passes, tuned_to = fastest(curves[method], measure, goal, "passes")
            cells += [f"{passes:.1f}", tuned_to] if passes < math.inf else ["never", ""]
        rows.append((title, format(goal, shown), *cells, *_times_faster(curves, measure, goal)))
    return rows


def _times_faster(curves: dict[str, dict[str, Curve]], measure: str, goal: float) -> list[str]:
    """Return how many times as fast diagonal_lm was, in each unit."""
    ratios = []
    for unit in UNITS:
        ours, theirs = (fastest(curves[m], measure, goal, unit)[0] for m in ("diagonal_lm", "sgd"))
        ratios.append(f"{theirs / ours:.2f}" if ours < math.inf else "")
    return ratios


def stored() -> dict[str, dict[str, Any]]:
    """Return the stored trials by name, in their order."""
    paths = {name: FOLDER / f"{name}.json" for name in TRIALS}
    return {name: json.loads(p.read_text("utf-8")) for name, p in paths.items() if p.exists()}


def main() -> None:
    """Run and store; or draw what is stored into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=TRIALS, help="run one of them")
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    options = parser.parse_args()
    for name in [] if options.draw else [options.only] if options.only else TRIALS:
        text = json.dumps(run(TRIALS[name], data.load("mnist")), indent=1, allow_nan=False)
        FOLDER.mkdir(exist_ok=True)
        Path(FOLDER / f"{name}.json").write_text(f"{text}\n", "utf-8")
    put(PAGE, tables(stored()), MARKER)


if __name__ == "__main__":
    main()
