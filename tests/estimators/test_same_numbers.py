"""Weights, costs and predictions are scikit-learn's, over a grid of its options."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning

from deltarule import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TWINS = {
    MLPClassifier: neural_network.MLPClassifier,
    MLPRegressor: neural_network.MLPRegressor,
}
RNG = np.random.default_rng(0)
IRIS_X, IRIS_Y = load_iris(return_X_y=True)
DIABETES_X, DIABETES_Y = (a[:130] for a in load_diabetes(return_X_y=True, scaled=True))
DIABETES_Y = DIABETES_Y / 100
LABELS_X, LABELS_Y = make_multilabel_classification(80, 6, n_classes=3, random_state=0)
WEIGHTS = RNG.uniform(0.2, 3, 150)

SMALL = {"hidden_layer_sizes": (7,), "max_iter": 20, "random_state": 3}
OPTIONS = {
    "defaults": {},
    "two hidden layers": {"hidden_layer_sizes": (7, 5)},
    "logistic": {"activation": "logistic"},
    "tanh": {"activation": "tanh", "alpha": 0.1},
    "identity": {"activation": "identity"},
    "a last small batch": {"batch_size": 32},
    "a last batch of one": {"batch_size": 149},
    "one by one": {"batch_size": 1, "max_iter": 3},
    "not shuffled": {"shuffle": False, "batch_size": 40},
    "adam's numbers": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "batch_size": 40},
    "sgd without nesterov": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.7},
    "sgd without momentum": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2,
        "max_iter": 40,
    },
    "stops": {"tol": 0.02, "n_iter_no_change": 3, "learning_rate_init": 0.02, "max_iter": 60},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.2},
    "early stopping, soon": {
        "early_stopping": True, "n_iter_no_change": 2, "solver": "sgd", "learning_rate_init": 0.1,
        "max_iter": 60,
    },
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs, tanh, two layers": {
        "solver": "lbfgs", "activation": "tanh", "hidden_layer_sizes": (6, 4),
    },
    "lbfgs, few costs": {"solver": "lbfgs", "max_fun": 7, "max_iter": 100},
}  # fmt: skip
DATA = {
    "three classes": (MLPClassifier, {}, IRIS_X, IRIS_Y),
    "two classes": (MLPClassifier, {}, IRIS_X[:100], np.array(["no", "yes"])[IRIS_Y[:100]]),
    "labels": (MLPClassifier, {}, LABELS_X, LABELS_Y),
    "a number": (MLPRegressor, {}, DIABETES_X, DIABETES_Y),
    "two numbers": (MLPRegressor, {}, DIABETES_X, np.c_[DIABETES_Y, DIABETES_X[:, 0]]),
    "counts": (MLPRegressor, {"loss": "poisson"}, DIABETES_X, np.round(DIABETES_Y)),
}  # fmt: skip


COSTS = (
    "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"
)  # fmt: skip


def both(kind, options, X, y, **fit):
    return [each(**SMALL | options).fit(X, y, **fit) for each in (kind, TWINS[kind])]


def assert_same(ours, theirs, X, rtol=1e-6, atol=1e-9):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert type(a) is np.ndarray
            assert a.dtype == b.dtype
            assert a.flags.writeable
            np.testing.assert_allclose(a, b, rtol, atol=atol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in COSTS:
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol)
        else:
            assert getattr(ours, name, None) is None, name
    if hasattr(theirs, "loss_curve_"):
        first = 1e-9 if rtol < 1e-5 else rtol
        np.testing.assert_allclose(ours.loss_curve_[:5], theirs.loss_curve_[:5], first)
    if np.asarray(theirs.predict(X)).dtype.kind == "f":
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol, atol=rtol)
    else:
        assert np.array_equal(ours.predict(X), theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol, atol=rtol)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option(name):
    ours, theirs = both(MLPClassifier, OPTIONS[name], IRIS_X, IRIS_Y)
    assert_same(ours, theirs, IRIS_X)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("name", DATA)
def test_every_kind_of_answer(name, solver):
    kind, options, X, y = DATA[name]
    # of weights in float64, 20 steps of a line search multiply rounding most
    rtol = 1e-5 if solver == "lbfgs" else 1e-6
    assert_same(*both(kind, options | {"solver": solver}, X, y), X, rtol)


@pytest.mark.parametrize("name", ["stops", "early stopping", "adaptive"])
def test_it_stops_where_scikit_learn_stops(name):
    ours, theirs = both(MLPClassifier, OPTIONS[name], IRIS_X, IRIS_Y)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours._no_improvement_count == theirs._no_improvement_count


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weighted_examples(solver):
    options = {"solver": solver, "batch_size": 40}
    ours, theirs = both(MLPClassifier, options, IRIS_X, IRIS_Y, sample_weight=WEIGHTS)
    assert_same(ours, theirs, IRIS_X)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_below_nought(solver, form):
    """scikit-learn takes them; ours then do the same."""
    weights = np.where(np.arange(150) % 7 == 0, -0.5, WEIGHTS)
    options = {"solver": solver, "batch_size": 40, "max_iter": 8}
    ours, theirs = both(MLPClassifier, options, form(IRIS_X), IRIS_Y, sample_weight=weights)
    assert_same(ours, theirs, IRIS_X)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_whose_sum_is_nought(solver):
    weights = np.where(np.arange(150) % 2 == 0, -1.0, 1.0)
    for kind in (MLPClassifier, TWINS[MLPClassifier]):
        net = kind(**SMALL | {"solver": solver, "batch_size": 150})
        with pytest.raises(ZeroDivisionError, match="Weights sum to zero, can't be normalized"):
            net.fit(IRIS_X, IRIS_Y, sample_weight=weights)


def test_weighted_examples_with_early_stopping():
    options = OPTIONS["early stopping"]
    ours, theirs = both(MLPClassifier, options, IRIS_X, IRIS_Y, sample_weight=WEIGHTS)
    assert_same(ours, theirs, IRIS_X)


@pytest.mark.parametrize("weights", [{}, {"sample_weight": WEIGHTS}], ids=["alike", "weighted"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_single_precision_stays_single(solver, form, weights):
    """lbfgs leaves double precision here and there; its costs are single in scikit-learn alone."""
    x = form(IRIS_X.astype("float32"))
    ours, theirs = both(MLPClassifier, {"solver": solver, "batch_size": 40}, x, IRIS_Y, **weights)
    assert ours.coefs_[0].dtype == (np.float64 if solver == "lbfgs" else np.float32)
    rtol, atol = (1e-3, 5e-4) if solver == "lbfgs" else (2e-4, 2e-5)
    assert_same(ours, theirs, x, rtol, atol)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_sparse_inputs(form, solver, monkeypatch):
    monkeypatch.setattr("deltarule.estimators.trainer.BLOCK_BYTES", 3000)  # a few blocks an epoch
    options = {"solver": solver, "batch_size": 32}
    ours, theirs = both(MLPClassifier, options, form(IRIS_X), IRIS_Y)
    assert_same(ours, theirs, IRIS_X)
    dense = TWINS[MLPClassifier](**SMALL | options).fit(IRIS_X, IRIS_Y)
    assert_same(ours, dense, IRIS_X)


@pytest.mark.parametrize("weights", [{}, {"sample_weight": WEIGHTS}], ids=["alike", "weighted"])
@pytest.mark.parametrize("name", ["sgd", "a last small batch", "early stopping", "lbfgs"])
def test_sparse_inputs_with_weights_and_early_stopping(name, weights, monkeypatch):
    monkeypatch.setattr("deltarule.estimators.trainer.BLOCK_BYTES", 3000)
    form = sparse.csr_matrix(IRIS_X)
    ours, theirs = both(MLPClassifier, OPTIONS[name], form, IRIS_Y, **weights)
    assert_same(ours, theirs, IRIS_X)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_partial_fit_goes_on(solver):
    pair = [kind(**SMALL | {"solver": solver}) for kind in (MLPClassifier, TWINS[MLPClassifier])]
    for net in pair:
        for rows in (slice(0, 90), slice(60, 150), slice(0, 150)):
            net.partial_fit(IRIS_X[rows], IRIS_Y[rows], classes=[0, 1, 2])
    assert_same(*pair, IRIS_X)
    assert pair[0].n_iter_ == 1
    assert len(pair[0].loss_curve_) == 3


def test_partial_fit_long_after_it_would_have_stopped():
    options = {"tol": 10.0, "n_iter_no_change": 1}
    pair = [kind(**SMALL | options) for kind in (MLPClassifier, TWINS[MLPClassifier])]
    for net in pair:
        for _ in range(5):
            net.partial_fit(IRIS_X, IRIS_Y, classes=[0, 1, 2])
    assert_same(*pair, IRIS_X)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_warm_start_goes_on(solver):
    options = {
        "warm_start": True,
        "solver": solver,
        "max_iter": 4,
        "tol": 0.5,
        "n_iter_no_change": 1,
    }
    pair = [kind(**SMALL | options) for kind in (MLPClassifier, TWINS[MLPClassifier])]
    for net in pair:
        net.fit(IRIS_X, IRIS_Y).fit(IRIS_X, IRIS_Y).fit(IRIS_X, IRIS_Y)
    assert_same(*pair, IRIS_X)


@pytest.mark.parametrize("name", ["defaults", "stops", "early stopping"])
def test_random_numbers_are_left_where_scikit_learn_leaves_them(name):
    after = []
    for kind in (MLPClassifier, TWINS[MLPClassifier]):
        shared = np.random.RandomState(5)
        kind(**SMALL | OPTIONS[name] | {"random_state": shared}).fit(IRIS_X, IRIS_Y)
        after.append(shared.uniform())
    assert after[0] == after[1]


@pytest.mark.parametrize(
    "options", [{}, OPTIONS["stops"], OPTIONS["early stopping"], OPTIONS["adaptive"]]
)
def test_what_it_says(options, capsys):
    said = []
    for kind in (MLPClassifier, TWINS[MLPClassifier]):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            kind(**SMALL | options | {"verbose": True}).fit(IRIS_X, IRIS_Y)
        said.append((capsys.readouterr().out, [str(warning.message) for warning in caught]))
    assert said[0] == said[1]
    assert "Iteration 1, loss = " in said[0][0]


def test_interrupted_it_keeps_what_it_has_learned(monkeypatch):
    from deltarule.estimators.trainer import Trainer

    advance = Trainer.advance

    def three(self, most, patient):
        if self.owner.n_iter_ == 3:
            raise KeyboardInterrupt
        return advance(self, 1, True)

    monkeypatch.setattr(Trainer, "advance", three)
    net = MLPClassifier(**SMALL)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(IRIS_X, IRIS_Y)
    monkeypatch.undo()
    assert net.n_iter_ == 3
    assert_same(net, TWINS[MLPClassifier](**SMALL | {"max_iter": 3}).fit(IRIS_X, IRIS_Y), IRIS_X)
