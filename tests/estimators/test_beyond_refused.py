"""What cannot be is refused, in a sentence that names both sides."""

import numpy as np
import pytest
from beyond_help import (
    CONVOLUTION,
    DIGIT,
    IMAGES,
    X,
    Y,
    net,
)
from sklearn.utils._param_validation import InvalidParameterError

from deltarule import Activation, Dense, MLPClassifier
from deltarule import MLPRegressor as Regressor
from deltarule.errors import DivergedError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    "costs counted": (lambda: net(solver="lbfgs", l1=0.1, max_fun=3).fit(X, Y),
                      "max_fun=3 is for .* and l1"),
    "costs counted of an optimizer": (lambda: net(optimizer="lbfgs", max_fun=3).fit(X, Y),
                                      "max_fun=3 is for .* and optimizer"),
    "single precision of lbfgs": (
        lambda: net(solver="lbfgs", precision="float32").fit(X, Y),
        "'float32' is not for the solver lbfgs, .* choose optimizer='lbfgs'"),
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


@pytest.mark.parametrize("kind", [MLPClassifier, Regressor])
@pytest.mark.parametrize("asked", ["relux", ["tanh", "relux"], ("relux", "tanh")], ids=str)
def test_an_unknown_activation_is_refused_before_anything_is_drawn(kind, asked, monkeypatch):
    monkeypatch.setattr(kind, "_fit", None)  # it does not come to that
    one = kind(hidden_layer_sizes=(5, 5), activation=asked)  # never when it is made
    every = "sigmoid, tanh, lecun_tanh, relu, leaky_relu, elu, gelu, softplus, softmax, identity"
    said = rf"activation must be one of {every}, logistic; got 'relux' \(did you mean 'relu'\?\)"
    with pytest.raises(InvalidParameterError, match=said):
        one.fit(X, Y)


def test_what_is_not_dropped_is_taken():
    assert net(optimizer="lbfgs", precision="float32").fit(X, Y).coefs_[0].dtype == np.float32
    assert net(max_fun=3, l1=0.1).fit(X, Y).n_iter_ == 12  # of Adam, as in scikit-learn
    assert net(solver="lbfgs", max_fun=3).fit(X, Y).n_iter_ < 12


@pytest.mark.parametrize(("request_", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_be_is_refused(request_, said):
    with pytest.raises(ValueError, match=said):
        request_()


def test_it_diverges():
    one = Regressor(solver="sgd", learning_rate_init=1e6, dropout=0.1, max_iter=50)
    with pytest.raises(DivergedError, match="choose a learning_rate_init below 1e"):
        one.fit(X * 1e6, Y)


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
