"""Stochastic diagonal Levenberg-Marquardt: its steps in NumPy, what it promises, what it costs."""

import importlib
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.data import Dataset
from deltarule.learning import Recipe, fit
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.learning.program import Examples, Learner, Program
from deltarule.learning.second_order.diagonal_lm import EXAMPLES, GAMMA
from deltarule.learning.second_order.second_derivatives import estimated
from deltarule.network import BatchNorm, Conv, Dense, Flatten, MaxPool, Network
from deltarule.network.kernels import Kernels
from deltarule.seeds import generator
from learning.fits import PutBack, Snapshots, blobs, cut_into, digest, history

ETA, MU, L2, FEW = 0.05, 0.3, 0.1, 20


def recipe(**options):
    usual = {"optimizer": "diagonal_lm", "epochs": 3, "batch_size": 5}
    return Recipe(**(usual | options))


def descend(x, y, w, b, epochs, seed=0):
    """LeCun's method on a linear unit: h_w = mean x^2 of the first FEW examples + l2, h_b = 1."""
    mean = None
    for epoch in range(epochs):
        order = generator(seed, "shuffle", epoch).permutation(len(x))
        h = np.append((x[order[:FEW]] ** 2).mean(axis=0) + L2, 1.0)  # (55), and of the penalty
        mean = h if mean is None else (1 - GAMMA) * mean + GAMMA * h  # (62)
        eta = ETA / (mean + MU)  # (61)
        for start in range(0, len(x), 5):
            batch = order[start : start + 5]
            error = x[batch] @ w + b - y[batch]
            g = (error[:, None] * x[batch]).mean(axis=0) + L2 * w
            w, b = w - eta[:-1] * g, b - eta[-1] * error.mean()
    return w, b


def test_a_linear_unit_takes_the_steps_of_the_paper(monkeypatch):
    monkeypatch.setattr(importlib.import_module("deltarule.learning.step"), "EXAMPLES", FEW)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((41, 3)) * [1.0, 3.0, 0.2]
    y = x @ [1.0, -2.0, 0.5] + 0.3
    start = ({"w": np.array([[0.1, 0.2, -0.3]]), "b": np.array([0.5])}, {})
    run = fit(
        Network([3, 1], output="identity"), Dataset(x, y[:, None]), params=start,
        recipe=recipe(cost="quadratic", precision="float64", learning_rate=ETA, damping=MU, l2=L2),
    )  # fmt: skip
    w, b = descend(x, y, start[0]["w"][0], start[0]["b"][0], epochs=3)
    np.testing.assert_allclose(run.model.params[0]["w"][0], w, rtol=1e-12)
    np.testing.assert_allclose(run.model.params[0]["b"], [b], rtol=1e-12)
    passes = [record["gradient_evaluations"] for record in run.history]
    assert passes == pytest.approx([e * (1 + FEW / 41) for e in (1, 2, 3)])
    assert [record["cost_evaluations"] for record in run.history] == [1, 2, 3]


@pytest.mark.parametrize("optimizer", ["diagonal_lm", "sgd"])
def test_the_unit_of_an_input_does_not_matter_to_it(optimizer):
    """With c x_j for x_j and w_j/c for w_j, g becomes c g, h c^2 h, and the step step/c.

    To plain gradient descent it matters.
    """
    data, unit = blobs(), np.array([1.0, 30.0, 0.1, 1.0])
    network = Network([4, 5, 3], activation="tanh", output="softmax")
    params, _ = network.init(np.random.default_rng(0))
    rescaled = ({"w": params[0]["w"] / unit, "b": params[0]["b"]}, *params[1:])
    same = recipe(optimizer=optimizer, learning_rate=0.02, precision="float64")
    if optimizer == "diagonal_lm":
        same = replace(same, damping=0.0)
    costs = [
        [record["train_cost"] for record in fit(network, d, recipe=same, params=p).history]
        for d, p in ((data, params), (Dataset(data.x * unit, data.y), rescaled))
    ]
    assert np.allclose(*costs, rtol=1e-8) == (optimizer == "diagonal_lm")


