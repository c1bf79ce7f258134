"""What must hold of any learning rule, held of the estimators: symmetries, limits, closed forms."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from deltarule import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)

FULL = {
    "hidden_layer_sizes": (6,), "activation": "tanh", "solver": "sgd", "batch_size": 150,
    "shuffle": False, "learning_rate_init": 0.1, "max_iter": 15, "random_state": 0,
}  # fmt: skip


def started(coefs, intercepts, **options):
    """Return a classifier that goes on from the given weights, and has made no step yet."""
    net = MLPClassifier(**FULL | {"warm_start": True, "max_iter": 1} | options)
    net.set_params(learning_rate_init=1e-300, momentum=0.0).fit(X, Y)
    net.coefs_, net.intercepts_ = [c.copy() for c in coefs], [b.copy() for b in intercepts]
    return net.set_params(**FULL | options)


@pytest.fixture(scope="module")
def drawn():
    """Return weights that nothing was learned with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net = MLPClassifier(**FULL | {"learning_rate_init": 1e-300, "momentum": 0.0}).fit(X, Y)
    return net.coefs_, net.intercepts_


def test_the_order_of_examples_makes_no_difference_to_a_full_batch():
    order = np.random.default_rng(0).permutation(150)
    one, other = MLPClassifier(**FULL).fit(X, Y), MLPClassifier(**FULL).fit(X[order], Y[order])
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        assert_allclose(a, b, atol=1e-10)


def test_features_may_be_exchanged_with_their_weights(drawn):
    coefs, intercepts = drawn
    order = [2, 0, 3, 1]
    one = started(coefs, intercepts).fit(X, Y)
    other = started([coefs[0][order], coefs[1]], intercepts).fit(X[:, order], Y)
    assert_allclose(one.predict_proba(X), other.predict_proba(X[:, order]), atol=1e-10)


def test_hidden_neurons_may_be_exchanged_and_negated(drawn):
    (first, last), (b, c) = drawn
    order, sign = [4, 2, 0, 5, 1, 3], np.array([1, -1, 1, 1, -1, 1])
    one = started([first, last], [b, c]).fit(X, Y)
    changed = [first[:, order] * sign, last[order] * sign[:, None]], [b[order] * sign, c]
    other = started(*changed).fit(X, Y)
    assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-10)


def test_classes_may_be_renamed(drawn):
    (first, last), (b, c) = drawn
    new = np.array([2, 0, 1])
    one = started([first, last], [b, c]).fit(X, Y)
    old = np.argsort(new)
    other = started([first, last[:, old]], [b, c[old]]).fit(X, new[Y])
    assert_allclose(one.predict_proba(X), other.predict_proba(X)[:, new], atol=1e-10)
    assert_array_equal(new[one.predict(X)], other.predict(X))


def test_weight_two_is_a_row_twice_and_weight_nought_is_none():
    weights = np.arange(150) % 3.0
    rows = np.repeat(np.arange(150), weights.astype(int))
    options = FULL | {"solver": "lbfgs", "max_iter": 5}
    weighted = MLPClassifier(**options).fit(X, Y, sample_weight=weights)
    repeated = MLPClassifier(**options).fit(X[rows], Y[rows])
    for a, b in zip(weighted.coefs_, repeated.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_the_same_constant_on_all_last_biases_changes_nothing():
    net = MLPClassifier(**FULL).fit(X, Y)
    before = net.predict_proba(X)
    net.intercepts_[-1] = net.intercepts_[-1] + 7
    assert_allclose(net.predict_proba(X), before, rtol=1e-12)


def test_inputs_times_ten_and_weights_over_ten(drawn):
    (first, last), intercepts = drawn
    plain = started([first, last], intercepts, max_iter=1).fit(X, Y)
    scaled = started([first / 10, last], intercepts, max_iter=1).fit(10 * X, Y)
    assert plain.loss_ == pytest.approx(scaled.loss_, rel=1e-5)  # but for alpha's share


@pytest.mark.parametrize("c", [10.0, 0.3, 2.0**20])
def test_scaled_inputs_and_weights_give_the_same_answers(drawn, c):
    (first, last), intercepts = drawn
    plain = started([first, last], intercepts)
    scaled = started([first / c, last], intercepts)
    assert_allclose(scaled.predict_proba(c * X), plain.predict_proba(X), rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"l1": 1e-300}], ids=["scikit-learn", "engine"])
def test_a_hidden_layer_of_relu_may_be_scaled_and_the_next_scaled_back(drawn, options):
    (first, last), (b, c) = drawn
    answers = []
    for factor in (1.0, 7.0):
        net = started([first * factor, last / factor], [b * factor, c], activation="relu")
        still = {"learning_rate_init": 1e-300, "momentum": 0.0, "max_iter": 1, "shuffle": True}
        net.set_params(**still | options).fit(X, Y)
        answers.append(net.predict_proba(X))
    assert_allclose(*answers, rtol=1e-12)


