"""Second derivatives by backpropagation, against brute force and against explicit loops."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.learning.costs import cost_function
from deltarule.learning.second_order.second_derivatives import check_layers, seed, summed
from deltarule.network import (
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    MaxPool,
    Network,
    Residual,
    kernels,
)
from deltarule.network.kernels import Kernels

PLAIN = Kernels("backend", "plain")


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True), kernels.using(PLAIN):
        yield


def compiled(network, cost, *operands):
    return jax.jit(partial(summed, network, cost))(*operands)


def drawn(network, rng, shape=None):
    params, state = network.init(rng, shape)
    # biases of 0 would hide a mistake in what is done with them
    return jax.tree.map(
        lambda w: jnp.asarray(w + 0.1 * rng.standard_normal(w.shape)), params
    ), state


def gauss_newton_diagonal(network, cost, params, state, x, weight):
    """Return sum_p weight_p diag(J' H J): J = dz/dw, H the curvature of the cost in z.

    For the quadratic cost J = da/dw and H = 1, which leaves out f'' as Gauss-Newton does.
    """
    quadratic = cost == "quadratic"
    outputs = network.apply if quadratic else network.logits

    def one(params, example):
        return outputs(params, state, example[None])[0][0]

    def in_z(z):
        y = jnp.eye(len(z))[0]
        return cost_function(cost, network.output)(z[None], y[None])[0]

    def diagonal(example, w):
        z = one(params, example)
        H = jnp.eye(len(z)) if quadratic else jax.hessian(in_z)(z)
        J = jax.jacobian(one)(params, example)
        return jax.tree.map(lambda j: w * jnp.einsum("i...,ij,j...", j, H, j), J)

    each = jax.jit(jax.vmap(diagonal))(x, jnp.asarray(weight))
    return jax.tree.map(lambda h: h.sum(axis=0), each)


def assert_alike(found, expected, layers=slice(None)):
    for ours, theirs in list(zip(found, expected, strict=True))[layers]:
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-10, atol=1e-14)


COSTS = [
    ("quadratic", "identity"), ("quadratic", "sigmoid"), ("quadratic", "lecun_tanh"),
    ("cross_entropy", "sigmoid"), ("cross_entropy", "softmax"), ("quadratic", "softmax"),
]  # fmt: skip


@pytest.mark.parametrize(("cost", "output"), COSTS)
def test_it_is_the_gauss_newton_diagonal_in_the_last_layers(cost, output):
    """In the last; in the one below too where outputs do not share a denominator."""
    rng = np.random.default_rng(1)
    network = Network([4, 5, 4, 3], activation="tanh", output=output)
    params, state = drawn(network, rng)
    x, weight = jnp.asarray(rng.standard_normal((6, 4))), jnp.asarray(rng.random(6))
    found = compiled(network, cost, params, state, x, weight)
    expected = gauss_newton_diagonal(network, cost, params, state, x, weight)
    assert_alike(found, expected, slice(4 if output == "softmax" else 2, None))
    assert all((h >= 0).all() for layer in found for h in layer.values())
    assert not np.allclose(found[0]["w"], expected[0]["w"])  # below it is an approximation


CHAINS = {
    "one unit a layer": Network([3, 1, 1, 1], activation="tanh", output="sigmoid"),
    "many units, one above": Network([3, 4, 1], activation="lecun_tanh", output="identity"),
    "relu": Network([3, 6, 1], activation="relu", output="sigmoid"),
    "dropout drops nothing": Network([3, 4, 1], output="sigmoid", dropout=0.5),
    # its window covers one place, so no weight is shared
    "convolution": Network(Conv(1, (3, 2)), Flatten(), Activation("tanh"), shape=(3, 2, 2)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_it_is_exact_where_every_unit_feeds_a_single_one(name):
    rng = np.random.default_rng(2)
    network = CHAINS[name]
    params, state = drawn(network, rng)
    x = jnp.asarray(rng.standard_normal((5, *network.shape)))
    weight = jnp.full(5, 0.2)
    found = compiled(network, "quadratic", params, state, x, weight)
    expected = gauss_newton_diagonal(network, "quadratic", params, state, x, weight)
    assert_alike(found, expected)


@pytest.mark.parametrize("pool", [MaxPool(2), AvgPool((2, 4)), GlobalAvgPool()], ids=str)
def test_pooling_below_a_single_output_is_exact_where_no_weight_is_shared(pool):
    """A convolution of 1 x 1 over an image with one bright pixel: the others see x = 0."""
    rng = np.random.default_rng(3)
    network = Network(
        Conv(1, 1, bias=False), pool, Flatten(), Dense(1), Activation("sigmoid"), shape=(2, 4, 1)
    )
    params, state = drawn(network, rng)
    params[0]["w"] = jnp.abs(params[0]["w"])  # the bright pixel is the largest
    x = jnp.zeros((3, 2, 4, 1)).at[:, 1, 2, 0].set(jnp.array([1.0, 2.0, 3.0]))
    weight = jnp.ones(3)
    found = compiled(network, "cross_entropy", params, state, x, weight)
    expected = gauss_newton_diagonal(network, "cross_entropy", params, state, x, weight)
    assert float(expected[0]["w"].min()) > 0
    assert_alike(found, expected)


def test_equations_54_to_56_by_hand():
    """One unit below two: E = 1/2 |o - d|^2, o_k = tanh(y_k), y_k = w_k x, x = tanh(v i).

    With i = 2, v = 0.5, w = (1, -2):
        x      = tanh(1)                       = 0.761594
        f'(y)  = 1 - tanh(0.761594)^2, 1 - tanh(-1.523188)^2   = 0.587817, 0.173261
        (54)   h_y = f'^2                      = 0.345529, 0.030020
        (55)   h_w = h_y x^2                   = 0.200414, 0.017412;   bias: h_y
        (56)   h_x = 0.345529 1 + 0.030020 4   = 0.465607
        below: h_y = h_x (1 - x^2)^2           = 0.465607 0.176378 = 0.082123
               h_v = h_y i^2 = 0.328491;       bias 0.082123
    """
    network = Network([1, 1, 2], activation="tanh", output="tanh")
    zero = jnp.zeros(1)
    params = (
        {"w": jnp.array([[0.5]]), "b": zero}, {},
        {"w": jnp.array([[1.0], [-2.0]]), "b": jnp.zeros(2)}, {},
    )  # fmt: skip
    found = compiled(network, "quadratic", params, ({},) * 4, jnp.array([[2.0]]), jnp.ones(1))
    np.testing.assert_allclose(found[2]["b"], [0.345529, 0.030020], atol=2e-6)
    np.testing.assert_allclose(found[2]["w"][:, 0], [0.200414, 0.017412], atol=2e-6)
    np.testing.assert_allclose(found[0]["b"], [0.082123], atol=2e-6)
    np.testing.assert_allclose(found[0]["w"], [[0.328491]], atol=2e-6)


def loops(sizes, params, x):
    """Equations 54 to 56 as they stand, one connection at a time; tanh units, quadratic cost."""
    found = [np.zeros((above, below)) for below, above in pairwise(sizes)]
    for example in x:
        outputs = [example]
        for w, b in params:
            outputs.append(np.tanh(w @ outputs[-1] + b))
        h_o = np.ones(sizes[-1])
        for layer in reversed(range(len(params))):
            w, _ = params[layer]
            below = np.zeros(sizes[layer])
            for k in range(sizes[layer + 1]):
                h_y = h_o[k] * (1 - outputs[layer + 1][k] ** 2) ** 2  # (54)
                for i in range(sizes[layer]):
                    found[layer][k, i] += h_y * outputs[layer][i] ** 2  # (55)
                    below[i] += h_y * w[k, i] ** 2  # (56)
            h_o = below
    return found


def test_it_is_what_explicit_loops_give():
    rng = np.random.default_rng(4)
    sizes = [3, 5, 4, 2]
    network = Network(sizes, activation="tanh", output="tanh")
    params, state = drawn(network, rng)
    x = rng.standard_normal((7, 3))
    found = compiled(network, "quadratic", params, state, jnp.asarray(x), jnp.ones(7))
    plain = [(np.asarray(layer["w"]), np.asarray(layer["b"])) for layer in params if layer]
    for ours, theirs in zip([layer["w"] for layer in found if layer], loops(sizes, plain, x),
                            strict=True):  # fmt: skip
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def conv_loops(w, x, v, stride, window):
    """A convolution, tanh, the mean of overlapping windows, one linear unit: every connection."""
    filters, high, wide, _ = w.shape
    rows = (x.shape[1] - high) // stride + 1
    columns = (x.shape[2] - wide) // stride + 1
    found = np.zeros_like(w)
    for image in x:
        for f in range(filters):
            for i in range(rows):
                for j in range(columns):
                    patch = image[i * stride : i * stride + high, j * stride : j * stride + wide]
                    o = np.tanh((w[f] * patch).sum())
                    h_o = 0.0
                    for p in range(rows - window + 1):  # of the windows that see this pixel
                        for q in range(columns - window + 1):
                            if p <= i < p + window and q <= j < q + window:
                                h_o += v[p, q, f] ** 2 / window**4
                    found[f] += h_o * (1 - o**2) ** 2 * patch**2  # shared: a sum over places
    return found


@pytest.mark.parametrize("how", [PLAIN, Kernels("patches", "plain")], ids=["backend", "patches"])
def test_shared_weights_sum_over_their_connections(how):
    rng = np.random.default_rng(5)
    network = Network(
        Conv(2, (3, 2), stride=2, bias=False), Activation("tanh"), AvgPool(2, stride=1), Flatten(),
        Dense(1), shape=(9, 8, 2),
    )  # fmt: skip
    params, state = drawn(network, rng)
    x = rng.standard_normal((3, 9, 8, 2))
    with kernels.using(how):
        found = compiled(network, "quadratic", params, state, jnp.asarray(x), jnp.ones(3))
    w, v = np.asarray(params[0]["w"]), np.asarray(params[4]["w"])
    expected = conv_loops(w, x, v.reshape(3, 3, 2), 2, 2)
    np.testing.assert_allclose(found[0]["w"], expected, rtol=1e-12)


def test_means_of_few_pixels_at_the_edge_divide_by_few():
    network = Network(
        Conv(1, 1, bias=False), AvgPool(2, padding=1), Flatten(), Dense(1), shape=(2, 2, 1)
    )
    params = ({"w": jnp.ones((1, 1, 1, 1))}, {}, {}, {"w": jnp.full((1, 4), 3.0), "b": jnp.ones(1)})
    x = jnp.ones((1, 2, 2, 1))  # each window covers one pixel and three outside
    found = compiled(network, "quadratic", params, ({},) * 4, x, jnp.ones(1))
    assert float(found[0]["w"].squeeze()) == pytest.approx(4 * 3**2)


def test_maxima_hand_on_to_the_pixel_that_won():
    network = Network(
        Conv(1, 1, bias=False), MaxPool(2), Flatten(), Dense(1), shape=(2, 2, 1)
    )  # fmt: skip
    params = ({"w": jnp.ones((1, 1, 1, 1))}, {}, {}, {"w": jnp.full((1, 1), 3.0), "b": jnp.ones(1)})
    x = jnp.array([1.0, 5.0, 2.0, 4.0]).reshape(1, 2, 2, 1)
    found = compiled(network, "quadratic", params, ({},) * 4, x, jnp.ones(1))
    assert float(found[0]["w"].squeeze()) == pytest.approx(3**2 * 5**2)


@pytest.mark.parametrize(("cost", "output"), COSTS)
def test_the_seed_is_the_curvature_in_the_last_weighted_inputs(cost, output):
    z = jnp.asarray(np.random.default_rng(6).standard_normal((1, 3)))
    network = Network(Dense(3), Activation(output), shape=(3,))
    identity = ({"w": jnp.eye(3), "b": jnp.zeros(3)}, {})
    expected = gauss_newton_diagonal(network, cost, identity, ({}, {}), z, [1.0])
    np.testing.assert_allclose(seed(cost, output, z)[0], expected[0]["b"], rtol=1e-10)


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ((Dense(3), BatchNorm(), Dense(2)), "BatchNorm"),
        ((Dense(3), Residual((Dense(3),)), Dense(2)), "Residual"),
        ((Dense(3), Activation("softmax"), Dense(2)), "softmax before the last layer"),
    ],
)
def test_a_layer_it_does_not_know_is_named(layers, named):
    with pytest.raises(ValueError, match=f"the network has {named}; choose another optimizer"):
        check_layers(Network(*layers, Activation("softmax"), shape=(4,)), (4,))


def test_known_layers_pass():
    layers = Conv(2, 3), Activation("relu"), MaxPool(2), Dropout(0.5), Flatten(), Dense(2)
    check_layers(Network(*layers, Activation("softmax")), (6, 6, 1))
