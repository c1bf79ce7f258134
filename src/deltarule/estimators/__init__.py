"""Networks behind scikit-learn's own interface: ``MLPClassifier`` and ``MLPRegressor``."""

from deltarule.estimators.perceptron import MLPClassifier, MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
