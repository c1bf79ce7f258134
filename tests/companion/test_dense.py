"""The companion's dense layer against NumPy's formula in float64."""

import hashlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.network import companion
from deltarule.network.activations import ACTIVATIONS
from deltarule.network.companion.dense import dense

companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
pytestmark = companion_only

FUSED = companion.WITH_PRODUCTS
SHAPES = [  # images, inputs, units: one of each, less than a block, blocks and a rest, odd
    (1, 1, 1), (1, 784, 30), (10, 784, 30), (128, 784, 256), (64, 300, 1000), (7, 33, 129),
    (200, 5, 3),
]  # fmt: skip
CASES = [(shape, FUSED[i % len(FUSED)]) for i, shape in enumerate(SHAPES)]
CASES += [((7, 33, 129), a) for a in FUSED if ((7, 33, 129), a) not in CASES]
# more than the caches hold, a rest at every edge: examples, inputs, units
MATRIX_UNITS = [((900, 600, 40), "relu"), ((70, 40, 900), "tanh"), ((33, 1100, 65), "identity")]


def plain(x, w, b, activation):
    return ACTIVATIONS[activation](x @ w.T + b)


def drawn(n, inputs, units, seed=0):
    rng = np.random.default_rng(seed)
    x, w, b = (rng.normal(size=size) for size in ((n, inputs), (units, inputs), units))
    return [np.float32(a) for a in (x, w / np.sqrt(inputs), b)]


def rounded(*shape):
    x, w, b = drawn(*shape)
    return *(np.asarray(jnp.asarray(a, jnp.bfloat16), np.float32) for a in (x, w)), b


def both(function, arrays, seed=1):
    """Return outputs and gradients with respect to all arrays, for some gradient that comes in."""
    y, pull = jax.vjp(function, *arrays)
    g = np.random.default_rng(seed).normal(size=y.shape)
    return [y, *pull(jnp.asarray(jnp.asarray(g, jnp.bfloat16), y.dtype))]


def exact(arrays, activation):
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in arrays]
        return [np.asarray(a) for a in both(lambda *a: plain(*a, activation), wide)]


def relative(a, b, norm=np.inf):
    a, b = (np.asarray(v, np.float64).ravel() for v in (a, b))
    return np.linalg.norm(a - b, norm) / max(np.linalg.norm(b, norm), 1e-30)


@pytest.mark.parametrize(("shape", "activation"), CASES)
def test_values_and_gradients_are_those_of_the_plain_path(shape, activation):
    arrays = drawn(*shape)
    ours = both(lambda *a: dense(*a, activation), arrays)
    for a, b in zip(ours, exact(arrays, activation), strict=True):
        assert (a.dtype, a.shape) == (jnp.float32, b.shape)
        assert relative(a, b) < 1e-5


@pytest.mark.parametrize(("shape", "activation"), CASES + MATRIX_UNITS)
def test_in_bfloat16_the_error_is_that_of_the_rounding(shape, activation):
    x, w, b = rounded(*shape)
    ours = both(lambda *a: dense(*a, activation), [jnp.asarray(x, jnp.bfloat16), w, b])
    assert [a.dtype for a in ours] == [jnp.bfloat16, jnp.bfloat16, jnp.float32, jnp.float32]
    for mine, true in zip(ours, exact([x, w, b], activation), strict=True):
        assert relative(mine, true, norm=2) < 0.015


def test_weights_are_rounded_in_bfloat16():
    # 1 + 1/512 is 1 in bfloat16: 1 x 1 - 1 = 0; in float32 it is 1/512
    w, minus = jnp.array([[1 + 1 / 512]]), jnp.array([-1.0])
    assert dense(jnp.ones((1, 1), jnp.bfloat16), w, minus).tolist() == [[0]]
    assert dense(jnp.ones((1, 1)), w, minus).tolist() == [[1 / 512]]


def test_an_example_by_hand():
    # z = [1*3 + 2*4 + 0.5, 1*5 - 2*6 + 0] = [11.5, -7], y = [11.5, 0]; from g = [2, 3] comes
    # dz = [2, 0], dw = dz' x = [[2, 4], [0, 0]], dx = dz w = [6, 8]
    x, w, b = jnp.array([[1.0, 2]]), jnp.array([[3.0, 4], [5, -6]]), jnp.array([0.5, 0])
    y, pull = jax.vjp(lambda *a: dense(*a, "relu"), x, w, b)
    assert y.tolist() == [[11.5, 0]]
    dx, dw, db = pull(jnp.array([[2.0, 3]]))
    assert (dx.tolist(), dw.tolist(), db.tolist()) == ([[6, 8]], [[2, 4], [0, 0]], [2, 0])


