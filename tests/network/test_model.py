"""Models: what they answer, in which precision, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.network import Activation, Dense, Dropout, Flatten, Model, Network, model

NETWORK = Network([6, 5, 3], activation="tanh", output="softmax")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6))


def make(network=NETWORK, dtype=np.float32, shape=(6,), classes=("a", "b", "c"), **options):
    params, state = network.init(np.random.default_rng(0), shape)
    cast = jax.tree.map(lambda array: array.astype(dtype), params)
    return Model(network, cast, state, shape, classes, **options)


def by_hand(params, x):
    """softmax(W2 tanh(W1 x + b1) + b2), an example at a time."""
    rows = []
    for row in x:
        z = params[2]["w"] @ np.tanh(params[0]["w"] @ row + params[0]["b"]) + params[2]["b"]
        rows.append(np.exp(z) / np.exp(z).sum())
    return np.array(rows)


def test_the_outputs_are_those_of_the_formula():
    asked = make(dtype=np.float64)
    np.testing.assert_allclose(asked.outputs(X), by_hand(asked.params, X), rtol=1e-12)


def test_predict_gives_indices_and_labels_give_names():
    asked = make()
    indices = by_hand(asked.params, X).argmax(axis=1)
    assert set(indices) == {0, 1, 2}
    assert np.array_equal(asked.predict(X), indices)
    assert asked.predict(X).dtype.kind == "i"
    assert asked.labels(X) == ["abc"[i] for i in indices]


def test_regression_predicts_numbers_and_has_no_labels():
    network = Network([6, 2], output="identity")
    asked = make(network, np.float64, classes=())
    wanted = X @ asked.params[0]["w"].T + asked.params[0]["b"]
    np.testing.assert_allclose(asked.predict(X), wanted, rtol=1e-12)
    with pytest.raises(ValueError, match="this model has none: use predict"):
        asked.labels(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_that_of_the_parameters(dtype):
    asked = make(dtype=dtype)
    assert asked.dtype == dtype
    assert asked.logits(X).dtype == asked.outputs(X).dtype == dtype
    assert asked.logits(X[:0]).dtype == dtype
    error = np.abs(asked.outputs(X) - by_hand(asked.params, X)).max()
    assert error < (1e-14 if dtype is np.float64 else 1e-5)
    with jax.enable_x64(True):  # whatever the caller has set
        assert asked.logits(X).dtype == dtype


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 100, 300])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1024])
def test_an_answer_depends_on_its_own_example_alone(n, chunk, monkeypatch):
    """Portions are padded with zeros to a few sizes: the padding never reaches an answer."""
    monkeypatch.setattr(model, "CHUNK", chunk)
    asked = make(dtype=np.float64)
    found = asked.logits(X[:n])
    assert found.shape == (n, 3)
    one_by_one = np.concatenate([asked.logits(X[i : i + 1]) for i in range(0, n, 13)])
    np.testing.assert_allclose(found[::13], one_by_one, rtol=0, atol=1e-7)
    np.testing.assert_allclose(asked.outputs(X[:n]), by_hand(asked.params, X[:n]), atol=1e-12)


def test_float32_answers_hardly_depend_on_the_batch():
    asked = make()
    one_by_one = np.concatenate([asked.logits(X[i : i + 1]) for i in range(50)])
    np.testing.assert_allclose(asked.logits(X)[:50], one_by_one, rtol=0, atol=1e-5)


def test_few_shapes_are_compiled():
    asked = make(Network([6, 4, 3], output="softmax"))
    before = model._logits._cache_size()
    for n in range(1, 70):
        asked.logits(X[:n])
    assert model._logits._cache_size() - before <= 8  # 1, 2, 4 ... 128


def test_images_are_laid_out_in_rows():
    asked = make(shape=(2, 3))
    images = X.reshape(-1, 2, 3)
    assert np.array_equal(asked.logits(images), asked.logits(X))


def test_bytes_are_scaled_inside():
    bytes_ = RNG.integers(0, 256, (20, 6), dtype=np.uint8)
    asked = make(dtype=np.float64, scale=1 / 255)
    np.testing.assert_allclose(asked.outputs(bytes_), by_hand(asked.params, bytes_ / 255))


@pytest.mark.parametrize("dtype", ["u1", "?", "i8", ">f4", "f2", "longdouble", "f8"])
def test_inputs_of_any_type(dtype):
    x = (X > 0).astype(dtype)
    np.testing.assert_array_equal(make().logits(x), make().logits(x.astype(np.float32)))


def test_an_empty_batch_has_no_answers():
    asked = make()
    assert asked.predict(X[:0]).shape == (0,)
    assert asked.outputs(X[:0]).shape == (0, 3)
    assert asked.labels(X[:0]) == []


REFUSED = {
    "one example": (X[0], r"shape \(6,\) behind a batch axis, .* pass x\[None\]"),
    "a number": (3.0, r"got an array of shape \(\)"),
    "too wide": (np.ones((2, 7)), r"inputs of shape \(6,\) .* got an array of shape \(2, 7\)"),
    "images of another size": (np.ones((2, 3, 3)), r"got an array of shape \(2, 3, 3\)"),
    "text": (np.array([["a"] * 6]), "x must hold real numbers, got an array of <U1"),
    "complex": (np.ones((1, 6), complex), "x must hold real numbers, got an array of complex128"),
    "beyond float32": (np.full((1, 6), 1e300), r"beyond the range of float32, 3.4e\+38"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_inputs_are_refused_in_a_sentence(name):
    x, message = REFUSED[name]
    for ask in (make().logits, make().outputs, make().predict, make().labels):
        with pytest.raises(ValueError, match=message):
            ask(x)


def test_subnormal_inputs_count_as_zero():
    asked = make()
    tiny = np.full((1, 6), 1e-40, np.float32)
    np.testing.assert_allclose(asked.outputs(tiny), asked.outputs(0 * tiny), atol=1e-6)


def test_dropout_never_acts_on_an_answer():
    layers = NETWORK.layers
    network = Network(Dropout(0.9), *layers[:2], Dropout(0.9), *layers[2:], shape=(6,))
    asked = make()
    params = ({}, *asked.params[:2], {}, *asked.params[2:])
    dropping = Model(network, params, ({},) * 6, (6,), asked.classes)
    assert np.array_equal(dropping.logits(X), asked.logits(X))


def test_the_inputs_are_not_changed():
    x = X.copy()
    x.flags.writeable = False
    make().predict(x)
    assert np.array_equal(x, X)


def test_a_network_of_open_shape_takes_that_of_the_model():
    network = Network(Dense(3), Activation("softmax"))
    asked = make(network)
    assert asked.predict(X).shape == (300,)
    z, _ = network.logits(asked.params, asked.state, jnp.asarray(X, jnp.float32))
    assert np.array_equal(asked.logits(X).argmax(axis=1), np.asarray(z).argmax(axis=1))


class OnDisk:
    """Rows that are read part by part, as ``data.unread.Unread`` reads them."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.most = x, x.shape, x.dtype, 0

    def __len__(self):
        return len(self.x)

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("all of it was asked for at once")

    def read(self, parts):
        for part in parts:
            self.most = max(self.most, self.x[part].size)
            yield self.x[part]


@pytest.mark.parametrize("shape", [(3,), (5000,), (80, 90, 3)])
def test_inputs_on_the_disk_are_asked_about_part_by_part(shape):
    x = np.random.default_rng(0).random((1500, *shape)).astype(np.float16)
    network = Network(Flatten(), Dense(2), Activation("softmax"))
    params, state = network.init(np.random.default_rng(1), shape)
    asked = Model(network, params, state, shape, ("a", "b"))
    rows = OnDisk(x)
    np.testing.assert_allclose(asked.outputs(rows), asked.outputs(x), rtol=1e-12)
    assert rows.most <= 1 << 22
    assert asked.outputs(OnDisk(x[:0])).shape == (0, 2)
