"""Data and networks of the tests of what scikit-learn does not have."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.datasets import load_digits, load_iris
from sklearn.preprocessing import StandardScaler

from deltarule import Activation, Callback, Conv, Dense, Flatten, MaxPool, MLPClassifier
from deltarule import MLPRegressor as Regressor

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
CONVOLUTION = [Conv(4, 3), Activation("relu"), MaxPool(2), Flatten(), Dense(10),
               Activation("softmax")]  # fmt: skip


def net(**options):
    return MLPClassifier(**SMALL | options)


def assert_same_weights(one, other, **tolerance):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert_allclose(a, b, **tolerance)


def assert_same_contents(one, other, where="the estimator"):
    """Compare all that two objects hold, to the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, np.random.RandomState):
        one, other = (each.get_state(legacy=False) for each in (one, other))
    if isinstance(one, np.ndarray):
        assert_array_equal(one, other, where, strict=True)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one.keys() - {"seconds"}:  # what an epoch took
            assert_same_contents(one[name], other[name], f"{where}, {name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same_contents(*pair, f"{where}[{number}]")
    elif hasattr(one, "__dict__") and not callable(one):
        assert_same_contents(vars(one), vars(other), where)
    else:
        assert_array_equal(one, other, where)  # NaN is NaN
