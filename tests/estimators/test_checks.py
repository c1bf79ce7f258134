"""scikit-learn's own checks of an estimator, all of them, with the parameters as they come."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from deltarule import MLPClassifier, MLPRegressor

BY_THE_ENGINE = {"classifier": MLPClassifier(l1=1e-5), "regressor": MLPRegressor(l1=1e-5)}
ALSO_BY_THE_ENGINE = (  # where what it trains is new; the rest runs through the same code
    "check_sample_weight_equivalence_on_dense_data",
    "check_estimators_dtypes",
    "check_estimators_partial_fit_n_features",
    "check_classifiers_one_label",
    "check_class_weight_classifiers",
    "check_methods_subset_invariance",
    "check_fit2d_1sample",
    "check_dict_unchanged",
    "check_estimator_sparse_matrix",
    "check_fit_idempotent",
    "check_readonly_memmap_input",
    "check_classifiers_multilabel_output_format_predict_proba",
)
OF_REGRESSORS = {  # what takes the place of a check that classifiers alone have
    "check_classifiers_one_label": "check_regressors_train",
    "check_class_weight_classifiers": "check_regressors_int",
    "check_classifiers_multilabel_output_format_predict_proba": "check_supervised_y_2d",
}


@pytest.mark.filterwarnings("ignore")  # a network of 100 neurons on 20 examples does not converge
@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ALSO_BY_THE_ENGINE)
@pytest.mark.parametrize("kind", BY_THE_ENGINE)
def test_scikit_learn_checks_of_the_engine(kind, name):
    if kind == "regressor":
        name = OF_REGRESSORS.get(name, name)
    checks = estimator_checks_generator(BY_THE_ENGINE[kind], mark=None)
    of_name = [each for each in checks if each[1].func.__name__ == name]
    assert of_name, f"scikit-learn has no {name} for a {kind}"
    for estimator, check in of_name:
        check(estimator)
