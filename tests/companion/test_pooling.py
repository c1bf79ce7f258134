"""The companion's pooling against windows taken one by one in NumPy."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.network import companion
from deltarule.network.companion.pooling import avg_pool, max_pool

companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
pytestmark = companion_only

NOWHERE = ((0, 0), (0, 0))
CASES = {  # images, window, stride, padding
    "LeNet, first": ((3, 24, 24, 20), (2, 2), (2, 2), NOWHERE),
    "LeNet, second": ((3, 8, 8, 50), (2, 2), (2, 2), NOWHERE),
    "whole vectors": ((2, 14, 14, 96), (2, 2), (2, 2), NOWHERE),
    "one channel": ((2, 5, 6, 1), (2, 3), (2, 3), NOWHERE),
    "what fills no window": ((2, 7, 9, 3), (2, 2), (2, 2), NOWHERE),
    "side by side with padding": ((2, 7, 9, 18), (3, 3), (3, 3), ((1, 1), (0, 2))),
    "overlapping": ((2, 9, 9, 17), (3, 3), (2, 2), NOWHERE),
    "overlapping with padding": ((2, 6, 7, 33), (3, 2), (1, 1), ((1, 1), (0, 1))),
    "gaps": ((2, 9, 9, 17), (2, 2), (3, 4), NOWHERE),
    "the whole image": ((3, 7, 7, 50), (7, 7), (7, 7), NOWHERE),
    "largest window": ((1, 17, 16, 5), (16, 16), (1, 1), NOWHERE),
}


def by_hand(x, g, window, stride, padding, kind):
    """Return y and dx, in float64."""
    x, g = np.float64(x), np.float64(g)
    y, dx = np.zeros(g.shape), np.zeros(x.shape)
    for n, i, j, c in np.ndindex(g.shape):
        row, column = i * stride[0] - padding[0][0], j * stride[1] - padding[1][0]
        inside = np.s_[
            n, max(row, 0) : row + window[0], max(column, 0) : column + window[1], c
        ]  # fmt: skip
        seen = x[inside]
        if kind == "avg":
            y[n, i, j, c] = seen.mean()
            dx[inside] += g[n, i, j, c] / seen.size
        else:  # argmax returns the first, and takes NaN for the largest
            at = np.unravel_index(seen.argmax(), seen.shape)
            y[n, i, j, c] = seen[at]
            dx[inside][at] += g[n, i, j, c]
    return y, dx


def both(x, where, kind, seed=1):
    """Return y and dx by the companion and by hand."""
    y, back = jax.vjp(lambda x: (max_pool if kind == "max" else avg_pool)(x, *where), x)
    g = jnp.asarray(np.random.default_rng(seed).normal(size=y.shape), y.dtype)
    assert y.dtype == x.dtype
    return (y, *back(g)), by_hand(x, g, *where, kind)


def drawn(shape, seed=0):
    return np.float32(np.random.default_rng(seed).normal(size=shape))


def tied(shape, seed=0):
    """Whole numbers from 0 to 2: most windows have several that are largest."""
    return np.float32(np.random.default_rng(seed).integers(0, 3, shape))


def far(found, wanted):
    size = max(np.abs(wanted).max(initial=0), 1e-9)
    return np.abs(np.asarray(found, np.float64) - wanted).max(initial=0) / size


def test_worked_example():
    # Windows [1 3; 3 2] and [5 5; 0 5]: the first 3 and the first 5 get the gradients 10 and 20;
    # means are 9/4 and 15/4, and each pixel gets a quarter of 10 or of 20.
    x = jnp.array([[1.0, 3.0, 5.0, 5.0], [3.0, 2.0, 0.0, 5.0]]).reshape(1, 2, 4, 1)
    g = jnp.array([10.0, 20.0]).reshape(1, 1, 2, 1)
    y, back = jax.vjp(lambda x: max_pool(x, (2, 2), (2, 2)), x)
    assert y.ravel().tolist() == [3, 5]
    assert back(g)[0].ravel().tolist() == [0, 10, 20, 0, 0, 0, 0, 0]
    y, back = jax.vjp(lambda x: avg_pool(x, (2, 2), (2, 2)), x)
    assert y.ravel().tolist() == [2.25, 3.75]
    assert back(g)[0].ravel().tolist() == 2 * [2.5, 2.5, 5, 5]


@pytest.mark.parametrize("draw", [drawn, tied])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("name", CASES)
def test_float32_agrees(name, kind, draw):
    shape, *where = CASES[name]
    found, wanted = both(draw(shape), where, kind)
    assert far(found[0], wanted[0]) <= (0 if kind == "max" else 1e-6)
    assert far(found[1], wanted[1]) < 1e-6


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("name", CASES)
def test_bfloat16_agrees(name, kind):
    shape, *where = CASES[name]
    found, wanted = both(jnp.asarray(drawn(shape), jnp.bfloat16), where, kind)
    assert far(found[0], wanted[0]) <= (0 if kind == "max" else 4e-3)
    assert far(found[1], wanted[1]) < 4e-3


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["max", "avg"]), st.booleans())
def test_any_window_agrees(data, kind, ties):
    window, stride = (data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(2))
    padding = tuple(
        data.draw(st.tuples(st.integers(0, size // 2), st.integers(0, size // 2)))
        for size in window
    )
    sides = [data.draw(st.integers(size, 8)) for size in window]
    shape = (data.draw(st.integers(0, 2)), *sides, data.draw(st.integers(1, 35)))
    found, wanted = both((tied if ties else drawn)(shape), (window, stride, padding), kind)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert far(one, other) < 1e-6


@pytest.mark.parametrize("channels", [1, 16, 20])
def test_nan_is_the_largest_and_the_first_gets_the_gradient(channels):
    x = drawn((2, 6, 6, channels))
    x[0, 1, 0], x[0, 1, 1], x[1, 2, 3] = np.nan, np.nan, np.nan
    found, wanted = both(x, ((2, 2), (2, 2), NOWHERE), "max")
    np.testing.assert_array_equal(found[0], np.float32(wanted[0]))
    np.testing.assert_array_equal(found[1], np.float32(wanted[1]))
    means, _ = both(x, ((3, 3), (3, 3), NOWHERE), "avg")[0]
    assert np.isnan(means[0, 0, 0]).all()
    assert np.isfinite(means[0, 1]).all()


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_infinities(kind):
    x = drawn((1, 4, 4, 20))
    x[0, :2, :2], x[0, 3, 3] = -np.inf, np.inf
    found, wanted = both(x, ((2, 2), (2, 2), NOWHERE), kind)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6)


def test_same_bits_every_time_and_in_two_threads():
    x = drawn((32, 24, 24, 20))
    where = ((3, 3), (2, 2), NOWHERE)

    def run(_):
        pools = (lambda x, pool=pool: pool(x, *where) for pool in (max_pool, avg_pool))
        results = [jax.vjp(pool, x) for pool in pools]
        return b"".join(
            np.asarray(a).tobytes() for y, back in results for a in (y, *back(jnp.ones_like(y)))
        )

    with ThreadPoolExecutor(2) as threads:
        assert len(set(threads.map(run, range(6)))) == 1


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="at most 256"):
        max_pool(jnp.ones((1, 20, 20, 1)), (17, 17), (1, 1))
    for pool in (max_pool, avg_pool):
        with pytest.raises(ValueError, match="window must fit"):
            pool(jnp.ones((1, 1, 4, 1)), (3, 3), (1, 1))
    for pool in (max_pool, avg_pool):  # a window that would lie outside the image
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="partly on the image"):
            pool(jnp.ones((1, 4, 4, 1)), (2, 2), (2, 2), ((2, 2), (0, 0)))
