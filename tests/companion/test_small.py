"""The small dense network of the companion: the same steps as the plain path's, up to rounding."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.data import Dataset
from deltarule.data.augment import Augment
from deltarule.learning import Recipe, fit, small
from deltarule.learning.optimizers import Rates
from deltarule.learning.program import Examples, Hyper, Learner, Program
from deltarule.learning.step import advance, start
from deltarule.network import Activation, Dense, Dropout, Flatten, Network, companion
from deltarule.network.kernels import Kernels

companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
pytestmark = companion_only

PLAIN, NATIVE = Kernels("patches", "plain"), Kernels("patches", "plain", companion=True)
RATES = Rates(0.3, 0.9, 0.9, 0.99, 1e-6, 0.01, 0.0)
HYPER = Hyper(RATES, 0.0, 0.0, 0.0)


def program(network, batch_size=10, cost="cross_entropy", optimizer="sgd", **fields):
    sizes = [layer.units for layer in network.layers if isinstance(layer, Dense)]
    return Program(
        network, cost, optimizer, False, batch_size, sizes[-1], "float32", NATIVE, **fields
    )


def examples(n, inputs, outputs, *, kind="bytes", seed=0):
    """Return bytes and classes, or numbers and one-hot targets."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, outputs, n).astype(np.int32)
    if kind == "bytes":
        x = rng.integers(0, 256, (n, inputs)).astype(np.uint8)
        return Examples(jnp.asarray(x), jnp.asarray(y), None, 1 / 255)
    x = rng.normal(size=(n, inputs)).astype(np.float32)
    targets = rng.random((n, outputs)).astype(np.float32)
    return Examples(jnp.asarray(x), jnp.asarray(targets), None, 0.5)


def learner(program, hyper, shape=None, seed=1):
    drawn = program.network.init(np.random.default_rng(seed), shape)
    return start(program, hyper, *jax.tree.map(lambda a: jnp.array(a, jnp.float32), drawn))


def learned(program, train, *, hyper=HYPER, steps=None, epochs=1, first=None, seed=3) -> Learner:
    """Return the learner after ``epochs`` epochs, or after ``steps`` steps of the first."""
    n, rng = len(train.x), np.random.default_rng(seed)
    orders = np.stack([rng.permutation(n) for _ in range(epochs)]).astype(np.int32)
    count = -(-n // program.batch_size)
    rates = np.full((epochs, count), hyper.rates.learning_rate, np.float32)
    begin = learner(program, hyper, train.x.shape[1:]) if first is None else first
    last = count if steps is None else steps
    return advance(
        program, begin, train, None, orders, rates, hyper, np.uint32(5), 0, epochs, 0, last
    )[0]


def plain(program):
    return replace(program, kernels=PLAIN)


def distance(found, wanted) -> float:
    """Return the largest difference of two trees of arrays over the largest number in them."""
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (found, wanted))
    return float(np.abs(a - b).max() / np.abs(b).max())


def assert_same_learning(program, train, tolerance=1e-5, **how):
    assert small.fits(program, learner(program, HYPER, train.x.shape[1:]).params, train)
    found, wanted = learned(program, train, **how), learned(plain(program), train, **how)
    assert distance(found.params, wanted.params) < tolerance
    for ours, theirs in zip(
        jax.tree.leaves(found.opt_state), jax.tree.leaves(wanted.opt_state), strict=True
    ):
        assert distance(ours, theirs) < 10 * tolerance
    np.testing.assert_allclose(found.cost, wanted.cost, rtol=tolerance)
    assert abs(int(found.correct) - int(wanted.correct)) <= 1
    return found


# The sizes are none of any vector's: remainders of rows, of vectors and of batches everywhere.
# hidden, output, cost, optimizer, sizes, batch size, kind of examples, (l1, l2, smoothing)
TABLE = [
    ("sigmoid", "sigmoid", "cross_entropy", "sgd", [784, 30, 10], 10, "bytes", (0, 0, 0)),
    ("sigmoid", "sigmoid", "quadratic", "sgd", [17, 7, 3], 2, "bytes", (0, 0, 0)),
    ("tanh", "softmax", "cross_entropy", "momentum", [31, 17, 10], 7, "bytes", (0, 1e-2, 0.1)),
    ("relu", "softmax", "cross_entropy", "nesterov", [33, 31, 5], 16, "bytes", (1e-3, 0, 0)),
    ("relu", "softmax", "quadratic", "adam", [7, 64, 17], 33, "bytes", (0, 0, 0.2)),
    ("tanh", "identity", "quadratic", "adamw", [5, 16, 1], 5, "numbers", (1e-3, 1e-2, 0)),
    ("identity", "tanh", "quadratic", "adam", [100, 7, 3], 64, "numbers", (0, 0, 0)),
    ("sigmoid", "relu", "quadratic", "momentum", [16, 16, 16], 16, "numbers", (0, 1e-3, 0)),
    ("relu", "sigmoid", "cross_entropy", "adamw", [63, 65, 2], 12, "numbers", (0, 0, 0)),
    ("tanh", "softmax", "cross_entropy", "sgd", [40, 31, 17, 7, 3], 11, "numbers", (0, 0, 0)),
    ("sigmoid", "softmax", "cross_entropy", "sgd", [9, 4], 3, "bytes", (0, 1e-3, 0)),
    ("sigmoid", "sigmoid", "cross_entropy", "adam", [1, 1, 2], 1, "bytes", (0, 0, 0)),
]