@pytest.mark.parametrize("options", [{}, {"clip": 0.5, "l2": 1e-3}], ids=["alone", "clipped"])
def test_resumed_mid_epoch_it_ends_with_the_same_bits(monkeypatch, options):
    cut_into(monkeypatch, 4)  # of 9 steps an epoch
    network = Network([4, 5, 3], activation="tanh", output="softmax")
    stored = Snapshots()
    whole = fit(network, blobs(), recipe=recipe(**options), callbacks=[stored])
    assert any("curvature" in name for name in stored.arrays[0])
    for place in range(len(stored.arrays)):
        put_back = PutBack(stored.arrays[place], stored.headers[place])
        run = fit(network, blobs(), recipe=recipe(**options), callbacks=[put_back])
        assert digest(run.state) == digest(whole.state), place
        assert history(run) == history(whole)


def test_how_a_run_is_cut_into_calls_does_not_matter(monkeypatch):
    network = Network([4, 5, 3], activation="tanh", output="softmax")
    found = set()
    for steps, epochs in ((4, 1), (9, 3)):
        cut_into(monkeypatch, steps, epochs)
        run = fit(network, blobs(), recipe=recipe())
        found.add(tuple(record["train_cost"] for record in run.history))
    assert len(found) == 1


def images(n=24):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.random((n, 6, 6, 1))
    x[y == 1, :, :3] += 1
    return Dataset(x, y)


SEES = Network(Conv(2, 3), MaxPool(2), Flatten(), Dense(2), shape=(6, 6, 1))


def test_a_convolutional_network_learns():
    costs = [r["train_cost"] for r in fit(
        SEES, images(), recipe=recipe(cost="quadratic", epochs=8)
    ).history]  # fmt: skip
    assert costs[-1] < 0.3 * costs[0]


def measured(at_once, weight=None, index=None, l2=0.0):
    data = images()
    take = slice(None) if index is None else index
    examples = Examples(
        jnp.asarray(data.x[take], jnp.float32), jnp.asarray(data.y[take], jnp.int32),
        None if weight is None else jnp.asarray(weight, jnp.float32), 1.0,
    )  # fmt: skip
    program = Program(SEES, "quadratic", "diagonal_lm", False, 5, 2, "float32",
                      Kernels("backend", "plain"), at_once=at_once)  # fmt: skip
    params, state = jax.tree.map(jnp.asarray, SEES.init(np.random.default_rng(0)))
    nothing = jnp.zeros(())
    return estimated(program, Learner(params, state, (), nothing, nothing), examples, l2)


def test_many_images_are_measured_in_parts():
    whole, parts = measured(None), measured(6)
    for ours, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_an_example_of_weight_2_counts_like_two():
    weighed = measured(None, weight=[2, 1, 0], index=[0, 1, 2])
    repeated = measured(None, index=[0, 0, 1])
    for ours, theirs in zip(jax.tree.leaves(weighed), jax.tree.leaves(repeated), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_penalty_curves_weights_alone():
    plain, priced = measured(None), measured(None, l2=0.5)
    for before, after in zip(plain, priced, strict=True):
        for name in before:
            expected = before[name] + (0.5 if name == "w" else 0)
            np.testing.assert_allclose(after[name], expected, rtol=1e-6)


def test_a_network_it_cannot_measure_is_refused_before_the_run():
    network = Network(Dense(3), BatchNorm(), Dense(3), shape=(4,))
    with pytest.raises(ValueError, match="the network has BatchNorm; choose another optimizer"):
        fit(network, blobs(), recipe=recipe(cost="quadratic"))


def test_the_usual_constants_are_those_of_the_paper_and_of_lenet5():
    row = OPTIMIZERS["diagonal_lm"]
    assert (EXAMPLES, row.damping) == (500, 0.02)
    assert not row.all_data
