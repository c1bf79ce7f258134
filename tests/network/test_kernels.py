"""Kernels against JAX's own operators, in values and gradients, over tables of shapes."""

import itertools
import re
import threading
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deltarule.network import companion, kernels
from deltarule.network.kernels import (
    Kernels,
    avg_pool,
    convolve,
    current,
    max_pool,
    product,
    using,
    usual,
)

PATCHES, BACKEND = Kernels("patches", "plain"), Kernels("backend", "plain")
ROUNDED = [Kernels("patches", "bfloat16"), Kernels("backend", "bfloat16")]
NONE, ONE = ((0, 0), (0, 0)), ((1, 1), (1, 1))

# image, kernel, stride, padding, dilation, groups, filters
CONVOLUTIONS = {
    "5x5": ((12, 12, 3), (5, 5), (1, 1), NONE, (1, 1), 1, 4),
    "5x5 one channel": ((13, 11, 1), (5, 5), (1, 1), NONE, (1, 1), 1, 3),
    "5x5 narrow image": ((9, 5, 1), (5, 5), (1, 1), NONE, (1, 1), 1, 3),
    "3x3 same": ((7, 8, 2), (3, 3), (1, 1), ONE, (1, 1), 1, 5),
    "3x3 same, many channels": ((6, 5, 40), (3, 3), (1, 1), ONE, (1, 1), 1, 70),
    "2x2 asymmetric": ((6, 7, 2), (2, 2), (1, 1), ((0, 1), (1, 0)), (1, 1), 1, 3),
    "1x1": ((5, 6, 3), (1, 1), (1, 1), NONE, (1, 1), 1, 4),
    "1x1 stride 2": ((7, 8, 3), (1, 1), (2, 2), NONE, (1, 1), 1, 4),
    "2x5": ((8, 9, 2), (2, 5), (1, 1), NONE, (1, 1), 1, 3),
    "3x1 stride (2, 1)": ((8, 7, 2), (3, 1), (2, 1), NONE, (1, 1), 1, 3),
    "7x7 stride 2 padding 3": ((15, 16, 3), (7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1), 1, 4),
    "3x3 stride 3": ((10, 11, 2), (3, 3), (3, 3), ONE, (1, 1), 1, 3),
    "2x2 stride 3": ((10, 12, 2), (2, 2), (3, 3), NONE, (1, 1), 1, 3),
    "dilation 2": ((9, 10, 2), (3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2), 1, 3),
    "dilation (1, 3), stride 2": ((9, 12, 2), (2, 3), (2, 2), ONE, (1, 3), 1, 3),
    "2 groups": ((7, 6, 4), (3, 3), (1, 1), ONE, (1, 1), 2, 6),
    "a group a channel": ((7, 6, 4), (3, 3), (2, 2), ONE, (1, 1), 4, 4),
    "a group a channel, 2 filters": ((5, 6, 3), (2, 2), (1, 1), NONE, (1, 1), 3, 6),
}
# image, window, stride, padding
POOLS = {
    "2x2": ((6, 8, 3), (2, 2), (2, 2), NONE),
    "2x2 odd sizes": ((7, 9, 3), (2, 2), (2, 2), NONE),
    "2x2 padded": ((7, 9, 2), (2, 2), (2, 2), ((1, 0), (0, 1))),
    "3x3 stride 2": ((7, 9, 2), (3, 3), (2, 2), NONE),
    "3x3 stride 2 padded": ((8, 7, 2), (3, 3), (2, 2), ONE),
    "2x3 stride 1": ((5, 6, 2), (2, 3), (1, 1), NONE),
    "2x2 stride 3": ((8, 9, 2), (2, 2), (3, 3), NONE),
    "(3, 2) side by side": ((9, 7, 2), (3, 2), (3, 2), NONE),
    "whole image": ((5, 4, 2), (5, 4), (5, 4), NONE),
    "window of 144": ((24, 25, 1), (12, 12), (12, 12), NONE),
    "one pixel": ((3, 4, 2), (1, 1), (1, 1), NONE),
}


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def table(rows):
    return pytest.mark.parametrize("case", rows.values(), ids=rows)


