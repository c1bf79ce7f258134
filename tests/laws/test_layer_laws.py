"""Every layer obeys every law. A new layer is one class in ``layers.py`` and one row here."""

import json
from dataclasses import FrozenInstanceError, dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import ACTIVATIONS as FORMULAS
from formulas import SMOOTH, largest_error, off_the_kink

from deltarule.network import LAYERS, Activation, Dense, Dropout, Flatten, Layer, Network

KEY = jax.random.key(5)


@dataclass(frozen=True)
class Row:
    layer: Layer
    takes: tuple[int, ...]  # shapes without the batch axis
    gives: tuple[int, ...]
    refuses: tuple[tuple[int, ...], ...] = ()
    tolerance: float = SMOOTH


ROWS = {
    "dense": Row(Dense(4), (3,), (4,), refuses=((), (2, 3), (2, 3, 1))),
    "dense one to one": Row(Dense(1, "standard_normal", "standard_normal"), (1,), (1,)),
    "dense from zeros": Row(Dense(2, "zeros", "standard_normal"), (3,), (2,)),
    "dropout": Row(Dropout(0.4), (4,), (4,)),
    "dropout of images": Row(Dropout(0.25), (2, 2), (2, 2)),
    "dropout of nothing": Row(Dropout(0.0), (4,), (4,)),
    "flatten": Row(Flatten(), (2, 2, 3), (12,)),
    "flatten a row": Row(Flatten(), (4,), (4,)),
} | {
    name: Row(Activation(name), (4,), (4,), tolerance=formula.tolerance)
    for name, formula in FORMULAS.items()
}

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


def inputs(row, batch=3):
    z = np.random.default_rng(1).standard_normal((batch, *row.takes))
    return jnp.asarray(off_the_kink(z))


def parameters(row):
    params, state, _ = row.layer.init(np.random.default_rng(2), row.takes)
    return jax.tree.map(jnp.asarray, (params, state))


def apply(row, x, key=KEY, train=False):
    params, state = parameters(row)
    return row.layer.apply(params, state, x, key=key, train=train)


def test_the_table_is_complete():
    assert {type(row.layer) for row in ROWS.values()} == set(LAYERS.values())
    assert {name: kind.__name__ for name, kind in LAYERS.items()} == {n: n for n in LAYERS}


@every_row
@pytest.mark.parametrize("train", [False, True])
def test_shapes_are_as_announced(row, train):
    _, state, shape = row.layer.init(np.random.default_rng(0), row.takes)
    y, after = apply(row, inputs(row), train=train)
    assert shape == row.gives
    assert y.shape == (3, *row.gives)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(np.shape, state)


@every_row
def test_without_chance_init_says_the_same_shapes_and_draws_nothing(row):
    drawn = row.layer.init(np.random.default_rng(0), row.takes)
    said = row.layer.init(None, row.takes)
    assert jax.tree.map(np.shape, said) == jax.tree.map(np.shape, drawn)
    assert said[2] == drawn[2]
    huge = Network(row.layer, *([Dense(10**9)] if len(row.gives) == 1 else []))
    assert huge.count(row.takes) >= 0  # would not fit in memory


@every_row
def test_one_stream_draws_one_set_of_parameters_in_float64(row):
    draws = [row.layer.init(np.random.default_rng(seed), row.takes)[:2] for seed in (0, 0)]
    leaves = [jax.tree.leaves(draw) for draw in draws]
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
    assert all(type(a) is np.ndarray and a.dtype == np.float64 for a in leaves[0])


@every_row
@pytest.mark.parametrize("train", [False, True])
def test_gradients_against_central_differences(row, train):
    x, (params, state) = inputs(row), parameters(row)
    c = np.random.default_rng(3).standard_normal((3, *row.gives))
    names = list(params)

    def total(arrays):
        params = dict(zip(names, arrays[1:], strict=True))
        y, _ = row.layer.apply(params, state, jnp.asarray(arrays[0]), key=KEY, train=train)
        return jnp.sum(c * y)

    arrays = [x, *params.values()]
    assert largest_error(total, arrays, jax.grad(total)(arrays)) < row.tolerance


@every_row
def test_examples_together_and_one_by_one(row):
    x = inputs(row)
    together, _ = apply(row, x)
    for i in range(len(x)):
        alone, _ = apply(row, x[i : i + 1])
        np.testing.assert_allclose(alone, together[i : i + 1], rtol=1e-13)


@every_row
def test_prediction_is_left_to_no_chance(row):
    x = inputs(row)
    first, state = apply(row, x)
    second, same = apply(row, x, key=jax.random.key(6))
    assert np.array_equal(first, second)
    assert jax.tree.all(jax.tree.map(np.array_equal, state, same))


