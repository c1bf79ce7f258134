"""Standardize and Decorrelate: measured once on the training inputs, and part of the model."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.data import Dataset
from deltarule.files import load_model, save_model
from deltarule.learning import Recipe, Run, fit
from deltarule.network import (
    Activation,
    BatchNorm,
    Conv,
    Decorrelate,
    Dense,
    Flatten,
    Model,
    Network,
    Residual,
    Standardize,
)
from deltarule.network.layers import inputs
from deltarule.network.layers.inputs import FLOOR, measured

KEY = jax.random.key(0)


def correlated(n: int = 60, k: int = 4, seed: int = 0) -> np.ndarray:
    """Inputs of different means and deviations that depend on each other."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) * 10.0 ** np.arange(k) / 10 + 5


def prepared(layer, x, state=None):
    """What the layer makes of x, in float64; measured on x unless the state is given."""
    state = layer.measure([x]) if state is None else state
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, state)
        return np.asarray(layer.apply({}, on_device, jnp.asarray(x), key=KEY, train=True)[0])


def covariance(z):
    return (z - z.mean(axis=0)).T @ (z - z.mean(axis=0)) / len(z)


def blobs(n=40, shape=(2, 3), seed=0):
    """Bytes: images of two classes with a pixel that is always 7 and one always 0."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.integers(0, 120, size=(n, *shape)) + 100 * y.reshape(-1, *[1] * len(shape))
    x[:, 0, 0], x[:, 1, 2] = 7, 0
    return Dataset(x.astype(np.uint8), y, scale=1 / 255)


# ---- by hand


def test_standardize_by_hand():
    # Columns 1 3 5, mean 3, squares 4 0 4, mean 8/3; and 7 7 7, which never changes.
    x = np.array([[1.0, 7], [3, 7], [5, 7]])
    state = Standardize().measure([x])
    assert state["mean"].tolist() == [3, 7]
    np.testing.assert_allclose(state["scale"], [np.sqrt(3 / 8), 1])
    np.testing.assert_allclose(
        prepared(Standardize(), x), [[-np.sqrt(1.5), 0], [0, 0], [np.sqrt(1.5), 0]]
    )


def test_standardize_a_channel_by_hand():
    # Two images of 1 x 2 pixels and two channels. Channel 0 holds 0 2 4 6: mean 3, squares
    # 9 1 1 9, mean 5; channel 1 holds 1 1 1 1.
    x = np.array([[[[0.0, 1], [2, 1]]], [[[4, 1], [6, 1]]]])
    state = Standardize("channel").measure([x])
    assert state["mean"].tolist() == [3, 1]
    np.testing.assert_allclose(state["scale"], [1 / np.sqrt(5), 1])
    np.testing.assert_allclose(
        prepared(Standardize("channel"), x)[:, 0, :, 0], np.array([[-3, -1], [1, 3]]) / np.sqrt(5)
    )


def test_decorrelate_by_hand():
    # Around the mean (10, 20): (2, 1), (-2, -1), (1, 2), (-1, -2). The covariance is
    # [[10, 8], [8, 10]] / 4 with the eigenvectors (1, 1)/sqrt 2 and (1, -1)/sqrt 2 to 4.5 and 0.5:
    # V = [[1, 1] / 3, [1, -1]].
    x = np.array([[12.0, 21], [8, 19], [11, 22], [9, 18]])
    state = Decorrelate().measure([x])
    np.testing.assert_allclose(state["mean"], [10, 20])
    np.testing.assert_allclose(state["matrix"], [[1 / 3, 1 / 3], [1, -1]])
    np.testing.assert_allclose(prepared(Decorrelate(), x), [[1, 1], [-1, -1], [1, -1], [-1, 1]])
    np.testing.assert_allclose(prepared(Decorrelate(1), x), [[1], [-1], [1], [-1]])


# ---- what they promise


@given(st.sampled_from([2, 7, 40]), st.sampled_from([1, 4]), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_after_standardize_means_are_0_and_mean_squares_1(n, k, seed):
    z = prepared(Standardize(), correlated(n, k, seed))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose((z**2).mean(axis=0), 1, rtol=1e-9)


@given(st.sampled_from([(1, 1), (4, 4), (4, 2)]), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_after_decorrelate_the_covariance_is_the_identity(sizes, seed):
    k, keep = sizes
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, k)) @ (np.eye(k) + 0.3 * rng.normal(size=(k, k)))
    if np.linalg.eigvalsh(covariance(x))[0] > 1e-3:  # none is raised to the floor
        z = prepared(Decorrelate(keep), x + 3)
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(covariance(z), np.eye(keep), atol=1e-8)


def test_both_after_each_other():
    x = correlated(200)
    first, second = measured((Standardize(), Decorrelate()), x, 0.1)
    z = prepared(Decorrelate(), prepared(Standardize(), 0.1 * x, first), second)
    np.testing.assert_allclose(covariance(z), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(first["mean"], 0.1 * x.mean(axis=0))
    np.testing.assert_allclose(second["mean"], 0, atol=1e-12)  # measured behind the first


def test_units_and_offsets_make_no_difference():
    x = correlated()
    other = x * [3.0, 0.01, 1e4, 2] - [7, 0, 1e3, 1]
    np.testing.assert_allclose(
        prepared(Standardize(), other), prepared(Standardize(), x), atol=1e-9
    )


def test_components_come_in_the_order_of_their_variances():
    x = np.random.default_rng(0).normal(size=(500, 3)) * [0.1, 10, 1]
    matrix = Decorrelate().measure([x])["matrix"]
    assert np.abs(matrix).argmax(axis=1).tolist() == [1, 2, 0]
    assert (matrix.max(axis=1) > 0).all()  # the large entry of each is positive
    few = Decorrelate(2).measure([x])["matrix"]
    assert np.array_equal(few, matrix[:2])


@pytest.mark.parametrize("value", [0.0, 0.1, 7 / 255, -1e9, 1e-30])
def test_an_input_that_never_changes_is_moved_to_0_and_no_more(value):
    # 0.1 is no binary fraction: the mean of many is not quite it, and the rest must not be blown up
    x = np.column_stack([np.full(37, value), np.arange(37.0)])
    state = Standardize().measure([x])
    assert state["scale"][0] == 1
    assert np.abs(prepared(Standardize(), x)[:, 0]).max() <= 1e-15 * abs(value)


def test_directions_without_variance_are_not_blown_up():
    x = correlated()
    x = np.column_stack([x, x[:, 0] + x[:, 1], np.full(len(x), 0.1)])  # of rank 4
    state = Decorrelate().measure([x])
    largest = np.linalg.eigvalsh(covariance(x))[-1]
    lengths = np.linalg.norm(state["matrix"], axis=1)
    assert lengths.max() <= 1.0001 / np.sqrt(FLOOR * largest)
    assert np.isclose(lengths[-1], 1 / np.sqrt(FLOOR * largest))
    assert np.isfinite(prepared(Decorrelate(), x)).all()


@pytest.mark.parametrize("layer", [Standardize(), Decorrelate()])
@pytest.mark.parametrize("n", [1, 9])
def test_examples_that_are_all_the_same_are_moved_to_0(layer, n):
    x = np.tile([0.1, -3.3, 0.7], (n, 1))
    np.testing.assert_allclose(prepared(layer, x), 0, atol=1e-14)
    assert np.abs(prepared(layer, x + 1, layer.measure([x]))).max() < 2


@pytest.mark.parametrize("layers", [(Standardize(),), (Standardize("channel"), Decorrelate())])
def test_measured_in_chunks_as_in_one(monkeypatch, layers):
    x = np.random.default_rng(0).integers(0, 256, size=(50, 2, 2, 1)).astype(np.uint8)
    whole = measured(layers, x, 1 / 255)
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 8 * 4 * 7)  # seven images: the last chunk has one
    parts = measured(layers, x, 1 / 255)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_measuring_bytes_takes_little_memory(monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK_BYTES", 1 << 20)
    x = np.random.default_rng(0).integers(0, 256, size=(50_000, 64)).astype(np.uint8)
    tracemalloc.start()
    try:
        measured((Standardize(),), x, 1 / 255)
        assert tracemalloc.get_traced_memory()[1] < 6 << 20  # 26 MB, were it made floats at once
    finally:
        tracemalloc.stop()


# ---- in a network


def test_sizes_with_prepared_inputs():
    assert Network([4, 3], inputs="standardize").layers[0] == Standardize()
    assert Network([4, 3], inputs="decorrelate").layers[0] == Decorrelate()
    assert Network([4, 3], inputs="standardize").layers[1:] == Network([4, 3]).layers
    assert Network([4, 3], inputs="standardize").count() == Network([4, 3]).count()


BEHIND = "is measured on the inputs, so it must stand before all other layers"
REFUSED = {
    "behind dense": (lambda: Network(Dense(3), Standardize()), BEHIND),
    "behind flatten": (lambda: Network(Flatten(), Decorrelate()), BEHIND),
    "inside a layer": (lambda: Network(Residual((Standardize(),))), BEHIND),
    "deep inside": (lambda: Network(Dense(3), Residual((Residual((Decorrelate(),)),))), BEHIND),
    "before and behind": (lambda: Network(Standardize(), Dense(3), Standardize()), BEHIND),
    "from a file": (
        lambda: Network.from_description(
            [{"layer": "Flatten"}, {"layer": "Standardize", "per": "input"}]
        ),
        BEHIND,
    ),
    "no such": (
        lambda: Network([4, 3], inputs="standardise"),
        "inputs must be one of standardize, decorrelate; .*did you mean 'standardize'",
    ),
    "layers and inputs": (
        lambda: Network(Dense(3), inputs="standardize"),
        "inputs go with one list of sizes",
    ),
    "more than there are": (
        lambda: Network(Decorrelate(5), Dense(3)).count((4,)),
        "keep must be at most the 4 inputs there are, got 5",
    ),
    "a large image": (
        lambda: Network(Decorrelate(5), Dense(3)).count((224, 224, 3)),
        "Decorrelate works on at most 8,192 inputs, got 150,528; take Standardize",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_they_may_follow_each_other_in_front():
    network = Network(Standardize(), Decorrelate(3), Dense(2), BatchNorm(), shape=(2, 3))
    assert network.output_shape() == (2,)
    assert Network.from_description(network.describe(), shape=(2, 3)) == network


# ---- in a run

PREPARED = Network(
    Standardize(), Decorrelate(3), Dense(4), Activation("tanh"), Dense(2), Activation("softmax")
)


@pytest.fixture(scope="module")
def run():
    return fit(PREPARED, blobs(), blobs(20, seed=1), Recipe(epochs=3, learning_rate=0.5))


def by_hand(model, x):
    """Weighted inputs of the last layer, in NumPy from the raw bytes on."""
    first, second = model.state[:2]
    z = x.astype(float) / 255
    z = (z - first["mean"]) * first["scale"]
    z = (z.reshape(len(z), -1) - second["mean"]) @ second["matrix"].T
    a = np.tanh(z @ model.params[2]["w"].T + model.params[2]["b"])
    return a @ model.params[4]["w"].T + model.params[4]["b"]


def test_prediction_on_raw_inputs_is_that_by_hand(run):
    x = blobs(30, seed=2).x
    np.testing.assert_allclose(run.model.logits(x), by_hand(run.model, x), rtol=1e-4, atol=1e-5)


def test_what_is_measured_is_the_training_set_alone_and_stays(run):
    first = measured(PREPARED.layers[:2], blobs().x, 1 / 255)
    for expected, state in zip(first, run.model.state[:2], strict=True):
        for name, array in expected.items():
            np.testing.assert_allclose(state[name], array, rtol=1e-5, atol=1e-6)
    data = blobs()
    held = Run(PREPARED, data, 0.5, Recipe(), None, None, ())  # ready to begin
    assert len(held.train) == 20
    mean = (held.train.x / 255).mean(axis=0)
    np.testing.assert_allclose(held.model.state[0]["mean"], mean, rtol=1e-6, atol=1e-7)


def test_saved_and_loaded(run, tmp_path):
    save_model(run.model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert isinstance(loaded, Model)
    assert loaded.network == PREPARED
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded.state, run.model.state))
    x = blobs(30, seed=2).x
    assert np.array_equal(loaded.logits(x), run.model.logits(x))


def test_resumed_from_what_was_stored(run):
    half = fit(PREPARED, blobs(), blobs(20, seed=1), Recipe(epochs=1, learning_rate=0.5))
    stored = {name: array.copy() for name, array in half.state.arrays().items()}
    assert "learner.state.1.matrix" in stored
    state = half.state.restored(stored, half.state.header())
    whole = fit(
        PREPARED, blobs(), blobs(20, seed=1), Recipe(epochs=3, learning_rate=0.5), resume=state
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, whole.model.params, run.model.params))
    assert jax.tree.all(jax.tree.map(np.array_equal, whole.model.state, run.model.state))


def test_images_through_convolutions():
    data = blobs()
    network = Network(
        Standardize("channel"), Conv(2, 2), Flatten(), Dense(2), Activation("softmax"),
        shape=(2, 3, 1),
    )  # fmt: skip
    run = Run(network, data, None, Recipe(), None, None, ())
    assert run.model.logits(data.x).shape == (40, 2)
    pixels = data.x / 255
    np.testing.assert_allclose(run.model.state[0]["mean"], [pixels.mean()], rtol=1e-6)
    np.testing.assert_allclose(run.model.state[0]["scale"], [1 / pixels.std()], rtol=1e-6)


def test_what_they_are_for():
    """Inputs in awkward units: 1000 times too large, and far from 0."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100, 2))
    data = Dataset(z * [1, 1000] + [50, -3000], (z.sum(axis=1) > 0).astype(int))
    recipe = Recipe(epochs=20, learning_rate=0.5)
    right = {
        how: fit(Network([2, 4, 2], output="softmax", inputs=how), data, recipe=recipe).history[-1]
        for how in (None, "standardize", "decorrelate")
    }
    assert right[None]["train_accuracy"] < 0.8
    assert right["standardize"]["train_accuracy"] > 0.95
    assert right["decorrelate"]["train_accuracy"] > 0.95
