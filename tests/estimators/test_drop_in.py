"""In scikit-learn's machinery ours do what scikit-learn's own do: searches, pipelines, pickles."""

import copy
import pickle
import threading
import warnings

import joblib
import numpy as np
import pandas
import polars
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deltarule import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 8, "random_state": 0}


def pair(**options):
    """Return ours and scikit-learn's with the same options."""
    options = SMALL | options
    return MLPClassifier(**options), neural_network.MLPClassifier(**options)


# ---- its machinery


def test_a_grid_search_in_two_processes_finds_what_scikit_learn_finds():
    grid = {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 0.1]}
    ours, theirs = (GridSearchCV(each, grid, cv=3, n_jobs=2).fit(X, LABELS) for each in pair())
    assert ours.best_params_ == theirs.best_params_
    for name in ("mean_test_score", "std_test_score"):
        assert_allclose(ours.cv_results_[name], theirs.cv_results_[name])


def test_threads_train_at_the_same_time(monkeypatch):
    run, both = MLPClassifier._run_epochs, threading.Barrier(2)

    def after_the_other_began(self, *given):
        both.wait(timeout=60)  # a fit that waits for the other's end breaks it
        run(self, *given)

    expected = cross_validate(pair()[1], X, Y, cv=4)["test_score"]
    monkeypatch.setattr(MLPClassifier, "_run_epochs", after_the_other_began)
    with joblib.parallel_backend("threading", n_jobs=2):
        assert_allclose(cross_validate(pair()[0], X, Y, cv=4)["test_score"], expected)


def test_pipelines_calibration_and_folds():
    for build in (
        lambda net: make_pipeline(StandardScaler(), net),
        lambda net: CalibratedClassifierCV(net, cv=2),
    ):
        ours, theirs = (build(each).fit(X, LABELS).predict_proba(X) for each in pair())
        assert_allclose(ours, theirs, atol=1e-10)
    ours, theirs = (cross_val_predict(each, X, LABELS, cv=3) for each in pair())
    assert_array_equal(ours, theirs)


def test_sample_weights_are_routed():
    weights = np.arange(150) % 4 + 0.5
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        probabilities = [
            make_pipeline(scaler, each.set_fit_request(sample_weight=True))
            .fit(X, Y, sample_weight=weights)
            .predict_proba(X)
            for each in pair()
        ]
    assert_allclose(*probabilities, atol=1e-10)
    assert not np.allclose(probabilities[0], make_pipeline(StandardScaler(), pair()[0])
                           .fit(X, Y).predict_proba(X))  # fmt: skip


# ---- kinds of data


@pytest.mark.parametrize("library", [pandas, polars])
def test_frames(library):
    names = ["a", "b", "c", "d"]
    frame = library.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    net = make_pipeline(StandardScaler().set_output(transform=library.__name__), pair()[0])
    net.fit(frame, LABELS)
    assert net[-1].feature_names_in_.tolist() == names
    plain = make_pipeline(StandardScaler(), pair()[0]).fit(X, LABELS)
    assert_array_equal(net.predict(frame), plain.predict(X))
    other = frame.rename(columns={"a": "z"}) if library is pandas else frame.rename({"a": "z"})
    with pytest.raises(ValueError, match="feature names should match"):
        net[-1].predict(other)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_inputs_are_dense_ones(kind, solver):
    dense = np.where(X > 2, X, 0)
    one, other = (pair(solver=solver)[0].fit(x, Y) for x in (kind(dense), dense))
    assert_allclose(one.predict_proba(kind(dense)), other.predict_proba(dense), atol=1e-8)


@pytest.mark.parametrize("how", ["big-endian", "fortran", "strided", "read-only", "mapped"])
def test_inputs_however_they_lie_in_memory(how, tmp_path):
    x = {
        "big-endian": lambda: X.astype(">f8"),
        "fortran": lambda: np.asfortranarray(X),
        "strided": lambda: np.repeat(X, 2, axis=1)[:, ::2],
        "read-only": lambda: X.copy(),
        "mapped": lambda: mapped(tmp_path / "x"),
    }[how]()
    if how == "read-only":
        x.flags.writeable = False
    before = np.array(x)
    assert_allclose(pair()[0].fit(x, Y).coefs_[0], pair()[0].fit(X, Y).coefs_[0], rtol=1e-12)
    assert_array_equal(x, before)


