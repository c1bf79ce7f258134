"""Costs: what training makes small, and the error of the output that backpropagation starts from.

A cost is worked out from the last layer's weighted inputs z [batch, outputs], the targets y of the
same shape and the name of the output activation; it has one number an example. Starting from z
keeps it finite however wrong the network is. With a = output(z):

    quadratic       C = 1/2 |a - y|^2                                delta = (a - y) f'(z)
    cross_entropy   sigmoid: C = -sum y ln a + (1 - y) ln(1 - a)     delta = a - y
                    softmax: C = -sum y ln a                         delta = a - y

delta = dC/dz is the output error, equation 1 of backpropagation (``textbook/network.py``). That
the slope f' drops out of it is why cross-entropy learns fast from large errors.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from deltarule.choices import choose
from deltarule.network.activations import activation

# Targets of the wrong classes and of the right one, by output activation; others have 0 and 1.
# +-1 is where the second derivative of LeCun's tanh is largest: far enough apart to tell classes
# from each other, and not at its limits +-1.7159, which only infinite weights reach (LeCun et al.
# 1998, section 4.5).
TARGETS = {"lecun_tanh": (-1.0, 1.0)}

Cost = Callable[[jax.Array, jax.Array], jax.Array]  # z, y [batch, outputs] -> [batch]


def quadratic(output: str) -> tuple[Cost, Cost]:
    """Return C = 1/2 |a - y|^2 and delta = (a - y) f'(z) (Widrow and Hoff 1960)."""
    f = activation(output)

    def value(z: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.square(f(z) - y).sum(axis=-1) / 2

    def delta(z: jax.Array, y: jax.Array) -> jax.Array:
        a, back = jax.vjp(f, z)
        (error,) = back(a - y)
        return jnp.asarray(error)

    return value, delta


def cross_entropy(output: str) -> tuple[Cost, Cost]:
    """Return the cross-entropy of sigmoid or softmax outputs and delta = a - y.

    For sigmoid outputs ln a and ln(1 - a) are -softplus(-z) and -softplus(z), so
    C = sum max(z, 0) - z y + ln(1 + exp(-|z|)); for softmax ln a = z - ln sum exp(z).
    """

    def sigmoid_value(z: jax.Array, y: jax.Array) -> jax.Array:
        return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).sum(axis=-1)

    def softmax_value(z: jax.Array, y: jax.Array) -> jax.Array:
        return -(y * jax.nn.log_softmax(z, axis=-1)).sum(axis=-1)

    def delta(z: jax.Array, y: jax.Array) -> jax.Array:
        return activation(output)(z) - y

    values = {"sigmoid": sigmoid_value, "softmax": softmax_value}
    if output not in values:
        raise ValueError(
            f"cost cross_entropy expects sigmoid or softmax outputs, got {output!r}; end the "
            "network with Activation('softmax'), or choose the quadratic cost."
        )
    return values[output], delta


COSTS: dict[str, Callable[[str], tuple[Cost, Cost]]] = {
    "quadratic": quadratic,
    "cross_entropy": cross_entropy,
}


def cost_function(name: str, output: str) -> Cost:
    """Return the cost called ``name`` for an ``output`` activation, differentiable in z.

    Its derivative is the delta above, not what differentiating the value step by step would
    give: the same number, with fewer operations.

    >>> cost = cost_function("cross_entropy", "sigmoid")
    >>> z, y = jnp.array([[-1e4, 0.0]]), jnp.array([[1.0, 1.0]])
    >>> [float(c) for c in cost(z, y)]  # 10 000 for the wrong output, ln 2 for the undecided
    [10000.693359375]
    """
    value, delta = choose("cost", name, COSTS)(output)

    @jax.custom_jvp
    def cost(z: jax.Array, y: jax.Array) -> jax.Array:
        return value(z, y)

    @cost.defjvp
    def _(
        primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        (z, y), (dz, _) = primals, tangents  # targets are data: nothing flows into them
        return value(z, y), (delta(z, y) * dz).sum(axis=-1)

    return cost


def targets(
    y: jax.Array,
    outputs: int,
    smoothing: jax.Array | float,
    dtype: jnp.dtype,
    output: str = "identity",
) -> jax.Array:
    """Return class indices [batch] as one row a target [batch, outputs], smoothed.

    The true class gets 1 - smoothing + smoothing/k and every other smoothing/k, k = ``outputs``
    (Szegedy et al. 2016, section 7). Where the last layer's activation ``output`` is lecun_tanh,
    these shares t become 2 t - 1: 1 and -1 without smoothing. Targets of regression pass through.

    >>> targets(jnp.array([1]), 3, 0.0, jnp.dtype("float32"), "lecun_tanh").tolist()
    [[-1.0, 1.0, -1.0]]
    """
    if y.ndim > 1 or not jnp.issubdtype(y.dtype, jnp.integer):
        return y.astype(dtype).reshape(len(y), -1)
    smoothing = jnp.asarray(smoothing, dtype)
    shares = jax.nn.one_hot(y, outputs, dtype=dtype) * (1 - smoothing) + smoothing / outputs
    if output not in TARGETS:
        return shares
    wrong, right = TARGETS[output]
    return wrong + (right - wrong) * shares