def convolution_case(case, n, dtype=float):
    image, kernel, stride, padding, dilation, groups, filters = case
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(n, *image)), dtype)
    w = jnp.asarray(rng.normal(size=(filters, *kernel, image[2] // groups)), dtype)
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def reference(x, w):
        return lax.conv_general_dilated(
            x,
            w,
            stride,
            padding,
            rhs_dilation=dilation,
            dimension_numbers=("NHWC", "OHWI", "NHWC"),
            feature_group_count=groups,
        )

    return x, w, lambda x, w: convolve(x, w, **settings), reference


def under(x, window, stride, padding, outside, dilation=(1, 1)):
    """Return for each place of the window what lies there, sliced out: [n, rows, columns, c]."""
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=outside)
    reach = [(size - 1) * apart for size, apart in zip(window, dilation, strict=True)]
    return [
        x[:, i : x.shape[1] - reach[0] + i : stride[0], j : x.shape[2] - reach[1] + j : stride[1]]
        for i in range(0, reach[0] + 1, dilation[0])
        for j in range(0, reach[1] + 1, dilation[1])
    ]


def summed(case):
    """Return the convolution of ``case`` as a sum over its slices, of which none is an operator's.

    The backend's kernels are JAX's operators themselves, which say nothing against each other.
    """
    _, kernel, stride, padding, dilation, groups, _ = case

    def convolution(x, w):
        n, taps = len(x), w.reshape(groups, -1, kernel[0] * kernel[1], w.shape[-1])
        slices = under(x, kernel, stride, padding, 0.0, dilation)
        parts = [each.reshape(*each.shape[:3], groups, -1) for each in slices]
        y = sum(jnp.einsum("nijgc,gfc->nijgf", part, taps[:, :, k]) for k, part in enumerate(parts))
        return y.reshape(n, *y.shape[1:3], -1)

    return convolution


def pulled(function, *inputs, seed=5):
    """Return the value and the gradients of a random projection of it."""

    @jax.jit
    def both(*inputs):
        y, pull = jax.vjp(function, *inputs)
        g = jnp.asarray(np.random.default_rng(seed).normal(size=y.shape), y.dtype)
        return [y, *pull(g)]

    return both(*inputs)


def error(got, wanted):
    return float(np.linalg.norm(np.asarray(got, float) - wanted) / np.linalg.norm(wanted))


def assert_same(got, wanted, tolerance=1e-12):
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


EACH = [(PATCHES, 1), (PATCHES, 2), (BACKEND, 2)]


@table(CONVOLUTIONS)
@pytest.mark.parametrize(("chosen", "n"), EACH, ids=["patches 1", "patches 2", "backend"])
def test_convolution_is_that_of_jax(case, n, chosen, float64):
    x, w, ours, reference = convolution_case(case, n)
    with using(chosen):
        found = pulled(ours, x, w)
    assert_same(found, pulled(summed(case) if chosen == BACKEND else reference, x, w))


@table(CONVOLUTIONS)
@pytest.mark.parametrize("chosen", ROUNDED, ids=["patches", "backend"])
def test_bfloat16_convolution_errs_by_rounding_only(case, chosen):
    x, w, ours, reference = convolution_case(case, 7, np.float32)
    with using(chosen):
        got = jax.jit(lambda x, w: pulled(ours, x, w))(x, w)
    for a, b in zip(got, pulled(reference, x, w), strict=True):
        assert a.dtype == jnp.float32
        # each operand is off by at most 2^-9 of itself, on average by less than half of that
        assert 0 < error(a, b) < 2**-7


def test_convolution_by_hand():
    # 1*1 + 2*10 + 4*100 + 5*1000 = 5421, then the window moves right, then down:
    # 2 + 30 + 500 + 6000 = 6532;  4 + 50 + 700 + 8000 = 8754;  5 + 60 + 800 + 9000 = 9865
    image = jnp.arange(1.0, 10).reshape(1, 3, 3, 1)
    kernel = jnp.asarray([1.0, 10, 100, 1000]).reshape(1, 2, 2, 1)
    with using(PATCHES):
        y = convolve(image, kernel, stride=(1, 1), padding=NONE, dilation=(1, 1), groups=1)
    assert y[0, :, :, 0].tolist() == [[5421, 6532], [8754, 9865]]


def test_convolution_gradient_is_that_of_central_differences(float64):
    x, w, ours, _ = convolution_case(CONVOLUTIONS["5x5 one channel"], 2)

    def cost(x, w):
        return jnp.sum(jnp.sin(ours(x, w)))

    rng = np.random.default_rng(0)
    with using(PATCHES):
        cost = jax.jit(cost)
        gradients = jax.grad(cost, (0, 1))(x, w)
        for way, at in enumerate((x, w)):
            along = jnp.asarray(rng.normal(size=at.shape))
            ends = [
                cost(*(v + h * along if i == way else v for i, v in enumerate((x, w))))
                for h in (1e-6, -1e-6)
            ]
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(jnp.vdot(gradients[way], along), slope, rtol=1e-7)


@pytest.mark.parametrize("chosen", [PATCHES, *ROUNDED], ids=str)
def test_kernels_work_under_jit_and_vmap(chosen):
    x, w, ours, _ = convolution_case(CONVOLUTIONS["3x3 same"], 3, np.float32)
    xs, ws = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])

    def step(x, w):
        return pulled(lambda x, w: max_pool(ours(x, w), (2, 2), (2, 2), NONE), x, w)

    with using(chosen):
        both = jax.jit(jax.vmap(step))(xs, ws)
        for i in range(2):
            assert_same([a[i] for a in both], step(xs[i], ws[i]), 2e-2)


