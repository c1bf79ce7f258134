"""The perceptron: the talk's example, Rosenblatt's rule, and Novikoff's bound on its mistakes."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.textbook import Perceptron, mistake_bound

SQUARE = np.array(list(product((0, 1), repeat=2))).T  # [2, 4]


@pytest.mark.parametrize(
    ("bias", "x", "z", "output"),
    [
        # 2 * -1  +  -1 * 3  +  5 * 1  =  -2 - 3 + 5  =  0, and the bias 2 makes it 2.
        (2, (-1, 3, 1), 2, 1),
        # 2 * -3  +  -1 * 5  +  5 * 2  =  -6 - 5 + 10  =  -1: the slides stop here, at output 0,
        (0, (-3, 5, 2), -1, 0),
        # but the bias 2 belongs to this sum as to the other one: 1, and the neuron fires.
        (2, (-3, 5, 2), 1, 1),
    ],
)
def test_the_example_of_the_slides(bias, x, z, output):
    neuron = Perceptron(weights=[2, -1, 5], bias=bias)
    assert neuron.weighted_input(x) == z
    assert neuron.predict(x) == output


def test_a_weighted_input_of_zero_does_not_fire():
    assert Perceptron([1, 1], -2).predict([1, 1]) == 0


def test_the_rule_by_hand():
    neuron = Perceptron([1, -1], bias=0.5)
    assert not neuron.learn([2, 1], 1)  # z = 1.5, output 1: right, nothing moves
    assert neuron.learn([1, 1], 0)  # z = 0.5, output 1: wrong, so x and 1 are taken away
    assert neuron.weights.tolist() == [0, -2]
    assert neuron.bias == -0.5
    assert neuron.learn([-1, 0], 1)  # z = -0.5, output 0: wrong, so x and 1 are added
    assert neuron.weights.tolist() == [-1, -2]
    assert neuron.bias == 0.5


@pytest.mark.parametrize("table", list(product((0, 1), repeat=4)))
def test_it_learns_what_one_neuron_can_compute_and_nothing_else(table):
    neuron = Perceptron([0, 0])
    mistakes = neuron.fit(SQUARE, table, max_epochs=50)
    learned = [neuron.predict(x) for x in SQUARE.T] == list(table)
    possible = table not in {(0, 1, 1, 0), (1, 0, 0, 1)}
    assert learned == possible
    assert (mistakes[-1] == 0) == possible
    assert 0 not in mistakes[:-1]  # it stops at the first epoch without a mistake
    assert possible or len(mistakes) == 50


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 6), m=st.integers(1, 30))
def test_the_mistakes_stay_within_the_bound(seed, n, m):
    rng = np.random.default_rng(seed)
    w, b = rng.standard_normal(n), rng.standard_normal()
    X = rng.standard_normal((n, m))
    X += w[:, None] * np.sign(w @ X + b) * 0.2 / np.linalg.norm(w)  # no example near the line
    y = (w @ X + b > 0).astype(int)
    neuron = Perceptron(np.zeros(n))
    mistakes = neuron.fit(X, y, max_epochs=100_000)
    assert mistakes[-1] == 0
    assert sum(mistakes) <= mistake_bound(X, y, w, b)
    assert [neuron.predict(x) for x in X.T] == y.tolist()


def test_the_bound_by_hand():
    # x' = (3, 1) and (-1, 1); w' = (1, 0): R² = 10, the nearer example is 1 away, so 10 / 1.
    assert mistake_bound([[3, -1]], [1, 0], weights=[1], bias=0) == 10
    # Longer weights draw the same line, and the bound is the same.
    assert mistake_bound([[3, -1]], [1, 0], weights=[7], bias=0) == pytest.approx(10)


def test_the_callers_weights_stay_as_they_are():
    weights = np.zeros(2)
    Perceptron(weights).fit(SQUARE, [0, 0, 0, 1])
    assert weights.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Perceptron([[1, 2]]), r"weights must be a list of numbers.*\(1, 2\)"),
        (lambda: Perceptron([1, 2]).predict([1, 2, 3]), r"x must hold 2 numbers.*\(3,\)"),
        (lambda: Perceptron([1, 2]).predict(SQUARE), r"x must hold 2 numbers.*\(2, 4\)"),
        (lambda: Perceptron([1, 2]).learn([1, 2], -1), "y must be 0 or 1, got -1"),
        (lambda: Perceptron([1, 2, 3]).fit(SQUARE, [0] * 4), r"X must have 3 rows.*\(2, 4\)"),
        (lambda: Perceptron([1, 2]).fit(np.empty((2, 0)), []), r"X must have 2 rows.*\(2, 0\)"),
        (lambda: Perceptron([1, 2]).fit(SQUARE, [0, 1]), r"y must hold a 0 or a 1.*\(2,\)"),
        (lambda: Perceptron([1, 2]).fit(SQUARE, [-1, -1, -1, 1]), r"y must hold.*\[-1, 1\]"),
        (lambda: mistake_bound(SQUARE, [0, 0, 0, 1], [1, 1], 0), "must separate the examples"),
        (lambda: mistake_bound(SQUARE, [0, 0, 0, 1], [0, 0], 0), "must separate the examples"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
