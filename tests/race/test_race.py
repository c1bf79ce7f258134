"""A race is fair: one start, one budget, one measure, and each at its best rate."""

import json
import signal
from functools import cache

import numpy as np
import pytest

from deltarule import race as racing
from deltarule.data import load
from deltarule.learning import Recipe, fit
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
    # After an epoch at a rate of nearly 0 nothing has moved.
    still = race(NETWORK, digits(), ["sgd"], passes=1, recipe=Recipe(l2=0.1), grid=[1e-8])
    rate, cost = still.racers[0].grid[0]
    assert rate <= 1e-9
    np.testing.assert_allclose(cost, racer("sgd", still).laps[0].points[0].cost, rtol=1e-6)
    assert cost > laps()[0].points[0].cost + 0.1  # the penalty is in it


def test_gradients_are_counted_and_the_budget_is_kept():
    for lap in laps():
        spent = [point.gradient_evaluations for point in lap.points]
        assert spent == sorted(spent)
        assert PASSES - 2 <= spent[-1] <= PASSES
    assert [p.gradient_evaluations for p in racer("sgd").laps[0].points] == list(range(PASSES + 1))
    assert len(racer("conjugate_gradient").laps[0].points) < PASSES + 1


def test_a_step_that_overdraws_the_budget_does_not_count():
    """Newton's first step takes a gradient for each weight: 64 x 2 + 2 + 2 x 10 + 10."""
    network = Network([64, 2, 10], activation="tanh", output="softmax")
    each = race(network, digits(30), ["newton"], passes=20).racers[0]
    assert [point.epoch for point in each.laps[0].points] == [0]
    assert each.final("gradient_evaluations") == (0, 0, 0)
    assert each.final()[0] == each.laps[0].points[0].cost


def test_seconds_are_without_compilation():
    """Also where programs were forgotten between two laps, as happens when there are many."""
    from deltarule.learning.step import advance

    network, seconds = Network([64, 7, 10], output="softmax"), {}
    forget = lambda said: seconds.update({said: advance.clear_cache()})  # noqa: E731
    each = race(network, digits(40), ["sgd"], passes=3, watch=forget).racers[0]
    assert len(seconds) >= len(each.grid)
    assert 0 < each.final("seconds")[0] < 0.1  # compiling takes longer than that


@pytest.mark.parametrize("name", ["sgd", "conjugate_gradient"])
def test_a_lap_is_a_run_of_its_own_measured_after_each_epoch(name):
    lap = racer(name).laps[0]
    epochs = lap.points[-1].epoch
    recipe = Recipe(optimizer=name, learning_rate=lap.learning_rate, epochs=epochs)
    run = fit(NETWORK, digits(), digits(), recipe)
    costs = [record["validation_cost"] for record in run.history]
    assert [point.cost for point in lap.points[1:]] == costs
    assert costs != [record["train_cost"] for record in run.history]


def test_seconds_and_costs_are_those_of_a_run():
    for lap in laps():
        seconds = [point.seconds for point in lap.points]
        assert seconds == sorted(seconds)
        assert lap.points[-1].cost < lap.points[0].cost


def test_the_best_rate_of_the_grid_is_taken():
    sgd = racer("sgd")
    usual = OPTIMIZERS["sgd"].learning_rate
    rates = [rate for rate, _ in sgd.grid]
    assert rates[: len(racing.GRID)] == pytest.approx([share * usual for share in racing.GRID])
    costs = {rate: cost for rate, cost in sgd.grid if cost is not None}
    assert sgd.laps[0].learning_rate == min(costs, key=costs.get)
    assert sgd.laps[0].cost == min(costs.values())
    assert rates[0] < sgd.laps[0].learning_rate < rates[-1]


@pytest.mark.parametrize(
    ("optimum", "given", "tried"),
    [
        (1.0, (0.3, 1.0, 3.0), [0.3, 1, 3]),
        (9.0, (0.3, 1.0), [0.3, 1, 3, 9, 27]),  # up until 27 is worse than 9
        (0.1, (0.3, 1.0), [0.0333, 0.1, 0.3, 1]),  # down until 0.0333 is worse than 0.1
        (1.0, (1.0,), [0.333, 1, 3]),  # a single rate is both ends
        (1e9, (1.0,), [3.0**k for k in range(racing.MOST_BEYOND + 1)]),  # not for ever
    ],
)
def test_the_grid_grows_while_its_best_is_at_an_end(optimum, given, tried):
    found = racing._searched(lambda rate: lap_at(rate, abs(np.log(rate / optimum))), given)
    assert [lap.learning_rate for lap in found] == pytest.approx(tried, rel=0.01)


