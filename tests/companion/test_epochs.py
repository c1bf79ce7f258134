"""Whole epochs by the companion: what the compiler's program and scikit-learn learn."""

import hashlib
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification

from deltarule import MLPClassifier, MLPRegressor
from deltarule.estimators import native, program
from deltarule.network import companion
from deltarule.network.companion.dense_steps import Adam, Course, adam_epochs

pytestmark = [
    pytest.mark.skipif(not companion.is_there(), reason=f"the companion is {companion.describe()}"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

IRIS_X, IRIS_Y = load_iris(return_X_y=True)
X = IRIS_X.astype(np.float32)
NUMBERS_X, NUMBERS_Y = (a[:130] for a in load_diabetes(return_X_y=True))
LABELS_X, LABELS_Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
DATA: dict[str, tuple[Any, ...]] = {
    "three classes": (MLPClassifier, X, IRIS_Y),
    "two classes": (MLPClassifier, X[:100], np.array(["no", "yes"])[IRIS_Y[:100]]),
    "labels": (MLPClassifier, LABELS_X.astype(np.float32), LABELS_Y),
    "a number": (MLPRegressor, NUMBERS_X.astype(np.float32), NUMBERS_Y / 100),
}
SMALL = {"hidden_layer_sizes": (7,), "max_iter": 20, "random_state": 3}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "wide": {"hidden_layer_sizes": (133,), "max_iter": 8},
    "two hidden layers": {"hidden_layer_sizes": (37, 17), "alpha": 0.0},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh", "alpha": 1.0},
    "identity": {"activation": "identity"},
    "a last small batch": {"batch_size": 32},
    "one by one": {"batch_size": 1, "max_iter": 3},
    "adam's numbers": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "learning_rate_init": 0.01},
    "stops": {"tol": 0.02, "n_iter_no_change": 3, "learning_rate_init": 0.02, "max_iter": 90},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.2},
}
TWINS = {MLPClassifier: neural_network.MLPClassifier, MLPRegressor: neural_network.MLPRegressor}


def assert_same(found, wanted, rtol):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(found, name), getattr(wanted, name), strict=True):
            assert a.dtype == b.dtype
            assert a.flags.writeable
            np.testing.assert_allclose(a, b, 10 * rtol, atol=10 * rtol * np.abs(b).max())
    assert found.n_iter_ == wanted.n_iter_
    np.testing.assert_allclose(found.loss_curve_, wanted.loss_curve_, rtol)
    for a, b in zip(found._optimizer.vs, wanted._optimizer.vs, strict=True):
        np.testing.assert_allclose(a, b, 10 * rtol, atol=10 * rtol * np.abs(b).max())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_it_learns_what_scikit_learn_and_the_compiler_learn(data, options, monkeypatch):
    """In float32; in float64 test_same_numbers.py compares far more closely."""
    kind, x, y = data
    calls = counted(monkeypatch)
    found = kind(**SMALL | options).fit(x, y)
    assert calls
    calls.clear()
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    plain = kind(**SMALL | options).fit(x, y)
    assert not calls
    theirs = TWINS[kind](**SMALL | options).fit(x, y)
    assert_same(found, plain, 2e-4)
    assert_same(found, theirs, 2e-4)
    assert (found._random_state.get_state()[1] == theirs._random_state.get_state()[1]).all()


def counted(monkeypatch) -> list[int]:
    """Return a list that grows with every call of the companion."""
    calls: list[int] = []
    run = native.run
    monkeypatch.setattr(native, "run", lambda *args: calls.append(1) or run(*args))
    return calls


@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_it_goes_on_where_it_stopped(how):
    options = SMALL | {"max_iter": 4, "batch_size": 40, "warm_start": how == "warm_start"}
    found, wanted = MLPClassifier(**options), neural_network.MLPClassifier(**options)
    for each in (found, wanted):
        for _ in range(3):
            each.fit(X, IRIS_Y) if how == "warm_start" else each.partial_fit(
                X, IRIS_Y, classes=[0, 1, 2]
            )
    assert_same(found, wanted, 2e-4)
    assert found._optimizer.t == wanted._optimizer.t


@pytest.mark.parametrize(
    ("options", "x", "y", "fit"),
    [
        ({}, X, IRIS_Y, {"sample_weight": np.ones(150)}),
        ({"solver": "sgd"}, X, IRIS_Y, {}),
        ({}, sparse.csr_matrix(X), IRIS_Y, {}),
        ({"hidden_layer_sizes": (2,) * 16}, X, IRIS_Y, {}),
        ({"loss": "poisson"}, X, IRIS_Y.astype(float), {}),
        ({"loss": "squared_error"}, X, np.c_[IRIS_Y, IRIS_Y].astype(float), {}),
    ],
    ids=["weights", "sgd", "sparse", "17 layers", "poisson", "two numbers"],
)
def test_what_it_cannot_do_is_left_to_the_compiler(options, x, y, fit, monkeypatch):
    calls = counted(monkeypatch)
    kind = MLPRegressor if "loss" in options else MLPClassifier
    kind(**SMALL | {"max_iter": 2} | options).fit(x, y, **fit)
    assert not calls


