"""Runs of the methods that see all examples at every step: resumed, counted, and refused."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from deltarule.data import Dataset
from deltarule.learning import Recipe, fit
from deltarule.learning.measure import gauss_newton
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.learning.program import Examples, Program
from deltarule.network import BatchNorm, Dense, Dropout, Flatten, Network
from learning.fits import NETWORK, PutBack, Snapshots, blobs, cut_into, digest, history

METHODS = [name for name, row in OPTIMIZERS.items() if row.all_data]
every_method = pytest.mark.parametrize("name", METHODS)


def recipe(name, **changes):
    cost = "quadratic" if OPTIMIZERS[name].quadratic else "cross_entropy"
    return Recipe(**{"optimizer": name, "epochs": 4, "cost": cost, "l2": 0.01} | changes)


@every_method
def test_a_run_goes_on_bit_for_bit(name, monkeypatch):
    cut_into(monkeypatch, 1)
    stored = Snapshots()
    whole = fit(NETWORK, blobs(), recipe=recipe(name), callbacks=[stored])
    put_back = PutBack(stored.arrays[1], stored.headers[1])
    again = fit(NETWORK, blobs(), recipe=recipe(name), callbacks=[put_back])
    assert digest(again.state) == digest(whole.state)
    assert history(again) == history(whole)


@every_method
def test_the_cost_never_rises_and_evaluations_are_in_the_history(name, monkeypatch):
    cut_into(monkeypatch, 1)  # the program of the test above
    run = fit(NETWORK, blobs(), recipe=recipe(name, epochs=6))
    # The penalty falls with it or rises: the cost alone may rise by what the penalty has fallen.
    trains = [record["train_cost"] for record in run.history]
    assert all(after < before * 1.05 for before, after in pairwise(trains))
    gradients = [record["gradient_evaluations"] for record in run.history]
    assert all(after >= before + 1 for before, after in pairwise(gradients))


@pytest.mark.parametrize("name", ["bfgs", "levenberg_marquardt"])
def test_the_order_of_the_examples_does_not_matter(name):
    data = blobs()
    mixed = data[np.random.default_rng(3).permutation(len(data))]
    first, second = (
        fit(NETWORK, each, recipe=recipe(name, epochs=2, precision="float64")).model.params
        for each in (data, mixed)
    )
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_a_linear_network_is_solved_by_one_step_of_levenberg_marquardt():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    run = fit(
        Network([3, 2], output="identity"), Dataset(x, y),
        recipe=recipe("levenberg_marquardt", epochs=1, l2=0, damping=1e-12, precision="float64"),
    )  # fmt: skip
    by_hand = np.linalg.lstsq(np.c_[x, np.ones(40)], y, rcond=None)[0].T
    np.testing.assert_allclose(run.model.params[0]["w"], by_hand[:, :3], rtol=1e-6)
    np.testing.assert_allclose(run.model.params[0]["b"], by_hand[:, 3], rtol=1e-6)


@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 1.5, 43)])
@pytest.mark.parametrize("most", [64, 10])
def test_the_gauss_newton_matrix_is_that_of_all_errors_at_once(weight, most, monkeypatch):
    monkeypatch.setattr("deltarule.learning.measure.JACOBIANS", most)
    with jax.enable_x64(True):
        data = blobs()
        params, state = NETWORK.init(np.random.default_rng(0))
        params = jax.tree.map(jnp.asarray, params)
        batch = Examples(
            jnp.asarray(data.x), jnp.asarray(data.y),
            None if weight is None else jnp.asarray(weight), 1.0,
        )  # fmt: skip
        program = Program(NETWORK, "quadratic", "levenberg_marquardt", False, 43, 3, "float64")
        flat, shaped = ravel_pytree(params)

        def errors(flat):
            a, _ = NETWORK.apply(shaped(flat), state, batch.x)
            roots = 1 if weight is None else jnp.sqrt(weight)[:, None]
            return ((a - jax.nn.one_hot(batch.y, 3)) * roots).reshape(-1)

        j = jax.jacobian(errors)(flat)
        found = gauss_newton(program, params, state, batch, 0.0)
        np.testing.assert_allclose(found, j.T @ j / 43, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "network", "changes", "said"),
    [
        ("bfgs", NETWORK, {"batch_size": 5}, "works on all 43 examples at every step"),
        ("bfgs", Network([4, 3000, 3]), {}, "at most 10,000 parameters, got 24,003; choose lbfgs"),
        ("newton", Network([4, 200, 3]), {}, "at most 1,000 parameters, got 1,603; choose lbfgs"),
        ("lbfgs", Network([4, 5, 3], dropout=0.5), {}, "dropout changes what lbfgs compares"),
        (
            "levenberg_marquardt", Network(Dense(5), BatchNorm(), Dense(3)), {},
            "batch norm mixes them",
        ),
        ("newton", NETWORK, {"precision": "bfloat16"}, "asks for second derivatives"),
        ("levenberg_marquardt", NETWORK, {"precision": "bfloat16"}, "float32 or float64"),
    ],
)  # fmt: skip
def test_what_a_method_cannot_do_is_refused(name, network, changes, said):
    with pytest.raises(ValueError, match=said):
        fit(network, blobs(), recipe=recipe(name, **changes))


def test_all_the_data_may_be_said_aloud():
    fit(NETWORK, blobs(), recipe=recipe("lbfgs", batch_size=43, epochs=1))


def test_a_dropout_of_nothing_and_other_layers_are_welcome():
    network = Network(Flatten(), Dense(5), Dropout(0.0), BatchNorm(), Dense(3))
    run = fit(network, blobs(), recipe=recipe("lbfgs", cost="quadratic"))
    assert run.history[-1]["train_cost"] < run.history[0]["train_cost"]
