"""Convolution, pooling and normalisation against other people's: JAX's operators and PyTorch.

PyTorch lives in the benchmark's environment; without it those rows are skipped.
"""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.network import (
    Activation,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    GlobalAvgPool,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
    Residual,
    Scale,
)

KEY = jax.random.key(0)
NO_TORCH = importlib.util.find_spec("torch") is None
with_torch = pytest.mark.skipif(NO_TORCH, reason="PyTorch is only in the benchmark's environment")

CONVOLUTIONS = [
    (Conv(4, 3), (7, 6, 2)),
    (Conv(4, 5, padding=2), (6, 7, 3)),
    (Conv(4, 3, 2, "same"), (7, 6, 2)),
    (Conv(4, 1, 2, bias=False), (7, 5, 3)),
    (Conv(6, (3, 2), (1, 2), 1, groups=3), (6, 5, 3)),
    (Conv(4, 3, padding="same", dilation=2), (8, 9, 2)),
    (Conv(4, 3, groups=4, padding=1), (5, 5, 4)),
]
POOLS = [
    (kind(window, stride, padding), shape)
    for kind in (MaxPool, AvgPool)
    for window, stride, padding, shape in [
        (2, 2, "valid", (6, 8, 2)),
        (2, 2, "valid", (7, 5, 2)),
        (3, 2, "valid", (9, 8, 1)),
        (3, 2, "same", (8, 7, 2)),
        (3, 2, 1, (8, 7, 2)),
        ((2, 3), (1, 2), 1, (5, 6, 3)),
        (3, 1, "same", (4, 5, 1)),
    ]
]


def example(layer, shape, *, ties=False, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, *shape))
    if ties:
        x = np.round(x)
    params, state, gives = layer.init(rng, shape)
    params = {name: rng.standard_normal(array.shape) for name, array in params.items()}
    return x, params, state, rng.standard_normal((3, *gives))


def ours(layer, params, state, x, g, train=True):
    def run(x, params):
        return layer.apply(params, state, x, key=KEY, train=train)[0]

    return y_and_gradients(run, g, x, params)


def y_and_gradients(run, g, *arguments):
    """Return the outputs and the gradients of sum g y, compiled: many small operations are slow."""

    def both(g, *arguments):
        y, back = jax.vjp(run, *arguments)
        return y, *back(g)

    with jax.disable_jit(False):
        return jax.jit(both)(*jax.tree.map(jnp.asarray, (g, *arguments)))


def padding_of(layer):
    p = layer.padding
    return ((p, p), (p, p)) if isinstance(p, int) else p.upper()


@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=str)
def test_convolution_is_that_of_lax(layer, shape):
    x, params, state, g = example(layer, shape)

    def reference(x, params):
        z = jax.lax.conv_general_dilated(
            x, params["w"], layer.stride, padding_of(layer), rhs_dilation=layer.dilation,
            dimension_numbers=("NHWC", "OHWI", "NHWC"), feature_group_count=layer.groups,
        )  # fmt: skip
        return z + params.get("b", 0)

    expected = y_and_gradients(reference, g, x, params)
    for a, b in zip(
        *map(jax.tree.leaves, (ours(layer, params, state, x, g), expected)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("layer", "shape"), POOLS, ids=str)
def test_pooling_is_that_of_lax(layer, shape, ties):
    x, params, state, g = example(layer, shape, ties=ties)
    around = padding_of(layer)
    if not isinstance(around, str):
        around = ((0, 0), *around, (0, 0))
    window, stride = (1, *layer.window, 1), (1, *layer.stride, 1)

    def largest(x):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, stride, around)

    def mean(x):
        add = lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, window, stride, around)  # noqa: E731
        return add(x) / add(jnp.ones_like(x))

    y, for_x = y_and_gradients(largest if isinstance(layer, MaxPool) else mean, g, x)
    found, found_for_x, _ = ours(layer, params, state, x, g)
    np.testing.assert_allclose(found, y, rtol=1e-12)
    np.testing.assert_allclose(found_for_x, for_x, rtol=1e-10, atol=1e-12)


# What is made of others, and the mean of each map.