@pytest.mark.parametrize("options", ["defaults", "wide", "logistic", "tanh", "early stopping"])
def test_in_float64_it_learns_the_same_to_the_last_digits(options, monkeypatch):
    calls, options = counted(monkeypatch), SMALL | OPTIONS[options]
    found = MLPClassifier(**options).fit(IRIS_X, IRIS_Y)
    assert calls
    assert_same(found, neural_network.MLPClassifier(**options).fit(IRIS_X, IRIS_Y), 1e-11)


# Each is worth sharing, so that the hidden units are cut in two; 97 does not divide 300.
HALVES: dict[str, dict[str, Any]] = {
    "relu": {"alpha": 0.5},
    "an even cut": {"hidden_layer_sizes": (64,), "batch_size": 100},
    "few units": {"hidden_layer_sizes": (33,), "batch_size": 150},
    "tanh": {"activation": "tanh"},
    "logistic": {"activation": "logistic", "alpha": 0.0},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_halves_of_the_hidden_units_learn_the_same(kind, options, dtype, monkeypatch):
    calls = counted(monkeypatch)
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 90)).astype(dtype), rng.integers(0, 7, 300)
    asked = {"hidden_layer_sizes": (61,), "batch_size": 97, "max_iter": 5, "random_state": 0}
    y = y if kind is MLPClassifier else y.astype(dtype)
    found, wanted = (each(**asked | options).fit(x, y) for each in (kind, TWINS[kind]))
    assert calls
    assert_same(found, wanted, 2e-4 if dtype == np.float32 else 1e-11)


# ---- the handler by itself


def trained(x, y, layers, *, dtype=jnp.float32, names=("identity",), cost="quadratic", batch=1,
            orders=None, epochs=1, rates=None, alpha=0.0, adam=(0.9, 0.99, 0.1, 0.01, 1e-8),
            best=np.inf, tol=0.0, waited=0, longest=99, n=None):  # fmt: skip
    """Return costs, how many epochs there were, and (parameters, means, squares)."""
    x = jnp.asarray(x, dtype)
    n = len(x) if n is None else n
    if orders is None:
        orders = np.tile(np.arange(len(x)), (epochs, 1))
    rates = np.full((len(orders), -(-n // batch)), 0.3) if rates is None else rates
    learned = [
        [(jnp.asarray(b * k, dtype), jnp.asarray(w * k, dtype)) for b, w in layers]
        for k in (1.0, 0.0, 0.0)
    ]
    course = Course(
        jnp.array([n, epochs, waited, longest], jnp.int32), jnp.array([alpha, best, tol], dtype)
    )
    orders, rates = jnp.asarray(orders, jnp.int32), jnp.asarray(rates, dtype)
    run = jax.jit(
        lambda learned: adam_epochs(
            names, cost, batch, x, jnp.asarray(y), orders, rates, Adam(*adam), course, learned
        )
    )
    return run(learned)


ONE = [(np.array([1.0]), np.array([[2.0]]))]


def test_a_step_by_hand():
    # z = 2 x 3 + 1 = 7, target 4: the loss is (7 - 4)^2 / 2 = 4.5; dC/dw = 9 + 0.5 x 2, dC/db = 3.
    # The penalty is 0.5 / 2 x 2^2 = 1. m = 0.1 g and v = 0.01 g^2, so that with the rate 0.3 and
    # epsilon 0.1: w = 2 - 0.3 x 1 / (1 + 0.1), b = 1 - 0.3 x 0.3 / (0.3 + 0.1).
    adam = (0.9, 0.99, 0.1, 0.01, 0.1)
    losses, ran, ((found,), (mean,), (square,)) = trained(
        [[3.0]], np.array([[4.0]], np.float32), ONE, alpha=0.5, adam=adam
    )
    assert int(ran) == 1
    np.testing.assert_allclose(losses, [5.5], rtol=1e-6)
    np.testing.assert_allclose(found[1], [[2 - 0.3 / 1.1]], rtol=1e-6)
    np.testing.assert_allclose(found[0], [1 - 0.3 * 0.3 / 0.4], rtol=1e-6)
    np.testing.assert_allclose((mean[1][0, 0], mean[0][0]), (1.0, 0.3), rtol=1e-6)
    np.testing.assert_allclose((square[1][0, 0], square[0][0]), (1.0, 0.09), rtol=1e-6)


def test_it_stops_when_the_cost_has_not_fallen_for_too_long():
    y, still = np.array([[4.0]], np.float32), np.zeros((9, 1))
    losses, ran, _ = trained([[3.0]], y, ONE, epochs=9, rates=still, tol=1e-4, longest=2)
    assert int(ran) == 4  # the first is progress, three are not
    np.testing.assert_allclose(losses, [4.5] * 4 + [0] * 5)
    *_, ran, _ = trained(
        [[3.0]], y, ONE, epochs=9, rates=still, best=4.5, tol=1e-4, waited=2, longest=2
    )
    assert int(ran) == 1
    *_, ran, _ = trained([[3.0]], y, ONE, epochs=0, orders=np.zeros((2, 1)))
    assert int(ran) == 0


@pytest.mark.parametrize(("names", "y", "outputs"), [
    (("softmax",), np.array([1], np.int32), 2),
    (("sigmoid",), np.array([[0.0]], np.float32), 1),
])  # fmt: skip
def test_a_hopeless_answer_costs_what_it_costs_in_scikit_learn(names, y, outputs):
    w = np.array([[99.0], [-99.0]])[:outputs]
    losses, *_ = trained([[1.0]], y, [(np.zeros(outputs), w)], names=names, cost="log_loss")
    np.testing.assert_allclose(losses, -np.log(np.finfo(np.float32).eps), rtol=1e-6)
    losses, *_ = trained([[1.0]], y, [(np.zeros(outputs), -w)], names=names, cost="log_loss")
    np.testing.assert_allclose(losses, np.finfo(np.float32).eps, rtol=1e-3)


@pytest.mark.parametrize(("name", "function"), [
    ("sigmoid", lambda z: 1 / (1 + np.exp(-z))), ("tanh", np.tanh), ("relu", lambda z: z * (z > 0)),
    ("softmax", lambda z: 1 / (1 + np.exp(-2 * z))),
])  # fmt: skip
def test_activations_are_exact_to_some_units_in_the_last_place_of_a_double(name, function):
    # One example an epoch, target 0, rate 0: the cost is half the square of a = f(z), or of both
    # outputs of a softmax of z and -z.
    z = np.concatenate([np.linspace(-90, 90, 181), np.linspace(-1, 1, 202), 10.0 ** -np.arange(20)])
    w = np.array([[1.0], [-1.0]])[: 2 if name == "softmax" else 1]
    with jax.enable_x64(True):
        losses, *_ = trained(
            z[:, None], np.zeros((len(z), len(w))), [(np.zeros(len(w)), w)], names=(name,),
            dtype=jnp.float64, orders=np.arange(len(z))[:, None], n=1, epochs=len(z),
            rates=np.zeros((len(z), 1)), longest=len(z),
        )  # fmt: skip
    a = function(z)
    wanted = (a**2 + (function(-z) ** 2 if name == "softmax" else 0)) / 2
    np.testing.assert_allclose(losses, wanted, rtol=4e-15)


def test_an_epoch_may_leave_examples_out():
    x, y = np.arange(6.0)[:, None], np.arange(6, dtype=np.float32)[:, None]
    found = trained(x, y, ONE, batch=2, orders=[[4, 2, 0, 1, 3, 5]], n=3)
    wanted = trained(x[[4, 2, 0]], y[[4, 2, 0]], ONE, batch=2)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), found, wanted))


