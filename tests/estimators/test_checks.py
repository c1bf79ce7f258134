"""scikit-learn's own checks of an estimator, all of them, with the parameters as they come."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from deltarule import MLPClassifier, MLPRegressor


@pytest.mark.filterwarnings("ignore")  # a network of 100 neurons on 20 examples does not converge
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