@every_row
def test_training_is_left_to_the_key_alone(row):
    first, second = (apply(row, inputs(row), train=True)[0] for _ in range(2))
    assert np.array_equal(first, second)


@every_row
def test_single_precision_stays_single(row):
    x, params, state = jax.tree.map(lambda a: a.astype("float32"), (inputs(row), *parameters(row)))
    for train in (False, True):
        assert row.layer.apply(params, state, x, key=KEY, train=train)[0].dtype == "float32"


@every_row
def test_description_and_back(row):
    network = Network(row.layer, shape=row.takes)
    described = json.loads(json.dumps(network.describe()))
    assert Network.from_description(described, shape=row.takes) == network
    for wrong in ({**described[0], "extra": 1}, {**described[0], "layer": "Dence"}):
        with pytest.raises(ValueError, match=r"expects the fields|layer must be one of"):
            Network.from_description([wrong])
    for name in set(described[0]) - {"layer"}:
        without = {k: v for k, v in described[0].items() if k != name}
        for wrong in (without, {**described[0], name: [1]}, {**described[0], name: None}):
            with pytest.raises(ValueError, match=name):
                Network.from_description([wrong])


@every_row
def test_a_layer_is_a_value(row):
    twin = replace(row.layer)
    assert twin == row.layer
    assert hash(twin) == hash(row.layer)
    for other in ROWS.values():
        assert (other.layer == row.layer) == (repr(other.layer) == repr(row.layer))
    with pytest.raises(FrozenInstanceError):
        row.layer.units = 5


@pytest.mark.parametrize(
    ("row", "shape"), [(row, shape) for row in ROWS.values() for shape in row.refuses], ids=str
)
def test_a_wrong_shape_is_refused(row, shape):
    for rng in (None, np.random.default_rng(0)):
        with pytest.raises(ValueError, match=r"expects inputs .* got shape .*put Flatten"):
            row.layer.init(rng, shape)


# What only some layers do.


def test_dense_by_hand():
    params = {"w": jnp.array([[1.0, 2, 3], [4, 5, 6]]), "b": jnp.array([10.0, 20])}
    z, _ = Dense(2).apply(params, {}, jnp.array([[1.0, 0, -1], [0, 1, 0]]), key=KEY, train=False)
    # 1 - 3 + 10 = 8 and 4 - 6 + 20 = 18; then the second column and the biases
    assert z.tolist() == [[8, 18], [12, 25]]


def test_flatten_keeps_the_order_of_memory():
    x = np.arange(24.0).reshape(2, 2, 3, 2)  # two images, 2 by 3, two channels
    y, _ = Flatten().apply({}, {}, jnp.asarray(x), key=KEY, train=False)
    assert y.tolist() == [list(range(12)), list(range(12, 24))]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_the_rate_and_lets_the_rest_grow(rate):
    x = jnp.full((100, 100), 3.0)
    y = np.asarray(Dropout(rate).apply({}, {}, x, key=KEY, train=True)[0])
    kept = y != 0
    np.testing.assert_allclose(y[kept], 3 / (1 - rate))
    # 10 000 draws: the share dropped is the rate, to four standard deviations, and not 1 - rate
    assert abs((~kept).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / kept.size)
    assert len({row.tobytes() for row in kept}) == 100  # every example draws its own


def test_dropout_depends_on_the_key():
    first, second = (
        Dropout(0.5).apply({}, {}, jnp.ones((100, 100)), key=jax.random.key(seed), train=True)[0]
        for seed in (0, 1)
    )
    assert not np.array_equal(first, second)


def test_two_dropouts_of_a_network_draw_apart():
    network, x = Network(Dropout(0.5), Dropout(0.5)), jnp.ones((100, 100))
    both, _ = network.apply(({}, {}), ({}, {}), x, key=KEY, train=True)
    # Kept by both: a quarter. Were the two masks one, it would be a half.
    assert abs((both != 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 10_000)


def test_dropout_of_nothing_is_nothing():
    x = inputs(ROWS["dropout of nothing"])
    y, _ = Dropout(0).apply({}, {}, x, key=KEY, train=True)
    assert y is x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(0), "units must be an integer of at least 1, got 0"),
        (lambda: Dense(-3), "units must be"),
        (lambda: Dense(2.5), "units must be"),
        (lambda: Dense(True), "units must be"),
        (lambda: Dense(3, "he_norml"), "init must be one of .*did you mean 'he_normal'"),
        (lambda: Dense(3, bias_init="one"), "init must be one of"),
        (lambda: Activation("relux"), "did you mean 'relu'"),
        (lambda: Dropout(1), "rate must be the share of inputs to drop.*got 1"),
        (lambda: Dropout(-0.1), "rate must be"),
        (lambda: Dropout(float("nan")), "rate must be"),
    ],
)
def test_what_could_not_be_built_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
