"""A race is fair: one start, one budget, one measure, and each at its best rate."""

import json
from functools import cache

import numpy as np
import pytest

from deltarule import race as racing
from deltarule.data import load
from deltarule.learning import Recipe
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.network import Network
from deltarule.race import Lap, Point, Racer, Result, race

NETWORK = Network([64, 8, 10], activation="tanh", output="softmax")
PASSES = 6


def digits(n=150):
    return load("digits").train.take(n)


@cache
def small_race(**changes):
    names = ["sgd", "conjugate_gradient", "levenberg_marquardt"]
    return race(NETWORK, digits(), names, passes=PASSES, **changes)


def racer(name, result=None):
    return next(each for each in (result or small_race()).racers if each.optimizer == name)


def laps():
    return [lap for each in small_race().racers for lap in each.laps]


def test_all_start_from_the_same_cost():
    starts = {lap.points[0] for lap in laps()}
    assert len(starts) == 1
    start = starts.pop()
    assert (start.epoch, start.gradient_evaluations, start.seconds) == (0, 0, 0)
    assert 2 < start.cost < 4  # about ln 10, of weights that know nothing


def test_the_first_cost_is_that_of_the_first_weights():
    # After one epoch at a rate of nearly 0 nothing has moved.
    still = race(NETWORK, digits(), ["sgd"], passes=1, recipe=Recipe(l2=0.1))
    rate, cost = still.racers[0].grid[0]
    assert rate == 0.001
    np.testing.assert_allclose(cost, racer("sgd", still).laps[0].points[0].cost, rtol=0.02)


def test_gradients_are_counted_and_the_budget_is_kept():
    for lap in laps():
        spent = [point.gradient_evaluations for point in lap.points]
        assert spent == sorted(spent)
        assert spent[-2] < PASSES <= spent[-1]
    assert [p.gradient_evaluations for p in racer("sgd").laps[0].points] == list(range(PASSES + 1))
    assert len(racer("conjugate_gradient").laps[0].points) < PASSES + 1


def test_seconds_and_costs_are_those_of_a_run():
    for lap in laps():
        seconds = [point.seconds for point in lap.points]
        assert seconds == sorted(seconds)
        assert lap.points[-1].cost < lap.points[0].cost


def test_the_best_rate_of_the_grid_is_taken():
    sgd = racer("sgd")
    usual = OPTIMIZERS["sgd"].learning_rate
    assert [rate for rate, _ in sgd.grid] == pytest.approx([f * usual for f in racing.FACTORS])
    costs = {rate: cost for rate, cost in sgd.grid if cost is not None}
    assert sgd.laps[0].learning_rate == min(costs, key=costs.get)
    assert sgd.laps[0].cost == min(costs.values())


def test_a_method_that_searches_has_no_grid():
    each = racer("conjugate_gradient")
    assert each.grid == ()
    assert each.laps[0].learning_rate is None


def test_a_method_that_cannot_start_is_left_out_and_says_why():
    each = racer("levenberg_marquardt")
    assert not each.finished
    assert "quadratic" in each.left_out


def test_a_rate_that_diverges_is_a_result(monkeypatch):
    monkeypatch.setattr(racing, "FACTORS", (1.0, 1e38))
    said = []
    result = race(
        Network([64, 4, 10], activation="relu", output="identity"), digits(60), ["sgd"], passes=2,
        recipe=Recipe(cost="quadratic"), watch=said.append,
    )  # fmt: skip
    (good, _), (bad, cost) = result.racers[0].grid
    assert (bad, cost) == (pytest.approx(1e37), None)
    assert result.racers[0].laps[0].learning_rate == good
    assert said[1].endswith("inf")


def test_racers_stand_in_the_order_of_their_costs():
    costs = [each.final()[0] for each in small_race().racers if each.finished]
    assert costs == sorted(costs)


def test_several_seeds_begin_anew_at_the_same_rate():
    each = race(NETWORK, digits(80), ["sgd"], passes=2, seeds=3).racers[0]
    assert [lap.seed for lap in each.laps] == [0, 1, 2]
    assert len({lap.points[0].cost for lap in each.laps}) == 3
    assert len({lap.learning_rate for lap in each.laps}) == 1
    median, low, high = each.final()
    assert low < median < high


def test_full_batch_makes_one_step_a_pass():
    whole = race(NETWORK, digits(80), ["sgd"], passes=2, full_batch=True).racers[0]
    parts = race(NETWORK, digits(80), ["sgd"], passes=2).racers[0]
    assert whole.final()[0] > parts.final()[0]


def test_the_result_is_plain_data():
    described = json.loads(json.dumps(small_race().describe(), allow_nan=False))
    assert set(described) == {"network", "examples", "passes", "recipe", "racers"}
    assert described["examples"] == 150
    sgd = next(each for each in described["racers"] if each["optimizer"] == "sgd")
    assert set(sgd["laps"][0]["points"][0]) == {"epoch", "gradient_evaluations", "seconds", "cost"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizers": ["sdg"]}, "sgd"),
        ({"optimizers": ["sgd"], "passes": 0}, "passes and seeds must be at least 1"),
        ({"optimizers": ["levenberg_marquardt"]}, "no optimizer could start"),
    ],
)
def test_wrong_requests_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        race(NETWORK, digits(20), **changes)


def test_final_values_by_hand():
    ends = [Lap(0.1, s, (Point(0, 0, 0, 9.0), Point(1, 1, s, c))) for s, c in enumerate((3, 1, 2))]
    each = Racer("sgd", tuple(ends))
    assert each.final() == (2, 1, 3)
    assert each.final("seconds") == (1, 0, 2)
    assert Result("", 1, 1, {}, (each,)).describe()["racers"][0]["left_out"] is None


def test_methods_that_promise_it_beat_tuned_gradient_descent():
    """A small network, all data at every step, as many gradients for each."""
    names = ["sgd", "conjugate_gradient", "lbfgs"]
    result = race(NETWORK, digits(300), names, passes=60, full_batch=True)
    sgd = racer("sgd", result).final()[0]
    assert racer("conjugate_gradient", result).final()[0] < sgd
    assert racer("lbfgs", result).final()[0] < sgd / 2