@pytest.mark.parametrize("chosen", [PATCHES, BACKEND, *ROUNDED], ids=str)
def test_float32_stays_float32_where_float64_is_allowed(chosen, float64):
    x, w, ours, _ = convolution_case(CONVOLUTIONS["2 groups"], 2, np.float32)
    with using(chosen):
        results = pulled(ours, x, w)
        results += pulled(lambda x: max_pool(x, (3, 3), (2, 2), ONE), x)
        results += pulled(lambda x: avg_pool(x, (3, 3), (2, 2), ONE), x)
        results += pulled(product, x.reshape(8, -1), x.reshape(8, -1))
    assert {a.dtype for a in results} == {jnp.dtype("float32")}


@table(POOLS)
@pytest.mark.parametrize(("chosen", "n"), EACH, ids=["patches 1", "patches 2", "backend"])
def test_max_pool_is_that_of_jax_with_ties(case, n, chosen, float64):
    image, window, stride, padding = case
    # three different pixels: nearly every window holds its largest several times
    x = jnp.asarray(np.random.default_rng(1).integers(0, 3, (n, *image)), float)

    def reference(x):
        whole = (1, *window, 1), (1, *stride, 1), ((0, 0), *padding, (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, *whole)

    def first_largest(x):
        seen = jnp.stack(under(x, window, stride, padding, -jnp.inf))
        return jnp.take_along_axis(seen, seen.argmax(axis=0)[None], axis=0)[0]

    with using(chosen):
        got = pulled(lambda x: max_pool(x, window, stride, padding), x)
    assert_same(got, pulled(first_largest if chosen == BACKEND else reference, x))


@table(POOLS)
@pytest.mark.parametrize("chosen", [PATCHES, BACKEND], ids=["patches", "backend"])
def test_avg_pool_is_the_mean_of_the_pixels_there_are(case, chosen, float64):
    image, window, stride, padding = case
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, *image)))

    def reference(x):
        whole = (1, *window, 1), (1, *stride, 1), ((0, 0), *padding, (0, 0))
        sums = [lax.reduce_window(v, 0.0, lax.add, *whole) for v in (x, jnp.ones_like(x))]
        return sums[0] / sums[1]

    def mean(x):
        sums = [sum(under(v, window, stride, padding, 0.0)) for v in (x, jnp.ones_like(x))]
        return sums[0] / sums[1]

    with using(chosen):
        got = pulled(lambda x: avg_pool(x, window, stride, padding), x)
    assert_same(got, pulled(mean if chosen == BACKEND else reference, x))


