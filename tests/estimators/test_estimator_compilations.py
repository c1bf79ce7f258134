"""A program serves every hyper-parameter that is no shape; a grid search compiles once."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from deltarule import MLPClassifier
from deltarule.estimators import program
from deltarule.learning.step import advance

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


# ---- by the engine


@pytest.fixture
def programs():
    """Return a function that names the programs XLA has compiled since it was last asked."""
    found = []

    def heard(event, seconds, **what):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(what.get("fun_name"))

    def asked():
        programs = list(found)
        found.clear()
        return programs

    advance.clear_cache()  # it forgets all when it is full, and that may be in between
    jax.monitoring.register_event_duration_secs_listener(heard)
    yield asked
    jax.monitoring.unregister_event_duration_listener(heard)


NUMBERS = {
    "l1": [{"l1": 0.1}, {"l1": 3.0}],
    "alpha": [{"l1": 0.1, "alpha": 0.1}, {"l1": 0.1, "alpha": 2.0}],
    "learning_rate_init": [{"l1": 0.1}, {"l1": 0.1, "learning_rate_init": 0.3}],
    "betas": [{"l1": 0.1}, {"l1": 0.1, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}],
    "momentum": [{"l1": 0.1, "solver": "sgd"}, {"l1": 0.1, "solver": "sgd", "momentum": 0.3}],
    "random_state": [{"dropout": 0.3}, {"dropout": 0.3, "random_state": 7}],
    "max_iter": [{"l1": 0.1}, {"l1": 0.1, "max_iter": 4}],
    "tol": [{"l1": 0.1}, {"l1": 0.1, "tol": 0.5, "n_iter_no_change": 1}],
    "weights": [{"l1": 0.1, "class_weight": {0: 2.0, 1: 1.0, 2: 0.5}},
                {"l1": 0.1, "class_weight": "balanced"}],
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_other_numbers_of_the_engine_compile_nothing(name, programs):
    usual = {"hidden_layer_sizes": (9,), "random_state": 0, "max_iter": 5}
    first, second = (MLPClassifier(**usual | options) for options in NUMBERS[name])
    first.fit(X, Y)
    programs()
    second.fit(X, Y)
    assert programs() == []
    other = {"hidden_layer_sizes": (10 + list(NUMBERS).index(name),)}
    MLPClassifier(**usual | NUMBERS[name][0] | other).fit(X, Y)
    assert programs()  # another shape does, and is heard
