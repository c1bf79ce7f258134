"""ADALINE: the delta rule by hand, as a gradient, and on its way to least squares."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.textbook import Adaline, gradcheck, largest_learning_rate


def problem(seed, n=3, m=20):
    """Return inputs X [n, m] and noisy targets y [m]."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, m))
    return X, rng.standard_normal(n) @ X + 0.3 + 0.1 * rng.standard_normal(m)


def least_squares(X, y):
    """Return the weights and bias of least cost."""
    solution = np.linalg.lstsq(np.vstack([X, np.ones(X.shape[1])]).T, y)[0]
    return solution[:-1], solution[-1]


def test_the_delta_rule_by_hand():
    neuron = Adaline([0.5, -1.0], bias=0.25)
    # z = 0.5 * 2 - 1 * 1 + 0.25 = 0.25, δ = 0.25 - 1.25 = -1, so with η = 0.1
    # w = (0.5, -1) + 0.1 (2, 1) = (0.7, -0.9) and b = 0.25 + 0.1 = 0.35.
    assert neuron.cost([[2], [1]], [1.25]) == 0.5
    neuron.learn([2, 1], 1.25, eta=0.1)
    assert neuron.weights == pytest.approx([0.7, -0.9])
    assert neuron.bias == pytest.approx(0.35)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_step_is_a_gradient(seed):
    X, y = problem(seed)
    before, after = (Adaline([0.1, -0.2, 0.3], 0.4) for _ in range(2))
    after.fit(X, y, eta=1.0, epochs=1)
    gradcheck(
        lambda p: Adaline(p[0], p[1][0]).cost(X, y),
        [before.weights, [before.bias]],
        [before.weights - after.weights, [before.bias - after.bias]],
        tolerance=1e-7,
    )


@given(seed=st.integers(0, 2**32 - 1))
def test_the_steps_lead_to_least_squares(seed):
    X, y = problem(seed)
    w, b = least_squares(X, y)
    neuron = Adaline([0, 0, 0])
    costs = neuron.fit(X, y, eta=largest_learning_rate(X) / 2, epochs=1000)
    assert neuron.weights == pytest.approx(w, abs=1e-8)
    assert neuron.bias == pytest.approx(b, abs=1e-8)
    assert all(later <= earlier for earlier, later in pairwise(costs[:20]))
    assert costs[-1] == neuron.cost(X, y) > 0  # the noise is left


def test_without_noise_one_example_at_a_time_leads_there_too():
    X, y = problem(seed=1)
    y = np.array([1.0, -2.0, 0.5]) @ X + 0.25
    neuron, rng = Adaline([0, 0, 0]), np.random.default_rng(0)
    for _ in range(200):
        for i in rng.permutation(len(y)):
            neuron.learn(X[:, i], y[i], eta=0.1)
    assert neuron.weights == pytest.approx([1.0, -2.0, 0.5], abs=1e-9)
    assert neuron.bias == pytest.approx(0.25, abs=1e-9)


def test_with_noise_one_example_at_a_time_keeps_wandering():
    X, y = problem(seed=1)
    w, _ = least_squares(X, y)
    neuron = Adaline([0, 0, 0])
    for _ in range(200):
        for x, target in zip(X.T, y, strict=True):
            neuron.learn(x, target, eta=0.1)
    assert 1e-4 < np.max(np.abs(neuron.weights - w)) < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_learning_rate_divides_converging_from_diverging(seed):
    X, y = problem(seed)
    limit = largest_learning_rate(X)
    below = Adaline([0, 0, 0]).fit(X, y, eta=0.99 * limit, epochs=400)
    above = Adaline([0, 0, 0]).fit(X, y, eta=1.01 * limit, epochs=400)
    assert below[-1] < below[0]
    assert above[-1] > 10 * above[0]


def test_classes_are_signs():
    neuron = Adaline([1.0], bias=-1.0)
    assert neuron.predict([[0, 1, 2]]).tolist() == [-1, -1, 1]
    assert neuron.output([3]) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Adaline([[1, 2]]), r"weights must be a list of numbers.*\(1, 2\)"),
        (lambda: Adaline([1, 2]).output([[1, 2, 3]]), r"X must have 2 rows.*\(1, 3\)"),
        (lambda: Adaline([1, 2]).learn([1, 2, 3], 1, eta=0.1), r"X must have 2 rows.*\(3,\)"),
        (lambda: Adaline([1]).cost([[1, 2, 3]], [[1], [2], [3]]), r"shape \(3,\).*\(3, 1\)"),
        (lambda: Adaline([1]).cost(np.empty((1, 0)), []), "at least one example"),
        (lambda: Adaline([1]).fit([[1, 2, 3]], [1, 2], 0.1, 1), r"shape \(3,\).*\(2,\)"),
        (lambda: largest_learning_rate([1, 2]), r"X must have a column for each.*\(2,\)"),
    ],
)
def test_wrong_arguments_are_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
