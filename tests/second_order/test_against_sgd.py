"""On a small network and few examples curvature pays: lower costs after as many gradients."""

from functools import cache

import numpy as np
import pytest

from deltarule.data import load
from deltarule.learning import Recipe, fit
from deltarule.network import Network

NETWORK = Network([64, 10, 10], activation="tanh", output="softmax")
GRADIENTS = 100
RATES = (0.3, 1.0, 3.0, 10.0, 30.0)


@cache
def digits():
    return load("digits").train[:300]


def costs(optimizer, cost, epochs=GRADIENTS, **options):
    """Return the records of a run with all the data at every step."""
    recipe = Recipe(optimizer=optimizer, cost=cost, epochs=epochs, batch_size=300, **options)
    return fit(NETWORK, digits(), recipe=recipe).history


@cache
def tuned_sgd(cost):
    """Return the lowest cost that a learning rate of the grid reaches."""
    ends = {eta: costs("sgd", cost, learning_rate=eta)[-1]["train_cost"] for eta in RATES}
    best = min(ends, key=ends.__getitem__)
    assert RATES[0] < best < RATES[-1]  # the grid is wide enough
    return ends[best]


@pytest.mark.parametrize(
    ("optimizer", "cost"),
    [
        ("conjugate_gradient", "cross_entropy"),
        ("fletcher_reeves", "cross_entropy"),
        ("bfgs", "cross_entropy"),
        ("lbfgs", "cross_entropy"),
        ("levenberg_marquardt", "quadratic"),
    ],
)
def test_the_cost_is_lower_than_tuned_sgds(optimizer, cost):
    gradients_a_step = 11 if optimizer == "levenberg_marquardt" else 1  # or more
    records = costs(optimizer, cost, epochs=GRADIENTS // gradients_a_step)
    # a record holds the cost before its step, and what was asked up to its end
    affordable = [r for r in records if r["gradient_evaluations"] <= GRADIENTS]
    assert affordable[-1]["train_cost"] < 0.3 * tuned_sgd(cost)
    assert np.isfinite(affordable[-1]["train_cost"])
