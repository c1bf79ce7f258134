"""What scikit-learn does not have: each parameter does what it says."""

import copy
import pickle
import re

import numpy as np
import pytest
from beyond_help import (
    LABELS,
    PLAIN,
    SMALL,
    TARGETS,
    X,
    Y,
    assert_same_weights,
    net,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltarule as dr
from deltarule import Activation, MLPClassifier
from deltarule import MLPRegressor as Regressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_dropout_and_its_seed():
    one, again, other = (net(dropout=0.5, random_state=seed).fit(X, Y) for seed in (0, 0, 1))
    assert_same_weights(one, again, rtol=0)
    assert np.abs(one.coefs_[0] - other.coefs_[0]).max() > 0.01
    assert "Dropout(rate=0.5)" in str(one.model_.network.layers)
    assert_array_equal(one.predict_proba(X), one.predict_proba(X))


@pytest.mark.parametrize("dropout", [0.5, 0.0])
def test_what_is_dropped_is_drawn_from_random_state(dropout):
    """From one network, with all examples in one batch: only the masks can differ."""
    started = net(callbacks=PLAIN, batch_size=150, dropout=dropout).fit(X, Y)
    learned = []
    for seed in (0, 0, 1):
        one = copy.deepcopy(started).set_params(random_state=seed).partial_fit(X, Y)
        learned.append(one.coefs_[0])
    assert_array_equal(learned[0], learned[1])
    change = np.abs(learned[0] - learned[2]).max()
    assert (change > 1e-4) if dropout else (change < 1e-12)


def test_l1_makes_small_weights_smaller_than_l2_does():
    """At one cost of prediction: alpha is chosen so that it costs no less than l1 does."""
    options = {"max_iter": 400, "learning_rate_init": 0.01, "tol": 0.0, "callbacks": PLAIN}
    plain, short, sparse = (
        net(**options, **penalty).fit(X, Y) for penalty in ({}, {"alpha": 10.0}, {"l1": 5.0})
    )
    small = [np.mean(np.abs(each.coefs_[0]) < 0.01) for each in (plain, short, sparse)]
    assert max(small[:2]) < 0.1 < 0.5 < small[2]
    assert short.history_[-1]["train_cost"] > sparse.history_[-1]["train_cost"]
    length = [np.sqrt((each.coefs_[0] ** 2).sum()) for each in (plain, short)]
    assert length[1] < length[0] / 2  # alpha makes all of them shorter


def test_penalties_are_divided_by_the_batch():
    one = net(l1=3.0, alpha=2.0, batch_size=50).fit(X, Y)
    w = np.concatenate([coef.ravel() for coef in one.coefs_])
    assert_allclose(
        one.history_[-1]["penalty"], (3 * np.abs(w).sum() + (w**2).sum()) / 50, rtol=1e-9
    )


@pytest.mark.parametrize("options", [{}, {"dropout": 0.01}], ids=["scikit-learn", "engine"])
def test_class_weight_is_sample_weight(options):
    few = np.r_[0:50, 50:60, 100:104]
    of_class = {0: 1.0, 1: 3.0, 2: 0.5}
    weights = np.array([1.0, 3.0, 0.5])[Y[few]]
    one = net(class_weight=of_class, **options).fit(X[few], Y[few])
    other = net(**options).fit(X[few], Y[few], sample_weight=weights)
    assert_same_weights(one, other, rtol=1e-9)
    balanced = net(class_weight="balanced", **options).fit(X[few], LABELS[few])
    by_hand = 64 / (3 * np.array([50, 10, 4])[Y[few]])
    assert_same_weights(
        balanced, net(**options).fit(X[few], LABELS[few], sample_weight=by_hand), rtol=1e-9
    )
    with pytest.raises(ValueError, match=r"class_weight='balanced' needs all samples"):
        net(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_activations_by_layer():
    one = MLPClassifier((6, 5), ["gelu", "logistic"], max_iter=3).fit(X, Y)
    names = [layer.name for layer in one.model_.network.layers if isinstance(layer, Activation)]
    assert names == ["gelu", "sigmoid", "softmax"]
    z = X @ one.coefs_[0] + one.intercepts_[0]
    a = np.asarray([0.5 * v * (1 + np.vectorize(__import__("math").erf)(v / 2**0.5)) for v in z])
    a = 1 / (1 + np.exp(-(a @ one.coefs_[1] + one.intercepts_[1])))
    z = a @ one.coefs_[2] + one.intercepts_[2]
    by_hand = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    assert_allclose(one.predict_proba(X), by_hand, rtol=1e-6)


def test_costs_of_the_book():
    quadratic = net(cost="quadratic").fit(X, Y)
    a = quadratic.predict_proba(X)
    last = net(cost="quadratic", max_iter=1, callbacks=PLAIN, batch_size=150).fit(X, Y)
    assert a.shape == (150, 3)
    first = net(max_iter=1, learning_rate_init=1e-12).fit(X, Y).predict_proba(X)
    cost = ((first - np.eye(3)[Y]) ** 2).sum(1).mean() / 2  # before the one step
    assert_allclose(last.history_[0]["train_cost"], cost, rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw", "conjugate_gradient", "bfgs", "lbfgs"])
def test_optimizers_of_the_library(optimizer):
    one = net(optimizer=optimizer, max_iter=40, learning_rate_init=0.02).fit(X, Y)
    assert one.score(X, Y) > 0.9
    assert one.loss_curve_[-1] < one.loss_curve_[0]


def test_levenberg_marquardt_of_quantities():
    y = X @ [1.0, 2.0, 0.0, 1.0]
    one = Regressor(**SMALL, optimizer="levenberg_marquardt").fit(X, y)
    assert one.score(X, y) > 0.99


def test_what_never_shuffles_need_not_be_told_to():
    one = net(shuffle=False, optimizer="bfgs", max_iter=20).fit(X, Y)
    assert one.score(X, Y) > 0.9


def test_precision_is_what_was_asked_for():
    for precision, of_x, dtype in [
        (None, np.float64, np.float64), (None, np.float32, np.float32),
        ("float32", np.float64, np.float32), ("float64", np.float32, np.float64),
        ("bfloat16", np.float64, np.float32), ("bfloat16", np.float32, np.float32),
    ]:  # fmt: skip
        for options in ({}, {"dropout": 0.1}):
            one = net(precision=precision, **options).fit(X.astype(of_x), Y)
            assert {c.dtype for c in one.coefs_} == {np.dtype(dtype)}, (precision, of_x, options)
            assert one.predict_proba(X.astype(of_x)).dtype in (dtype, of_x)


def test_products_of_16_bits_round_and_no_more():
    """bfloat16 keeps 8 bits: its costs differ from float32's by some thousandths, not by none."""
    short, single = (
        net(precision=precision, callbacks=PLAIN, max_iter=30, learning_rate_init=0.01).fit(X, Y)
        for precision in ("bfloat16", "float32")
    )
    difference = np.abs(np.divide(short.loss_curve_, single.loss_curve_) - 1)
    assert 1e-5 < difference.max() < 0.03
    assert_allclose(short.predict_proba(X), single.predict_proba(X), atol=0.05)
    assert np.mean(short.predict(X) == single.predict(X)) > 0.97


@pytest.mark.parametrize("options", [{}, {"dropout": 0.1}], ids=["scikit-learn", "engine"])
def test_the_device(options):
    one = net(device="cpu", **options).fit(X, Y)
    assert (one.predict(X) == net(**options).fit(X, Y).predict(X)).all()
    with pytest.raises(ValueError, match=r"device must be one that JAX finds here, .*'abacus'"):
        net(device="abacus", **options).fit(X, Y)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.1}, {"committee": 2}], ids=str)
