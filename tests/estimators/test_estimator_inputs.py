"""Inputs and answers of every kind, one way and the other."""

import numpy as np
import pandas
import pytest
from beyond_help import SMALL, assert_same_weights
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.datasets import load_iris

from deltarule import MLPClassifier, MLPRegressor
from deltarule.estimators import program

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
WAYS = {"scikit-learn": {}, "lbfgs": {"solver": "lbfgs"}, "engine": {"l1": 1e-9}}
by_each_way = pytest.mark.parametrize("options", WAYS.values(), ids=list(WAYS))
NAN = np.where(np.arange(600).reshape(150, 4) == 5, np.nan, X)


def net(**options):
    return MLPClassifier(**SMALL | options)


@by_each_way
@pytest.mark.parametrize("bad", [NAN, np.where(np.isnan(NAN), np.inf, X)], ids=["NaN", "inf"])
def test_what_is_refused_is_refused_before_anything_is_compiled(bad, options, compilations):
    refused = [
        lambda: net(**options).fit(bad, Y),
        lambda: MLPRegressor(**SMALL | options).fit(bad, Y),
        lambda: MLPRegressor(**SMALL | options).fit(X, bad[:, 1]),
    ]
    if options != WAYS["lbfgs"]:
        refused.append(lambda: net(**options).partial_fit(bad, Y, classes=[0, 1, 2]))
    for request in refused:
        with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
            request()
    assert compilations == []


