"""Estimators half-way, pickled, interrupted or changed, go on as scikit-learn's do."""

import pickle
import signal

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import load_iris

from deltarule import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}
TWINS = {
    "classifier": (MLPClassifier, neural_network.MLPClassifier, Y),
    "regressor": (MLPRegressor, neural_network.MLPRegressor, X[:, 0]),
}


def twins(kind, **options):
    """Return ours, scikit-learn's, and what they are to answer."""
    ours, theirs, y = TWINS[kind]
    return ours(**SMALL | options), theirs(**SMALL | options), y


def begin(net, y):
    """Take two steps of ``partial_fit``."""
    net.partial_fit(X, y, **({"classes": [0, 1, 2]} if y is Y else {})).partial_fit(X, y)


def assert_alike(one, other):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def by_joblib(net, folder):
    joblib.dump(net, folder / "net")
    return joblib.load(folder / "net")


def by_pickle(net, _):
    return pickle.loads(pickle.dumps(net))


# ---- pickled on the way


@pytest.mark.parametrize("way", [by_pickle, by_joblib])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", TWINS)
def test_pickled_before_every_step_it_is_where_scikit_learn_is(kind, solver, way, tmp_path):
    ours, theirs, y = twins(kind, solver=solver, learning_rate="invscaling")
    begin(ours := way(ours, tmp_path), y)
    begin(theirs, y)
    for _ in range(3):
        ours = way(ours, tmp_path).partial_fit(X, y)
        theirs.partial_fit(X, y)
    assert_alike(ours, theirs)
    assert_allclose(ours.loss_curve_, theirs.loss_curve_)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_pickled_it_starts_as_warm(solver):
    ours, theirs, y = twins("classifier", solver=solver, warm_start=True)
    assert_alike(by_pickle(ours.fit(X, y), None).fit(X, y), theirs.fit(X, y).fit(X, y))


# ---- interrupted


@pytest.fixture
def ctrl_c_soon(ctrl_c):
    """Press Ctrl-C 0.2 s from when it is called."""
    before = signal.signal(signal.SIGALRM, lambda *_: ctrl_c())
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", TWINS)
def test_interrupted_by_a_signal_it_can_be_pickled_and_goes_on(kind, solver, ctrl_c_soon):
    net, _, y = twins(kind, solver=solver)
    net.fit(X, y)  # compiles
    net.set_params(max_iter=10**9, tol=0.0, n_iter_no_change=10**9)
    ctrl_c_soon()
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(X, y)
    assert 0 < net.n_iter_ == len(net.loss_curve_) == net.t_ / len(X)
    again = by_pickle(net, None)
    for each in (net, again):
        each.partial_fit(X, y)
    assert_array_equal(net.coefs_[0], again.coefs_[0])
    assert net.loss_curve_ == again.loss_curve_


# ---- with other parameters from one call to the next


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate_init": 0.5}, {"beta_1": 0.1}, {"alpha": 0.5},
        {"shuffle": False}, {"activation": "tanh"}, {"random_state": 3}, {"tol": 9.0},
        {"hidden_layer_sizes": (3,)},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_set_between_two_steps_do_what_they_do_in_scikit_learn(changed):
    *pair, y = twins("classifier")
    for net in pair:
        begin(net, y)
        net.set_params(**changed).partial_fit(X, y).partial_fit(X, y)
    assert_alike(*pair)


@pytest.mark.parametrize("solvers", [("adam", "lbfgs"), ("sgd", "adam")])
def test_a_warm_start_with_another_solver(solvers):
    *pair, y = twins("regressor", warm_start=True)
    for net in pair:
        for solver in solvers:
            net.set_params(solver=solver).fit(X, y)
    assert_alike(*pair)


@pytest.mark.parametrize("second", [(X[::2], Y[::2]), (X, (Y > 0) * 1), (X[:, :2], Y)])
def test_a_warm_start_on_other_data(second):
    ends = []
    *pair, y = twins("classifier", warm_start=True)
    for net in pair:
        net.fit(X, y)
        try:
            ends.append(net.fit(*second).predict_proba(second[0]))
        except ValueError as error:
            ends.append(str(error))
    if isinstance(ends[1], str):
        assert ends[0] == ends[1]
    else:
        assert_allclose(*ends, atol=1e-9)


# ---- what is of no use until the end of a fit must not show there either


@pytest.mark.parametrize("patience", [np.inf, 2**40])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_patience_without_end(patience, early_stopping):
    *pair, y = twins("classifier", n_iter_no_change=patience, early_stopping=early_stopping)
    assert_alike(*(net.fit(X, y) for net in pair))


@pytest.mark.parametrize("changed", [{"solver": "adam"}, {"nesterovs_momentum": False}])
def test_the_optimizer_of_the_first_step_stays(changed):
    *pair, y = twins("classifier", solver="sgd")
    for net in pair:
        begin(net, y)
        net.set_params(**changed).partial_fit(X, y)
    assert_alike(*pair)


def test_random_numbers_of_another_generator():
    *pair, y = twins("classifier", tol=0.5, n_iter_no_change=2, max_iter=50)
    for net in pair:
        net.set_params(random_state=np.random.RandomState(np.random.PCG64(1))).fit(X, y)
    assert_alike(*pair)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_costs_are_numbers_that_json_takes(solver):
    *pair, y = twins("classifier", solver=solver)
    for net in pair:
        net.fit(X.astype(np.float32), y)
        assert type(net.loss_) is np.float64
        assert {type(loss) for loss in getattr(net, "loss_curve_", [])} <= {np.float64}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_a_batch_that_weighs_nothing(form):
    *pair, y = twins("classifier", batch_size=10, shuffle=False)
    for net in pair:
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero, can't be normalized"):
            net.fit(form(X), y, sample_weight=(np.arange(150) < 50) * 1.0)


def test_answers_of_another_kind_or_number():
    net = twins("regressor")[0]
    with pytest.raises(TypeError, match="y must hold numbers, got an array of <U1"):
        net.fit(X, np.full(150, "a"))
    net.partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"y has 2 outputs a sample, but .* fitted on 1"):
        net.partial_fit(X, np.c_[Y, Y])


def test_a_tolerance_beyond_single_precision():
    ours, theirs, y = twins("classifier", tol=1e60, n_iter_no_change=2)
    for net in (ours, theirs):
        net.fit(X.astype(np.float32), y)
    assert ours.n_iter_ == theirs.n_iter_