@pytest.mark.parametrize("stride", [(2, 2), (1, 1)])
def test_the_first_of_equals_gets_the_whole_gradient(stride):
    x = jnp.zeros((1, 2, 2, 1))
    with using(PATCHES):
        dx = jax.grad(lambda x: max_pool(x, (2, 2), stride, NONE).sum())(x)
    assert dx[0, :, :, 0].tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("chosen", [PATCHES, BACKEND], ids=["patches", "backend"])
def test_pooling_passes_nan_on_and_only_there(chosen):
    x = jnp.arange(16.0).reshape(1, 4, 4, 1).at[0, 0, 1, 0].set(jnp.nan)
    with using(chosen):
        for pool in (max_pool, avg_pool):
            y = pool(x, (2, 2), (2, 2), NONE)[0, :, :, 0]
            assert np.isnan(y).tolist() == [[True, False], [False, False]]


def test_max_pool_saves_one_byte_a_window():
    with using(PATCHES):
        _, pull = jax.vjp(lambda x: max_pool(x, (3, 3), (2, 2), NONE), jnp.ones((2, 9, 9, 4)))
    saved = [a for a in jax.tree.leaves(pull) if a.ndim]
    assert [(a.shape, a.dtype) for a in saved] == [((2, 4, 4, 4), jnp.dtype("int8"))]


@pytest.mark.parametrize("shape", [(1, 5, 3), (7, 6, 10), (128, 300, 200)], ids=str)
def test_products(shape):
    n, inputs, outputs = shape
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(n, inputs)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(outputs, inputs)), jnp.float32)
    with using(PATCHES):
        plain = pulled(product, x, w)
    assert_same(plain, pulled(lambda x, w: x @ w.T, x, w), 1e-3)
    with using(ROUNDED[0]):
        rounded = jax.jit(lambda x, w: pulled(product, x, w))(x, w)
    for a, b in zip(rounded, plain, strict=True):
        assert 0 < error(a, b) < 2**-7


def test_plain_product_has_forward_derivatives():
    x, w = jnp.ones((2, 3)), jnp.ones((4, 3))
    with using(PATCHES):
        _, slope = jax.jvp(lambda w: product(x, w), (w,), (w,))
    assert slope.tolist() == [[3.0] * 4] * 2


def dots(function, *inputs):
    """Return the operand and result types of the matrix products in the compiled program."""
    text = jax.jit(function).lower(*inputs).compile().as_text()
    types = dict(re.findall(r"(%[\w.-]+)(?: =|:) (\w+)\[", text))
    found = re.findall(r"= (\w+)\[[^=]*? dot\(([^)]*)\)", text)
    operands = [[types[name] for name in re.findall(r"%[\w.-]+", names)] for _, names in found]
    return [(*names, result) for (result, _), names in zip(found, operands, strict=True)]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="looks at what the CPU compiler wrote")
def test_bfloat16_products_stay_bfloat16_in_the_compiled_program():
    rng = np.random.default_rng(0)
    matrices = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((128, 256), (512, 256))]
    x, w, ours, _ = convolution_case(CONVOLUTIONS["5x5"], 64, np.float32)
    kept = [("bf16", "bf16", "f32")] * 3  # forward, to the inputs, to the weights
    with using(ROUNDED[0]):
        assert dots(lambda x, w: pulled(product, x, w), *matrices) == kept
        assert dots(lambda x, w: pulled(ours, x, w), x, w) == kept


def faster(plain, rounded):
    """Return how many times as fast ``rounded()`` is as ``plain()``, the best of turns of each."""
    best = {plain: np.inf, rounded: np.inf}
    for turn in range(6):
        for run in best:
            start = time.perf_counter()
            jax.block_until_ready(run())
            if turn:  # the first one compiles
                best[run] = min(best[run], time.perf_counter() - start)
    return best[plain] / best[rounded]


def has_matrix_units():
    processor = Path("/proc/cpuinfo")
    return processor.exists() and "amx_bf16" in processor.read_text()


with_matrix_units = pytest.mark.skipif(
    not has_matrix_units(), reason="this processor has no matrix units for bfloat16 (amx_bf16)"
)


