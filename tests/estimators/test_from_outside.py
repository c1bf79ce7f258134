"""What can be seen of ours from outside is what can be seen of scikit-learn's."""

import inspect
import warnings

import numpy as np
import pandas
import polars
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import neural_network
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deltarule import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
R = X[:, 0]  # a quantity
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}
TWINS = {
    MLPClassifier: neural_network.MLPClassifier,
    MLPRegressor: neural_network.MLPRegressor,
}


def twins(ours=MLPRegressor, **options):
    """Return ours and scikit-learn's with the same options."""
    return ours(**SMALL | options), TWINS[ours](**SMALL | options)


def public(names):
    return {name for name in names if not name.startswith("_")}


# ---- names


@pytest.mark.parametrize("ours", TWINS)
def test_parameters_are_theirs_in_name_order_and_default(ours):
    mine, others = (
        list(inspect.signature(each).parameters.values()) for each in (ours, TWINS[ours])
    )
    what = [[(p.name, p.kind, p.default) for p in each] for each in (mine, others)]
    assert what[0][: len(others)] == what[1]
    added = mine[len(others) :]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in added)


@pytest.mark.parametrize("ours", TWINS)
def test_methods_take_the_same_arguments(ours):
    for name in public(dir(TWINS[ours])):
        theirs = getattr(TWINS[ours], name)
        assert hasattr(ours, name), name
        if not inspect.isfunction(theirs) or name.endswith("_request"):  # by keyword alone
            continue
        mine, others = (
            list(inspect.signature(f).parameters) for f in (getattr(ours, name), theirs)
        )
        assert mine[: len(others)] == others, name


@pytest.mark.parametrize("options", [
    {}, {"solver": "lbfgs"}, {"early_stopping": True}
], ids=str)  # fmt: skip
@pytest.mark.parametrize("ours", TWINS)
def test_a_fit_leaves_the_same_attributes(ours, options):
    mine, theirs = (net.fit(X, Y) for net in twins(ours, **options))
    added = set(mine.get_params()) - set(theirs.get_params())
    assert public(vars(theirs)) <= public(vars(mine)) <= public(vars(theirs)) | added | {"history_"}


# ---- its machinery, for quantities


def test_searches_folds_and_targets_transformed():
    grid = {"alpha": [1e-4, 1.0]}
    ours, theirs = (GridSearchCV(net, grid, cv=3).fit(X[:, 1:], R) for net in twins())
    assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    for build in (
        lambda net: make_pipeline(StandardScaler(), net),
        lambda net: TransformedTargetRegressor(net, transformer=StandardScaler()),
    ):
        ours, theirs = (cross_val_predict(build(net), X[:, 1:], R, cv=3) for net in twins())
        assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("library", [pandas, polars])
@pytest.mark.parametrize("ours", TWINS)
def test_frames_are_read_as_scikit_learn_reads_them(ours, library):
    names = ["a", "b", "c", "d"]
    frame = library.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    answers = [net.fit(frame, Y).predict(frame) for net in twins(ours)]
    assert_allclose(*answers, atol=1e-9)
    plain = ours(**SMALL).fit(X, Y)
    assert_array_equal(answers[0], plain.predict(X))
    assert not hasattr(plain, "feature_names_in_")
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        ours(**SMALL).fit(frame, Y).predict(X)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_inputs_of_regressors(form):
    dense = np.where(X > 2, X, 0)
    ours, theirs = (net.fit(form(dense), np.c_[R, Y]).predict(form(dense)) for net in twins())
    assert_allclose(ours, theirs, atol=1e-9)


# ---- what is refused is refused in scikit-learn's words, and what is warned of as well