@pytest.mark.parametrize("instance", TABLE, ids=lambda i: "-".join(map(str, i[:6])))
def test_it_learns_what_the_plain_path_learns(instance):
    hidden, output, cost, optimizer, sizes, batch_size, kind, (l1, l2, smoothing) = instance
    rate = 0.05 if optimizer in ("sgd", "momentum", "nesterov") else 0.002
    hyper = Hyper(RATES._replace(learning_rate=rate), l1, l2, smoothing)
    what = program(Network(sizes, activation=hidden, output=output), batch_size, cost, optimizer)
    n = 3 * batch_size + max(batch_size // 2, 1)  # the last batch is smaller
    assert_same_learning(what, examples(n, sizes[0], sizes[-1], kind=kind), hyper=hyper, epochs=2)


def test_200_steps_of_the_network_of_the_book():
    what, train = program(Network([784, 30, 10])), examples(2000, 784, 10)
    assert_same_learning(what, train)


def test_augmented_images_and_an_average():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (23, 6, 6)).astype(np.uint8)
    train = Examples(jnp.asarray(x), jnp.arange(23, dtype=jnp.int32) % 3, None, 1 / 255)
    network = Network(Flatten(), Dense(7), Activation("relu"), Dense(3), shape=(6, 6))
    what = program(network, 5, "quadratic", augment=Augment(shift=1), average=True)
    found = assert_same_learning(what, train, hyper=HYPER._replace(average=0.9))
    wanted = learned(plain(what), train, hyper=HYPER._replace(average=0.9))
    assert distance(found.average.params, wanted.average.params) < 1e-5


def call(what, begin, train, *, orders=None, epoch=0, at=0, length=None):
    """Return the learner after one step, by the companion whatever ``fits`` says."""
    orders = jnp.arange(len(train.x), dtype=jnp.int32)[None] if orders is None else orders
    order = small.Order(orders, epoch, at, what.batch_size if length is None else length)
    return jax.jit(lambda begin: small.step(what, begin, train, order, HYPER, jax.random.key(0)))(
        begin
    )


def test_a_step_by_hand():
    # z = 2 x 3 + 1 = 7, target 4: cost (7 - 4)^2 / 2 = 4.5, dC/dw = 3 x 3 = 9, dC/db = 3.
    # The rate is 0.3: w = 2 - 2.7 = -0.7, b = 1 - 0.9 = 0.1.
    what = program(Network([1, 1], output="identity"), 1, "quadratic")
    train = Examples(jnp.array([[3.0]]), jnp.array([[4.0]]), None, 1.0)
    params = ({"b": jnp.array([1.0]), "w": jnp.array([[2.0]])}, {})
    after = call(what, start(what, HYPER, params, ({}, {})), train)
    assert float(after.cost) == 4.5
    np.testing.assert_allclose(after.params[0]["w"], [[-0.7]], rtol=1e-6)
    np.testing.assert_allclose(after.params[0]["b"], [0.1], rtol=1e-6)


def test_the_gradient_is_the_textbooks():
    what, train = program(Network([9, 7, 4]), 6), examples(6, 9, 4)
    begin = learner(what, HYPER)
    before = jax.tree.map(np.array, begin.params)
    layers = [layer for layer in before if layer]
    after = [layer for layer in jax.tree.map(np.array, call(what, begin, train).params) if layer]
    x, y = np.asarray(train.x) / 255, np.eye(4)[np.asarray(train.y)]
    a = [x]
    for layer in layers:
        a.append(1 / (1 + np.exp(-(a[-1] @ layer["w"].T + layer["b"]))))
    delta = (a[-1] - y) / len(x)  # cross-entropy
    for i in (1, 0):
        dw, db = delta.T @ a[i], delta.sum(0)
        np.testing.assert_allclose((layers[i]["w"] - after[i]["w"]) / 0.3, dw, atol=2e-6)
        np.testing.assert_allclose((layers[i]["b"] - after[i]["b"]) / 0.3, db, atol=2e-6)
        delta = delta @ layers[i]["w"] * a[i] * (1 - a[i])


