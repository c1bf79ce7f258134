"""The order of trials and the stages of successive halving, by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.tuning import Trial, stages
from deltarule.tuning.trials import ETA, LEAST, METRICS, promoted, ranked

ACCURACY, COST = METRICS


def trial(number, accuracy=None, cost=None, diverged=None):
    best = None if cost is None else 1
    return Trial(number, {}, 3, 3, best, cost, accuracy, diverged, over=True)


TRIALS = [
    trial(1, 0.90, 0.40),
    trial(2, 0.95, 0.50),
    trial(3, 0.95, 0.30),  # as accurate as 2 at a lower cost
    trial(4, 0.99, 0.01, "it diverged later"),
    trial(5, 0.90, 0.40),  # as good as 1
    trial(6),
]


def test_the_best_comes_first_and_what_diverged_last():
    assert [t.number for t in ranked(TRIALS, ACCURACY)] == [3, 2, 1, 5, 4, 6]
    assert [t.number for t in ranked(TRIALS, COST)] == [3, 1, 5, 2, 4, 6]
    assert ranked(TRIALS[::-1], COST) == ranked(TRIALS, COST)


def test_what_diverged_never_goes_on():
    assert [t.number for t in promoted(TRIALS, ACCURACY, 2)] == [3, 2]
    assert [t.number for t in promoted([TRIALS[3], TRIALS[0]], ACCURACY, 2)] == [1]


@pytest.mark.parametrize(
    ("search", "trials", "epochs", "wanted"),
    [
        ("random", 27, 27, [(27, 27)]),
        ("halving", 27, 27, [(27, 3), (9, 9), (3, 27)]),
        # 81 // 3 = 27 twice more, and 81 epochs bear three cuts: 81 / 27 = 3
        ("halving", 81, 81, [(81, 3), (27, 9), (9, 27), (3, 81)]),
        ("halving", 20, 30, [(20, 3), (6, 10), (2, 30)]),
        ("halving", 100, 10, [(100, 3), (33, 10)]),
        ("halving", 2, 100, [(2, 100)]),
        ("halving", 100, 2, [(100, 2)]),
        ("halving", 1, 1, [(1, 1)]),
    ],
)
def test_stages(search, trials, epochs, wanted):
    assert stages(search, trials, epochs) == wanted


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_every_stage_keeps_a_third_for_three_times_as_long(trials, epochs):
    found = stages("halving", trials, epochs)
    assert (found[0][0], found[-1][1]) == (trials, epochs)
    assert found[0][1] >= min(LEAST, epochs)
    for (many, short), (few, long) in pairwise(found):
        assert few == many // ETA >= 1
        assert math.isclose(long, ETA * short, abs_tol=2)


def test_a_trial_is_judged_by_its_best_epoch():
    begun = Trial(1, {"l2": 0.1}, of=4)
    columns = [(0.9, 0.5, 0.3), (0.95, 0.4, 0.2), (0.95, 0.6, 0.1), (0.99, math.nan, 0.1)]
    history = [
        {"epoch": e, "validation_accuracy": a, "validation_cost": c, "train_cost": t}
        for e, (a, c, t) in enumerate(columns, 1)
    ]
    now = begun.after(history, ACCURACY)
    # of the two epochs with 0.95 the one with the lower cost; the last is not finite
    assert (now.epochs, now.best_epoch) == (4, 2)
    assert (now.validation_accuracy, now.validation_cost) == (0.95, 0.4)
    assert begun.after(history[:1], COST).best_epoch == 1
    assert begun.after([], COST).best_epoch is None
    assert Trial(**now.describe()) == now
