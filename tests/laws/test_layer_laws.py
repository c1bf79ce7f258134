"""Every layer obeys every law. A new layer is one class in ``layers/`` and one row here."""

import json
from dataclasses import FrozenInstanceError, dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import ACTIVATIONS as FORMULAS
from formulas import SMOOTH, largest_error, off_the_kink

from deltarule.network import (
    LAYERS,
    Activation,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Decorrelate,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
    Network,
    Residual,
    Scale,
    Standardize,
    companion,
)
from deltarule.network.kernels import Kernels, choice, using

KEY = jax.random.key(5)


@dataclass(frozen=True)
class Row:
    layer: Layer
    takes: tuple[int, ...]  # shapes without the batch axis
    gives: tuple[int, ...]
    refuses: tuple[tuple[int, ...], ...] = ()
    tolerance: float = SMOOTH
    alone: bool = True  # no example sees another, also while training


GATE = (GlobalAvgPool(), Dense(3), Activation("tanh"), Dense(2), Activation("sigmoid"))

ROWS = {
    "dense": Row(Dense(4), (3,), (4,), refuses=((), (2, 3), (2, 3, 1))),
    "dense one to one": Row(Dense(1, "standard_normal", "standard_normal"), (1,), (1,)),
    "dense from zeros": Row(Dense(2, "zeros", "standard_normal"), (3,), (2,)),
    "dropout": Row(Dropout(0.4), (4,), (4,)),
    "dropout of images": Row(Dropout(0.25), (2, 2), (2, 2)),
    "dropout of nothing": Row(Dropout(0.0), (4,), (4,)),
    "flatten": Row(Flatten(), (2, 2, 3), (12,)),
    "flatten a row": Row(Flatten(), (4,), (4,)),
    "conv": Row(Conv(3, 3), (5, 4, 2), (3, 2, 3), refuses=((5,), (5, 4))),
    "conv same, stride": Row(Conv(2, 3, stride=2, padding="same"), (5, 4, 2), (3, 2, 2)),
    "conv of one pixel": Row(Conv(2, 1, bias=False), (3, 2, 3), (3, 2, 2)),
    "conv not square": Row(Conv(2, (2, 3), stride=(2, 1), padding=1), (4, 5, 1), (3, 5, 2)),
    "conv in groups": Row(Conv(4, 2, groups=2), (3, 3, 2), (2, 2, 4)),
    "conv a channel at a time": Row(Conv(3, 2, groups=3), (3, 4, 3), (2, 3, 3)),
    "conv with holes": Row(Conv(1, 2, dilation=2, padding="same"), (4, 3, 2), (4, 3, 1)),
    "max pool": Row(MaxPool(2), (4, 5, 2), (2, 2, 2), refuses=((4,),)),
    "max pool, overlapping": Row(MaxPool(3, 2), (5, 5, 2), (2, 2, 2)),
    "max pool same": Row(MaxPool(3, 2, "same"), (4, 5, 1), (2, 3, 1)),
    "max pool padded": Row(MaxPool((3, 2), (2, 1), 1), (4, 3, 2), (2, 4, 2)),
    "avg pool": Row(AvgPool(2), (4, 5, 2), (2, 2, 2), refuses=((4, 5),)),
    "avg pool, overlapping": Row(AvgPool(3, 2, "same"), (4, 5, 1), (2, 3, 1)),
    "global avg pool": Row(GlobalAvgPool(), (3, 2, 4), (4,), refuses=((4,), (3, 4))),
    "batch norm": Row(BatchNorm(), (3,), (3,), alone=False),
    "batch norm of images": Row(BatchNorm(0.5, 1e-3), (2, 3, 2), (2, 3, 2), alone=False),
    "layer norm": Row(LayerNorm(), (4,), (4,)),
    "layer norm of images": Row(LayerNorm(1e-2), (2, 2, 3), (2, 2, 3)),
    "local response norm": Row(LocalResponseNorm(3, 0.5), (2, 2, 4), (2, 2, 4), refuses=((4,),)),
    "local response norm, even": Row(LocalResponseNorm(4, 1.0, 0.5, 1.0), (1, 2, 5), (1, 2, 5)),
    "residual": Row(Residual((Dense(4), Activation("tanh"))), (4,), (4,)),
    "residual of images": Row(
        Residual((Conv(3, padding="same"), BatchNorm()), shortcut=(Conv(3, 1), BatchNorm())),
        (3, 3, 2), (3, 3, 3), alone=False,
    ),
    "residual in residual": Row(
        Residual((Residual((LayerNorm(),)), Dropout(0.5)), shortcut=(Dropout(0.5),)), (4,), (4,)
    ),
    "concat": Row(
        Concat(((Conv(2, 1),), (Conv(1, 3, padding="same"), BatchNorm()), ())),
        (3, 2, 2), (3, 2, 5), alone=False,
    ),
    "concat of rows": Row(Concat(((Dense(2),), (Dense(3), Dropout(0.5)))), (4,), (5,)),
    "scale": Row(Scale(GATE), (2, 3, 2), (2, 3, 2)),
    "scale of a row": Row(Scale((Dense(4), Activation("sigmoid"))), (4,), (4,)),
    "standardize": Row(Standardize(), (3,), (3,)),
    "standardize pixels": Row(Standardize(), (2, 3, 2), (2, 3, 2)),
    "standardize channels": Row(
        Standardize("channel"), (2, 3, 2), (2, 3, 2), refuses=((4,), (2, 3))
    ),
    "decorrelate": Row(Decorrelate(), (3,), (3,)),
    "decorrelate pixels, few": Row(Decorrelate(2), (2, 2), (2,)),
}  # fmt: skip
ROWS |= {
    name: Row(Activation(name), (4,), (4,), tolerance=formula.tolerance)
    for name, formula in FORMULAS.items()
}

