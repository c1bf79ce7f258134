"""The test of LeCun's claim for the diagonal method: fair turns, honest goals, stored and shown."""

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deltarule import data
from deltarule.data import Splits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other

claim = importlib.import_module("diagonal_lm")


def rows(*costs: float) -> "list[dict[str, float]]":
    """Return a curve with these training costs, an epoch 1.5 passes and 2 seconds."""
    return [
        {"passes": 1.5 * i, "seconds": 2.0 * i, "train_cost": cost, "validation_error": cost / 10}
        for i, cost in enumerate(costs, 1)
    ]


@pytest.mark.parametrize(
    ("goal", "passes"), [(9, 1.5), (8, 1.5), (6, 2.25), (4, 3), (3, 5.5), (2, 6), (1, math.inf)]
)
def test_a_goal_is_reached_between_two_epochs(goal: float, passes: float) -> None:
    assert claim.reached(rows(8, 4, 5, 2), "train_cost", goal, "passes") == pytest.approx(passes)


def test_each_method_is_tuned_to_what_that_is_fastest_for_the_goal() -> None:
    curves = {"0.1": rows(8, 1), "0.3": rows(4, 3), "1": []}
    assert claim.fastest(curves, "train_cost", 4, "seconds") == (2.0, "0.3")
    assert claim.fastest(curves, "train_cost", 2, "seconds")[1] == "0.1"


def test_goals_are_what_the_best_rate_has_reached_and_only_gains() -> None:
    curves = {"0.1": rows(9, 5, 5, 6, 4), "0.3": rows(7, 6, 3, 3.5, 3)}
    assert claim.goals(curves, "train_cost") == {1: 7, 2: 5, 3: 3}
    assert claim.goals({"1": []}, "train_cost") == {}


def test_the_median_of_the_seeds_and_none_where_one_diverged() -> None:
    assert claim.middle([rows(3), rows(1), rows(7)])[0]["train_cost"] == 3
    assert claim.middle([rows(3), []]) == []


def test_a_trial_runs_both_methods_at_every_rate_and_is_shown() -> None:
    whole = data.load("digits")
    splits = Splits(whole.train.take(40), whole.validation.take(20), whole.test.take(10))
    grids = {"sgd": ((0.01, None), (0.03, None)), "diagonal_lm": ((0.003, 0.1), (1e30, 0.1))}
    trial = replace(claim.TRIALS["dense-batches"], epochs=2, seeds=2, shape=(8, 8, 1), grids=grids)
    result = claim.run(trial, splits)
    assert {m: list(by_rate) for m, by_rate in result["curves"].items()} == {
        "sgd": ["0.01", "0.03"], "diagonal_lm": ["0.003, damping 0.1", "1e+30, damping 0.1"],
    }  # fmt: skip
    assert result["curves"]["diagonal_lm"]["1e+30, damping 0.1"] == []
    assert [row["passes"] for row in result["curves"]["sgd"]["0.01"]] == [1, 2]
    assert (
        result["curves"]["diagonal_lm"]["0.003, damping 0.1"][0]["passes"] > 1
    )  # second derivatives count
    assert "784-30-10, ten examples a step, 40 examples, 2 seeds:" in claim.tables({"x": result})


def test_the_page_shows_the_stored_trials() -> None:
    assert claim.tables(claim.stored()) in claim.PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in claim.FOLDER.glob("*.json")))
def test_a_stored_trial_is_the_one_of_its_name_with_rates_on_both_sides_of_the_best(
    name: str,
) -> None:
    result, trial = claim.stored()[name], claim.TRIALS[name]
    assert (result["title"], result["epochs"], result["seeds"]) == (
        trial.title, trial.epochs, trial.seeds,
    )  # fmt: skip
    assert {m: list(by_rate) for m, by_rate in result["curves"].items()} == {
        m: [claim.label(tuning) for tuning in grid] for m, grid in trial.grids.items()
    }
    curves = result["curves"]
    for goal in claim.goals(curves["sgd"], "train_cost").values():
        for method, tuned in curves.items():
            rates = [rate for rate, _ in trial.grids[method]]
            passes, best = claim.fastest(tuned, "train_cost", goal, "passes")
            if passes < math.inf:
                assert min(rates) < float(best.split(",")[0]) < max(rates), (method, goal)