@pytest.mark.parametrize(
    ("name", "function", "slope"),
    [
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)),
        ("tanh", np.tanh, lambda a: 1 - a * a),
    ],
)
def test_activations_are_exact_to_some_ulps(name, function, slope):
    # w = 1, b = 0 and target 0: the cost is a^2 / 2, and the bias changes by rate x a f'(z).
    what = program(Network([1, 1], output=name), 1, "quadratic")
    z = np.concatenate([np.linspace(-80, 80, 161), np.linspace(-1, 1, 101)]).astype(np.float32)

    @jax.jit
    def after(at):
        params = ({"b": jnp.array([0.0]), "w": jnp.array([[1.0]])}, {})
        train = Examples(jnp.asarray(z)[:, None], jnp.zeros((len(z), 1)), None, 1.0)
        order = small.Order(jnp.arange(len(z), dtype=jnp.int32)[None], 0, at, 1)
        done = small.step(what, start(what, HYPER, params, ({}, {})), train, order, HYPER, None)
        return done.cost, -done.params[0]["b"][0] / 0.3

    costs, errors = np.array([after(i) for i in range(len(z))]).T
    a = function(z.astype(np.float64))
    assert np.all(np.abs(costs - a * a / 2) <= 2e-6 * a * a + 1e-38)
    assert np.all(np.abs(errors - a * slope(a)) <= 3e-7)


def test_the_cost_is_finite_and_right_however_wrong_the_network_is():
    what = program(Network([1, 2]), 1)
    train = Examples(jnp.array([[1.0]]), jnp.array([1], jnp.int32), None, 1.0)
    params = ({"b": jnp.array([0.0, 0.0]), "w": jnp.array([[-1e4], [-1e4]])}, {})
    assert float(call(what, start(what, HYPER, params, ({}, {})), train).cost) == 1e4
    params = ({"b": jnp.array([0.0, 0.0]), "w": jnp.array([[-80.0], [80.0]])}, {})
    np.testing.assert_allclose(  # 2 ln(1 + e^-80)
        call(what, start(what, HYPER, params, ({}, {})), train).cost, 2 * np.exp(-80), rtol=1e-5
    )


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_nan_is_passed_on(activation):
    what = program(Network([5, 4, 3], activation=activation, output="softmax"), 2)
    train = examples(2, 5, 3, kind="numbers")
    train = train._replace(x=train.x.at[1, 2].set(jnp.nan))
    after = call(what, learner(what, HYPER), train)
    assert np.isnan(after.cost)
    assert np.isnan(after.params[0]["b"]).all() or activation == "relu"  # relu: slope 0 there
    assert np.isnan(after.params[2]["w"]).all()


def test_a_nan_in_one_row_of_weights_stays_in_it():
    # Neuron 1 is NaN, and so the cost; what neuron 0 sees is read beside it, and must not be.
    what = program(Network([5, 2], output="identity"), 1, "quadratic")
    train = examples(1, 5, 2, kind="numbers")
    begin = learner(what, HYPER)
    broken = begin.params[0]["w"].at[1].set(jnp.nan)
    begin = begin._replace(params=({**begin.params[0], "w": broken}, {}))
    after = np.asarray(call(what, begin, train).params[0]["w"])
    assert np.isfinite(after[0]).all()
    assert np.isnan(after[1]).all()


def bits(of):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(of)]


def test_same_call_same_bits_also_from_two_threads_at_once():
    what, train = program(Network([31, 17, 3]), 7, optimizer="adam"), examples(2000, 31, 3)
    run = partial(learned, what, train)
    expected, found = bits(run()), {}

    def work(name):
        found[name] = bits(run())

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": expected, "b": expected}


def test_a_run_cut_in_two_ends_in_the_same_bits():
    what, train = program(Network([31, 17, 3]), 7, optimizer="adam"), examples(100, 31, 3)
    whole = learned(what, train, steps=11)
    half = learned(what, train, steps=4)
    kept = jax.tree.map(np.array, half)  # through the host, as a checkpoint goes
    orders = np.random.default_rng(3).permutation(100).astype(np.int32)[None]
    rates = np.full((1, 15), RATES.learning_rate, np.float32)
    again = jax.tree.map(jnp.array, kept)
    rest = advance(what, again, train, None, orders, rates, HYPER, np.uint32(5), 0, 1, 4, 11)[0]
    assert bits(rest) == bits(whole)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_empty_batch_changes_nothing(optimizer):
    what, train = program(Network([5, 4, 3]), 2, optimizer=optimizer), examples(2, 5, 3)
    begin = learner(what, HYPER)
    before = bits(begin)
    assert bits(call(what, begin, train, length=0)) == before


