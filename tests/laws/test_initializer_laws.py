"""Every initializer obeys every law: the distribution its formula says, from the stream alone."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from deltarule.network import INITIALIZERS, Dense
from deltarule.network.initializers import initializer

ROWS_OUT, COLUMNS_IN = 150, 400  # fan-out and fan-in; far apart, so that they cannot be confused
DRAWS = ROWS_OUT * COLUMNS_IN


def normal(variance):
    return stats.norm(scale=sqrt(variance))


def uniform(limit):
    return stats.uniform(-limit, 2 * limit)


@dataclass(frozen=True)
class Row:
    """The variance for fan-out m and fan-in n, and the distribution of an entry, if simple."""

    variance: Callable[[int, int], float]
    distribution: Callable[[int, int], stats.rv_continuous] | None = None
    limit: Callable[[int, int], float] | None = None  # of a uniform distribution


def normal_row(variance):
    return Row(variance, lambda m, n: normal(variance(m, n)))


def uniform_row(limit):
    return Row(lambda m, n: limit(m, n) ** 2 / 3, lambda m, n: uniform(limit(m, n)), limit)


ROWS = {
    "standard_normal": normal_row(lambda m, n: 1),
    "scaled_normal": normal_row(lambda m, n: 1 / n),
    "lecun_normal": normal_row(lambda m, n: 1 / n),
    "lecun_uniform": uniform_row(lambda m, n: sqrt(3 / n)),
    "glorot_normal": normal_row(lambda m, n: 2 / (m + n)),
    "glorot_uniform": uniform_row(lambda m, n: sqrt(6 / (m + n))),
    "he_normal": normal_row(lambda m, n: 2 / n),
    "he_uniform": uniform_row(lambda m, n: sqrt(6 / n)),
    "orthogonal": Row(lambda m, n: 1 / max(m, n)),
    "small_uniform": uniform_row(lambda m, n: 0.05),
    "zeros": Row(lambda m, n: 0),
}

every_row = pytest.mark.parametrize("name", ROWS)


def draw(name, m=ROWS_OUT, n=COLUMNS_IN, seed=11):
    return initializer(name)(np.random.default_rng(seed), m, n)


def test_the_table_is_complete():
    assert set(ROWS) == set(INITIALIZERS)


@every_row
@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (7, 1), (4, 3), (3, 4)])
def test_a_row_a_neuron_in_float64(name, m, n):
    w = draw(name, m, n)
    assert w.shape == (m, n)
    assert w.dtype == np.float64
    assert w.flags.c_contiguous
    assert np.isfinite(w).all()


@every_row
@pytest.mark.parametrize("shape", [(ROWS_OUT, COLUMNS_IN), (COLUMNS_IN, ROWS_OUT)])
def test_mean_and_variance_are_the_formulas(name, shape):
    # Five standard deviations of the estimates: sqrt(v/N) of a mean, v sqrt(2/N) of a variance
    # at most (a normal distribution's; a uniform one's is smaller).
    w, variance = draw(name, *shape), ROWS[name].variance(*shape)
    assert abs(w.mean()) <= 5 * sqrt(variance / DRAWS)
    assert abs(w.var() - variance) <= 5 * variance * sqrt(2 / DRAWS)


@every_row
def test_the_distribution_is_the_formulas(name):
    row, w = ROWS[name], draw(name)
    if row.distribution is not None:
        expected = row.distribution(ROWS_OUT, COLUMNS_IN)
        assert stats.kstest(w.ravel(), expected.cdf).pvalue > 1e-3
    if row.limit is not None:
        limit = row.limit(ROWS_OUT, COLUMNS_IN)
        assert 0.999 * limit < np.abs(w).max() <= limit


@every_row
def test_entries_do_not_hang_together(name):
    w = draw(name)
    for a, b in ((w[:, 1:], w[:, :-1]), (w[1:], w[:-1])):
        scale = w.var() or 1
        assert abs(np.mean(a * b)) / scale < 5 / sqrt(a.size)


@every_row
def test_one_stream_draws_one_matrix_and_another_another(name):
    assert np.array_equal(draw(name), draw(name))
    assert np.array_equal(draw(name), draw(name, seed=12)) == (name == "zeros")


@every_row
def test_dense_draws_its_weights_with_fan_in_and_its_biases_with_one(name):
    params, _, _ = Dense(5, name, name).init(np.random.default_rng(3), (8,))
    rng = np.random.default_rng(3)
    assert np.array_equal(params["w"], initializer(name)(rng, 5, 8))
    assert np.array_equal(params["b"], initializer(name)(rng, 5, 1)[:, 0])


@pytest.mark.parametrize(("m", "n"), [(6, 4), (4, 6), (5, 5), (1, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(m, n):
    w = draw("orthogonal", m, n)
    product = w @ w.T if m <= n else w.T @ w
    np.testing.assert_allclose(product, np.eye(min(m, n)), atol=1e-14)


def test_orthogonal_matrices_turn_both_ways():
    # A 1 x 1 orthogonal matrix is 1 or -1, each as often: 400 draws, four standard deviations.
    rng = np.random.default_rng(0)
    signs = [initializer("orthogonal")(rng, 1, 1).item() for _ in range(400)]
    assert {round(abs(sign), 12) for sign in signs} == {1.0}
    assert abs(np.mean(signs)) < 4 / sqrt(400)
    # And of a larger one, no entry leans to one side.
    mean = np.mean([initializer("orthogonal")(rng, 3, 3) for _ in range(400)], axis=0)
    assert np.abs(mean).max() < 4 * sqrt(1 / 3 / 400)


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"init must be one of .*did you mean 'glorot_normal'"):
        initializer("glorot_norm")