@with_matrix_units
def test_matrix_units_are_used_where_there_are_any():
    """Kept to AVX-512, XLA's products are 2.5 to 4 times as fast in bfloat16, with AMX 3 to 4.4.

    So this can say no more than that there are instructions for bfloat16.
    """
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=(2048, 2048)), jnp.float32) for _ in range(2))
    runs = []
    for chosen in (PATCHES, ROUNDED[0]):
        with using(chosen):
            runs.append(jax.jit(lambda x, w: pulled(product, x, w)).lower(x, w).compile())
    assert faster(*(partial(run, x, w) for run in runs)) > 2


@with_matrix_units
@pytest.mark.skipif(not companion.has_bfloat16(), reason="deltarule-native is not installed")
@pytest.mark.parametrize("operation", ["dense", "convolution"])
def test_matrix_units_are_used_by_the_companion(operation):
    """Measured on a busy machine: 3.0 to 4.6 (dense) and 5.5 to 7.1; kept to AVX-512, below 0.9.

    The instructions of AVX-512 for bfloat16 multiply twice as many numbers as those for float32.
    """
    x, w = {"dense": ((1024, 1024),) * 2, "convolution": ((32, 28, 28, 128), (128, 3, 3, 128))}[
        operation
    ]
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in (x, w))
    functions = {"dense": companion.dense, "convolution": partial(companion.convolve, padding=ONE)}
    step = jax.jit(partial(pulled, functions[operation]))
    assert faster(*(partial(step, each, w) for each in (x, x.astype(jnp.bfloat16)))) > 2.4


TORCH_CASES = list(itertools.product(["5x5", "3x3 same", "2 groups", "dilation 2"], [1, 3]))


@pytest.mark.parametrize(("name", "n"), TORCH_CASES)
def test_convolution_and_pooling_are_those_of_pytorch(name, n):
    torch = pytest.importorskip("torch", reason="PyTorch is in the bench environment only")
    _, _, stride, padding, dilation, groups, _ = CONVOLUTIONS[name]
    x, w, ours, _ = convolution_case(CONVOLUTIONS[name], n, np.float32)
    x = jnp.round(x)  # ties
    with using(PATCHES):
        got = pulled(lambda x, w: ours(max_pool(x, (3, 3), (1, 1), ONE), w), x, w)
    tx, tw = (torch.tensor(np.asarray(a), requires_grad=True) for a in (x, w))
    pooled = torch.nn.functional.max_pool2d(tx.permute(0, 3, 1, 2), 3, 1, 1)
    edges = [side[0] for side in padding]
    y = torch.nn.functional.conv2d(
        pooled, tw.permute(0, 3, 1, 2), None, stride, edges, dilation, groups
    ).permute(0, 2, 3, 1)
    y.backward(torch.tensor(np.random.default_rng(5).normal(size=y.shape), dtype=torch.float32))
    wanted = [a.detach().numpy() for a in (y, tx.grad, tw.grad)]
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_kernels_are_chosen_by_backend_and_precision():
    there, there_in_16 = companion.is_there(), companion.has_bfloat16()
    assert usual("float32", "cpu") == Kernels("patches", "plain", there)
    assert usual("float64", "cpu") == PATCHES
    assert usual("bfloat16", "cpu") == Kernels("patches", "bfloat16", there_in_16)
    assert usual("float32", "gpu") == usual("float32", "tpu") == BACKEND
    assert current() == usual()
    with pytest.raises(ValueError, match=r"precision must be one of .*did you mean 'float32'"):
        usual("flaot32")
    for wrong in ({"convolution": "fft", "product": "plain"}, {"convolution": "patches"}):
        with pytest.raises((ValueError, TypeError)):
            Kernels(**wrong)


def test_a_choice_holds_inside_its_block_and_its_thread():
    seen = []
    with using(BACKEND):
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
        with using(ROUNDED[0]):
            assert current() == ROUNDED[0]
        assert current() == BACKEND
    assert current() == usual()
    assert seen == [usual()]


def test_every_block_gives_the_same_convolution(monkeypatch, float64):
    module = kernels.convolution
    for block in (1, 2, 4, 8):
        monkeypatch.setattr(module, "BLOCKS", (block,))
        for name in ("5x5 narrow image", "dilation (1, 3), stride 2"):
            x, w, ours, reference = convolution_case(CONVOLUTIONS[name], 2)
            with using(PATCHES):
                assert_same(pulled(ours, x, w), pulled(reference, x, w))
