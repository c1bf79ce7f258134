"""The companion's convolution against the backend's own in float64."""

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from deltarule.network import companion
from deltarule.network.activations import ACTIVATIONS
from deltarule.network.companion.convolution import convolve

companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
pytestmark = companion_only

FUSED = companion.WITH_PRODUCTS
SHAPES = {  # images, weights, and where the kernel goes
    "odd sizes": ((4, 9, 8, 3), (5, 3, 2, 3), {}),
    "one image": ((1, 6, 6, 2), (8, 5, 5, 2), {}),
    "first of LeNet": ((7, 28, 28, 1), (20, 5, 5, 1), {}),
    "second of LeNet": ((64, 12, 12, 20), (50, 5, 5, 20), {}),
    "wide": ((65, 14, 14, 48), (96, 3, 3, 48), {"padding": ((1, 1), (1, 1))}),
    "stride": ((3, 10, 9, 4), (6, 3, 3, 4), {"stride": (2, 3)}),
    "uneven padding": ((3, 7, 6, 4), (6, 3, 3, 4), {"padding": ((0, 2), (3, 1))}),
    "more padding than kernel": ((2, 4, 4, 3), (2, 3, 3, 3), {"padding": ((3, 4), (4, 3))}),
    "dilation": ((3, 12, 11, 7), (6, 3, 3, 7), {"dilation": (2, 3), "padding": ((2, 2), (3, 1))}),
    "groups": ((5, 9, 8, 6), (4, 3, 3, 3), {"groups": 2, "stride": (2, 1)}),
    "a group a channel": ((3, 7, 7, 16), (16, 3, 3, 1), {"groups": 16}),
    "1 x 1": ((8, 6, 6, 16), (24, 1, 1, 16), {}),
}

CASES = [(name, FUSED[i % len(FUSED)]) for i, name in enumerate(SHAPES)]
CASES += [("groups", activation) for activation in FUSED if ("groups", activation) not in CASES]


def plain(x, w, b, *, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1,
          activation="identity"):  # fmt: skip
    y = lax.conv_general_dilated(
        x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=("NHWC", "OHWI", "NHWC"),
    )  # fmt: skip
    return ACTIVATIONS[activation](y + b)