def test_progress_is_shown_on_stderr_alone(options, capsys):
    net(progress=True, **options).fit(X, Y)
    shown = capsys.readouterr()
    assert "12/12" in shown.err or "24/24" in shown.err
    assert shown.out == ""
    net(**options).fit(X, Y)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_progress_of_lbfgs_counts_its_costs(form, capsys):
    one = net(solver="lbfgs", progress=True, max_fun=6).fit(form(X), Y)
    err = capsys.readouterr().err
    assert re.search(r"costs and gradients .* [678]/\? ", err)
    assert f"cost {one.loss_:.2g}"[:6] in err
    assert pickle.loads(pickle.dumps(one)).loss_ == one.loss_  # the bar is gone


def test_verbose_says_what_scikit_learn_says(capsys):
    options = {"verbose": True, "batch_size": 150, "tol": 0.5, "n_iter_no_change": 1}
    net(callbacks=PLAIN, **options).fit(X, Y)
    ours = capsys.readouterr().out
    neural_network.MLPClassifier(**SMALL | options).fit(X, Y)
    assert ours.splitlines()[-1] == capsys.readouterr().out.splitlines()[-1]
    assert ours.startswith("Iteration 1, loss = ")


@pytest.mark.parametrize("options", [{}, {"dropout": 0.1}, {"committee": 2}], ids=str)
def test_the_history_can_be_drawn(options):
    one = net(**options).fit(X, Y, validation_data=(X, Y))
    figure = one.history_.plot()
    assert len(figure.axes) == 2
    for ax in figure.axes:
        assert ax.lines
    assert len(net().fit(X, Y).history_.plot().axes) == 1
    with pytest.raises(AttributeError, match="history_ is there after a fit in epochs"):
        net(solver="lbfgs").fit(X, Y).history_  # noqa: B018
    assert not hasattr(net(), "history_")


