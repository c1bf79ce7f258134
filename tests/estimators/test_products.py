"""Small products of scikit-learn have one thread of BLAS, and leave the process as it was."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from deltarule import MLPClassifier
from deltarule.estimators import interface
from deltarule.estimators.products import SMALL, one_thread_if_small


def blas_threads() -> list[int]:
    found = ThreadpoolController().select(user_api="blas").info()
    return [library["num_threads"] for library in found]


@pytest.fixture(autouse=True)
def two_threads():
    """Two threads on any machine, so that one differs from what there was."""
    with ThreadpoolController().limit(limits=2, user_api="blas"):
        assert 2 in blas_threads()
        yield


@pytest.mark.parametrize(("operations", "small"), [(0, True), (SMALL, True), (SMALL + 1, False)])
def test_only_small_products_have_one_thread(operations, small):
    before = blas_threads()
    with one_thread_if_small(operations):
        assert (set(blas_threads()) == {1}) is small
    assert blas_threads() == before


def test_an_error_inside_leaves_the_threads_as_they_were():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), one_thread_if_small(1):
        _ = 1 / 0
    assert blas_threads() == before


def test_many_at_once_leave_the_threads_as_they_were():
    before = blas_threads()

    def limit(_):
        for _ in range(100):
            with one_thread_if_small(1):
                np.ones(3) @ np.ones(3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(limit, range(4)))
    assert blas_threads() == before


@pytest.mark.parametrize(("rows", "expected"), [(40, 40 * (3 * 5 + 5 * 1)), (7, 7 * 20)])
def test_an_estimator_counts_its_weights_for_each_row(rows, expected, monkeypatch):
    X = np.random.default_rng(0).normal(size=(40, 3))
    network = MLPClassifier((5,), tol=1e9, n_iter_no_change=1, random_state=0)
    network.fit(X, X[:, 0] > 0)
    asked = []

    def noted(operations):
        asked.append(operations)
        return one_thread_if_small(operations)

    monkeypatch.setattr(interface, "one_thread_if_small", noted)
    network.predict(X[:rows])
    assert asked == [expected]