# Layers, alone or inside another one, of which the companion does something.
OF_THE_COMPANION = [
    name for name in ROWS
    if name.startswith(("dense", "conv", "max pool", "avg pool", "batch norm"))
    or name in ("residual of images", "concat", "elu", "gelu", "softplus")
]  # fmt: skip

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


def inputs(row, batch=3):
    z = np.random.default_rng(1).standard_normal((batch, *row.takes))
    return jnp.asarray(off_the_kink(z))


def parameters(row):
    params, state, _ = row.layer.init(np.random.default_rng(2), row.takes)
    return jax.tree.map(jnp.asarray, (params, state))


@cache
def compiled(layer, train):
    return jax.jit(lambda *given, key: layer.apply(*given, key=key, train=train))


def apply(row, x, key=KEY, train=False):
    params, state = parameters(row)
    with jax.disable_jit(False):  # many small operations are slow one by one
        return compiled(row.layer, train)(params, state, x, key=key)


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
    with jax.disable_jit(False):  # thousands of evaluations
        error = largest_error(jax.jit(total), arrays, jax.jit(jax.grad(total))(arrays))
    assert error < row.tolerance


@pytest.mark.skipif(not companion.is_there(), reason=f"the companion is {companion.describe()}")
@pytest.mark.parametrize("name", OF_THE_COMPANION)
def test_gradients_with_the_companion(name, monkeypatch):
    # It works in single precision: its measure is the gradient that the law above has checked.
    row = ROWS[name]
    always = {operation: dict.fromkeys(least, 0) for operation, least in choice.PAYS_FROM.items()}
    monkeypatch.setattr(choice, "PAYS_FROM", always)
    c = np.random.default_rng(3).standard_normal((3, *row.gives))

    def total(params, state, x):
        return jnp.sum(c * row.layer.apply(params, state, x, key=KEY, train=True)[0])

    given = (*parameters(row), inputs(row))
    single = jax.tree.map(lambda a: a.astype("float32"), given)
    gradient = jax.grad(total, (0, 2))
    with jax.disable_jit(False):
        exact = jax.jit(gradient)(*given)
        with using(Kernels("patches", "plain", companion=True)):
            traced = jax.jit(lambda *given: gradient(*given)).trace(*single)
            found = traced.lower().compile()(*single)
    assert "deltarule_" in str(traced.jaxpr)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert np.linalg.norm(one - other) <= 2e-5 * max(np.linalg.norm(other), 1)


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
        with pytest.raises(
            ValueError, match=r"expects inputs .* got shape .*(put Flatten|say the shape)"
        ):
            row.layer.init(rng, shape)


@every_row
def test_no_example_sees_another_unless_it_says_so(row):
    x = inputs(row)
    moved = x.at[0].multiply(2).at[0].add(1)
    for train in (False, True):
        before, after = (apply(row, each, train=train)[0] for each in (x, moved))
        same = np.allclose(before[1:], after[1:], rtol=1e-13)
        assert same == (row.alone or not train)