@pytest.fixture
def compilations():
    """Return a list that grows with every program that XLA compiles."""
    import jax

    found = []

    def heard(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(seconds)

    program._compiled.cache_clear()
    jax.monitoring.register_event_duration_secs_listener(heard)
    yield found
    jax.monitoring.unregister_event_duration_listener(heard)


def test_compilations_are_heard(compilations):
    net(hidden_layer_sizes=(11,)).fit(X, Y)
    assert len(compilations) > 0


@by_each_way
@pytest.mark.parametrize(
    "text", [np.full((150, 2), "a"), np.full((150, 2), b"a")], ids=["str", "bytes"]
)
def test_text_is_refused_in_scikit_learns_words(text, options):
    said = []
    for kind in (MLPClassifier, neural_network.MLPClassifier):
        given = {} if kind is neural_network.MLPClassifier and "l1" in options else options
        with pytest.raises(
            ValueError, match=r"dtype='numeric' is not compatible|could not convert"
        ) as caught:
            kind(**SMALL | given).fit(text, Y)
        said.append(str(caught.value))
    assert said[0] == said[1]


@by_each_way
@pytest.mark.parametrize("dtype", ["u1", "i1", "i8", "u2", "?", "f2", "g", "O", ">f8", ">f4", "f4"])
def test_other_numbers_train_as_the_rule_says(dtype, options):
    """float32 stays single but for lbfgs, big-endian is converted, all else is double."""
    x = X.astype(dtype)
    one = net(**options).fit(x, Y)
    single = dtype == "f4" and "solver" not in options
    assert {coef.dtype for coef in one.coefs_} == {np.dtype("f4" if single else "f8")}
    plain = net(**options).fit(x.astype("f8"), Y)
    close = 1e-3 if dtype == "f4" else 1e-12
    assert_same_weights(one, plain, rtol=close, atol=close)


@by_each_way
@pytest.mark.parametrize("labels", [
    np.array([-5, -1, 3]), np.array([-128, 0, 127], np.int8), np.array([False, True, True]),
    np.array(["b", "a", "c"]), np.array(["b", "a", "c"], object),
    np.array([0.0, 1.0, 5.0]),
], ids=str)  # fmt: skip
def test_labels_come_back_as_they_were_given(labels, options):
    y = labels[Y]
    theirs = neural_network.MLPClassifier(**SMALL)
    one = net(**options)
    theirs.fit(X, y)
    answered = one.fit(X, y).predict(X)
    assert_array_equal(one.classes_, theirs.classes_, strict=True)
    assert answered.dtype == theirs.predict(X).dtype
    assert set(answered) <= set(labels)
    assert one.score(X, y) == np.mean(answered == y)


@by_each_way
def test_names_of_columns(options):
    """Reordered and missing ones are refused in scikit-learn's words, which name them."""
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    asked = {
        "reordered": frame[["b", "a", "c", "d"]],
        "missing": frame[["a", "b", "c"]],
        "unexpected": frame.rename(columns={"a": "z"}),
    }
    theirs = neural_network.MLPClassifier(**SMALL).fit(frame, Y)
    one = net(**options).fit(frame, Y)
    for name, other in asked.items():
        said = []
        for each in (one, theirs):
            with pytest.raises(ValueError, match="feature names should match") as caught:
                each.predict(other)
            said.append(str(caught.value).replace("MLPClassifier", "the network"))
        assert said[0] == said[1], name
    assert "must be in the same order" in str_of(one.predict, asked["reordered"])
    assert "yet now missing:\n- d" in str_of(one.predict, asked["missing"])
    assert "unseen at fit time:\n- z" in str_of(one.predict, asked["unexpected"])


def str_of(call, *given):
    with pytest.raises(ValueError, match=r".+") as caught:
        call(*given)
    return str(caught.value)


@by_each_way
@pytest.mark.parametrize("form", [np.c_, pandas.Series, list], ids=["column", "series", "list"])
def test_forms_of_answers(form, options):
    if form is np.c_:
        with pytest.warns(UserWarning, match="A column-vector y was passed"):
            one = net(**options).fit(X, Y[:, None])
    else:
        one = net(**options).fit(X, form(Y))
    assert_same_weights(one, net(**options).fit(X, Y), rtol=0)
    assert one.predict(X).shape == (150,)


def test_a_column_of_quantities_by_the_engine():
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        one = MLPRegressor(**SMALL, l1=1e-9).fit(X, X[:, :1])
    assert one.predict(X).shape == (150,)


@pytest.mark.parametrize("options", [{}, {"l1": 0.1}], ids=["scikit-learn", "engine"])
def test_more_classes_than_memory_holds_are_refused_at_a_first_step(options, monkeypatch):
    """The table of partial_fit is [samples, classes], and the last layer has a unit for each."""
    monkeypatch.setattr("deltarule.estimators.memory.memory", lambda: 256 << 20)
    one = MLPClassifier((1000,), **options)
    with pytest.raises(ValueError, match=r"weights, which take [\d,]+ GiB in training"):
        one.partial_fit(X, Y, classes=np.arange(10**5))
    assert not hasattr(one, "coefs_")


@pytest.mark.parametrize("options", [{}, {"l1": 0.1}], ids=["scikit-learn", "engine"])
def test_a_hundred_thousand_classes_that_memory_does_hold(options):
    one = MLPClassifier((2,), **options).partial_fit(X[::50], Y[::50], classes=np.arange(10**5))
    assert one.predict_proba(X[:2]).shape == (2, 10**5)
    assert_allclose(one.predict_proba(X[:2]).sum(1), 1)


# ---- weights of samples


@by_each_way
@pytest.mark.parametrize("form", [list, pandas.Series, np.float32], ids=lambda form: form.__name__)
def test_forms_of_weights(form, options):
    weight = np.arange(150) % 4 + 0.5
    one = net(**options).fit(X, Y, sample_weight=form(weight))
    assert_same_weights(one, net(**options).fit(X, Y, sample_weight=weight), rtol=1e-9)


def test_weights_below_nought_are_refused_beyond_scikit_learn():
    weight = np.where(np.arange(150) == 7, -1.0, 1.0)
    with pytest.raises(ValueError, match=r"sample_weight times class_weight must be .* at least 0"):
        net(l1=0.1).fit(X, Y, sample_weight=weight)


@pytest.mark.parametrize("options", [{}, {"l1": 1e-9}], ids=["scikit-learn", "engine"])
def test_a_last_batch_of_one_counts_as_one(options):
    """Its cost is that of its example, with a share of 1 in 150."""
    options = options | {"batch_size": 149, "max_iter": 1, "learning_rate_init": 1e-12}
    small = net(**options, alpha=0.0).fit(X, Y)
    whole = net(**options | {"batch_size": 150}, alpha=0.0).fit(X, Y)
    assert_allclose(small.loss_, whole.loss_, rtol=1e-9)


# ---- answers do not depend on who else is asked, and are probabilities


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@by_each_way
def test_answers_by_themselves_and_together(options, dtype):
    one = net(**options).fit(X.astype(dtype), Y)
    whole = one.predict_proba(X.astype(dtype))
    for size in (1, 7, 64):
        parts = [one.predict_proba(X[i : i + size].astype(dtype)) for i in range(0, 150, size)]
        assert_allclose(np.concatenate(parts), whole, atol=1e-12 if dtype is np.float64 else 1e-6)


@pytest.mark.parametrize("extra", [{}, {"committee": 2}, {"cost": "quadratic"}], ids=str)
@pytest.mark.parametrize("y", [Y, Y > 0, np.c_[Y > 0, Y == 1] * 1], ids=["3", "2", "labels"])
def test_probabilities_of_the_engine(y, extra):
    one = net(l1=0.01, **extra).fit(X, y)
    p = one.predict_proba(X)
    assert p.min() >= 0
    assert p.max() <= 1
    if y.ndim == 1:
        assert_allclose(p.sum(axis=1), 1, atol=1e-12)
        assert_array_equal(one.classes_[p.argmax(axis=1)], one.predict(X))
    else:
        assert_array_equal((p > 0.5) * 1, one.predict(X))
    assert_allclose(one.predict_log_proba(X), np.log(p), atol=1e-12)
