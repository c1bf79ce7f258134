"""The companion's batch norm against the formula in float64."""

import re
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.network import companion
from deltarule.network.companion.norms import batch_norm, normalize

companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
pytestmark = companion_only

EPSILON = 1e-5
SHAPES = {
    "one channel": (7, 1),
    "fewer channels than lanes": (5, 3, 3, 3),
    "LeNet, first": (16, 24, 24, 20),
    "LeNet, second": (16, 8, 8, 50),
    "whole vectors": (9, 7, 5, 48),
    "a strip and a rest": (6, 2500),
    "one row": (1, 33),
    "many channels, odd": (31, 257),
}


def drawn(shape, seed=0, mean=0.0):
    """Return x, scale, shift and the gradient of y."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * rng.uniform(0.5, 2, shape[-1]) + mean
    scale, shift = rng.normal(size=(2, shape[-1]))
    return [np.float32(a) for a in (x, scale, shift, rng.normal(size=shape))]


def by_hand(x, scale, shift, g, activation):
    """Return y, mean, variance, dx, dscale and dshift in float64 (Ioffe and Szegedy 2015)."""
    x, scale, shift, g = (np.asarray(a, np.float64) for a in (x, scale, shift, g))
    axes, n = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    mean, variance = x.mean(axes), x.var(axes)
    root = np.sqrt(variance + EPSILON)
    normal = (x - mean) / root
    z = normal * scale + shift
    dz = g if activation == "identity" else g * (z > 0)
    dscale, dshift = (dz * normal).sum(axes), dz.sum(axes)
    dx = scale / root * (dz - dshift / n - normal * dscale / n)
    y = z if activation == "identity" else np.maximum(z, 0)
    return y, mean, variance, dx, dscale, dshift


def by_companion(x, scale, shift, g, activation):
    def run(x, scale, shift):
        y, mean, variance = batch_norm(x, scale, shift, EPSILON, activation)
        return y, (mean, variance)

    y, back, (mean, variance) = jax.vjp(run, x, scale, shift, has_aux=True)
    return y, mean, variance, *back(jnp.asarray(g, y.dtype))


def far(found, wanted):
    """The largest difference, over the largest value."""
    wanted = np.asarray(wanted, np.float64)
    size = max(np.abs(wanted).max(initial=0), 1e-3)
    return np.abs(np.asarray(found, np.float64) - wanted).max(initial=0) / size


def off(found, wanted):
    """The norm of the difference over the norm of the value."""
    wanted = np.asarray(wanted, np.float64)
    return np.linalg.norm(np.asarray(found, np.float64) - wanted) / max(
        np.linalg.norm(wanted), 1e-9
    )


def test_worked_example():
    # mean 2, variance 1: x normalised is -1 and 1; y = 3 (-1) + 1 = -2 and 3 (1) + 1 = 4, which
    # relu makes 0 and 4. Only the second passes a gradient, so dshift = 1 and dscale = 1 (1), and
    # dx = 3 (g - 1/2 - xhat 1/2) = 3 (0 - 1/2 + 1/2) = 0 and 3 (1 - 1/2 - 1/2) = 0.
    x, one = jnp.array([[1.0], [3.0]]), jnp.ones(1)
    y, back = jax.vjp(lambda x, a, b: batch_norm(x, a, b, 0.0, "relu")[0], x, 3 * one, one)
    assert y.tolist() == [[0.0], [4.0]]
    dx, dscale, dshift = back(jnp.ones((2, 1)))
    assert (dx.tolist(), dscale.tolist(), dshift.tolist()) == ([[0.0], [0.0]], [1.0], [1.0])


@pytest.mark.parametrize("activation", companion.WITH_NORMS)
@pytest.mark.parametrize("name", SHAPES)
def test_float32_agrees(name, activation):
    arrays = drawn(SHAPES[name])
    for found, wanted in zip(
        by_companion(*arrays, activation), by_hand(*arrays, activation), strict=True
    ):
        if name != "one row" or found.shape != arrays[0].shape:  # there y is shift, dx is 0
            assert far(found, wanted) < 1e-5


def test_one_row_passes_no_gradient():
    # With variance 0 terms 1 / sqrt(epsilon) = 316 times as large as g cancel, but for rounding.
    x, scale, shift, g = drawn(SHAPES["one row"])
    y, _, variance, dx, _, _ = by_companion(x, scale, shift, g, "identity")
    np.testing.assert_allclose(y[0], shift, rtol=1e-6)
    assert not variance.any()
    assert np.abs(dx).max() < 1e-6 * 316 * np.abs(scale * g).max()


@pytest.mark.parametrize("activation", companion.WITH_NORMS)
@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_agrees(name, activation):
    x, scale, shift, g = drawn(SHAPES[name])
    x, g = jnp.asarray(x, jnp.bfloat16), jnp.asarray(g, jnp.bfloat16)
    found = by_companion(x, scale, shift, g, activation)
    assert [a.dtype.name for a in found] == ["bfloat16", *2 * ["float32"], "bfloat16",
                                             *2 * ["float32"]]  # fmt: skip
    wanted = by_hand(x, scale, shift, g, activation)
    for one, other, most in zip(found, wanted, (4e-3, 1e-4, 1e-5, 6e-3, 1e-4, 1e-4), strict=True):
        if name != "one row" or one.shape != x.shape:  # there dx is 0 but for rounding
            assert off(one, other) < most


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 70), st.integers(0, 99))
def test_odd_shapes_agree(before, channels, seed):
    arrays = drawn((*before, channels), seed)
    if np.prod(before) < 3:  # two equal numbers make 1 / sqrt(epsilon) of any rounding
        return
    found, wanted = by_companion(*arrays, "relu"), by_hand(*arrays, "relu")
    z_near_0 = np.abs(by_hand(*arrays, "identity")[0]).min() < 1e-5  # relu may fall either way
    for one, other in zip(found[:3] if z_near_0 else found, wanted, strict=False):
        assert far(one, other) < 1e-4


@pytest.mark.parametrize("mean", [1e2, 1e4])
@pytest.mark.parametrize("pixels", [500, 200_000])
def test_mean_far_above_the_spread(pixels, mean):
    x, scale, shift, _ = drawn((pixels, 20), mean=mean)
    _, found, variance = batch_norm(x, scale, shift, EPSILON)
    wide = np.float64(x)
    deviation = wide.std(0)
    # some units in the last place of the mean: fewer threads make longer sums
    assert (np.abs(found - wide.mean(0)) < 1e-6 * mean + 1e-5 * deviation).all()
    assert far(variance, wide.var(0)) < 1e-5 + 1e-8 * mean  # so small beside mean^2 / variance


def test_nan_stays_in_its_channel():
    x, scale, shift, g = drawn((40, 20))
    x[7, 3] = np.nan
    others = np.arange(20) != 3
    for found in by_companion(x, scale, shift, g, "relu")[:4]:
        assert np.isnan(found[..., 3]).all()
        assert np.isfinite(np.asarray(found)[..., others]).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_empty_batch(dtype):
    x = jnp.zeros((0, 4, 4, 3), dtype)
    found = by_companion(x, jnp.ones(3), jnp.ones(3), x, "relu")
    assert found[0].shape == found[3].shape == x.shape
    assert found[5].tolist() == [0, 0, 0]


def test_same_bits_every_time_and_in_two_threads():
    arrays = drawn((64, 24, 24, 20))
    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(lambda _: by_companion(*arrays, "relu"), range(6)))
    for run in runs[1:]:
        for one, other in zip(runs[0], run, strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("activation", companion.WITH_NORMS)
def test_normalize_and_its_gradients(activation):
    x, scale, shift, g = drawn((13, 5, 20))
    mean, variance = np.float32(np.linspace(-1, 1, 20)), np.float32(np.linspace(0.1, 3, 20))

    def plain(x, mean, variance, scale, shift):
        z = (x - mean) * (scale / jnp.sqrt(variance + EPSILON)) + shift
        return jax.nn.relu(z) if activation == "relu" else z

    arguments = x, mean, variance, scale, shift
    y, back = jax.vjp(lambda *a: normalize(*a, EPSILON, activation), *arguments)
    wanted, plain_back = jax.vjp(plain, *arguments)
    for one, other in zip((y, *back(g)), (wanted, *plain_back(g)), strict=True):
        assert far(one, other) < 1e-5


def test_shapes_that_do_not_fit_are_refused():
    refused = pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="each channel")
    with refused:
        batch_norm(jnp.ones((4, 3)), jnp.ones(2), jnp.ones(2), EPSILON)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=re.escape("relu")):
        batch_norm(jnp.ones((4, 3)), jnp.ones(3), jnp.ones(3), EPSILON, "tanh")