@pytest.mark.parametrize(("changes", "said"), [
    ({"orders": [[0, 2]]}, "places of examples that there are"),
    ({"orders": [[0, -1]]}, "places of examples that there are"),
    ({"epochs": 2, "orders": [[0, 1]]}, "orders .epochs, n. and rates"),
    ({"n": 3}, "as many examples as there are or fewer"),
    ({"rates": np.ones((1, 1))}, "orders .epochs, n. and rates"),
    ({"batch": 0, "rates": np.ones((1, 2))}, "a batch size"),
    ({"cost": "cross_entropy"}, "a cost that it knows"),
    ({"cost": "log_loss"}, "sigmoid or softmax outputs"),
    ({"names": ("identity", "identity")}, "more arrays to learn"),
])  # fmt: skip
def test_the_handler_refuses_what_it_was_not_written_for(changes, said):
    x, y = np.ones((2, 1)), np.ones((2, 1), np.float32)
    with pytest.raises(Exception, match=f"deltarule-native expected .*{said}"):
        jax.block_until_ready(trained(x, y, ONE, **changes))


def fingerprint(*hidden: int) -> str:
    """Return a hash of what a network of some size learns, large enough for helpers."""
    rng = np.random.default_rng(0)
    x, y = rng.random((700, 90)).astype(np.float32), rng.integers(0, 7, 700)
    net = MLPClassifier(hidden, random_state=0, max_iter=5, batch_size=97).fit(x, y)
    arrays = (*net.coefs_, *net.intercepts_, np.array(net.loss_curve_))
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize("hidden", [(61,), (61, 33)], ids=["one hidden layer", "two"])
def test_one_thread_learns_the_same_bits_as_several(hidden):
    code = (
        "import os, sys, warnings; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        f"warnings.simplefilter('ignore'); sys.path.insert(0, {os.path.dirname(__file__)!r}); "
        f"import test_epochs; print(test_epochs.fingerprint(*{hidden}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == fingerprint(*hidden)
    assert fingerprint(*hidden) == fingerprint(*hidden)


def test_programs_are_compiled_once_for_a_shape():
    program._compiled.cache_clear()
    for alpha in (1e-4, 1e-2):
        MLPClassifier(**SMALL, alpha=alpha).fit(X, IRIS_Y)
    assert program._compiled.cache_info().misses == 1