def test_fit_uses_it_and_gives_the_same_model(monkeypatch):
    data = Dataset(np.random.default_rng(0).integers(0, 256, (64, 20)).astype(np.uint8),
                   np.arange(64) % 3, scale=1 / 255)  # fmt: skip
    calls = []
    step = small.step
    monkeypatch.setattr(small, "step", lambda *args: calls.append(1) or step(*args))
    recipe = Recipe(learning_rate=0.5, batch_size=9, epochs=3)
    found = fit(Network([20, 7, 3]), data, recipe=recipe)
    assert calls
    calls.clear()
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    wanted = fit(Network([20, 7, 3]), data, recipe=recipe)
    assert not calls
    assert distance(found.model.params, wanted.model.params) < 1e-5
    for ours, theirs in zip(found.history, wanted.history, strict=True):
        assert ours["train_cost"] == pytest.approx(theirs["train_cost"], rel=1e-5)


# What does not fit.


@pytest.mark.parametrize(
    "fields",
    [
        {"kernels": PLAIN}, {"kernels": replace(NATIVE, product="bfloat16")},
        {"precision": "float64"}, {"optimizer": "rmsprop"}, {"clip": True}, {"part": 5},
        {"batch_size": small.MOST_PRODUCTS // 32 + 1},
        {"network": Network([5, 4, 3], dropout=0.5)},
        {"network": Network([5, 4, 3], activation="gelu")},
        {"network": Network(Dense(4), Dense(3), Activation("sigmoid"), shape=(5,))},
        {"network": Network(Dropout(0.5), Dense(3), shape=(5,))},
        {"network": Network(Flatten(), shape=(5,))},
    ],
    ids=str,
)  # fmt: skip
def test_what_it_cannot_do_takes_the_plain_path(fields):
    what, train = program(Network([5, 4, 3])), examples(4, 5, 3)
    params = learner(what, HYPER).params
    assert small.fits(what, params, train)
    assert not small.fits(replace(what, **fields), params, train)


def test_weights_of_examples_other_numbers_and_large_networks_take_the_plain_path():
    what, train = program(Network([5, 4, 3])), examples(4, 5, 3)
    params = learner(what, HYPER).params
    assert not small.fits(what, params, train._replace(weight=jnp.ones(4)))
    assert not small.fits(what, params, train._replace(x=train.x.astype(jnp.int16)))
    assert not small.fits(what, params, train._replace(y=train.y.astype(jnp.float32)))
    large = ({"b": jnp.zeros(1), "w": jnp.zeros((1, small.MOST_WEIGHTS + 1))}, {})
    assert not small.fits(what, large, train)


# What must not be: the handler checks again what Python hands it.


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b, t: (b, t._replace(x=t.x[:, :4]), {}),
        lambda b, t: (b, t._replace(y=t.y[:3]), {}),
        lambda b, t: (b, t._replace(x=t.x.astype(jnp.int16)), {}),
        lambda b, t: (b, t, {"orders": jnp.full((1, 4), 99, jnp.int32)}),
        lambda b, t: (b, t, {"orders": jnp.full((1, 4), -1, jnp.int32)}),
        lambda b, t: (b, t, {"at": 2}),
        lambda b, t: (b, t, {"at": -1}),
        lambda b, t: (b, t, {"epoch": 1}),
        lambda b, t: (b._replace(params=b.params[:2]), t, {}),
        lambda b, t: (b._replace(params=({**b.params[0], "b": t.y}, *b.params[1:])), t, {}),
        lambda b, t: (b._replace(opt_state=jnp.zeros(3)), t, {}),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_an_exception(wrong):
    what, train = program(Network([5, 4, 3]), 2), examples(4, 5, 3)
    begin, train, how = wrong(learner(what, HYPER), train)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="expected"):
        call(what, begin, train, **how)


def test_older_processors_learn_the_same(tmp_path):
    code = """
import sys, numpy as np, jax, test_small as t
from deltarule.network import Network
found = [t.learned(t.program(Network([31, 17, 3], activation=a, output=o), 7, optimizer=m),
                   t.examples(40, 31, 3)).params
         for a, o, m in (("tanh", "softmax", "adam"), ("sigmoid", "sigmoid", "momentum"))]
np.save(sys.argv[1], np.concatenate([np.ravel(x) for x in jax.tree.leaves(found)]))
"""
    here = Path(__file__).parent
    source = str(here.parents[1] / "src")
    path = os.pathsep.join([str(here), source, os.environ.get("PYTHONPATH", "")])
    isas = ("avx512", "avx2", "baseline")  # or the most this processor has
    for isa in isas:
        env = {**os.environ, "PYTHONPATH": path, "DELTARULE_NATIVE_ISA": isa}
        subprocess.run([sys.executable, "-c", code, tmp_path / isa], env=env, check=True)
    best, *older = (np.load(tmp_path / f"{isa}.npy") for isa in isas)
    assert max(distance(weights, best) for weights in older) < 1e-5
