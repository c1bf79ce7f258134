"""A program serves every hyper-parameter that is no shape; a grid search compiles once."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from deltarule import MLPClassifier
from deltarule.estimators import program

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
OTHER = {
    "sgd": [
        {"alpha": 0.1}, {"learning_rate_init": 0.3}, {"momentum": 0.2}, {"power_t": 0.3},
        {"learning_rate": "invscaling"}, {"learning_rate": "adaptive"}, {"tol": 0.1},
        {"max_iter": 3}, {"n_iter_no_change": 2}, {"random_state": 5}, {"shuffle": False},
    ],
    "adam": [{"beta_1": 0.5}, {"beta_2": 0.9}, {"epsilon": 1e-3}, {"alpha": 3.0}],
    "lbfgs": [{"alpha": 0.1}, {"max_fun": 20}, {"tol": 0.1}, {"max_iter": 3}],
}  # fmt: skip


def compiled(**options):
    """Return how many programs a fit has compiled."""
    before = program._compiled.cache_info().misses
    MLPClassifier((7,), **{"random_state": 0, "max_iter": 5} | options).fit(X, Y)
    return program._compiled.cache_info().misses - before


@pytest.mark.parametrize("solver", OTHER)
def test_other_hyper_parameters_compile_nothing(solver):
    program._compiled.cache_clear()
    assert compiled(solver=solver) == 1
    for options in OTHER[solver]:
        assert compiled(solver=solver, **options) == 0, options
    assert compiled(solver=solver, activation="tanh") == 1


def test_a_grid_search_compiles_for_folds_and_for_the_whole():
    program._compiled.cache_clear()
    grid = {"alpha": [1e-4, 1e-2, 1.0], "learning_rate_init": [1e-3, 1e-2]}
    GridSearchCV(MLPClassifier((7,), max_iter=3), grid, cv=3).fit(X, Y)
    assert program._compiled.cache_info().misses == 2  # 100 examples, and 150


def test_programs_that_are_not_used_are_forgotten():
    program._compiled.cache_clear()
    for width in range(1, program.PROGRAMS + 3):
        program._compiled(program.train, (), (((width,), np.dtype("f4").str),))
    assert program._compiled.cache_info().currsize == program.PROGRAMS