NAN = np.where(np.arange(600).reshape(150, 4) == 5, np.nan, X)
GENERATOR = np.random.default_rng(0)
LABELS = np.c_[Y == 0, Y == 1].astype(int)
REFUSED = {
    "NaN": (MLPRegressor, lambda net: net.fit(NAN, R)),
    "NaN answers": (MLPRegressor, lambda net: net.fit(X, NAN[:, 1])),
    "no answers": (MLPRegressor, lambda net: net.fit(X, None)),
    "other lengths": (MLPRegressor, lambda net: net.fit(X, R[:-1])),
    "three axes": (MLPRegressor, lambda net: net.fit(X, R[:, None, None])),
    "other features": (MLPRegressor, lambda net: net.partial_fit(X, R).partial_fit(X[:, 1:], R)),
    "not fitted": (MLPRegressor, lambda net: net.predict(X)),
    "loss": (MLPRegressor, lambda net: net.set_params(loss="absolute_error").fit(X, R)),
    "solver": (MLPRegressor, lambda net: net.set_params(solver="adagrad").fit(X, R)),
    "max_iter": (MLPRegressor, lambda net: net.set_params(max_iter=0).fit(X, R)),
    "sizes": (MLPRegressor, lambda net: net.set_params(hidden_layer_sizes=(5, -1)).fit(X, R)),
    "a size and a half": (
        MLPRegressor, lambda net: net.set_params(hidden_layer_sizes=(4.5,)).fit(X, R)),
    "random_state": (MLPRegressor, lambda net: net.set_params(random_state="a").fit(X, R)),
    "a Generator": (
        MLPRegressor,
        lambda net: net.set_params(random_state=GENERATOR).fit(X, R)),
    "too few held out": (
        MLPRegressor, lambda net: net.set_params(early_stopping=True).fit(X[:5], R[:5])),
    "it diverges": (
        MLPRegressor,
        lambda net: net.set_params(solver="sgd").fit(X * 1e306, R)),
    "several answers of several kinds": (MLPClassifier, lambda net: net.fit(X, np.c_[Y, Y])),
    "labels, then others": (
        MLPClassifier, lambda net: net.partial_fit(X, LABELS, classes=[0, 1]).partial_fit(X, Y)),
    "one of a kind held out": (
        MLPClassifier, lambda net: net.set_params(early_stopping=True).fit(X[49:60], Y[49:60])),
}  # fmt: skip
WARNED = {
    "not converged": (MLPRegressor, lambda net: net.fit(X, R)),
    "lbfgs not converged": (MLPRegressor, lambda net: net.set_params(solver="lbfgs").fit(X, R)),
    "a column": (MLPRegressor, lambda net: net.fit(X, R[:, None])),
    "large batches": (MLPRegressor, lambda net: net.set_params(batch_size=1000).fit(X, R)),
    "large batches bit by bit": (
        MLPClassifier, lambda net: net.set_params(batch_size=1000).partial_fit(X, Y, classes=Y)),
    "no score of one example": (MLPRegressor, lambda net: net.fit(X, R).score(X[:1], R[:1])),
}  # fmt: skip


def heard(net, request):
    """Return the types and texts of the warnings, and those of the error or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            error = request(net) and None
        except Exception as raised:  # noqa: BLE001 - whatever it is, both raise it
            error = raised
    warned = sorted((w.category.__name__, str(w.message)) for w in caught)
    return warned, error if error is None else (type(error).__name__, str(error))


def of_numpy(warned):
    """Leave out what NumPy says of overflows; compiled arithmetic says nothing of them."""
    return [each for each in warned if each[0] != "RuntimeWarning"]


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_the_same_words(name):
    kind, request = REFUSED[name]
    (_, ours), (_, theirs) = (heard(net, request) for net in twins(kind))
    assert ours == theirs is not None


@pytest.mark.parametrize("name", WARNED)
def test_it_is_warned_of_in_the_same_words(name):
    kind, request = WARNED[name]
    ours, theirs = (heard(net, request) for net in twins(kind))
    assert ours[1] is theirs[1] is None
    assert of_numpy(ours[0]) == of_numpy(theirs[0])
    assert len(theirs[0]) > 0