def convolved(x, w, b, padding):
    dimensions = ("NHWC", "OHWI", "NHWC")
    z = jax.lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=dimensions)
    return z + b


def pooled(x, window, around):
    """Return the largest of each window, one pixel apart."""
    size, step = (1, window, window, 1), (1, 1, 1, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, size, step, around)


def mean_of_maps(x, p):
    return jax.lax.reduce(x, 0.0, jax.lax.add, (1, 2)) / (x.shape[1] * x.shape[2])


def residual(x, p):
    inner = jax.lax.max(convolved(x, p["0.w"], p["0.b"], "SAME"), 0.0)
    inner = convolved(inner, p["2.w"], p["2.b"], "SAME")
    return inner + convolved(x, p["shortcut.0.w"], p["shortcut.0.b"], "VALID")


def onto_itself(x, p):
    return convolved(x, p["0.w"], p["0.b"], "SAME") + x


def concatenated(x, p):
    first = convolved(x, p["0.0.w"], p["0.0.b"], "VALID")
    second = convolved(pooled(x, 3, "SAME"), p["1.1.w"], p["1.1.b"], "VALID")
    return jax.lax.concatenate([first, second, x], 3)


def scaled(x, p):
    hidden = jax.lax.max(mean_of_maps(x, p) @ p["1.w"].T + p["1.b"], 0.0)
    factors = jax.lax.logistic(hidden @ p["3.w"].T + p["3.b"])
    return x * jax.lax.broadcast_in_dim(factors, x.shape, (0, 3))


SAME = Conv(4, 3, padding="same")
BLOCKS = [
    (GlobalAvgPool(), mean_of_maps),
    (Residual((SAME, Activation("relu"), SAME), (Conv(4, 1),)), residual),
    (Residual((Conv(3, 3, padding="same"),)), onto_itself),
    (Concat(((Conv(2, 1),), (MaxPool(3, 1, "same"), Conv(4, 1)), ())), concatenated),
    (
        Scale((GlobalAvgPool(), Dense(2), Activation("relu"), Dense(3), Activation("sigmoid"))),
        scaled,
    ),
]


@pytest.mark.parametrize(
    ("layer", "reference"), BLOCKS, ids=["mean", "residual", "itself", "concat", "scale"]
)
def test_blocks_are_those_of_lax(layer, reference):
    x, params, state, g = example(layer, (4, 5, 3))
    expected = y_and_gradients(reference, g, x, params)
    found = ours(layer, params, state, x, g)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (4, 5, 3)], ids=str)
def test_batch_norm_at_prediction_is_its_formula(shape):
    """With the running averages, which are far from those of the batch, and changes none."""
    layer = BatchNorm(0.8, 1e-3)
    x, params, _, g = example(layer, shape)
    state = {"mean": np.array([2.0, -1, 0.5]), "variance": np.array([0.25, 4, 9])}

    def formula(x, params):
        normal = (x - state["mean"]) / jnp.sqrt(state["variance"] + 1e-3)
        return params["scale"] * normal + params["shift"]

    expected = y_and_gradients(formula, g, x, params)
    found = ours(layer, params, state, x, g, train=False)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    _, after = layer.apply(params, state, jnp.asarray(x), key=KEY, train=False)
    assert after is state


# PyTorch: channels second.


