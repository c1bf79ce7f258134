"""Targets of LeCun's tanh: +-1, where its second derivative is largest, wherever costs are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fits import BATCH, blobs

from deltarule.committee import Committee
from deltarule.data import Dataset
from deltarule.learning import Recipe, evaluate, fit
from deltarule.learning.costs import TARGETS, targets
from deltarule.learning.small import OUTPUT, functions
from deltarule.network import ACTIVATIONS, Network
from deltarule.network.activations import activation

DATA, HELD_OUT = blobs(), blobs(17, seed=1)
NETWORK = Network([4, 5, 3], activation="lecun_tanh", output="lecun_tanh")
RECIPE = Recipe(cost="quadratic", epochs=3, batch_size=BATCH, learning_rate=0.03)


def encoded(y, smoothing=0.0, output="lecun_tanh"):
    with jax.enable_x64(True):
        return np.asarray(targets(jnp.array(y), 3, smoothing, jnp.dtype("float64"), output))


def test_by_hand():
    assert encoded([0, 2]).tolist() == [[1, -1, -1], [-1, -1, 1]]
    # Smoothing of 0.3 over three classes: shares 0.7 + 0.1 and 0.1, so 2 * 0.8 - 1 and 2 * 0.1 - 1.
    np.testing.assert_allclose(encoded([1], 0.3), [[-0.8, 0.6, -0.8]])


@pytest.mark.parametrize("output", sorted(set(ACTIVATIONS) - set(TARGETS)))
def test_other_outputs_keep_0_and_1(output):
    assert encoded([1], output=output).tolist() == [[0, 1, 0]]
    np.testing.assert_allclose(encoded([1], 0.3, output), [[0.1, 0.8, 0.1]])


def test_numbers_of_regression_stay_what_they_are():
    y = np.array([[0.25, 3.0, -1.5]])
    assert encoded(y).tolist() == y.tolist()


def test_the_targets_are_where_the_second_derivative_is_largest():
    with jax.enable_x64(True):
        z = jnp.linspace(-3, 3, 6001)
        bend = jax.vmap(jax.grad(jax.grad(activation("lecun_tanh"))))(z)
        largest = sorted([float(z[bend.argmax()]), float(z[bend.argmin()])])
    # f'' of 1.7159 tanh(2 z / 3) is largest where tanh^2 = 1/3: at z = 1.5 artanh(3^-1/2) = 0.988,
    # where f = 0.991; the paper rounds both to 1
    np.testing.assert_allclose(largest, [-0.988, 0.988], atol=1e-3)
    at = np.asarray(activation("lecun_tanh")(jnp.array(largest)))
    np.testing.assert_allclose(at, TARGETS["lecun_tanh"], atol=0.01)


@pytest.fixture(scope="module")
def run():
    return fit(NETWORK, DATA, HELD_OUT, RECIPE)


def cost_by_hand(outputs, y):
    wanted = np.where(np.arange(3) == y[:, None], 1.0, -1.0)
    return (np.square(outputs - wanted).sum(axis=1) / 2).mean()


def test_training_and_evaluation_measure_the_same_cost(run):
    expected = cost_by_hand(run.model.outputs(HELD_OUT.x), HELD_OUT.y)
    assert run.history[-1]["validation_cost"] == pytest.approx(expected, rel=1e-5)
    assert evaluate(run.model, HELD_OUT, "quadratic").cost == pytest.approx(expected, rel=1e-5)


def test_a_committee_has_the_cost_of_the_mean_of_its_outputs(run):
    other = fit(NETWORK, DATA, HELD_OUT, Recipe(**{**RECIPE.describe(), "seed": 1})).model
    committee = Committee((run.model, other))
    mean = (run.model.outputs(HELD_OUT.x) + other.outputs(HELD_OUT.x)) / 2
    expected = cost_by_hand(mean, HELD_OUT.y)
    assert evaluate(committee, HELD_OUT, "quadratic").cost == pytest.approx(expected, rel=1e-5)
    twins = Committee((run.model, run.model))
    alone = evaluate(run.model, HELD_OUT, "quadratic")
    assert evaluate(twins, HELD_OUT, "quadratic").cost == pytest.approx(alone.cost, rel=1e-6)
    assert np.array_equal(twins.predict(HELD_OUT.x), alone.predictions)


def test_classes_are_learned_and_outputs_end_near_the_targets(run):
    longer = Recipe(**{**RECIPE.describe(), "epochs": 60})
    trained = fit(NETWORK, DATA, HELD_OUT, longer)
    assert trained.history[-1]["train_accuracy"] > 0.9
    outputs = trained.model.outputs(DATA.x)
    right = outputs[np.arange(len(DATA)), DATA.y]
    assert 0.5 < np.median(right) < 1.3
    assert -1.3 < np.median(outputs) < -0.5  # two of three are of the wrong classes


def test_training_on_classes_is_training_on_their_targets(run):
    wanted = np.where(np.arange(3) == DATA.y[:, None], 1.0, -1.0)
    numbers = fit(NETWORK, Dataset(DATA.x, wanted), recipe=RECIPE)
    for a, b in zip(
        jax.tree.leaves(run.model.params), jax.tree.leaves(numbers.model.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_companions_whole_steps_leave_these_outputs_alone():
    """They encode classes as 1 and 0 by themselves, in native/cpp/vector/small.cpp."""
    assert not set(TARGETS) & set(OUTPUT)
    assert functions(NETWORK) is None
