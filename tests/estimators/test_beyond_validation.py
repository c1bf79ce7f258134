"""``validation_data``: measured after each epoch, and never learned from."""

import numpy as np
import pandas
import polars
import pytest
from beyond_help import (
    CONVOLUTION,
    DIGIT,
    IMAGES,
    LABELS,
    PLAIN,
    SMALL,
    X,
    Y,
    assert_same_weights,
    net,
)
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from deltarule import MLPClassifier
from deltarule import MLPRegressor as Regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("options", [{}, {"l1": 0.01}], ids=["scikit-learn", "engine"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_data_are_measured_and_never_learned(options, early_stopping):
    options = options | {"early_stopping": early_stopping, "max_iter": 30}
    train, held = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    one = net(**options).fit(X[train], LABELS[train], validation_data=(X[held], LABELS[held]))
    score = one.score(X[held], LABELS[held])
    if early_stopping:
        assert score == one.best_validation_score_ == max(one.validation_scores_)
    else:
        assert score == one.validation_scores_[-1]
        without = net(**options).fit(X[train], LABELS[train])
        assert_same_weights(one, without, rtol=1e-9)
    last = one.history_[-1]
    assert last["validation_accuracy"] == one.validation_scores_[-1]
    if not early_stopping:
        p = one.predict_proba(X[held])[np.arange(50), Y[held]]
        assert_allclose(last["validation_cost"], -np.log(p).mean(), rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"l1": 0.01}], ids=["scikit-learn", "engine"])
def test_validation_of_quantities(options):
    y = X @ [1.0, 2.0, 0.0, 1.0]
    one = Regressor(**SMALL | options).fit(X[:100], y[:100], validation_data=(X[100:], y[100:]))
    last = one.history_[-1]
    assert_allclose(last["validation_r2"], one.score(X[100:], y[100:]))
    error = one.predict(X[100:]) - y[100:]
    assert_allclose(last["validation_cost"], (error**2).mean() / 2)


def test_validation_data_in_a_pipeline_are_transformed():
    import sklearn

    far = X * 100 + 1000
    with sklearn.config_context(enable_metadata_routing=True):
        from sklearn.pipeline import Pipeline

        last = net(max_iter=60, learning_rate_init=0.01).set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("net", last)]
        pipe = Pipeline(steps, transform_input=["X_val"])
        pipe.fit(far, Y, X_val=far, y_val=Y)
    assert pipe[-1].validation_scores_[-1] == pipe[-1].score(X, Y) > 0.9
    with pytest.raises(ValueError, match="not both"):
        net().fit(X, Y, validation_data=(X, Y), X_val=X, y_val=Y)


@pytest.mark.parametrize("options", [{}, {"callbacks": PLAIN}], ids=["scikit-learn", "engine"])
def test_weights_of_validation_data_count(options):
    weight = np.r_[np.ones(50), np.zeros(100)]
    one = net(**options).fit(X, Y, validation_data=(X, Y, weight))
    p = one.predict_proba(X)[np.arange(150), Y]
    last = one.history_[-1]
    assert_allclose(last["validation_cost"], -np.log(p[:50]).mean(), rtol=1e-9)
    assert_allclose(last["validation_accuracy"], one.score(X[:50], Y[:50]))
    heavy = net(class_weight={0: 1.0, 1: 0.0, 2: 0.0}, **options)
    heavy.fit(X, Y, validation_data=(X, Y))
    p = heavy.predict_proba(X)[np.arange(150), Y]
    assert_allclose(heavy.history_[-1]["validation_cost"], -np.log(p[:50]).mean(), rtol=1e-9)


# ---- in every form in which X may be


FORMS = {
    "pandas": lambda x: pandas.DataFrame(x, columns=list("abcd")),
    "polars": lambda x: polars.DataFrame(x, schema=list("abcd")),
    "sparse": sparse.csr_matrix,
    "sparse columns": sparse.csc_array,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"l1": 0.01}], ids=["scikit-learn", "engine"])
def test_validation_data_are_frames_or_sparse_as_x_is(options, form):
    as_form = FORMS[form]
    held = as_form(X[1::3]), LABELS[1::3]
    one = net(**options).fit(as_form(X[::3]), LABELS[::3], validation_data=held)
    plain = net(**options).fit(X[::3], LABELS[::3], validation_data=(X[1::3], LABELS[1::3]))
    assert_allclose(one.validation_scores_, plain.validation_scores_)
    assert one.validation_scores_[-1] == one.score(*held)
    assert_allclose(
        one.history_[-1]["validation_cost"], plain.history_[-1]["validation_cost"], rtol=1e-9
    )
    if form in ("pandas", "polars"):
        with pytest.raises(ValueError, match="feature names should match"):
            net(**options).fit(
                as_form(X), LABELS, validation_data=(as_form(X)[list("bacd")], LABELS)
            )


@pytest.mark.parametrize("form", [IMAGES[300:], IMAGES[300:, ..., None]], ids=["grey", "channel"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_validation_data_are_images_where_x_is(form, early_stopping):
    one = MLPClassifier(
        layers=CONVOLUTION, max_iter=8, learning_rate_init=0.01, random_state=0,
        early_stopping=early_stopping,
    )  # fmt: skip
    one.fit(IMAGES[:300], DIGIT[:300], validation_data=(form, DIGIT[300:]))
    assert len(one.validation_scores_) == one.n_iter_
    last = one.best_validation_score_ if early_stopping else one.validation_scores_[-1]
    assert last == one.score(form, DIGIT[300:]) > 0.3
    with pytest.raises(ValueError, match=r"X holds images of shape \(7, 8\)"):
        one.fit(IMAGES[:300], DIGIT[:300], validation_data=(IMAGES[300:, 1:], DIGIT[300:]))
