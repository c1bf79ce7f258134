"""Second derivatives by one more backward pass (LeCun, Bottou, Orr and Mueller 1998, 7.4).

With y_k = sum_i w_ki x_i and o_k = f(y_k), the term with f'' left out as in Gauss-Newton, and what
couples two neurons left out too, so that one number is kept for each weight, none of them negative:

    (54)  d2E/dy_k^2  = d2E/do_k^2 f'(y_k)^2
    (55)  d2E/dw_ki^2 = d2E/dy_k^2 x_i^2               x_i = 1 for a bias
    (56)  d2E/dx_i^2  = sum_k d2E/dy_k^2 w_ki^2

This is backpropagation with weights, inputs and slopes squared, and so it is worked out: by the
layers' own backward pass, at squared weights and at squared inputs. A weight that convolution uses
at many places sums over them; max-pooling hands on to the pixel that won, a mean over n pixels
divides by n^2. Exact, as the diagonal of Gauss-Newton, for the last layer; for the one below too
unless the output is softmax; and for all where every neuron feeds a single one.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from deltarule.learning.measure import part_size
from deltarule.learning.program import Examples, Learner, Program
from deltarule.network import kernels
from deltarule.network.activations import activation
from deltarule.network.layers.contract import Arrays, Layer, Shape, is_weight, size
from deltarule.network.layers.convolution import Conv, margins
from deltarule.network.layers.dense import Activation, Dense, Dropout, Flatten
from deltarule.network.layers.pooling import AvgPool, GlobalAvgPool, MaxPool
from deltarule.network.model import scaled
from deltarule.network.network import Network, Params

KNOWN = (Dense, Conv, Activation, Dropout, Flatten, MaxPool, AvgPool, GlobalAvgPool)


def estimated(
    program: Program, learner: Learner, examples: Examples, l2: jax.Array | float
) -> Params:
    """Return d2E/dw^2 for each parameter, the mean over ``examples``, with that of the L2 penalty.

    E is the cost of one example. Inside a compiled program, with its kernels.
    """
    n = len(examples.x)
    length = part_size(n, program.at_once)

    def add(i: jax.Array | int, total: Params) -> Params:
        part = examples.take(i * length + jnp.arange(length))
        network, dtype = program.network, jnp.dtype(program.precision)
        x = scaled(part.x.reshape(length, *(network.shape or part.x.shape[1:])), part.scale, dtype)
        weight = jnp.ones(length) if part.weight is None else part.weight
        weight = weight.astype(dtype) / n
        more = summed(network, program.cost, learner.params, learner.state, x, weight)
        found: Params = jax.tree.map(jnp.add, total, more)
        return found

    nothing = jax.tree.map(jnp.zeros_like, learner.params)
    mean: Params = jax.lax.fori_loop(0, n // length, add, nothing)
    return tuple(
        {name: h + l2 if is_weight(name) else h for name, h in layer.items()} for layer in mean
    )


def summed(
    network: Network, cost: str, params: Params, state: Params, x: jax.Array, weight: jax.Array
) -> Params:
    """Return sum_p weight_p d2E^p/dw^2 for each parameter, in the structure of ``params``.

    ``x`` [n, ...] are inputs as the first layer takes them, ``weight`` [n]. Dropout drops nothing.

    >>> network, w = Network([2, 1], output="identity"), jnp.array([[0.5, -1.0]])
    >>> x = jnp.array([[3.0, 2.0]])
    >>> found = summed(network, "quadratic", ({"w": w, "b": w[0, :1]}, {}), ({}, {}), x, x[0, :1])
    >>> found[0]["w"].tolist(), found[0]["b"].tolist()  # x^2 and 1, times the weight 3
    ([[27.0, 12.0]], [3.0])
    """
    ends_in_activation = isinstance(network.layers[-1], Activation)
    layers = network.layers[:-1] if ends_in_activation else network.layers
    inputs = [x]
    for layer, its, remembered in zip(layers, params, state, strict=False):
        inputs.append(_apply(layer, its, remembered, inputs[-1]))
    z = inputs.pop()
    d2 = seed(cost, network.output, kernels.wide(z)) * weight[:, None]
    found: list[Arrays] = [{} for _ in network.layers]
    for i in range(len(layers) - 1, _lowest(params) - 1, -1):
        found[i], d2 = _back(layers[i], params[i], state[i], inputs[i], d2)
    return tuple(found)


def seed(cost: str, output: str, z: jax.Array) -> jax.Array:
    """Return d2E/dz_k^2 [n, outputs] of the cost at the weighted inputs z of the last layer.

        quadratic                      f'(z_k)^2
        quadratic, softmax             sum_j (da_j/dz_k)^2 = a_k^2 (1 - 2 a_k + sum_j a_j^2)
        cross_entropy                  a_k (1 - a_k), for sigmoid and for softmax

    >>> seed("cross_entropy", "sigmoid", jnp.zeros((1, 1))).tolist()
    [[0.25]]
    """
    a = activation(output)(z)
    if cost == "cross_entropy":
        return a * (1 - a)
    if output == "softmax":
        return a**2 * (1 - 2 * a + jnp.sum(a**2, axis=-1, keepdims=True))
    return _slope(output, z) ** 2


def check_layers(network: Network, shape: Shape) -> None:
    """Raise ``ValueError`` if a layer above the first weights is none that ``summed`` knows."""
    for layer in network.layers[_lowest(network.init(None, shape)[0]) :]:
        inner_softmax = layer == Activation("softmax") and layer is not network.layers[-1]
        if not isinstance(layer, KNOWN) or inner_softmax:
            name = "softmax before the last layer" if inner_softmax else type(layer).__name__
            raise ValueError(
                "optimizer diagonal_lm propagates second derivatives through "
                f"{', '.join(known.__name__ for known in KNOWN)} alone, and the network has "
                f"{name}; choose another optimizer, such as adam."
            )


def _lowest(params: Sequence[object]) -> int:
    """Return the position of the first layer with parameters: nothing is asked of those below."""
    return next((i for i, its in enumerate(params) if its), len(params))


def _apply(layer: Layer, params: Arrays, state: Arrays, x: jax.Array) -> jax.Array:
    return layer.apply(params, state, x, key=jax.random.key(0), train=False)[0]


def _back(
    layer: Layer, params: Arrays, state: Arrays, x: jax.Array, d2: jax.Array
) -> tuple[Arrays, jax.Array]:
    """Return d2E/dw^2 (55), summed over the examples, and d2E/dx^2 (56) from d2E/dy^2."""
    if isinstance(layer, Activation):
        return {}, d2 * _slope(layer.name, kernels.wide(x)) ** 2  # (54)
    if isinstance(layer, (AvgPool, GlobalAvgPool)):
        d2 = d2 * _share(layer, x)  # the backward pass below multiplies by it once more
    squares = {name: jnp.square(array) for name, array in params.items()}
    # linear layers do not depend on where they are differentiated; max-pooling does
    y, to_inputs = jax.vjp(lambda x: _apply(layer, squares, state, x), x)
    d2 = d2.astype(y.dtype)
    (below,) = to_inputs(d2)
    if not params:
        return {}, kernels.wide(below)
    _, to_params = jax.vjp(lambda its: _apply(layer, its, state, jnp.square(x)), params)
    (found,) = to_params(d2)
    return found, kernels.wide(below)


def _slope(name: str, z: jax.Array) -> jax.Array:
    slope: jax.Array = jax.jvp(activation(name), (z,), (jnp.ones_like(z),))[1]
    return slope


def _share(layer: AvgPool | GlobalAvgPool, x: jax.Array) -> jax.Array:
    """Return how much each pixel counts in a mean: one over how many the window covers."""
    image = x.shape[1:3]
    if isinstance(layer, GlobalAvgPool):
        return jnp.asarray(1 / math.prod(image), kernels.wide(x).dtype)
    window, stride = size("window", layer.window), size("stride", layer.stride)
    around = (0, 0), *margins(image, window, layer.stride or window, layer.padding), (0, 0)
    ones = jnp.ones((1, *image, 1), kernels.wide(x).dtype)
    covered: jax.Array = jax.lax.reduce_window(
        ones, 0.0, jax.lax.add, (1, *window, 1), (1, *stride, 1), around
    )
    return 1 / covered