@every_row
def test_a_network_of_it_counts_what_it_draws(row):
    params, _ = parameters(row)
    network = Network(row.layer, shape=row.takes)
    assert network.count() == sum(array.size for array in params.values())
    if not any(name.endswith(".w") for name in params):
        pixels = int(np.prod(row.gives[:-1]))
        weights = sum(a.size for name, a in params.items() if name == "w")
        assert network.multiplications() == weights * pixels
    assert " x ".join(map(str, row.gives)) in network.summary()


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
        (lambda: Conv(0), "filters must be an integer of at least 1, got 0"),
        (lambda: Conv(4, 0), "kernel of the height must be"),
        (lambda: Conv(4, (3, 3, 3)), r"kernel must be a number or \(height, width\)"),
        (lambda: Conv(4, stride=-1), "stride of the height must be"),
        (lambda: Conv(4, padding="full"), "padding must be 'valid', 'same' or a number"),
        (lambda: Conv(4, padding=-1), "padding must be"),
        (lambda: Conv(4, groups=3), "filters must be a multiple of the 3 groups, got 4"),
        (lambda: Conv(4, bias=1), "bias must be True or False, got 1"),
        (lambda: Conv(4, weight_init="he"), "init must be one of"),
        (lambda: MaxPool(2, padding=2), "padding must be at most half the window"),
        (lambda: MaxPool(0), "window of the height must be"),
        (lambda: BatchNorm(1), "momentum must be a number of at least 0 and less than 1, got 1"),
        (lambda: BatchNorm(epsilon=-1), "epsilon must be"),
        (lambda: LayerNorm(float("nan")), "epsilon must be"),
        (lambda: LocalResponseNorm(0), "size must be"),
        (lambda: Residual(()), "layers must be a tuple of layers"),
        (lambda: Residual(Dense(3)), "layers must be a tuple of layers"),
        (lambda: Residual((3,)), "a layer must be one of"),
        (lambda: Concat(()), "branches must be tuples of layers"),
        (lambda: Concat((Dense(3),)), "every branch must be a tuple of layers"),
        (lambda: Scale(()), "layers must be a tuple of layers"),
        (lambda: Standardize("pixel"), "per must be one of input, channel; got 'pixel'"),
        (lambda: Decorrelate("every"), "keep must be a number of components or 'all', got 'every'"),
        (lambda: Decorrelate(0), "keep must be an integer of at least 1, got 0"),
    ],
)
def test_what_could_not_be_built_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (Conv(2, 5), (4, 6, 1), "at least 5 x 5 pixels with their padding, got 4 x 6"),
        (Conv(2, 3, dilation=3), (6, 7, 1), "at least 7 x 7 pixels"),
        (Conv(4, groups=2), (5, 5, 3), "channels divide into 2 groups"),
        (MaxPool(3), (2, 5, 1), "at least 3 x 3 pixels"),
        (Residual((Dense(3),)), (4,), r"its layers give \(3,\) and its shortcut \(4,\)"),
        (Concat(((Conv(1, 3),), ())), (5, 5, 2), "differ in channels only"),
        (Scale((Dense(3),)), (4,), "one factor for each of the 4 channels"),
    ],
)
def test_images_and_branches_that_do_not_fit_are_refused(layer, shape, message):
    for rng in (None, np.random.default_rng(0)):
        with pytest.raises(ValueError, match=message):
            layer.init(rng, shape)


def test_conv_by_hand():
    # One filter [[1, 2], [3, 4]], bias 10, over [[1, 0, 2], [0, 1, 0], [3, 0, 1]]:
    # 1*1 + 2*0 + 3*0 + 4*1 = 5, 1*0 + 2*2 + 3*1 + 4*0 = 7, 0 + 2 + 9 + 0 = 11, 1 + 0 + 0 + 4 = 5
    params = {"w": jnp.array([[1.0, 2], [3, 4]])[None, :, :, None], "b": jnp.array([10.0])}
    x = jnp.array([[1.0, 0, 2], [0, 1, 0], [3, 0, 1]])[None, :, :, None]
    z, _ = Conv(1, 2).apply(params, {}, x, key=KEY, train=False)
    assert z[0, :, :, 0].tolist() == [[15, 17], [21, 15]]


