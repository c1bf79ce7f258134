"""Where scikit-learn could train too, the engine finds its numbers."""

import pickle

import numpy as np
import pytest
from beyond_help import (
    PLAIN,
    SMALL,
    TARGETS,
    X,
    Y,
    assert_same_weights,
    net,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network

from deltarule import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    if ours is MLPClassifier:
        assert_array_equal(one.predict(X), other.predict(X))
    else:
        assert_allclose(one.predict(X), other.predict(X), rtol=1e-4, atol=1e-5)
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
    assert_same_weights(whole, parts, rtol=1e-12)  # one order of sums is another
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
