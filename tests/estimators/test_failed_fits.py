"""A fit that is refused, or whose numbers run over, leaves all as it was: as if never called."""

import copy
from itertools import product

import numpy as np
import pytest
from beyond_help import X as SCALED
from beyond_help import Y, assert_same_contents, net
from scipy import sparse

from deltarule import Dense, MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of overflow, in what is to fail
]

X = np.abs(SCALED)
NAN = np.where(np.arange(600).reshape(150, 4) == 5, np.nan, X)
LARGE = 1.7e308 * np.where(np.arange(150)[:, None] & [1, 2, 4, 8], 1, -1)  # all signs
NOUGHT = (np.arange(150) < 50) * 1.0  # of a batch in the order of the rows
BAD = {
    "NaN": {"X": NAN},
    "other features": {"X": X[:, 1:]},
    "other labels": {"y": Y + 5},
    "other lengths": {"y": Y[1:]},
    "numbers run over": {"X": LARGE},
}
OPTIONS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "engine": {"dropout": 0.2},
    "engine, sgd": {"solver": "sgd", "dropout": 0.2},
}


def one_step(each, **given):
    given = {"X": X, "y": Y} | given
    each.partial_fit(**given, classes=None if hasattr(each, "coefs_") else [0, 1, 2])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_a_step_that_fails_is_as_if_it_had_never_been_made(bad, options, form):
    pair = [net(**options, random_state=np.random.RandomState(3)) for _ in range(2)]
    for each in pair:
        one_step(each, X=form(X))
    with pytest.raises(ValueError, match=r".+"):
        one_step(pair[0], **bad | {"X": form(bad.get("X", X))})
    assert_same_contents(*pair)
    for each in pair:
        one_step(each, X=form(X))
    assert_same_contents(*pair)


def test_a_batch_without_weight_is_refused_after_its_shuffle_and_leaves_no_trace():
    pair = [net(batch_size=5, random_state=np.random.RandomState(3)) for _ in range(2)]
    for each in pair:
        one_step(each)
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        one_step(pair[0], sample_weight=NOUGHT * (np.arange(150) < 5))
    for each in pair:
        one_step(each)
    assert_same_contents(*pair)


LBFGS = {"solver": "lbfgs"}  # which numbers that run over end, without an error


@pytest.mark.parametrize(
    ("options", "bad"),
    [*product(OPTIONS.values(), ["NaN", "numbers run over"]), (LBFGS, "NaN")], ids=str,
)  # fmt: skip
def test_a_warm_fit_that_fails_is_as_if_it_had_never_been_made(bad, options):
    pair = [
        net(**options, warm_start=True, random_state=np.random.RandomState(3)).fit(X, Y)
        for _ in range(2)
    ]
    with pytest.raises(ValueError, match=r".+"):
        pair[0].fit(BAD[bad]["X"], Y)
    for each in pair:
        each.fit(X, Y)
    assert_same_contents(*pair)


def test_a_first_step_that_fails_leaves_a_regressor_as_it_was_made():
    shared = np.random.RandomState(3)
    failed = MLPRegressor((3,), solver="sgd", random_state=shared)
    with pytest.raises(ValueError, match=r".+"):
        failed.partial_fit(LARGE, Y)
    assert_same_contents(failed, MLPRegressor((3,), solver="sgd", random_state=shared))
    assert_same_contents(shared, np.random.RandomState(3))


WRONG = [
    ({"optimizer": "adm"}, {}), ({"cost": "quadratik"}, {}), ({"activation": ["relu"] * 3}, {}),
    ({"dropout": 0.0}, {"validation_data": X}), ({"layers": [Dense(4)]}, {}),
    ({"activation": "relux"}, {}), ({"solver": "lbfgs", "max_fun": 20}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("options", "given"), WRONG, ids=[str(each[0]) for each in WRONG])
def test_a_refused_fit_leaves_all_as_it_was(options, given):
    one = net(dropout=0.05, learning_rate_init=0.02).fit(X, Y)
    usual = {"hidden_layer_sizes": (100,), "dropout": 0.0} if "layers" in options else {}
    one.set_params(**usual | options)
    before = copy.deepcopy(one)
    with pytest.raises(ValueError, match=r".+"):
        one.fit(X, Y, **given)
    assert_same_contents(one, before)
    fresh = MLPClassifier(**{"dropout": 0.0 if "layers" in options else 0.05} | options)
    with pytest.raises(ValueError, match=r".+"):
        fresh.fit(X, Y, **given)
    assert not hasattr(fresh, "coefs_")


def test_parameters_that_are_lists_stay_the_users_own():
    sizes, names = [7], ["gelu"]
    one = net(hidden_layer_sizes=sizes, activation=names)
    with pytest.raises(ValueError, match="NaN"):
        one.fit(NAN, Y)
    assert one.hidden_layer_sizes is sizes
    assert one.activation is names