@pytest.mark.parametrize(("dtype", "error"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 80), st.integers(1, 300), st.integers(1, 300), st.sampled_from(FUSED))
def test_any_shape_agrees(dtype, error, n, inputs, units, activation):
    x, w, b = rounded(n, inputs, units)
    ours = both(lambda *a: dense(*a, activation), [jnp.asarray(x, dtype), w, b])
    for mine, true in zip(ours, exact([x, w, b], activation), strict=True):
        # a sum that cancels has the error of its terms, which are about 1
        assert np.abs(np.asarray(mine, np.float64) - true).max() < error * max(
            1, np.abs(true).max()
        )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("activation", FUSED)
def test_nan_and_infinity_pass_through(activation, dtype):
    x, w, b = drawn(20, 40, 30)
    x[3, 1], x[7, 2] = np.nan, np.inf
    ours = both(lambda *a: dense(*a, activation), [jnp.asarray(x, dtype), w, b])
    theirs = both(lambda *a: plain(*a, activation), [x, w, b])
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(np.isnan(np.asarray(a, np.float32)), np.isnan(b))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_batch_of_none(dtype):
    x, w, b = drawn(0, 6, 4)
    y, dx, dw, db = both(lambda *a: dense(*a, "tanh"), [jnp.asarray(x, dtype), w, b])
    assert (y.shape, dx.shape) == ((0, 4), (0, 6))
    assert not np.any(dw)
    assert not np.any(db)


@pytest.mark.parametrize(("dtype", "error"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.01)])
def test_without_bias(dtype, error):
    x, w, _ = rounded(12, 40, 30)
    ours = both(lambda x, w: dense(x, w, activation="tanh"), [jnp.asarray(x, dtype), w])
    for a, b in zip(ours, both(lambda x, w: plain(x, w, 0, "tanh"), [x, w]), strict=True):
        assert relative(a, b) < error


def test_the_gradient_of_data_is_not_worked_out():
    x, w, b = drawn(3, 6, 4)
    compiled = [
        jax.jit(jax.grad(lambda *a: dense(*a).sum(), of)).lower(x, w, b).as_text() for of in (0, 1)
    ]
    onward, first = (re.findall("dense_backward.*-> .tensor<([0-9x]*)x", t) for t in compiled)
    assert (onward, first) == (["3x6"], ["0"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_same_bits_every_time_and_in_every_thread(dtype):
    x, w, b = drawn(64, 500, 700)
    step = jax.jit(lambda *a: both(lambda *a: dense(*a, "tanh"), a))
    arrays = (jnp.asarray(x, dtype), w, b)
    first = [np.asarray(a) for a in step(*arrays)]
    with ThreadPoolExecutor(2) as threads:
        for again in threads.map(lambda _: step(*arrays), range(20)):
            assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_thread_finds_the_same_bits_as_several(dtype):
    code = (
        "import os, sys; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        f"sys.path[:0] = {sys.path!r}; "
        f"from companion.test_dense import fingerprint; print(fingerprint({dtype!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == fingerprint(dtype)


def fingerprint(dtype):
    x, w, b = drawn(130, 500, 700)
    found = both(lambda *a: dense(*a, "tanh"), [jnp.asarray(x, dtype), w, b])
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in found)).hexdigest()


@pytest.mark.parametrize(
    ("x", "w", "b", "activation"),
    [
        ((2, 3), (4, 5), (4,), "tanh"),
        ((2, 3), (4, 3), (5,), "tanh"),
        ((2, 3), (4, 3), (4,), "softplus"),
        ((2, 3, 3), (4, 3), (4,), "tanh"),
        ((2, 0), (4, 0), (4,), "tanh"),
        ((2, 3), (0, 3), (0,), "tanh"),
    ],
)
def test_what_does_not_fit_is_an_exception(x, w, b, activation):
    x, w, b = jnp.ones(x), jnp.ones(w), jnp.ones(b)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="expected"):
        jax.block_until_ready(jax.grad(lambda x: dense(x, w, b, activation).sum())(x))


def test_float64_is_refused():
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a, jnp.float64) for a in drawn(2, 6, 4)]
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError)):
            jax.block_until_ready(dense(*arrays))
