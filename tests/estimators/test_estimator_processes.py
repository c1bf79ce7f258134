"""One seed in many processes, forked ones, and searches over four of them."""

import hashlib
import os
import subprocess
import sys

import joblib
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import neural_network
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score

from deltarule import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0}


def test_a_grid_search_in_four_processes():
    grid = {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 0.1]}
    ours, theirs = (
        GridSearchCV(kind(**SMALL), grid, cv=3, n_jobs=4).fit(X, Y)
        for kind in (MLPClassifier, neural_network.MLPClassifier)
    )
    assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert ours.best_params_ == theirs.best_params_


# ---- one seed, wherever it runs

LEARN = """
import hashlib, os, warnings
if "ONE_CORE" in os.environ:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
warnings.simplefilter("ignore")
from sklearn.datasets import load_iris
from deltarule import MLPClassifier
X, Y = load_iris(return_X_y=True)
digest = hashlib.sha256()
for options in ({}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"dropout": 0.2}, {"committee": 2}):
    net = MLPClassifier((5,), max_iter=6, random_state=0, **options).fit(X, Y)
    for array in net.coefs_ + net.intercepts_:
        digest.update(array.tobytes())
print(digest.hexdigest())
"""
PLACES = {  # the environment
    "cold": {"PYTHONHASHSEED": "0"},
    "warm": {"PYTHONHASHSEED": "1", "LC_ALL": "C"},
    "warm, one core": {
        "PYTHONHASHSEED": "random", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo", "ONE_CORE": "1",
    },
}  # fmt: skip


def test_one_seed_learns_the_same_bits_in_every_process(tmp_path):
    found = {}
    for name, environment in PLACES.items():
        there = tmp_path / name
        there.mkdir()
        cached = {
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        begin = [sys.executable, "-c", LEARN]
        done = subprocess.run(
            begin, env={**os.environ, **cached, **environment}, cwd=there, check=True,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        found[name] = done.stdout.strip()
        assert any((tmp_path / "compiled").iterdir())  # what the next ones find
    assert set(map(len, found.values())) == {2 * hashlib.sha256().digest_size}
    assert len(set(found.values())) == 1, found


# ---- fork

FORK = """
import multiprocessing, sys, warnings
warnings.simplefilter("ignore")
from sklearn.datasets import load_iris
from deltarule import MLPClassifier
when, what, options = sys.argv[1], sys.argv[2], eval(sys.argv[3])
X, Y = load_iris(return_X_y=True)
net = MLPClassifier((5,), max_iter=6, random_state=0, **options)
def work(_):
    try:
        return len(net.fit(X, Y).coefs_) if what == "fit" else len(net.predict_proba(X))
    except RuntimeError as error:
        return str(error)
if when == "after":
    net.fit(X, Y)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(*pool.map(work, range(1)))
"""
REFUSED = "this process was forked off one in which JAX had computed"
FORKED = [
    ("before", "fit", {}, "2"), ("before", "fit", {"l1": 0.1}, "2"),
    ("after", "predict", {}, "150"), ("after", "predict", {"l1": 0.1}, REFUSED),
    ("after", "fit", {}, REFUSED), ("after", "fit", {"l1": 0.1}, REFUSED),
    ("after", "fit", {"solver": "lbfgs"}, REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(("when", "what", "options", "said"), FORKED, ids=str)
def test_a_forked_process_learns_or_says_that_it_cannot(when, what, options, said):
    done = subprocess.run(
        [sys.executable, "-c", FORK, when, what, repr(options)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith(said)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_after_a_fit_joblib_trains_in_other_processes_and_threads(backend):
    net = MLPClassifier(**SMALL).fit(X, Y)
    with joblib.parallel_backend(backend, n_jobs=2):
        found = cross_val_score(net, X, Y, cv=3)
    assert_array_equal(found, cross_val_score(net, X, Y, cv=3))
