"""Real learning: handwritten digits, in seconds, to an accuracy that has a floor and a ceiling."""

import numpy as np
import pytest

from deltarule.data import Dataset, load
from deltarule.learning import Recipe, evaluate, fit
from deltarule.network import Flatten, Network

NETWORK = Network([64, 30, 10], activation="tanh", output="softmax")
RECIPE = Recipe(epochs=15, learning_rate=0.2)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def run(digits):
    return fit(NETWORK, digits.train, digits.validation, RECIPE)


def test_digits_are_learned_and_not_suspiciously_well(run, digits):
    result = evaluate(run.model, digits.test)
    assert 0.93 <= result.accuracy < 1.0  # 1.0 would mean that the test set was trained on
    assert result.interval[0] > 0.9
    assert result.confusion.sum() == 360


def test_training_looks_as_it_should(run):
    costs = [record["train_cost"] for record in run.history]
    assert costs[-1] < 0.2 * costs[0]
    assert run.history[-1]["validation_accuracy"] > run.history[0]["validation_accuracy"]
    assert run.history[-1]["validation_accuracy"] < 1.0


def test_precision_makes_no_difference_to_the_accuracy(run, digits):
    double = fit(NETWORK, digits.train, digits.validation, Recipe(
        epochs=15, learning_rate=0.2, precision="float64",
    ))  # fmt: skip
    parts = (digits.train, digits.validation, digits.test)
    total = sum(map(len, parts))
    right = [sum(evaluate(each.model, part).correct for part in parts) for each in (run, double)]
    assert abs(right[0] - right[1]) <= 0.002 * total


def test_images_and_rows_are_the_same(run, digits):
    rows = Dataset(
        digits.train.x.reshape(-1, 64), digits.train.y, digits.train.classes, digits.train.scale
    )
    assert np.array_equal(
        fit(NETWORK, rows, recipe=RECIPE).model.logits(digits.test.x.reshape(-1, 64)),
        fit(NETWORK, digits.train, recipe=RECIPE).model.logits(digits.test.x),
    )
    flattening = Network(Flatten(), *NETWORK.layers)
    assert flattening.count((8, 8)) == NETWORK.count()
