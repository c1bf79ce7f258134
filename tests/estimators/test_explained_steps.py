"""``explain_step``: the four equations of backpropagation, written out and held against them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import neural_network
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

import deltarule as dr
from deltarule import Activation, Conv, Dense, Flatten, MLPClassifier, MLPRegressor
from deltarule.textbook import network as textbook

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
SMALL = {"hidden_layer_sizes": (5, 4), "max_iter": 5, "random_state": 0, "alpha": 0.3}
COUNTS = np.floor(np.abs(X[:, 0]) * 3)
TARGETS = {
    "two classes": (MLPClassifier, {}, Y > 0),
    "three classes": (MLPClassifier, {}, Y),
    "several labels": (MLPClassifier, {}, np.c_[Y > 0, Y == 1] * 1),
    "a quantity": (MLPRegressor, {}, X @ [1.0, 2.0, 0.0, 1.0]),
    "two quantities": (MLPRegressor, {}, X[:, :2] * 3),
    "counts": (MLPRegressor, {"loss": "poisson"}, COUNTS),
    "l1": (MLPClassifier, {"l1": 0.7}, Y),
    "dropout": (MLPClassifier, {"dropout": 0.3}, Y > 0),
    "another cost": (MLPClassifier, {"cost": "quadratic"}, Y),
    "single precision": (MLPClassifier, {"precision": "float32"}, Y),
    "a committee": (MLPClassifier, {"committee": 2}, Y),
}
SLOPES = {
    "tanh": lambda a: 1 - a**2, "logistic": lambda a: a * (1 - a),
    "relu": lambda a: (a > 0) * 1.0, "identity": np.ones_like,
}  # fmt: skip


def encoded(y, outputs):
    if y.ndim == 2:
        return y
    return np.eye(outputs)[y] if outputs > 1 else y[:, None] * 1.0


@pytest.mark.parametrize(
    ("target", "activation"),
    [(target, "tanh") for target in TARGETS] + [("three classes", name) for name in SLOPES][1:],
)
def test_the_four_equations(target, activation):
    kind, options, y = TARGETS[target]
    net = kind(**SMALL | options, activation=activation).fit(X, y)
    batch, answers = X[::7], y[::7]
    steps = [step for step in net.explain_step(batch, answers) if step.gradients]
    close = (
        {"rtol": 1e-4, "atol": 1e-5}
        if target == "single precision"
        else {"rtol": 1e-9, "atol": 1e-12}
    )
    n = len(batch)
    a = batch
    for step, w, b in zip(steps, net.coefs_, net.intercepts_, strict=True):
        assert_allclose(step.inputs, a, **close)
        assert_allclose(step.z, a @ w + b, **close)
        a = step.a
    if target != "a committee":  # of which this is one
        answered = net.predict_proba(batch) if kind is MLPClassifier else net.predict(batch)
        if target == "two classes" or target == "dropout":
            answered = answered[:, 1]
        assert_allclose(a, answered.reshape(a.shape), **close)
    error = a - encoded(answers, a.shape[1])
    if target == "another cost":  # BP1 with the slope of softmax
        error = a * (error - (error * a).sum(1, keepdims=True))
    assert_allclose(steps[-1].delta, error, **close)
    for below, above, w in zip(steps, steps[1:], net.coefs_[1:], strict=False):
        delta = above.delta @ w.T * SLOPES[activation](below.a)  # BP2
        assert_allclose(below.delta, delta, **close)
    for step, w in zip(steps, net.coefs_, strict=True):
        assert_allclose(step.gradients["b"], step.delta.mean(0), **close)  # BP3
        penalties = net.alpha * w + net.l1 * np.sign(w)
        expected = (step.inputs.T @ step.delta + penalties) / n  # BP4
        assert_allclose(step.gradients["w"], expected, **close)


def test_they_are_scikit_learns_gradients():
    net = neural_network.MLPClassifier(**SMALL).fit(X, Y)
    ours = MLPClassifier(**SMALL).fit(X, Y)
    sizes = [4, 5, 4, 3]
    activations = [X, *(np.empty((150, size)) for size in sizes[1:])]
    deltas = [np.empty_like(a) for a in activations[1:]]
    by_coef = [np.empty_like(coef) for coef in net.coefs_]
    by_intercept = [np.empty_like(b) for b in net.intercepts_]
    onehot = net._label_binarizer.transform(Y).astype(bool)
    activations = net._forward_pass(activations)
    net._backprop(X, onehot, None, activations, deltas, by_coef, by_intercept)
    for step, w, b in zip(ours.explain_step(X, Y), by_coef, by_intercept, strict=True):
        assert_allclose(step.gradients["w"], w, rtol=1e-6, atol=1e-9)
        assert_allclose(step.gradients["b"], b, rtol=1e-6, atol=1e-9)


def test_they_are_the_textbooks():
    net = MLPClassifier((5,), activation="logistic", random_state=0, alpha=0.0, max_iter=3)
    y = Y > 0
    steps = net.fit(X, y).explain_step(X[:4], y[:4])
    book = textbook.Network([4, 5, 1], cost=textbook.CrossEntropyCost)
    book.weights = [coef.T for coef in net.coefs_]
    book.biases = [b[:, None] for b in net.intercepts_]
    by_bias, by_weight = book.backprop(X[:4].T, y[None, :4] * 1.0)
    for step, b, w in zip(steps, by_bias, by_weight, strict=True):
        assert_allclose(step.gradients["w"].T, w, rtol=1e-9)
        assert_allclose(step.gradients["b"][:, None], b, rtol=1e-9)


def test_a_step_down_the_gradient_lowers_the_cost():
    """And by as much as the gradient promises: eta |g|^2."""
    net = MLPClassifier(**SMALL | {"alpha": 0.0, "activation": "tanh"}).fit(X, Y)

    def cost():
        return -np.log(net.predict_proba(X)[np.arange(150), Y]).mean()

    before, steps, eta = cost(), net.explain_step(X, Y), 1e-5
    for step, w, b in zip(steps, net.coefs_, net.intercepts_, strict=True):
        w -= eta * step.gradients["w"]
        b -= eta * step.gradients["b"]
    squared = sum((g**2).sum() for step in steps for g in step.gradients.values())
    assert_allclose(before - cost(), eta * squared, rtol=1e-3)


def test_images_layer_by_layer():
    layers = [Conv(2, 3), Activation("relu"), Flatten(), Dense(2), Activation("softmax")]
    x = np.random.default_rng(0).random((12, 5, 5))
    y = np.arange(12) % 2
    net = MLPClassifier(layers=layers, max_iter=2, random_state=0, alpha=0.5).fit(x, y)
    conv, flat, dense = net.explain_step(x, y)
    assert conv.layer.startswith("Conv(")
    assert conv.layer.endswith(", relu")
    assert (conv.z.shape, flat.z.shape, dense.a.shape) == ((12, 3, 3, 2), (12, 18), (12, 2))
    assert flat.gradients == {}
    assert (conv.a == np.maximum(conv.z, 0)).all()
    assert_allclose(dense.a, net.predict_proba(x), rtol=1e-9)
    assert_allclose(conv.delta.sum((0, 1, 2)) / 12, conv.gradients["b"], rtol=1e-9)
    kernel, image = net.coefs_[0][1, 1, 2, 0], x[:, 1:4, 2:5]  # what this weight sees
    by_hand = ((image * conv.delta[..., 1]).sum() + 0.5 * kernel) / 12
    assert_allclose(conv.gradients["w"][1, 1, 2, 0], by_hand, rtol=1e-9)


def test_nothing_is_learned_by_explaining():
    net = MLPClassifier(**SMALL).fit(X, Y)
    before = [coef.copy() for coef in net.coefs_]
    net.explain_step(X[:3], Y[:3])
    assert all((a == b).all() for a, b in zip(before, net.coefs_, strict=True))
    assert set(vars(net)) == set(vars(MLPClassifier(**SMALL).fit(X, Y)))


REFUSED = {
    "not fitted": (lambda: MLPClassifier().explain_step(X, Y), NotFittedError, "not fitted yet"),
    "other features": (lambda: fitted().explain_step(X[:, 1:], Y[:]), ValueError, "4 features"),
    "other classes": (lambda: fitted().explain_step(X, Y + 3), ValueError, "classes not in"),
    "other lengths": (lambda: fitted().explain_step(X, Y[1:]), ValueError, "inconsistent numbers"),
}


def fitted():
    return MLPClassifier(**SMALL).fit(X, Y)


@pytest.mark.parametrize(("request_", "error", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_explained(request_, error, said):
    with pytest.raises(error, match=said):
        request_()


def test_a_network_by_name_and_its_blocks_are_explained():
    layers = [
        dr.Residual((Dense(4), Activation("tanh"), Dense(4))),
        Dense(3),
        Activation("softmax"),
    ]
    net = MLPClassifier(layers=layers, max_iter=2, random_state=0).fit(X, Y)
    block, dense = net.explain_step(X, Y)
    assert block.layer.startswith("Residual(")
    assert block.z.shape == (150, 4)
    assert dense.gradients["w"].shape == (4, 3)
    assert len(block.gradients) == 4