def test_pooling_by_hand():
    x = jnp.arange(12.0).reshape(1, 3, 4, 1)  # rows 0..3, 4..7, 8..11
    largest, _ = MaxPool(2).apply({}, {}, x, key=KEY, train=False)
    assert largest[0, :, :, 0].tolist() == [[5, 7]]  # the third row fills no window
    mean, _ = AvgPool(2, padding="same").apply({}, {}, x, key=KEY, train=False)
    # (0 + 1 + 4 + 5) / 4 and so on; the last row has windows of two pixels
    assert mean[0, :, :, 0].tolist() == [[2.5, 4.5], [8.5, 10.5]]
    whole, _ = GlobalAvgPool().apply({}, {}, x, key=KEY, train=False)
    assert whole.tolist() == [[5.5]]


def test_ties_in_a_window_go_to_the_first():
    x = jnp.zeros((1, 4, 4, 1))
    total = lambda x: MaxPool(2).apply({}, {}, x, key=KEY, train=True)[0].sum()  # noqa: E731
    gradient = jax.grad(total)(x)[0, :, :, 0]
    assert gradient.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_batch_norm_by_hand():
    # A batch of 1 and 5: mean 3, variance 4 (of a sample: 8). With momentum 0.9 the running mean
    # becomes 0.9 * 0 + 0.1 * 3 = 0.3 and the running variance 0.9 * 1 + 0.1 * 8 = 1.7.
    layer = BatchNorm(epsilon=0.0)
    params, state, _ = layer.init(None, (1,))
    params = {"scale": jnp.array([2.0]), "shift": jnp.array([10.0])}
    y, after = layer.apply(params, state, jnp.array([[1.0], [5.0]]), key=KEY, train=True)
    assert y.tolist() == [[8], [12]]
    np.testing.assert_allclose(after["mean"], [0.3])
    np.testing.assert_allclose(after["variance"], [1.7])
    later, same = layer.apply(params, after, jnp.array([[0.3]]), key=KEY, train=False)
    assert later.tolist() == [[10]]
    assert same is after


def test_batch_norm_of_one_example_is_finite():
    layer = BatchNorm()
    params, state, _ = layer.init(np.random.default_rng(0), (3,))
    y, after = layer.apply(params, state, jnp.array([[1.0, 2, 3]]), key=KEY, train=True)
    assert y.tolist() == [[0, 0, 0]]
    assert all(np.isfinite(array).all() for array in after.values())


def test_local_response_norm_by_hand():
    # size 3 around the middle channel: 1 + 4 + 9 = 14; 2 / (2 + 0.5 * 14)^0.5 = 2 / 3
    x = jnp.array([[[[1.0, 2, 3]]]])
    y, _ = LocalResponseNorm(3, 0.5, 0.5, 2.0).apply({}, {}, x, key=KEY, train=False)
    assert float(y[0, 0, 0, 1]) == pytest.approx(2 / 3)


def test_inner_arrays_are_named_by_their_path():
    block = Residual((Conv(3, 1), BatchNorm()), shortcut=(Conv(3, 1, bias=False),))
    params, state, _ = block.init(np.random.default_rng(0), (2, 2, 2))
    assert set(params) == {"0.w", "0.b", "1.scale", "1.shift", "shortcut.0.w"}
    assert set(state) == {"1.mean", "1.variance"}
    params, _, _ = Concat(((Dense(1),), (Dropout(0.1), Dense(2)))).init(None, (2,))
    assert set(params) == {"0.0.w", "0.0.b", "1.1.w", "1.1.b"}


def test_inner_layers_draw_apart():
    block = Residual((Dropout(0.5),), shortcut=(Dropout(0.5),))
    y, _ = block.apply({}, {}, jnp.ones((100, 100)), key=KEY, train=True)
    # Each part is 0 or 2. Were the masks one, the sum would never be 2.
    assert abs((y == 2).mean() - 0.5) < 4 * np.sqrt(0.25 / 10_000)


def test_multiplications_by_hand():
    # 3x3 on 4x4 pixels, 2 channels to 5: 16 * 90 = 1440; in both branches 1x1 on 16 pixels, 5 to
    # 3: 16 * 15 = 240; then 2 * 2 * 3 = 12 numbers to 7 units
    block = Residual((Conv(3, 1), Activation("relu")), shortcut=(Conv(3, 1, bias=False),))
    network = Network(Conv(5, 3, padding="same"), block, MaxPool(2), Flatten(), Dense(7),
                      shape=(4, 4, 2))  # fmt: skip
    assert network.multiplications() == 1440 + 240 + 240 + 12 * 7
    gate = Scale((GlobalAvgPool(), Dense(2), Dense(5)))
    assert Network(Conv(5, 1), gate, shape=(4, 4, 2)).multiplications() == 160 + 10 + 10
