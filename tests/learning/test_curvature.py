"""Eigenvalues of the Hessian: against derivatives by JAX, and by hand where that can be done."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fits import blobs
from jax.flatten_util import ravel_pytree

from deltarule.data import Dataset
from deltarule.learning import Recipe, curvature, penalties
from deltarule.learning.costs import cost_function, targets
from deltarule.learning.curvature import limit_of, sample, spectrum
from deltarule.network import Activation, Conv, Dense, Dropout, Flatten, Model, Network
from deltarule.seeds import generator

DATA = blobs(43)
CASES = {
    "cross-entropy": (Network([4, 3, 3]), Recipe()),
    "softmax, all prices": (
        Network([4, 3, 3], activation="tanh", output="softmax"),
        Recipe(l2=0.1, l1=0.3, label_smoothing=0.2),
    ),
    "quadratic": (Network([4, 3, 3]), Recipe(cost="quadratic", l2=0.01)),
    "classes weighed": (Network([4, 3, 3]), Recipe(class_weight=(1.0, 2.0, 0.5))),
    "dropout": (Network([4, 3, 3], dropout=0.5), Recipe()),
}


def drawn(network: Network, data: Dataset = DATA, seed: int = 1) -> Model:
    params, state = network.init(generator(seed, "weights"), data.shape)
    return Model(network, params, state, data.shape, data.classes, data.scale)


def hessian(model: Model, data: Dataset, recipe: Recipe) -> np.ndarray:
    """The dense Hessian as ``jax.hessian`` gives it, of a cost written out here."""
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, model.params))
        weight = np.ones(len(data))
        if recipe.class_weight is not None:
            weight = np.array(recipe.class_weight)[data.y]
            weight = weight / weight.mean()
        y = targets(jnp.asarray(data.y), len(data.classes), recipe.label_smoothing, flat.dtype)

        def cost(w):
            params = unravel(w)
            z, _ = model.network.logits(params, model.state, jnp.asarray(data.x) * data.scale)
            costs = cost_function(recipe.cost, model.network.output)(z, y)
            return (costs * weight).mean() + penalties.value(params, recipe.l1, recipe.l2)

        return np.asarray(jax.jit(jax.hessian(cost))(flat))


@pytest.mark.parametrize("name", CASES)
def test_the_spectrum_is_that_of_the_dense_hessian(name: str) -> None:
    network, recipe = CASES[name]
    model = drawn(network)
    found = spectrum(model, DATA, recipe, most=5)
    expected = np.linalg.eigvalsh(hessian(model, DATA, recipe))[::-1]
    assert (found.parameters, found.examples) == (len(expected), 43)
    np.testing.assert_allclose(found.all, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found.largest, found.all[:5])


@pytest.mark.parametrize("most", [1, 4])
def test_lanczos_finds_the_largest(most: int) -> None:
    network, recipe = CASES["softmax, all prices"]
    model = drawn(network)
    found = spectrum(model, DATA, recipe, most=most, whole=0)
    assert found.all is None
    expected = np.linalg.eigvalsh(hessian(model, DATA, recipe))[::-1]
    np.testing.assert_allclose(found.largest, expected[:most], rtol=1e-6)


def test_the_largest_is_not_the_steepest_downwards() -> None:
    values = np.r_[-50.0, 3.0, 2.0, np.linspace(0, 1, 20)]
    found = curvature._lanczos(lambda v: values * v.ravel(), len(values), 2, 1e-9)
    np.testing.assert_allclose(found, [3.0, 2.0], rtol=1e-8)


def test_a_linear_neuron_by_hand() -> None:
    # C = 1/n sum (w.x + b - y)^2 / 2, so H = 1/n sum (x, 1)(x, 1)', whatever w, b and y are:
    #   x = (1, 0), (-1, 0), (0, 3), (0, -3):  mean x1^2 = 2/4, mean x2^2 = 18/4, b: 1, no mixed.
    network = Network(Dense(1), Activation("identity"))
    x = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])
    data = Dataset(x, np.array([[5.0], [1], [2], [0]]))
    found = spectrum(drawn(network, data), data, Recipe(cost="quadratic"))
    np.testing.assert_allclose(found.all, [4.5, 1.0, 0.5], rtol=1e-12)
    assert (found.best, found.limit) == pytest.approx((1 / 4.5, 2 / 4.5))
    # l2 adds itself to weights, not to the bias: 4.5 + 2, 0.5 + 2, 1.
    penalised = spectrum(drawn(network, data), data, Recipe(cost="quadratic", l2=2.0))
    np.testing.assert_allclose(penalised.all, [6.5, 2.5, 1.0], rtol=1e-12)


def test_gradient_descent_settles_below_the_limit_and_not_above() -> None:
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(20, 3)) * [1, 2, 3], rng.normal(size=(20, 1)))
    network = Network(Dense(1), Activation("identity"))
    limit = spectrum(drawn(network, data), data, Recipe(cost="quadratic")).limit
    rows = np.hstack([data.x, np.ones((20, 1))])
    minimum, *_ = np.linalg.lstsq(rows, data.y, rcond=None)
    for factor, settles in ((0.98, True), (1.02, False)):
        w = minimum + 0.01
        for _ in range(500):
            w = w - factor * limit * rows.T @ (rows @ w - data.y) / 20
        assert (np.linalg.norm(w - minimum) < 0.01) == settles


def test_the_limit_is_that_of_the_optimizer() -> None:
    # One direction of curvature 4: run each method on C = 4 w^2 / 2 just below and above.
    def settles(recipe: Recipe, rate: float) -> bool:
        w, v, mu = 1.0, 0.0, 0.0 if recipe.optimizer == "sgd" else recipe.momentum
        for _ in range(2000):
            v = mu * v + 4 * w
            w -= rate * (4 * w + mu * v if recipe.optimizer == "nesterov" else v)
        return abs(w) < 1

    for name in ("sgd", "momentum", "nesterov"):
        recipe = Recipe(optimizer=name)
        limit = limit_of(4.0, recipe)
        assert limit is not None
        assert settles(recipe, 0.99 * limit)
        assert not settles(recipe, 1.01 * limit)
    assert limit_of(4.0, Recipe(optimizer="adam")) is None
    assert limit_of(-1.0, Recipe()) is None


@pytest.mark.parametrize("chunk", [7, 42])
def test_how_examples_are_cut_changes_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    network, recipe = CASES["classes weighed"]
    expected = spectrum(drawn(network), DATA, recipe).all
    monkeypatch.setattr(curvature, "CHUNK", chunk)
    jax.clear_caches()  # the size of the parts is no argument of the compiled program
    np.testing.assert_allclose(spectrum(drawn(network), DATA, recipe).all, expected, atol=1e-13)


def test_what_does_not_change_the_cost_does_not_change_the_spectrum() -> None:
    network, recipe = CASES["softmax, all prices"]
    model = drawn(network)
    expected = spectrum(model, DATA, recipe).all
    twice = Dataset(np.concatenate([DATA.x[::-1], DATA.x]), np.concatenate([DATA.y[::-1], DATA.y]))
    scaled = replace(DATA, x=DATA.x / 4, scale=4.0)
    units = [1, 2, 0]  # hidden units in another order
    first, second = model.params[0], model.params[2]
    params = (
        {"w": first["w"][units], "b": first["b"][units]}, {},
        {"w": second["w"][:, units], "b": second["b"]}, {},
    )  # fmt: skip
    for other, data in ((model, twice), (model, scaled), (replace(model, params=params), DATA)):
        np.testing.assert_allclose(spectrum(other, data, recipe).all, expected, atol=1e-12)


def test_a_convolutional_network() -> None:
    network = Network(
        Conv(2, 2), Activation("tanh"), Flatten(), Dense(2), Activation("softmax"),
        shape=(3, 3, 1),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(9, 3, 3, 1)), np.arange(9) % 2)
    model = drawn(network, data)
    expected = np.linalg.eigvalsh(hessian(model, data, Recipe()))[::-1]
    np.testing.assert_allclose(spectrum(model, data, Recipe()).all, expected, atol=1e-12)


def test_float32_models_are_measured_in_float64() -> None:
    network, recipe = CASES["quadratic"]
    model = drawn(network)
    narrow = replace(model, params=jax.tree.map(np.float32, model.params))
    wide = replace(model, params=jax.tree.map(np.float64, narrow.params))
    np.testing.assert_array_equal(
        spectrum(narrow, DATA, recipe).all, spectrum(wide, DATA, recipe).all
    )


def test_the_recipe_comes_with_the_model() -> None:
    network, recipe = CASES["quadratic"]
    model = replace(drawn(network), provenance={"recipe": recipe.describe()})
    np.testing.assert_array_equal(spectrum(model, DATA).all, spectrum(model, DATA, recipe).all)


def test_a_sample_is_always_the_same_and_not_sorted_away() -> None:
    data = Dataset(np.arange(100.0)[:, None], np.repeat([0, 1], 50))
    few = sample(data, 30)
    assert len(few) == 30 == len(np.unique(few.x))
    np.testing.assert_array_equal(few.x, sample(data, 30).x)
    assert 5 < few.y.sum() < 25
    assert sample(data, 100) is data
    network, recipe = CASES["cross-entropy"]
    found = spectrum(drawn(network), DATA, recipe, examples=10)
    assert found.examples == 10
    np.testing.assert_array_equal(found.all, spectrum(drawn(network), sample(DATA, 10), recipe).all)


WRONG = [  # keywords, message
    ({"most": 0}, "most must be a number of eigenvalues of at least 1, got 0"),
    ({"examples": 0}, "examples must be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(("keywords", "message"), WRONG)
def test_wrong_arguments_are_refused(keywords: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spectrum(drawn(Network([4, 3, 3])), DATA, Recipe(), **keywords)


def test_wrong_data_are_refused() -> None:
    with pytest.raises(ValueError, match="give the last layer 2 units"):
        spectrum(drawn(Network([4, 3, 3])), blobs(6, classes=2), Recipe())
    with pytest.raises(ValueError, match="must have parameters"):
        spectrum(drawn(Network(Dropout(0.5), Activation("softmax")), blobs(4, classes=4)),
                 blobs(4, classes=4), Recipe())  # fmt: skip