def mapped(path):
    made = np.memmap(path, X.dtype, "w+", shape=X.shape)
    made[:] = X
    made.flush()
    return np.memmap(path, X.dtype, "r", shape=X.shape)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, bool, np.float16, np.longdouble, object])
def test_other_numbers_train_in_double_precision(dtype):
    net = pair()[0].fit(X.astype(dtype), Y)
    assert net.coefs_[0].dtype == np.float64


# ---- pickles, in every state


def states():
    yield "unfitted", pair()[0]
    yield "fitted", pair()[0].fit(X, LABELS)
    yield "on the way", pair()[0].partial_fit(X, LABELS, classes=np.unique(LABELS))
    yield "warm", pair(warm_start=True)[0].fit(X, LABELS)
    yield "stopped early", pair(early_stopping=True)[0].fit(X, LABELS)


WAYS = {
    "pickle": lambda net, path: pickle.loads(pickle.dumps(net)),
    "joblib": lambda net, path: joblib.load(joblib.dump(net, path)[0]),
    "deepcopy": lambda net, path: copy.deepcopy(net),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_back_goes_on_as_if_nothing_had_been(way, tmp_path):
    for name, net in states():
        again = WAYS[way](net, tmp_path / "net")
        assert b"jax" not in pickle.dumps(again), name
        if hasattr(net, "coefs_"):
            assert_array_equal(again.predict_proba(X), net.predict_proba(X))
        if net.early_stopping:
            continue  # partial_fit refuses it
        for each in (net, again):
            each.partial_fit(X, LABELS, classes=np.unique(LABELS))
        for one, other in zip(net.coefs_, again.coefs_, strict=True):
            assert_array_equal(one, other)


def test_clone_and_parameters():
    ours, theirs = pair(alpha=0.5)
    shared = theirs.get_params()
    assert {name: ours.get_params()[name] for name in shared} == shared
    assert clone(ours).get_params() == ours.get_params()
    assert "alpha=0.5" in repr(ours)
    fitted = ours.fit(X, Y)
    assert not hasattr(clone(fitted), "coefs_")
    before = set(vars(fitted))
    fitted.predict(X)
    assert set(vars(fitted)) == before


def test_fitted_again_on_other_features_it_starts_afresh():
    net = pair()[0].fit(X, Y).fit(X[:, :2], Y)
    assert_array_equal(net.coefs_[0], pair()[0].fit(X[:, :2], Y).coefs_[0])


# ---- what is refused is refused in scikit-learn's words


NAN, INF = X.copy(), X.copy()
NAN[3, 1], INF[3, 1] = np.nan, -np.inf
CLASSES = [0, 1, 2]
REFUSED = {
    "NaN": lambda net: net.fit(NAN, Y),
    "infinity": lambda net: net.fit(INF, Y),
    "NaN at predict": lambda net: net.fit(X, Y).predict(NAN),
    "NaN at partial_fit": lambda net: net.partial_fit(NAN, Y, classes=CLASSES),
    "complex": lambda net: net.fit(X * 1j, Y),
    "text": lambda net: net.fit(np.full((150, 2), "a"), Y),
    "objects": lambda net: net.fit(np.full((150, 2), {}, dtype=object), Y),
    "one axis": lambda net: net.fit(X[:, 0], Y),
    "three axes": lambda net: net.fit(X[:, :, None], Y),
    "a number": lambda net: net.fit(3.0, Y),
    "no samples": lambda net: net.fit(X[:0], Y[:0]),
    "no features": lambda net: net.fit(X[:, :0], Y),
    "other lengths": lambda net: net.fit(X, Y[:-1]),
    "no y": lambda net: net.fit(X, None),
    "quantities": lambda net: net.fit(X, X[:, 0]),
    "mixed labels": lambda net: net.fit(X, np.array(["a", 1, 2] * 50, dtype=object)),
    "no classes at first": lambda net: net.partial_fit(X, Y),
    "a new label": lambda net: net.partial_fit(X, Y, classes=CLASSES).partial_fit(X, Y + 5),
    "a new label at first": lambda net: net.partial_fit(X, Y + 5, classes=CLASSES),
    "a new label, warm": lambda net: net.set_params(warm_start=True).fit(X, Y).fit(X, Y + 5),
    "no classes": lambda net: net.partial_fit(X, Y, classes=[0, 1]),
    "other features": lambda net: net.fit(X, Y).predict(X[:, :2]),
    "not fitted": lambda net: net.predict(X),
    "alpha": lambda net: net.set_params(alpha=-1).fit(X, Y),
    "hidden_layer_sizes": lambda net: net.set_params(hidden_layer_sizes=0).fit(X, Y),
    "momentum": lambda net: net.set_params(momentum=2).fit(X, Y),
    "validation_fraction": lambda net: net.set_params(validation_fraction=1).fit(X, Y),
    "batch_size": lambda net: net.set_params(batch_size=0).fit(X, Y),
    "weights of nought": lambda net: net.fit(X, Y, sample_weight=np.zeros(150)),
    "NaN weights": lambda net: net.fit(X, Y, sample_weight=np.full(150, np.nan)),
    "too few weights": lambda net: net.fit(X, Y, sample_weight=np.ones(3)),
    "too small a validation set": lambda net: net.set_params(
        early_stopping=True, validation_fraction=0.005).fit(X, Y),
    "partial_fit of lbfgs": lambda net: net.set_params(solver="lbfgs").partial_fit(X, Y),
    "partial_fit that stops": lambda net: net.set_params(early_stopping=True).partial_fit(X, Y),
    "numbers too large": lambda net: net.set_params(solver="sgd").fit(X * 1e306, Y),
}  # fmt: skip


@pytest.mark.parametrize("request_", REFUSED.values(), ids=list(REFUSED))
def test_it_is_refused_in_the_same_words(request_):
    said = []
    for net in pair():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
                request_(net)
        said.append((type(caught.value).__name__, str(caught.value)))
    assert said[0] == said[1]


@pytest.mark.parametrize("sizes", [(10**9,), (10**6, 10**6)])
def test_a_network_larger_than_memory_is_refused_before_it_is_made(sizes, monkeypatch):
    monkeypatch.setattr("deltarule.estimators.memory.memory", lambda: 8 << 30)
    net = MLPClassifier(sizes)
    with pytest.raises(ValueError, match=r"weights, which take [\d,]+ GiB in training"):
        net.fit(X, Y)


def test_labels_whose_table_no_memory_holds(monkeypatch):
    monkeypatch.setattr("deltarule.estimators.memory.memory", lambda: 8 << 30)
    with pytest.raises(ValueError, match=r"100,000 different labels.* takes 75 GiB"):
        MLPClassifier().fit(np.zeros((10**5, 1)), np.arange(10**5))


def test_the_largest_label_is_one_as_any():
    labels = np.array([0, 2**63 - 1])[np.arange(150) % 2]
    assert set(pair()[0].fit(X, labels).predict(X)) <= {0, 2**63 - 1}


WARNED = {
    "not converged": lambda net: net.fit(X, Y),
    "a column": lambda net: net.fit(X, Y[:, None]),
    "large batches": lambda net: net.set_params(batch_size=1000).fit(X, Y),
}


@pytest.mark.parametrize("request_", WARNED.values(), ids=list(WARNED))
def test_the_same_warnings(request_):
    said = []
    for net in pair():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            request_(net)
        said.append(sorted((each.category.__name__, str(each.message)) for each in caught))
    assert said[0] == said[1] != []


def test_a_wrong_first_call_leaves_nothing_half_done():
    net = pair()[0]
    with pytest.raises(ValueError, match="classes"):
        net.partial_fit(X, Y, classes=[0, 1])
    net.partial_fit(X, Y, classes=CLASSES)
    assert_array_equal(
        net.coefs_[0], pair()[0].partial_fit(X, Y, classes=CLASSES).coefs_[0]
    )  # fmt: skip


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_one_sample_one_feature_one_class(solver):
    one = MLPClassifier(**SMALL | {"solver": solver}).fit(X[:60, :1], Y[:60] * 0)
    assert one.predict(X[:, :1]).tolist() == [0] * 150
    single = MLPRegressor(**SMALL | {"solver": solver}).fit(X[:1], [2.0])
    assert np.isfinite(single.predict(X)).all()


def test_ctrl_c_keeps_what_was_learned(monkeypatch):
    net = pair(max_iter=500, verbose=True)[0]
    epochs = []

    def after(*_, **__):
        epochs.append(1)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_update_no_improvement_count", after)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        net.fit(X, Y)
    assert net.n_iter_ == 3
    assert np.isfinite(net.predict_proba(X)).all()
