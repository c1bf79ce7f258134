"""What scikit-learn does not have: the same meaning of its parameters, and more of them."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltarule as dr
from deltarule import Activation, Callback, Conv, Dense, Flatten, MaxPool, MLPClassifier
from deltarule import MLPRegressor as Regressor
from deltarule.errors import DivergedError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]
DIGITS, DIGIT = (each[:500] for each in load_digits(return_X_y=True))
IMAGES = DIGITS.reshape(-1, 8, 8) / 16
SMALL = {"hidden_layer_sizes": (7,), "max_iter": 12, "random_state": 0}
PLAIN = [Callback()]  # asks for the engine, and changes nothing
TARGETS = {
    "two classes": (MLPClassifier, neural_network.MLPClassifier, Y > 0),
    "three classes": (MLPClassifier, neural_network.MLPClassifier, LABELS),
    "several labels": (MLPClassifier, neural_network.MLPClassifier, np.c_[Y > 0, Y == 1] * 1),
    "a quantity": (Regressor, neural_network.MLPRegressor, X @ [1.0, 2.0, 0.0, 1.0]),
    "two quantities": (Regressor, neural_network.MLPRegressor, X[:, :2] * 3),
}


def net(**options):
    return MLPClassifier(**SMALL | options)


def assert_same_weights(one, other, **tolerance):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert_allclose(a, b, **tolerance)


# ---- where both can train, the engine finds scikit-learn's numbers


@pytest.mark.parametrize("solver", [
    {"solver": "adam"},
    {"solver": "sgd", "learning_rate_init": 0.1},
    {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.1},
    {"solver": "sgd", "momentum": 0.0},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("target", TARGETS)
def test_the_engine_steps_as_scikit_learn_does(target, solver):
    """All examples a step, so that the order of a shuffle does not matter."""
    ours, theirs, y = TARGETS[target]
    options = SMALL | solver | {"batch_size": 150, "alpha": 0.5, "activation": "tanh"}
    one, other = ours(**options, callbacks=PLAIN).fit(X, y), theirs(**options).fit(X, y)
    assert_same_weights(one, other, rtol=1e-5, atol=5e-6)  # Adam's epsilon stands elsewhere
    assert_array_equal(
        one.predict(X) if ours is MLPClassifier else 0,
        other.predict(X) if ours is MLPClassifier else 0,
    )
    assert (one.n_iter_, one.t_, one.n_outputs_, one.n_layers_, one.out_activation_) == (
        other.n_iter_,
        other.t_,
        other.n_outputs_,
        other.n_layers_,
        other.out_activation_,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_costs_are_scikit_learns(target):
    """But for the penalty, which the engine measures after an epoch and scikit-learn before."""
    ours, theirs, y = TARGETS[target]
    options = SMALL | {"batch_size": 150, "alpha": 0.0}
    one, other = ours(**options, callbacks=PLAIN).fit(X, y), theirs(**options).fit(X, y)
    halves = 2 if target == "two quantities" else 1  # scikit-learn takes the mean of the outputs
    assert_allclose(np.divide(one.loss_curve_, halves), other.loss_curve_, rtol=1e-5)


def test_weights_of_samples_and_stopping_are_scikit_learns():
    options = SMALL | {"batch_size": 150, "learning_rate_init": 0.05, "tol": 0.02,
                       "n_iter_no_change": 2, "max_iter": 200}  # fmt: skip
    weight = np.arange(150) % 3 + 0.5
    one, other = (
        each.fit(X, Y, sample_weight=weight)
        for each in (MLPClassifier(**options, callbacks=PLAIN),
                     neural_network.MLPClassifier(**options))
    )  # fmt: skip
    assert one.n_iter_ == other.n_iter_ < 200
    assert_allclose(one.loss_, other.loss_, rtol=1e-4)
    assert_allclose(one.best_loss_, other.best_loss_, rtol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_early_stopping_cuts_scores_and_keeps_as_scikit_learn_does(target):
    ours, theirs, y = TARGETS[target]
    options = SMALL | {"early_stopping": True, "batch_size": 135, "max_iter": 40,
                       "activation": "tanh",
                       "n_iter_no_change": 3, "tol": 1e-3}  # fmt: skip
    one, other = ours(**options, callbacks=PLAIN).fit(X, y), theirs(**options).fit(X, y)
    assert_allclose(one.validation_scores_, other.validation_scores_, rtol=1e-4, atol=1e-6)
    assert_allclose(one.best_validation_score_, other.best_validation_score_, rtol=1e-4, atol=1e-6)
    assert_same_weights(one, other, rtol=1e-4, atol=1e-6)
    assert one.best_loss_ is None


def test_partial_fit_and_warm_start_go_on():
    whole = net(callbacks=PLAIN, tol=0, batch_size=150).fit(X, Y)
    parts = net(callbacks=PLAIN, batch_size=150)
    for step in range(12):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
        if step == 5:
            parts = pickle.loads(pickle.dumps(parts))
    assert_same_weights(whole, parts, rtol=1e-9)
    assert_allclose(whole.loss_curve_, parts.loss_curve_)
    assert [record["epoch"] for record in parts.history_] == list(range(1, 13))
    warm = net(callbacks=PLAIN, warm_start=True).fit(X, Y)
    before = warm.loss_
    assert warm.fit(X, Y).loss_ < before
    assert len(warm.loss_curve_) == 24


def test_from_scikit_learns_way_to_the_engine_and_back():
    changing = net(warm_start=True).fit(X, Y)
    loss = changing.loss_
    for options in ({"dropout": 0.1}, {"dropout": 0.0}):
        changing.set_params(**options).fit(X, Y)
        assert changing.loss_ < loss * 1.2
        assert_allclose(
            changing.predict_proba(X), changing.model_.outputs(X), rtol=1e-9
        )  # not those of an earlier fit


# ---- each parameter does what it says


def test_dropout_and_its_seed():
    one, again, other = (net(dropout=0.5, random_state=seed).fit(X, Y) for seed in (0, 0, 1))
    assert_same_weights(one, again, rtol=0)
    assert np.abs(one.coefs_[0] - other.coefs_[0]).max() > 0.01
    assert "Dropout(rate=0.5)" in str(one.model_.network.layers)
    assert_array_equal(one.predict_proba(X), one.predict_proba(X))


def test_l1_makes_small_weights_smaller_than_l2_does():
    plain, sparse = (net(l1=l1, max_iter=150).fit(X, Y) for l1 in (0.0, 5.0))
    small = [np.mean(np.abs(each.coefs_[0]) < 0.01) for each in (plain, sparse)]
    assert small[0] < small[1]


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


CONVOLUTION = [Conv(4, 3), Activation("relu"), MaxPool(2), Flatten(), Dense(10),
               Activation("softmax")]  # fmt: skip


@pytest.mark.parametrize("layers", [
    CONVOLUTION,
    dr.Network(*CONVOLUTION, shape=(8, 8, 1)),
    [Flatten(), Dense(20), Activation("relu"), Dense(10), Activation("sigmoid")],
], ids=["list", "network", "sigmoid"])  # fmt: skip
@pytest.mark.parametrize("form", ["images", "rows", "channels"])
def test_whole_architectures_of_images(layers, form):
    if form == "rows" and isinstance(layers, list) and layers[0] == Conv(4, 3):
        pytest.skip("a list of layers takes the shape of an image from X, and rows have none")
    x = {"images": IMAGES, "rows": IMAGES.reshape(500, 64), "channels": IMAGES[..., None]}[form]
    options = {"max_iter": 25, "random_state": 0, "learning_rate_init": 0.01, "batch_size": 50}
    one = MLPClassifier(layers=layers, precision="float32", **options).fit(x, DIGIT)
    assert one.score(x, DIGIT) > 0.9
    p = one.predict_proba(x)
    assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert one.n_features_in_ == 64
    assert (p == pickle.loads(pickle.dumps(one)).predict_proba(x)).all()
    assert (clone(one).fit(x, DIGIT).predict_proba(x) == p).all()


def test_an_architecture_by_name():
    x = np.pad(IMAGES[:60], ((0, 0), (10, 10), (10, 10)))
    one = MLPClassifier(layers="lenet5", max_iter=2, batch_size=20).fit(x, DIGIT[:60])
    assert one.predict_proba(x[:3]).shape == (3, 10)
    assert len(one.coefs_) == one.n_layers_ - 1 == 5


def test_two_classes_with_one_output_or_two():
    few = IMAGES[DIGIT < 2], DIGIT[DIGIT < 2]
    for end in ([Dense(1), Activation("sigmoid")], [Dense(2), Activation("softmax")]):
        one = MLPClassifier(layers=[Flatten(), *end], max_iter=60, learning_rate_init=0.01)
        one.fit(*few)
        assert one.score(*few) > 0.95
        assert one.predict_proba(few[0]).shape == (len(few[0]), 2)
        assert_allclose(one.model_.outputs(few[0]), one.predict_proba(few[0]), rtol=1e-6)


def test_new_images_from_the_old():
    shift = dr.Augment(shift=1)
    seen = [MLPClassifier((20,), augment=each, max_iter=4, random_state=0, precision="float32")
            .fit(IMAGES, DIGIT).coefs_[0] for each in (shift, shift, dr.Augment())]  # fmt: skip
    assert (seen[0] == seen[1]).all()
    assert not (seen[0] == seen[2]).all()
    with pytest.raises(ValueError, match="augment moves and bends images"):
        MLPClassifier(augment=shift).fit(X, Y)


def test_a_committee_answers_with_the_mean():
    team = net(committee=3).fit(X, LABELS)
    members = team.model_.members
    mean = np.mean([member.outputs(X) for member in members], axis=0)
    assert_allclose(team.predict_proba(X), mean, rtol=1e-9)
    assert (team.predict(X) == team.classes_[mean.argmax(1)]).all()
    assert np.abs(members[0].params[0]["w"] - members[1].params[0]["w"]).max() > 0.1
    assert_same_weights(team, net(callbacks=PLAIN).fit(X, LABELS), rtol=1e-12)  # the first alone
    assert {record["member"] for record in team.history_} == {1, 2, 3}
    costs = np.array([r["train_cost"] + r["penalty"] for r in team.history_]).reshape(3, 12)
    assert_allclose(team.loss_curve_, costs.mean(0))
    again = net(committee=3).fit(X, LABELS)
    assert (again.predict_proba(X) == team.predict_proba(X)).all()


def test_a_committee_of_quantities_that_stops_early():
    y = X[:, :2] * 3
    team = Regressor(**SMALL, committee=2, early_stopping=True).fit(X, y)
    assert_allclose(
        team.predict(X), np.mean([each.outputs(X) for each in team.model_.members], axis=0)
    )
    assert len(team.validation_scores_) == len(team.loss_curve_)


class Recorder(Callback):
    def __init__(self, last=None):
        self.told, self.last = [], last

    def epoch_ended(self, run):
        self.told.append((run.recipe.seed, run.history[-1]["epoch"]))
        if self.last == run.history[-1]["epoch"]:
            run.stop("enough")


def test_callbacks_are_told_and_can_stop():
    recorder = Recorder(last=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was stopped: no complaint about convergence
        one = net(callbacks=[recorder]).fit(X, Y)
    assert [epoch for _, epoch in recorder.told] == [1, 2, 3, 4, 5]
    assert one.n_iter_ == 5
    recorder.told.clear()
    net(callbacks=[recorder], committee=2).fit(X, Y)
    assert sorted(epoch for _, epoch in recorder.told) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_precision_is_what_was_asked_for():
    for precision, of_x, dtype in [
        (None, np.float64, np.float64), (None, np.float32, np.float32),
        ("float32", np.float64, np.float32), ("float64", np.float32, np.float64),
        ("bfloat16", np.float64, np.float32),
    ]:  # fmt: skip
        for options in ({}, {"dropout": 0.1}):
            one = net(precision=precision, **options).fit(X.astype(of_x), Y)
            assert {c.dtype for c in one.coefs_} == {np.dtype(dtype)}, (precision, of_x, options)
            assert one.predict_proba(X.astype(of_x)).dtype in (dtype, of_x)


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


# ---- the network by itself


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


# ---- in scikit-learn's machinery


def test_searches_and_pipelines():
    grid = {"mlp__dropout": [0.0, 0.2], "mlp__activation": ["relu", ["gelu"]]}
    from sklearn.pipeline import Pipeline

    pipe = Pipeline([("scale", StandardScaler()), ("mlp", net(max_iter=4))])
    found = GridSearchCV(pipe, grid, cv=2, n_jobs=2).fit(X, LABELS)
    assert len(found.cv_results_["params"]) == 4
    made = make_pipeline(StandardScaler(), net(dropout=0.1))
    made.fit(X, LABELS, mlpclassifier__validation_data=(X, LABELS))
    assert len(made[-1].validation_scores_) == 12


def test_sparse_inputs_of_the_engine():
    from scipy import sparse

    dense = np.where(X > 0, X, 0)
    one, other = (net(dropout=0.1).fit(x, Y) for x in (sparse.csr_matrix(dense), dense))
    assert_allclose(one.predict_proba(sparse.csr_matrix(dense)), other.predict_proba(dense))


# ---- what cannot be is refused, in a sentence that names both sides

REFUSED = {
    "poisson": (lambda: Regressor("poisson", dropout=0.1).fit(X, Y),
                "loss='poisson' is for networks that scikit-learn could train too, and dropout"),
    "shuffle": (lambda: net(shuffle=False, l1=0.1).fit(X, Y), "shuffle=False is for .* and l1"),
    "adaptive": (
        lambda: net(solver="sgd", learning_rate="adaptive", committee=2).fit(X, Y),
        "learning_rate='adaptive' is for .* and committee"),
    "a committee that goes on": (
        lambda: net(committee=2).partial_fit(X, Y, classes=[0, 1, 2]),
        "partial_fit goes on with one network, and committee=2 has several"),
    "a warm committee": (lambda: net(committee=2, warm_start=True).fit(X, Y),
                         "warm_start goes on with one network"),
    "an activation": (lambda: net(activation="relux").fit(X, Y), "did you mean 'relu'"),
    "too few activations": (lambda: MLPClassifier((5, 5), ["relu"]).fit(X, Y),
                            "activation names 1 layers, hidden_layer_sizes 2"),
    "an optimizer": (lambda: net(optimizer="adm").fit(X, Y), "did you mean 'adam'"),
    "a cost": (lambda: net(cost="quadratik").fit(X, Y), "did you mean 'quadratic'"),
    "layers and dropout": (lambda: MLPClassifier(layers=[Dense(3)], dropout=0.1).fit(X, Y),
                           "layers say the whole network, dropout a part of it"),
    "layers and sizes": (lambda: net(layers=CONVOLUTION).fit(IMAGES, DIGIT),
                         "layers say the whole network, hidden_layer_sizes a part"),
    "no layers": (lambda: MLPClassifier(layers=[]).fit(X, Y), "at least one layer"),
    "other layers": (lambda: MLPClassifier(layers=3).fit(X, Y), "layers must be a Network"),
    "other outputs": (lambda: MLPClassifier(layers=[Dense(4), Activation("softmax")]).fit(X, Y),
                      "give the last layer 3 units"),
    "other images": (
        lambda: MLPClassifier(layers=CONVOLUTION, max_iter=1).fit(IMAGES, DIGIT)
        .predict(IMAGES[:, 1:]),
        r"X holds images of shape \(7, 8\), but .* \(8, 8\)"),
    "images for rows": (lambda: net().fit(IMAGES, DIGIT), "Found array with dim 3"),
    "a network larger than memory": (
        lambda: MLPClassifier(layers=[Dense(10**9), Dense(3), Activation("softmax")]).fit(X, Y),
        r"these layers have [\d,]+ weights, which take"),
    "an augment": (lambda: net(augment="shift").fit(IMAGES, DIGIT), "augment must be a deltarule"),
    "a callback": (lambda: net(callbacks=[print]).fit(X, Y), "callbacks must be of class"),
    "a dropout": (lambda: net(dropout=1.0).fit(X, Y), r"'dropout' .* in the range \[0.0, 1.0\)"),
    "a committee of none": (lambda: net(committee=0).fit(X, Y), "'committee' parameter"),
    "a precision": (lambda: net(precision="float16").fit(X, Y), "'precision' parameter"),
    "dropout of lbfgs": (lambda: net(solver="lbfgs", dropout=0.1).fit(X, Y),
                         "dropout changes what lbfgs compares"),
    "validation of what": (lambda: net().fit(X, Y, validation_data=X), r"must be \(X, y\)"),
    "validation of other features": (
        lambda: net().fit(X, Y, validation_data=(X[:, 1:], Y)), "expecting 4 features"),
    "validation of other classes": (
        lambda: net().fit(X, Y, validation_data=(X, Y + 5)), "must hold classes that y holds"),
    "validation of lbfgs": (
        lambda: net(solver="lbfgs").fit(X, Y, validation_data=(X, Y)), "optimizer='lbfgs'"),
    "validation of other outputs": (
        lambda: Regressor().fit(X, X[:, :2], validation_data=(X, X[:, 0])), "the 2 outputs of y"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_is_refused(request_, said):
    with pytest.raises(ValueError, match=said):
        request_()


def test_it_diverges():
    one = Regressor(solver="sgd", learning_rate_init=1e6, dropout=0.1, max_iter=50)
    with pytest.raises(DivergedError, match="choose a learning_rate_init below 1e"):
        one.fit(X * 1e6, Y)


def test_the_history_of_a_committee_is_drawn_as_means():
    team = net(committee=3).fit(X, Y)
    line = team.history_.plot().axes[0].lines[0]
    costs = np.array([record["train_cost"] for record in team.history_]).reshape(3, 12)
    assert_allclose(line.get_ydata(), costs.mean(0))
    assert line.get_xdata().tolist() == list(range(1, 13))


# ---- states


def good(**options):
    options = SMALL | {"learning_rate_init": 0.02, "max_iter": 60} | options
    return MLPClassifier(**options).fit(X, Y)


WRONG = [
    ({"optimizer": "adm"}, {}), ({"cost": "quadratik"}, {}), ({"activation": ["relu"] * 3}, {}),
    ({"dropout": 0.0}, {"validation_data": X}), ({"layers": [Dense(4)]}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "given"), WRONG, ids=[str(each[0]) for each in WRONG])
def test_a_refused_fit_leaves_all_as_it_was(options, given):
    one = good(dropout=0.05)
    before = one.predict_proba(X)
    usual = {"hidden_layer_sizes": (100,), "dropout": 0.0} if "layers" in options else {}
    one.set_params(**usual | options)
    with pytest.raises(ValueError, match=r".+"):
        one.fit(X, Y, **given)
    assert (one.predict_proba(X) == before).all()
    fresh = MLPClassifier(**options)
    with pytest.raises(ValueError, match=r".+"):
        fresh.fit(X, Y, **given)
    assert not hasattr(fresh, "coefs_")


def test_partial_fit_goes_on_from_the_weights_there_are():
    one = net(dropout=0.1, learning_rate_init=0.01).partial_fit(X, Y, classes=[0, 1, 2])
    one.set_params(dropout=0.0)
    for _ in range(60):
        one.partial_fit(X, Y)
    score = one.score(X, Y)
    one.set_params(dropout=0.1, learning_rate_init=1e-9).partial_fit(X, Y)
    assert one.score(X, Y) == score
    assert len(one.history_) == len(one.loss_curve_) == 62
    stopped = good(dropout=0.1, early_stopping=True)
    coefs = stopped.coefs_[0].copy()
    stopped.set_params(early_stopping=False, learning_rate_init=1e-12).partial_fit(X, Y)
    assert_allclose(stopped.coefs_[0], coefs, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"solver": "sgd"}, {"dropout": 0.1}], ids=str)
@pytest.mark.parametrize(("first", "then"), [("f4", "f8"), ("f8", "f4")])
def test_going_on_keeps_the_width_of_the_weights(options, first, then):
    one = net(**options).fit(X.astype(first), Y).partial_fit(X.astype(then), Y)
    assert one.coefs_[0].dtype == first
    warm = net(warm_start=True, **options).fit(X.astype(first), Y).fit(X.astype(then), Y)
    assert warm.coefs_[0].dtype == first


def test_scores_of_a_committee_are_those_of_what_its_members_kept():
    train, held = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    team = net(committee=4, early_stopping=True, max_iter=60, learning_rate_init=0.02,
               n_iter_no_change=3, tol=0)  # fmt: skip
    team.fit(X[train], Y[train], validation_data=(X[held], Y[held]))
    of_members = [np.mean(m.predict(X[held]) == Y[held]) for m in team.model_.members]
    assert_allclose(team.best_validation_score_, np.mean(of_members))
    lengths = {
        member: sum(record["member"] == member for record in team.history_) for member in (1, 2)
    }
    assert len(team.loss_curve_) >= max(lengths.values())
    plain = net(committee=3, max_iter=3).fit(X, Y)
    assert_allclose(plain.best_loss_, plain.loss_)


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


OTHERS = {
    "more layers": {"hidden_layer_sizes": (7, 3)}, "other layers": {"hidden_layer_sizes": (3,)},
    "fewer layers": {"hidden_layer_sizes": ()},
    "whole": {"hidden_layer_sizes": (100,), "dropout": 0.0,
              "layers": [Dense(9), Dense(3), Activation("softmax")]},
}  # fmt: skip


@pytest.mark.parametrize("options", OTHERS.values(), ids=list(OTHERS))
def test_what_goes_on_goes_on_with_the_same_network(options):
    one = net(dropout=0.1, warm_start=True).fit(X, Y).set_params(**options)
    with pytest.raises(ValueError, match="go on with the network as it was fitted"):
        one.fit(X, Y)


def test_after_a_committee_its_first_member_goes_on():
    layers = [Dense(5), Activation("tanh"), Dense(3), Activation("softmax")]
    one = MLPClassifier(layers=layers, committee=2, max_iter=3, random_state=0).fit(X, Y)
    first = one.model_.members[0].params[0]["w"]
    one.set_params(committee=None, learning_rate_init=1e-12).partial_fit(X, Y)
    assert_allclose(one.coefs_[0], first.T, atol=1e-9)


def test_an_error_in_one_member_ends_the_others():
    class Fails(Callback):
        told = 0

        def epoch_ended(self, run):
            self.told += 1
            if self.told == 3:
                raise RuntimeError("no more")

    fails = Fails()
    with pytest.raises(RuntimeError, match="no more"):
        net(committee=4, max_iter=300, callbacks=[fails]).fit(X, Y)
    assert fails.told < 100


def test_a_softmax_for_quantities_or_several_labels_is_refused():
    layers = [Dense(2), Activation("softmax")]
    with pytest.raises(ValueError, match="shares of 1, and y holds quantities"):
        Regressor(layers=layers).fit(X, X[:, :2])
    with pytest.raises(ValueError, match="shares of 1, and y holds several labels"):
        MLPClassifier(layers=layers).fit(X, np.c_[Y > 0, Y > 1] * 1)


def test_warnings_point_at_the_line_that_called():
    for one in (net(), net(dropout=0.1), net(committee=2)):
        with pytest.warns(UserWarning, match="hasn't converged") as caught:
            one.fit(X, Y)
        assert {each.filename for each in caught} == {__file__}


def test_seeds_differ_from_one_warm_fit_to_the_next():
    seeds = []

    class Seed(Callback):
        def started(self, run):
            seeds.append(run.recipe.seed)

    one = net(dropout=0.2, warm_start=True, max_iter=1, callbacks=[Seed()])
    for _ in range(3):
        one.fit(X, Y)
    assert len(set(seeds)) == 3


def test_members_say_who_they_are(capsys):
    net(committee=2, verbose=True, max_iter=1).fit(X, Y)
    lines = sorted(capsys.readouterr().out.splitlines())
    assert [line.split(",")[0] for line in lines] == [
        "Member 1: Iteration 1", "Member 2: Iteration 1"
    ]  # fmt: skip


def test_grey_images_with_and_without_their_channel():
    one = MLPClassifier(layers=CONVOLUTION, max_iter=2, random_state=0).fit(IMAGES, DIGIT)
    assert (one.predict(IMAGES) == one.predict(IMAGES[..., None])).all()


def test_what_never_shuffles_need_not_be_told_to():
    one = net(shuffle=False, optimizer="bfgs", max_iter=20).fit(X, Y)
    assert one.score(X, Y) > 0.9