def drawn(x_shape, w_shape, seed=0):
    """Images, weights and biases whose sums are about 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=x_shape)
    w = rng.normal(size=w_shape) / np.sqrt(np.prod(w_shape[1:]))
    return [np.float32(a) for a in (x, w, rng.normal(size=w_shape[0]))]


def both(function, arrays, seed=1):
    """Return outputs and gradients with respect to all arrays, for some gradient that comes in."""
    y, pull = jax.vjp(function, *arrays)
    g = np.random.default_rng(seed).normal(size=y.shape)
    return [y, *pull(jnp.asarray(jnp.asarray(g, jnp.bfloat16), y.dtype))]


def exact(how, arrays):
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in arrays]
        return [np.asarray(a) for a in both(partial(plain, **how), wide)]


def relative(a, b, norm=np.inf):
    a, b = (np.asarray(v, np.float64).ravel() for v in (a, b))
    return np.linalg.norm(a - b, norm) / np.linalg.norm(b, norm)


@pytest.mark.parametrize(("name", "activation"), CASES)
def test_values_and_gradients_are_those_of_the_plain_path(name, activation):
    x_shape, w_shape, how = SHAPES[name]
    how = how | {"activation": activation}
    arrays = drawn(x_shape, w_shape)
    ours = both(partial(convolve, **how), arrays)
    for a, b in zip(ours, exact(how, arrays), strict=True):
        assert (a.dtype, a.shape) == (jnp.float32, b.shape)
        assert relative(a, b) < 1e-5


@pytest.mark.parametrize(("name", "activation"), CASES)
def test_in_bfloat16_the_error_is_that_of_the_rounding(name, activation):
    x_shape, w_shape, how = SHAPES[name]
    how = how | {"activation": activation}
    x, w, b = drawn(x_shape, w_shape)
    x, w = (np.asarray(jnp.asarray(a, jnp.bfloat16), np.float32) for a in (x, w))
    ours = both(partial(convolve, **how), [jnp.asarray(x, jnp.bfloat16), w, b])
    assert [a.dtype for a in ours] == [jnp.bfloat16, jnp.bfloat16, jnp.float32, jnp.float32]
    for mine, true in zip(ours, exact(how, [x, w, b]), strict=True):
        assert relative(mine, true, norm=2) < 0.015


def test_an_example_by_hand():
    # the window of ones sums 0+1+3+4 = 8, 1+2+4+5 = 12, 3+4+6+7 = 20, 4+5+7+8 = 24; minus 12
    # and cut off at 0: 0, 0, 8, 12
    image = jnp.arange(9.0).reshape(1, 3, 3, 1)
    y = convolve(image, jnp.ones((1, 2, 2, 1)), jnp.array([-12.0]), activation="relu")
    assert y[0, :, :, 0].tolist() == [[0, 0], [8, 12]]


sides = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=6, deadline=None)
@given(
    n=st.integers(1, 5), size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)), groups=st.integers(1, 3),
    depth=st.integers(1, 4), filters=st.integers(1, 4), padding=st.tuples(sides, sides),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), dilation=st.just((1, 1)),
    activation=st.sampled_from(FUSED),
)  # fmt: skip
def test_any_shape_agrees(n, size, kernel, groups, depth, filters, activation, **how):
    arrays = drawn((n, *size, groups * depth), (groups * filters, *kernel, depth))
    how |= {"groups": groups, "activation": activation}
    for a, b in zip(both(partial(convolve, **how), arrays), exact(how, arrays), strict=True):
        # a sum that cancels has the error of its terms, which are about 1
        assert np.abs(np.asarray(a, np.float64) - b).max() < 1e-5 * max(1, np.abs(b).max())


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("activation", FUSED)
def test_nan_and_infinity_pass_through(activation, dtype):
    x, w, b = drawn((2, 6, 6, 3), (20, 3, 3, 3))
    x[0, 2, 2, 1], x[1, 5, 5, 0] = np.nan, np.inf
    ours = both(partial(convolve, activation=activation), [jnp.asarray(x, dtype), w, b])
    theirs = both(partial(plain, activation=activation), [x, w, b])
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(np.isnan(np.asarray(a, np.float32)), np.isnan(b))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_batch_of_none(dtype):
    x, w, b = drawn((0, 6, 6, 3), (4, 3, 3, 3))
    y, dx, dw, db = both(partial(convolve, activation="tanh"), [jnp.asarray(x, dtype), w, b])
    assert (y.shape, dx.shape) == ((0, 4, 4, 4), x.shape)
    assert not np.any(dw)
    assert not np.any(db)


def test_without_bias():
    x, w, _ = drawn((3, 6, 6, 3), (4, 3, 3, 3))
    y, dx, dw = both(lambda x, w: convolve(x, w, activation="tanh"), [x, w])
    expected = both(lambda x, w: plain(x, w, 0, activation="tanh"), [x, w])
    for a, b in zip((y, dx, dw), expected, strict=True):
        assert relative(a, b) < 1e-5


def test_the_gradient_of_data_is_not_worked_out():
    x, w, b = drawn((2, 6, 6, 3), (4, 3, 3, 3))
    compiled = [
        jax.jit(jax.grad(lambda *a: convolve(*a).sum(), of)).lower(x, w, b).as_text()
        for of in (0, 1)
    ]
    onward, first = (re.findall("convolution_backward.*-> .tensor<([0-9x]*)x", t) for t in compiled)
    assert (onward, first) == (["2x6x6x3"], ["0"])


def test_the_same_bits_every_time_and_in_every_thread():
    arrays = drawn((33, 14, 14, 16), (32, 3, 3, 16))
    step = jax.jit(lambda *a: both(partial(convolve, activation="tanh"), a))
    first = [np.asarray(a) for a in step(*arrays)]
    with ThreadPoolExecutor(2) as threads:
        for again in threads.map(lambda _: step(*arrays), range(20)):
            assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_more_shapes_than_are_kept():
    w = np.ones((1, 2, 2, 1), np.float32)
    for turn in range(2):
        for n in range(1, 48):  # three passes and three copies each: more than the 256 kept
            y, pull = jax.vjp(lambda x: convolve(x, w), np.ones((n, 3, 3, 1), np.float32))
            assert np.all(np.asarray(y) == 4), turn
            assert np.asarray(pull(y)[0]).sum() == 64 * n, turn


BAD = {
    "channels": ((2, 6, 6, 3), (4, 3, 3, 2), {}),
    "kernel larger than image": ((2, 3, 3, 3), (4, 5, 5, 3), {}),
    "groups": ((2, 6, 6, 4), (3, 3, 3, 2), {"groups": 2}),
    "negative padding": ((2, 6, 6, 3), (4, 3, 3, 3), {"padding": ((-1, 0), (0, 0))}),
    "no channels": ((2, 6, 6, 0), (4, 3, 3, 0), {}),
    "no filters": ((2, 6, 6, 3), (0, 3, 3, 3), {}),
    "no kernel": ((2, 6, 6, 3), (4, 0, 3, 3), {}),
    "a stride beyond any int": ((2, 6, 6, 3), (4, 3, 3, 3), {"stride": (2**32 + 1, 1)}),
    "holes beyond any int": ((2, 6, 6, 3), (4, 1, 1, 3), {"dilation": (2**32 + 1, 1)}),
    "no activation of ours": ((2, 6, 6, 3), (4, 3, 3, 3), {"activation": "gelu"}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_an_exception(name):
    x_shape, w_shape, how = BAD[name]
    arrays = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=r"expected|must fit"):
        jax.block_until_ready(jax.grad(lambda x, w: convolve(x, w, **how).sum())(*arrays))


def test_float64_is_refused():
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a, jnp.float64) for a in drawn((2, 6, 6, 3), (4, 3, 3, 3))]
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError)):
            jax.block_until_ready(convolve(*arrays))
