"""The textbook and the engine must agree: two programs that share no line, and one network.

Same first weights, same order of examples, float64: after five epochs no weight differs by more
than 1e-10. The engine's ``l2`` is lambda/n of the book, its ``learning_rate`` the book's eta.
"""

import jax
import numpy as np
import pytest

from deltarule import textbook
from deltarule.data import Dataset
from deltarule.learning import Recipe, evaluate, fit
from deltarule.network import Model, Network
from deltarule.seeds import generator

SIZES, NAMES = [4, 6, 5, 3], ("a", "b", "c")
ETA, LAMBDA, SEED, EPOCHS = 0.7, 1.5, 12, 5
COSTS = {"quadratic": textbook.QuadraticCost, "cross_entropy": textbook.CrossEntropyCost}

every_cost = pytest.mark.parametrize("cost", COSTS)


def examples(n, seed=0):
    rng = np.random.default_rng(seed)
    return Dataset(rng.standard_normal((n, SIZES[0])), rng.integers(SIZES[-1], size=n), NAMES)


def columns(data):
    """Return the data as the book has them: an example a column, the answers as 0 and 1."""
    Y = np.eye(SIZES[-1])[data.y].T if data.classes else data.y.T
    return data.x.T * data.scale, Y


def rows(network):
    """Return the textbook's weights and biases as parameters of the engine."""
    pairs = zip(network.weights, network.biases, strict=True)
    dense = [{"w": w.copy(), "b": b[:, 0].copy()} for w, b in pairs]
    return tuple(layer for d in dense for layer in (d, {}))  # after each Dense a sigmoid


def textbook_learns(cost, data, batch_size, lmbda, epochs=EPOCHS, eta=ETA):
    network = textbook.Network(SIZES, cost=COSTS[cost], rng=np.random.default_rng(3))
    start = rows(network)
    order = [generator(SEED, "shuffle", epoch).permutation(len(data)) for epoch in range(epochs)]
    network.SGD(columns(data), epochs, batch_size, eta, lmbda, order=order)
    return network, start


def engine_learns(cost, data, batch_size, lmbda, start, epochs=EPOCHS, eta=ETA, **choices):
    recipe = Recipe(
        cost=cost, learning_rate=eta, batch_size=batch_size, epochs=epochs,
        l2=lmbda / len(data), seed=SEED, **{"precision": "float64", **choices},
    )  # fmt: skip
    return fit(Network(SIZES), data, recipe=recipe, params=start)


def largest_difference(one, other):
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one, other)
    return max(jax.tree.leaves(apart))


@every_cost
@pytest.mark.parametrize(("n", "batch_size"), [(30, 1), (30, 10), (33, 10)])  # 33 leaves a rest
@pytest.mark.parametrize("lmbda", [0.0, LAMBDA], ids=["plain", "L2"])
def test_weights_agree_after_five_epochs(cost, n, batch_size, lmbda):
    data = examples(n)
    network, start = textbook_learns(cost, data, batch_size, lmbda)
    run = engine_learns(cost, data, batch_size, lmbda, start)
    assert largest_difference(run.model.params, rows(network)) < 1e-10
    assert largest_difference(run.model.params, start) > 0.01  # and they have learned something


def test_in_single_precision_they_agree_to_four_digits():
    data, cost = examples(33), "cross_entropy"
    network, start = textbook_learns(cost, data, 10, LAMBDA)
    run = engine_learns(cost, data, 10, LAMBDA, start, precision="float32")
    assert run.model.dtype == np.float32
    assert 0 < largest_difference(run.model.params, rows(network)) < 1e-4


@every_cost
def test_gradients_agree(cost):
    # One step on all examples with a learning rate of 1: the weights before less those after.
    data = examples(33)
    network = textbook.Network(SIZES, cost=COSTS[cost])
    nabla_b, nabla_w = network.backprop(*columns(data))
    start = rows(network)
    run = engine_learns(cost, data, 33, 0.0, start, epochs=1, eta=1.0)
    gradient = jax.tree.map(lambda before, after: before - after, start, run.model.params)
    for layer, nw, nb in zip(gradient[::2], nabla_w, nabla_b, strict=True):
        np.testing.assert_allclose(layer["w"], nw, atol=1e-14)
        np.testing.assert_allclose(layer["b"], nb[:, 0], atol=1e-14)


@every_cost
def test_outputs_costs_and_accuracies_agree(cost):
    data = examples(33)
    network, start = textbook_learns(cost, data, 10, LAMBDA)
    run = engine_learns(cost, data, 10, LAMBDA, start)
    a, found = run.model.outputs(data.x), evaluate(run.model, data, cost)
    np.testing.assert_allclose(a.T, network.feedforward(columns(data)[0]), atol=1e-10)
    assert found.cost == pytest.approx(network.total_cost(columns(data)), abs=1e-10)
    assert found.accuracy == network.accuracy(columns(data))
    penalised = network.total_cost(columns(data), LAMBDA)
    assert found.cost + run.history[-1]["penalty"] == pytest.approx(penalised, abs=1e-10)


def test_answers_between_zero_and_one_agree():
    rng = np.random.default_rng(4)
    data = Dataset(rng.standard_normal((30, SIZES[0])), rng.random((30, SIZES[-1])))
    network, start = textbook_learns("cross_entropy", data, 10, LAMBDA)
    run = engine_learns("cross_entropy", data, 10, LAMBDA, start)
    assert largest_difference(run.model.params, rows(network)) < 1e-10


def test_bytes_scaled_inside_the_engine_agree():
    rng = np.random.default_rng(5)
    pixels = rng.integers(256, size=(30, 2, 2), dtype=np.uint8)
    images = Dataset(pixels, rng.integers(3, size=30), NAMES, scale=1 / 255)
    flat = Dataset(pixels.reshape(30, 4) / 255, images.y, NAMES)
    network, start = textbook_learns("cross_entropy", flat, 10, 0.0)
    run = engine_learns("cross_entropy", images, 10, 0.0, start)
    assert largest_difference(run.model.params, rows(network)) < 1e-10


def test_weights_drawn_by_the_engine_are_read_alike_by_both():
    engine = Network(SIZES)
    params, state = engine.init(np.random.default_rng(6))
    network = textbook.Network(SIZES)
    network.weights = [layer["w"] for layer in params[::2]]
    network.biases = [layer["b"][:, None] for layer in params[::2]]
    x = examples(7).x
    a = Model(engine, params, state, (SIZES[0],)).outputs(x)
    np.testing.assert_allclose(a.T, network.feedforward(x.T), rtol=1e-12)


# The comparison is itself checked: what must make a difference does.


@pytest.mark.parametrize(
    "change", [{"seed": SEED + 1}, {"l2": 0.0}, {"learning_rate": 1.0001 * ETA}], ids=str
)
def test_another_run_does_not_agree(change):
    data = examples(33)
    network, start = textbook_learns("cross_entropy", data, 10, LAMBDA)
    right = {"cost": "cross_entropy", "learning_rate": ETA, "batch_size": 10, "epochs": EPOCHS}
    right |= {"l2": LAMBDA / len(data), "seed": SEED, "precision": "float64"}
    run = fit(Network(SIZES), data, recipe=Recipe(**right | change), params=start)
    assert largest_difference(run.model.params, rows(network)) > 1e-7
