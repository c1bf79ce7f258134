"""Batches: the last, smaller one; one example; a batch larger than the data."""

import numpy as np
import pytest
from fits import NETWORK, blobs, history, weights

from deltarule.data import Dataset
from deltarule.learning import Recipe, evaluate, fit
from deltarule.network import Activation, Dense, Network
from deltarule.seeds import generator

LINE = Network(Dense(1, "zeros", "zeros"), shape=(1,))


def linear(epochs=1, batch_size=3, **options):
    usual = {"cost": "quadratic", "learning_rate": 0.25}
    return Recipe(epochs=epochs, batch_size=batch_size, **(usual | options))


def test_the_last_batch_by_hand():
    """Seven times the example x = 1, y = 1, in batches of 3, 3 and 1; a = w + b from 0.

    The gradient of 1/2 (a - y)^2 for w and for b is a - y, so each step of rate 1/4 adds
    (1 - a)/4 to both, and a half of the distance 1 - a is left:

        batch   size   a before   cost of each    w = b after
        1       3      0          1/2             1/4
        2       3      1/2        1/8             3/8
        3       1      3/4        1/32            7/16

    Were the last batch left out, w would stay 3/8. Were its gradient divided by 3 instead of by
    its own size, w would be 3/8 + 1/48.
    """
    data = Dataset(np.ones((7, 1)), np.ones((7, 1)))
    run = fit(LINE, data, recipe=linear())
    assert weights(run).tolist() == [7 / 16, 7 / 16]
    # 3 x 1/2 + 3 x 1/8 + 1 x 1/32 over 7 examples; a mean of batch means would be 0.21875
    assert run.history[0]["train_cost"] == pytest.approx(1.90625 / 7, rel=1e-7)


def by_hand(data, recipe):
    """Mini-batch gradient descent on a line, one example after another."""
    w = b = 0.0
    costs = []
    for epoch in range(recipe.epochs):
        order = generator(recipe.seed, "shuffle", epoch).permutation(len(data))
        cost = 0.0
        for first in range(0, len(data), recipe.batch_size):
            batch = order[first : first + recipe.batch_size]
            errors = [w * data.x[i, 0] + b - data.y[i, 0] for i in batch]
            cost += sum(e**2 / 2 for e in errors)
            w -= recipe.rate * sum(e * data.x[i, 0] for e, i in zip(errors, batch)) / len(batch)  # noqa: B905
            b -= recipe.rate * sum(errors) / len(batch)
        costs.append(cost / len(data))
    return [b, w], costs


@pytest.mark.parametrize(("n", "batch_size"), [(1, 1), (6, 1), (6, 3), (7, 3)])
def test_every_example_counts_once_an_epoch(n, batch_size):
    rng = np.random.default_rng(n)
    data = Dataset(rng.normal(size=(n, 1)), rng.normal(size=(n, 1)))
    recipe = linear(3, batch_size, precision="float64", learning_rate=0.1, seed=4)
    run = fit(LINE, data, recipe=recipe)
    parameters, costs = by_hand(data, recipe)
    np.testing.assert_allclose(weights(run), parameters, rtol=1e-12)
    np.testing.assert_allclose([r["train_cost"] for r in run.history], costs, rtol=1e-12)


def test_a_batch_larger_than_the_data_is_clipped_with_a_warning():
    data = blobs()
    whole = fit(NETWORK, data, recipe=Recipe(batch_size=43, epochs=2))
    with pytest.warns(UserWarning, match="batch_size 44 is larger than the 43") as warned:
        run = fit(NETWORK, data, recipe=Recipe(batch_size=44, epochs=2))
    assert warned[0].filename == __file__  # the line that asked for it
    assert run.batch_size == 43
    assert np.array_equal(weights(run), weights(whole))
    assert history(run) == history(whole)


def test_the_cut_of_validation_data_counts_for_the_warning():
    with pytest.warns(UserWarning, match="larger than the 16 training examples"):
        fit(NETWORK, blobs(20), 0.2, Recipe(batch_size=20, epochs=1))


@pytest.mark.parametrize("batch_size", [5, 43])
def test_accuracy_counts_examples_not_batches(batch_size):
    """With rate 0 nothing changes, so what training counts is what evaluation counts."""
    data = blobs()
    run = fit(NETWORK, data, recipe=Recipe(batch_size=batch_size, epochs=1, learning_rate=0))
    measured = evaluate(run.model, data)
    assert run.history[0]["train_accuracy"] == measured.correct / 43
    assert run.history[0]["train_cost"] == pytest.approx(measured.cost, rel=1e-6)


def test_one_example():
    data = Dataset([[1.0, 2.0, 3.0, 4.0]], [2])  # so there are three classes
    run = fit(NETWORK, data, recipe=Recipe(batch_size=1, epochs=50, learning_rate=0.5))
    assert run.history[-1]["train_accuracy"] == 1.0
    assert run.model.predict(data.x).tolist() == [2]


def test_one_class():
    data = Dataset(np.random.default_rng(0).normal(size=(6, 2)), np.zeros(6, int))
    network = Network(Dense(1), Activation("softmax"))
    run = fit(network, data, recipe=Recipe(batch_size=4, epochs=2))
    assert run.history[-1]["train_cost"] == 0.0  # the only class is certain
    assert run.model.predict(data.x).tolist() == [0] * 6
