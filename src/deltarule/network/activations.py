"""Activation functions: one table, a formula and a source each.

An activation acts on the weighted inputs ``z`` [batch, units] of a layer and returns the outputs
``a`` of the same shape. Read ``textbook/network.py`` first; the derivatives are JAX's.
Left out: the step function of 1943 and 1957, which has no useful derivative (``textbook/``).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from deltarule.choices import choose

Activation = Callable[[jax.Array], jax.Array]


def sigmoid(z: jax.Array) -> jax.Array:
    """Return 1 / (1 + exp(-z)), between 0 and 1."""
    return jax.nn.sigmoid(z)


def tanh(z: jax.Array) -> jax.Array:
    """Return tanh(z), between -1 and 1."""
    return jnp.tanh(z)


def lecun_tanh(z: jax.Array) -> jax.Array:
    """Return 1.7159 tanh(2 z / 3): f(1) = 1, f(-1) = -1 (LeCun et al. 1998, section 4.4)."""
    return 1.7159 * jnp.tanh(z * (2 / 3))


def relu(z: jax.Array) -> jax.Array:
    """Return max(z, 0); its slope at 0 is taken as 0 (Nair and Hinton 2010)."""
    return jax.nn.relu(z)


def leaky_relu(z: jax.Array) -> jax.Array:
    """Return z for z > 0, else 0.01 z (Maas, Hannun and Ng 2013)."""
    return jax.nn.leaky_relu(z, 0.01)


def elu(z: jax.Array) -> jax.Array:
    """Return z for z > 0, else exp(z) - 1 (Clevert, Unterthiner and Hochreiter 2015)."""
    return jax.nn.elu(z)


def gelu(z: jax.Array) -> jax.Array:
    """Return z Phi(z), Phi the normal distribution function, exact (Hendrycks and Gimpel 2016)."""
    return jax.nn.gelu(z, approximate=False)


def softplus(z: jax.Array) -> jax.Array:
    """Return log(1 + exp(z)), a smooth relu (Dugas et al. 2000)."""
    return jax.nn.softplus(z)


def softmax(z: jax.Array) -> jax.Array:
    """Return exp(z_k) / sum_j exp(z_j) along the last axis: probabilities (Bridle 1990)."""
    return jax.nn.softmax(z, axis=-1)


def identity(z: jax.Array) -> jax.Array:
    """Return z: a linear layer, as in ADALINE and in regression."""
    return z


ACTIVATIONS: dict[str, Activation] = {
    function.__name__: function
    for function in (
        sigmoid, tanh, lecun_tanh, relu, leaky_relu, elu, gelu, softplus, softmax, identity,
    )
}  # fmt: skip


def activation(name: str) -> Activation:
    """Return the activation called ``name``; a ``ValueError`` lists the names there are.

    >>> float(activation("relu")(jnp.float32(-2.0)))
    0.0
    """
    return choose("activation", name, ACTIVATIONS)
