"""What a search draws from, and what it refuses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deltarule.learning import Recipe
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.tuning import Choices, Range, parsed, usual_space
from deltarule.tuning.space import configurations, layers_of

SPACE = {
    "hidden": Choices(("30", "100x50")), "batch_size": Choices((10, 32, 100)),
    "learning_rate": Range(0.001, 1), "momentum": Range(0.5, 0.99, log=False),
}  # fmt: skip
FINITE = {name: SPACE[name] for name in ("hidden", "batch_size")}


@pytest.mark.parametrize(
    ("name", "text", "means"),
    [
        ("learning_rate", "0.001:1", Range(0.001, 1)),
        ("learning_rate", "0.5", Choices((0.5,))),
        ("momentum", "0.5:0.99", Range(0.5, 0.99, log=False)),
        ("momentum", "0:0.9", Range(0, 0.9, log=False)),
        ("l1", "0, 1e-5,1e-4", Choices((0.0, 1e-5, 1e-4))),
        ("l2", "1e-6:1e-3", Range(1e-6, 1e-3)),
        ("batch_size", "10,32,100", Choices((10, 32, 100))),
        ("hidden", "30,100,100x50", Choices(("30", "100", "100x50"))),
        ("dropout", "0.2", Choices((0.2,))),
    ],
)
def test_what_is_written(name, text, means):
    assert parsed(name, text) == means


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("learning_rate", "fast", "--learning-rate: each value must be a number, got 'fast'."),
        ("learning_rate", "0.1:", "--learning-rate: each value must be a number, got ''."),
        ("learning_rate", "inf", "--learning-rate: each value must be a number, got 'inf'."),
        ("learning_rate", "1:0.1", "--learning-rate: a range must go from a number up to a larger "
         "one, got 1:0.1."),
        ("l2", "0:1", "--l2: a log-uniform range must begin above 0, got 0:1; begin where the "
         "effect vanishes, such as 1e-7, or list choices: 0,0.001,0.01."),
        ("l1", "1,1", "--l1: choices must be at least one, and different, got (1.0, 1.0)."),
        ("batch_size", "10:100", "--batch-size: each value makes a compiled program of its own, so "
         "it takes choices with commas between, got the range 10:100."),
        ("batch_size", "1.5", "--batch-size: each value must be a whole number, got '1.5'."),
        ("dropout", "0,1", "--dropout: each share to drop must be at least 0 and below 1, got "
         "'1'."),
        ("hidden", "30,x", "--hidden: hidden layers must be numbers of units such as 100, or "
         "100x50 for two, got 'x'."),
        ("hidden", "0", "--hidden: hidden layers must be numbers of units such as 100, or 100x50 "
         "for two, got '0'."),
        ("rate", "1", "name must be one of hidden, dropout, batch_size, learning_rate, momentum, "
         "l1, l2; got 'rate'."),
    ],
)  # fmt: skip
def test_what_is_refused_in_one_sentence(name, text, said):
    with pytest.raises(ValueError, match=r"\w") as refused:
        parsed(name, text)
    assert str(refused.value) == said


def test_layers_of_a_size():
    assert layers_of("30") == [30]
    assert layers_of("100x50x20") == [100, 50, 20]


@given(st.integers(0, 2**63 - 1), st.integers(1, 20), st.integers(1, 20))
def test_a_trial_depends_on_the_seed_and_its_number_alone(seed, few, more):
    for space in (SPACE, FINITE):
        first = configurations(space, seed, few)
        assert configurations(space, seed, few + more)[: len(first)] == first


def test_another_seed_draws_other_trials():
    assert configurations(SPACE, 0, 3) != configurations(SPACE, 1, 3)


def test_a_finite_space_is_tried_once_each():
    drawn = configurations(FINITE, 0, 100)
    assert len(drawn) == 6  # 2 sizes x 3 batch sizes
    assert len({(each["hidden"], each["batch_size"]) for each in drawn}) == 6


def test_ranges_are_drawn_as_they_say():
    drawn = configurations(SPACE, 0, 400)
    rates = [each["learning_rate"] for each in drawn]
    momenta = [each["momentum"] for each in drawn]
    assert 0.001 <= min(rates) < 0.0012
    assert 0.8 < max(rates) <= 1
    # log10 of the rates is uniform from -3 to 0, the momenta are from 0.5 to 0.99
    assert stats.kstest([math.log10(rate) for rate in rates], "uniform", (-3, 3)).pvalue > 0.01
    assert stats.kstest(momenta, "uniform", (0.5, 0.49)).pvalue > 0.01
    assert stats.kstest(rates, "uniform", (0.001, 0.999)).pvalue < 1e-6
    assert {each["batch_size"] for each in drawn} == {10, 32, 100}
    assert all(float(f"{rate:.3g}") == rate for rate in rates)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_usual_space_suits_the_optimizer(optimizer):
    cost = "quadratic" if OPTIMIZERS[optimizer].quadratic else "cross_entropy"
    recipe, usual = Recipe(optimizer=optimizer, cost=cost), OPTIMIZERS[optimizer].learning_rate
    space = usual_space(recipe, 1000)
    assert ("learning_rate" in space) == (usual is not None)
    if usual is not None:
        assert space["learning_rate"].low < usual < space["learning_rate"].high
    assert ("batch_size" in space) == (not OPTIMIZERS[optimizer].all_data)
    assert ("momentum" in space) == (optimizer in ("momentum", "nesterov"))
    programs = math.prod(len(s.values) for s in space.values() if isinstance(s, Choices))
    assert programs < 16  # as many as are kept (``step.KEPT_PROGRAMS``)


def test_no_batch_is_larger_than_the_data():
    assert usual_space(Recipe(), 20)["batch_size"].values == (10,)
    assert usual_space(Recipe(), 5)["batch_size"].values == (5,)