def test_more_alpha_less_weight():
    lengths = []
    for alpha in (1e-4, 1.0, 100.0):
        net = MLPClassifier(**FULL | {"alpha": alpha, "solver": "lbfgs", "max_iter": 50}).fit(X, Y)
        lengths.append(np.sqrt(sum((coef**2).sum() for coef in net.coefs_)))
    assert lengths == sorted(lengths, reverse=True)


def test_small_steps_lower_the_cost_and_none_leaves_it(drawn):
    net = MLPClassifier(**FULL | {"learning_rate_init": 1e-3, "momentum": 0.0}).fit(X, Y)
    assert (np.diff(net.loss_curve_) < 0).all()
    coefs, intercepts = drawn
    still = started(coefs, intercepts, learning_rate_init=1e-300, momentum=0.0).fit(X, Y)
    assert_array_equal(still.coefs_[0], coefs[0])


def test_an_answer_does_not_depend_on_who_else_is_asked():
    net = MLPClassifier(**FULL).fit(X, Y)
    whole = net.predict_proba(X)
    for size in (1, 7, 64):
        parts = [net.predict_proba(X[i : i + size]) for i in range(0, 150, size)]
        assert_allclose(np.concatenate(parts), whole, atol=1e-12)


def test_probabilities_are_probabilities():
    p = (net := MLPClassifier(**FULL).fit(X, Y)).predict_proba(X)
    assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert p.min() >= 0
    assert_array_equal(net.classes_[p.argmax(axis=1)], net.predict(X))
    assert_allclose(net.predict_log_proba(X), np.log(p), atol=1e-12)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_epochs_of_fit_are_partial_fits(solver):
    options = FULL | {"solver": solver, "batch_size": 32, "max_iter": 6}
    whole, parts = MLPClassifier(**options).fit(X, Y), MLPClassifier(**options)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    for a, b in zip(
        whole.coefs_ + whole.intercepts_, parts.coefs_ + parts.intercepts_, strict=True
    ):
        assert_array_equal(a, b)
    assert parts.t_ == whole.t_ == 900


# ---- closed forms


def test_no_hidden_layer_is_ridge_regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = x @ [1.0, -2.0, 0.5] + 3 + rng.normal(size=80)
    net = MLPRegressor(
        hidden_layer_sizes=(), solver="lbfgs", alpha=3.0, tol=1e-10, max_iter=5000, random_state=0
    )
    with_alpha = net.fit(x, y)  # half the squared error and half of alpha w^2, both over n
    closed = Ridge(alpha=3.0).fit(x, y)
    assert_allclose(with_alpha.coefs_[0][:, 0], closed.coef_, atol=1e-6)
    assert_allclose(with_alpha.intercepts_[0][0], closed.intercept_, atol=1e-6)


def test_no_hidden_layer_is_logistic_regression():
    x, y = X[:100] + np.random.default_rng(0).normal(0, 1, (100, 4)), Y[:100]
    net = MLPClassifier((), solver="lbfgs", alpha=1.0, tol=1e-10, max_iter=5000, random_state=0)
    closed = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(x, y)
    assert_allclose(net.fit(x, y).predict_proba(x), closed.predict_proba(x), atol=1e-5)


def test_no_hidden_layer_is_a_poisson_model():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = rng.poisson(np.exp(x @ [0.5, -0.3, 0.2])).astype(float)
    net = MLPRegressor(
        "poisson", (), solver="lbfgs", alpha=2.0, tol=1e-10, max_iter=5000, random_state=0
    )
    closed = PoissonRegressor(alpha=2.0 / 200, tol=1e-10, max_iter=5000).fit(x, y)
    assert_allclose(net.fit(x, y).predict(x), closed.predict(x), rtol=1e-4)


# ---- what a mistake in pairing inputs with answers would change


SHUFFLED = {"batch_size": 4, "learning_rate_init": 0.01, "tol": 0.0, "max_iter": 300}


@pytest.mark.parametrize(
    "options", [{"solver": "lbfgs"}, SHUFFLED, SHUFFLED | {"l1": 1e-9}],
    ids=["lbfgs", "shuffled batches", "shuffled batches of the engine"],
)  # fmt: skip
def test_random_answers_are_learned_by_heart(options):
    """Which a shuffle of inputs without their answers would not allow."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 5)), rng.integers(0, 2, 10)
    assert 0 < y.mean() < 1
    net = MLPClassifier((20,), random_state=0, **options)
    assert net.fit(x, y).score(x, y) == 1


@pytest.mark.parametrize("options", [{}, {"l1": 1e-9}], ids=["scikit-learn", "engine"])
def test_random_answers_cannot_be_foreseen(options):
    """However well they were learned; a leak of answers would show here."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 20)), rng.integers(0, 2, 1000)
    net = MLPClassifier((50,), random_state=0, **SHUFFLED | options, early_stopping=False)
    net.set_params(batch_size=32, max_iter=60).fit(x[:200], y[:200])
    assert net.score(x[:200], y[:200]) > 0.95
    assert 0.45 < net.score(x[200:], y[200:]) < 0.55  # 3 deviations of 800 tosses of a coin
