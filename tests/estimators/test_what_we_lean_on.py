"""Of scikit-learn's private names; a version that moves one is refused in pyproject.toml."""

import inspect

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.datasets import load_iris
from sklearn.neural_network import _multilayer_perceptron as theirs
from sklearn.neural_network import _stochastic_optimizers as optimizers
from sklearn.utils import _param_validation as validation
from sklearn.utils.validation import _check_sample_weight, validate_data

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
BASE = theirs.BaseMultilayerPerceptron
KINDS = (neural_network.MLPClassifier, neural_network.MLPRegressor)
ARGUMENTS = {
    BASE._fit_stochastic: "self X y sample_weight activations deltas coef_grads intercept_grads "
    "layer_units incremental",
    BASE._fit_lbfgs: "self X y sample_weight activations deltas coef_grads intercept_grads "
    "layer_units",
    BASE._loss_grad_lbfgs: "self packed_coef_inter X y sample_weight activations deltas "
    "coef_grads intercept_grads",
    BASE.fit: "self X y sample_weight",
    BASE._fit: "self X y sample_weight incremental",
    BASE._forward_pass_fast: "self X check_input",
    BASE._init_coef: "self fan_in fan_out dtype",
    BASE._initialize: "self y layer_units dtype",
    BASE._update_no_improvement_count: "self early_stopping X y sample_weight",
    BASE._validate_params: "self",
    **{kind._validate_input: "self X y incremental reset" for kind in KINDS},
    **{kind._score: "self X y sample_weight" for kind in KINDS},
    optimizers.AdamOptimizer.__init__: "self params learning_rate_init beta_1 beta_2 epsilon",
    optimizers.SGDOptimizer.__init__: "self params learning_rate_init lr_schedule momentum "
    "nesterov power_t",
    **{kind.iteration_ends: "self time_step" for kind in
       (optimizers.AdamOptimizer, optimizers.SGDOptimizer)},
    **{kind.trigger_stopping: "self msg verbose" for kind in
       (optimizers.AdamOptimizer, optimizers.SGDOptimizer)},
    validation.StrOptions.__init__: "self options deprecated",
    validation.Interval.__init__: "self type left right closed",
}  # fmt: skip


@pytest.mark.parametrize("function", ARGUMENTS, ids=lambda function: function.__qualname__)
def test_functions_take_these_arguments(function):
    assert " ".join(inspect.signature(function).parameters) == ARGUMENTS[function]


def test_checks_take_what_we_give_them():
    assert list(inspect.signature(_check_sample_weight).parameters)[:2] == ["sample_weight", "X"]
    given = {"X", "y", "reset", "accept_sparse", "multi_output", "y_numeric", "dtype"}
    check_params = inspect.signature(validate_data).parameters
    assert {"_estimator", "X", "y", "reset"} <= set(check_params)
    assert any(each.kind is each.VAR_KEYWORD for each in check_params.values())
    net = neural_network.MLPClassifier((2,), max_iter=1).fit(X, Y)
    validate_data(net, **dict.fromkeys(given - {"X", "y", "reset", "accept_sparse", "dtype"}, True),
                  X=X, y=Y, reset=False, accept_sparse=["csr"], dtype=(np.float64,))  # fmt: skip
    assert issubclass(validation.InvalidParameterError, ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_fit_leaves(kind):
    fitted = kind(hidden_layer_sizes=(5,), max_iter=2, early_stopping=True, random_state=0).fit(
        X, Y
    )
    names = {"_optimizer", "_random_state", "_no_improvement_count", "t_"}
    names |= {"_best_coefs", "_best_intercepts", "validation_scores_", "best_validation_score_"}
    names |= {"_label_binarizer", "classes_"} if kind is KINDS[0] else set()
    assert names <= set(vars(fitted))
    assert [coef.shape for coef in fitted._best_coefs] == [coef.shape for coef in fitted.coefs_]
    assert {"activation", "solver", "loss" if kind is KINDS[1] else "alpha"} <= set(
        kind._parameter_constraints
    )


def test_the_label_binarizer_tells_the_kind_of_answer():
    for y, found in ((Y, "multiclass"), (Y > 0, "binary"), (np.c_[Y > 0, Y > 1] * 1, "multilabel")):
        net = neural_network.MLPClassifier((2,), max_iter=1).fit(X, y)
        assert net._label_binarizer.y_type_.startswith(found)


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (
            optimizers.AdamOptimizer,
            "ms vs t beta_1 beta_2 epsilon learning_rate learning_rate_init",
        ),
        (
            optimizers.SGDOptimizer,
            "velocities momentum nesterov lr_schedule power_t learning_rate learning_rate_init",
        ),
    ],
)
def test_optimizers_have_these_attributes(optimizer, names):
    made = optimizer([np.zeros(2)])
    assert [name for name in names.split() if not hasattr(made, name)] == []


def test_its_solvers_and_activations_are_those_we_have():
    from deltarule.estimators import asked, program

    assert set(program.UPDATES) == set(theirs._STOCHASTIC_SOLVERS)
    assert set(program.ACTIVATIONS) == set(theirs.ACTIVATIONS)
    assert set(asked.SCIKIT_LEARN) == set(theirs.DERIVATIVES)