@pytest.mark.parametrize("options", [{}, {"dropout": 0.01}], ids=["scikit-learn", "engine"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_model_answers_as_the_estimator_does(target, options, tmp_path):
    ours, _, y = TARGETS[target]
    one = ours(**SMALL | options).fit(X, y)
    dr.save_model(one.model_, tmp_path / "net.safetensors")
    model = dr.load_model(tmp_path / "net.safetensors")
    if ours is Regressor:
        assert_allclose(model.outputs(X).reshape(np.shape(y)), one.predict(X))
    elif target == "several labels":
        assert_allclose(model.outputs(X), one.predict_proba(X))
    else:
        assert_allclose(model.outputs(X), one.predict_proba(X))
        assert model.labels(X) == [str(label) for label in one.predict(X)]


def test_what_has_no_model():
    with pytest.raises(ValueError, match=r"no output exp\(z\)"):
        Regressor("poisson", max_iter=2).fit(X, Y).model_  # noqa: B018
    assert not hasattr(net(), "model_")


def test_searches_and_pipelines():
    grid = {"mlp__dropout": [0.0, 0.2], "mlp__activation": ["relu", ["gelu"]]}
    from sklearn.pipeline import Pipeline

    pipe = Pipeline([("scale", StandardScaler()), ("mlp", net(max_iter=4))])
    found = GridSearchCV(pipe, grid, cv=2, n_jobs=2).fit(X, LABELS)
    scores = found.cv_results_["mean_test_score"]
    for params, score in zip(found.cv_results_["params"], scores, strict=True):
        by_hand = cross_val_score(clone(pipe).set_params(**params), X, LABELS, cv=2)
        assert score == by_hand.mean(), params
    assert len(set(scores)) > 1  # the grid makes a difference
    made = make_pipeline(StandardScaler(), net(dropout=0.1))
    made.fit(X * 100, LABELS, mlpclassifier__validation_data=(X, LABELS))
    assert len(made[-1].validation_scores_) == 12
    assert made[-1].validation_scores_[-1] == made[-1].score(X, LABELS)  # as they were given


def test_sparse_inputs_of_the_engine():
    from scipy import sparse

    dense = np.where(X > 0, X, 0)
    one, other = (net(dropout=0.1).fit(x, Y) for x in (sparse.csr_matrix(dense), dense))
    assert_allclose(one.predict_proba(sparse.csr_matrix(dense)), other.predict_proba(dense))


def test_warnings_point_at_the_line_that_called():
    for one in (net(), net(dropout=0.1), net(committee=2)):
        with pytest.warns(UserWarning, match="hasn't converged") as caught:
            one.fit(X, Y)
        assert {each.filename for each in caught} == {__file__}