def test_where_all_rates_diverge_smaller_ones_are_tried():
    found = racing._searched(
        lambda rate: lap_at(rate, rate, "it exploded" if rate > 0.2 else None), (1.0, 3.0)
    )
    assert [lap.learning_rate for lap in found if not lap.diverged][-1] == 0.111
    assert [lap.learning_rate for lap in found][-3:] == [0.333, 1, 3]


def lap_at(rate, cost, diverged=None):
    return Lap(rate, 0, (Point(1, 1, 1, cost),), diverged)


def test_a_method_that_searches_has_no_grid():
    each = racer("conjugate_gradient")
    assert each.grid == ()
    assert each.laps[0].learning_rate is None


def test_a_method_that_cannot_start_is_left_out_and_says_why():
    each = racer("levenberg_marquardt")
    assert not each.finished
    assert "quadratic" in each.left_out


def test_a_rate_that_diverges_is_a_result():
    said = []
    result = race(
        Network([64, 4, 10], activation="relu", output="identity"), digits(60), ["sgd"], passes=2,
        recipe=Recipe(cost="quadratic"), grid=[1.0, 1e37], watch=said.append,
    )  # fmt: skip
    assert result.racers[0].grid[-1] == (pytest.approx(1e36), None)
    assert result.racers[0].laps[0].learning_rate < 1e36
    assert said[1] == "sgd at 1e+36: diverged"


def test_a_last_step_to_infinity_is_no_success():
    """The cost that training reports of an epoch with one step is that before the step."""
    rate = 1e15  # the weights stay finite, and so does the sum of their squares
    result = race(
        Network([64, 4, 10], activation="identity", output="identity"), digits(60), ["sgd"],
        passes=1, recipe=Recipe(cost="quadratic"), grid=[1e-3, 10 * rate], full_batch=True,
    )  # fmt: skip
    assert result.racers[0].grid[-1] == (pytest.approx(rate), None)


def test_a_seed_that_diverges_is_not_hidden():
    fine, late = lap_at(1.0, 2.0), lap_at(1.0, 3.0, "it exploded")
    assert Racer("sgd", (fine, fine, late)).final() == (2, 2, float("inf"))
    assert Racer("sgd", (fine, late)).final("seconds") == (1, 1, 1)


def interrupt(*_):
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_between_laps_keeps_those_that_are_through():
    told = []

    def watch(said):
        told.append(said)
        if said.startswith("sgd"):
            interrupt()

    names = ["conjugate_gradient", "sgd", "adam"]
    result = race(NETWORK, digits(), names, passes=2, watch=watch)
    assert result.interrupted
    assert len(told) == 2
    assert [each.left_out for each in result.racers] == [None, *2 * [racing.INTERRUPTED]]
    with pytest.raises(KeyboardInterrupt):
        race(NETWORK, digits(), names[1:], passes=2, watch=watch)


def test_ctrl_c_within_a_lap_does_not_make_half_a_lap_count(monkeypatch):
    monkeypatch.setattr(racing._Budget, "epoch_ended", interrupt)
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        race(NETWORK, digits(), ["sgd"], passes=2)


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
    assert set(described) == {
        "network", "examples", "passes", "full_batch", "recipe", "racers", "interrupted",
    }  # fmt: skip
    assert described["examples"] == 150
    sgd = next(each for each in described["racers"] if each["optimizer"] == "sgd")
    assert set(sgd["laps"][0]["points"][0]) == {"epoch", "gradient_evaluations", "seconds", "cost"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizers": ["sdg"]}, "sgd"),
        ({"optimizers": ["sgd"], "passes": 0}, "passes and seeds must be at least 1"),
        ({"optimizers": ["sgd"], "grid": []}, "grid must hold"),
        ({"optimizers": ["sgd"], "grid": [0.1, 0]}, "grid must hold"),
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
    assert Result("", 1, 1, False, {}, (each,)).describe()["racers"][0]["left_out"] is None


def test_methods_that_promise_it_beat_tuned_gradient_descent():
    """A small network, all data at every step, as many gradients for each."""
    names = ["sgd", "conjugate_gradient", "lbfgs"]
    result = race(NETWORK, digits(), names, passes=60, full_batch=True)
    sgd = racer("sgd", result).final()[0]
    assert racer("conjugate_gradient", result).final()[0] < sgd
    assert racer("lbfgs", result).final()[0] < sgd / 2