def framed(t, layer, kernel, dilation=(1, 1), value=0.0):
    """Return ``t`` with what "same" adds around, and the padding left to PyTorch's operator.

    PyTorch pads alike on both sides, "same" puts the odd pixel below and to the right.
    """
    if layer.padding != "same":
        return t, 0 if layer.padding == "valid" else layer.padding
    edges = []
    for size, k, stride, apart in zip(t.shape[2:], kernel, layer.stride, dilation, strict=True):
        more = max((-(-size // stride) - 1) * stride + (k - 1) * apart + 1 - size, 0)
        edges = [more // 2, more - more // 2, *edges]  # PyTorch begins with the last axis
    pad = importlib.import_module("torch").nn.functional.pad
    return pad(t, edges, value=value), 0


def theirs(run, x, g):
    """Return the outputs and the gradient for x of PyTorch's ``run``, channels last."""
    torch = importlib.import_module("torch")
    last_to_second = (0, x.ndim - 1, *range(1, x.ndim - 1))
    second_to_last = (0, *range(2, x.ndim), 1)
    t = torch.tensor(x).permute(last_to_second).clone().requires_grad_()
    y = run(t)
    y.backward(torch.tensor(g).permute(last_to_second))
    return y.detach().permute(second_to_last).numpy(), t.grad.permute(second_to_last).numpy()


def agree(layer, run, shape, *, ties=False, train=True):
    x, params, state, g = example(layer, shape, ties=ties)
    y, for_x, _ = ours(layer, params, state, x, g, train)
    expected, expected_for_x = theirs(lambda t: run(t, params), x, g)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(for_x, expected_for_x, rtol=1e-9, atol=1e-11)


@with_torch
@pytest.mark.parametrize(("layer", "shape"), CONVOLUTIONS, ids=str)
def test_convolution_is_that_of_pytorch(layer, shape):
    torch = importlib.import_module("torch")

    def run(t, params):
        w = torch.tensor(params["w"]).permute(0, 3, 1, 2)
        b = torch.tensor(params["b"]) if layer.bias else None
        t, p = framed(t, layer, layer.kernel, layer.dilation)
        return torch.nn.functional.conv2d(t, w, b, layer.stride, p, layer.dilation, layer.groups)

    agree(layer, run, shape)


@with_torch
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("layer", "shape"), POOLS, ids=str)
def test_pooling_is_that_of_pytorch(layer, shape, ties):
    torch = importlib.import_module("torch")
    functional = torch.nn.functional

    def run(t, params):
        if isinstance(layer, MaxPool):
            t, p = framed(t, layer, layer.window, value=-torch.inf)
            return functional.max_pool2d(t, layer.window, layer.stride, p)
        if layer.padding != "same":
            _, p = framed(t, layer, layer.window)
            return functional.avg_pool2d(t, layer.window, layer.stride, p, count_include_pad=False)
        # the share of pixels that exist is the mean of ones, framed by zeros
        both = (framed(each, layer, layer.window)[0] for each in (t, torch.ones_like(t)))
        sums = [functional.avg_pool2d(each, layer.window, layer.stride) for each in both]
        return sums[0] / sums[1]

    agree(layer, run, shape, ties=ties)


@with_torch
@pytest.mark.parametrize("shape", [(3,), (4, 5, 3)], ids=str)
def test_batch_norm_is_that_of_pytorch(shape):
    torch = importlib.import_module("torch")
    layer = BatchNorm(0.8, 1e-3)
    theirs_ = {"running_mean": torch.zeros(3).double(), "running_var": torch.ones(3).double()}

    def run(t, params):
        return torch.nn.functional.batch_norm(
            t, **theirs_, weight=torch.tensor(params["scale"]), bias=torch.tensor(params["shift"]),
            training=True, momentum=0.2, eps=1e-3,
        )  # fmt: skip

    agree(layer, run, shape)
    x, params, state, _ = example(layer, shape)
    _, after = layer.apply(params, state, jnp.asarray(x), key=KEY, train=True)
    np.testing.assert_allclose(after["mean"], theirs_["running_mean"], rtol=1e-12)
    np.testing.assert_allclose(after["variance"], theirs_["running_var"], rtol=1e-12)


@with_torch
def test_layer_norm_is_that_of_pytorch():
    torch = importlib.import_module("torch")

    def run(t, params):
        scale, shift = (torch.tensor(params[name]) for name in ("scale", "shift"))
        last = t.permute(0, 2, 3, 1)
        y = torch.nn.functional.layer_norm(last, (3,), scale, shift, 1e-3)
        return y.permute(0, 3, 1, 2)

    agree(LayerNorm(1e-3), run, (4, 5, 3))


@with_torch
@pytest.mark.parametrize("size", [3, 4, 5])
def test_local_response_norm_is_that_of_pytorch(size):
    functional = importlib.import_module("torch").nn.functional

    def run(t, params):
        return functional.local_response_norm(t, size, size * 0.5, 0.75, 2.0)  # they divide by it

    agree(LocalResponseNorm(size, 0.5, 0.75, 2.0), run, (3, 4, 6))
