"""Dense layers by the companion: products, with bias and activation in the same pass."""

from functools import partial
from typing import Any

import jax

from deltarule.network.companion.products import gradients, outputs, remembered


def dense(
    x: jax.Array, w: jax.Array, b: jax.Array | None = None, activation: str = "identity"
) -> jax.Array:
    """Return y = f(x w' + b), [n, units].

    ``x`` is [n, inputs] in float32 or bfloat16, and so is y; ``w`` [units, inputs] and ``b``
    [units] or None are float32, and so are their gradients; bfloat16 products round ``w`` and are
    summed in float32. ``activation`` is one of ``WITH_PRODUCTS``, whose slope follows from their
    output. The gradient of ``x`` is not worked out where nobody asks for it.

    >>> from deltarule.network import companion
    >>> import jax.numpy as jnp
    >>> x, w = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0], [5.0, -6.0]])
    >>> if companion.is_there():
    ...     assert dense(x, w, jnp.array([0.5, 0.0]), "relu").tolist() == [[11.5, 0.0]]
    """
    return _dense(x, w, b, activation)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _dense(x: jax.Array, w: jax.Array, b: jax.Array | None, activation: str) -> jax.Array:
    return outputs("dense", (x.shape[0], w.shape[0]), x, w, b, activation=activation)


def _forward(x: Any, w: Any, b: Any, activation: str) -> Any:
    return remembered(lambda *arrays: _dense(*arrays, activation), x, w, b, activation)


def _backward(activation: str, saved: Any, g: Any) -> Any:
    return gradients("dense", saved, g, activation=activation)


_dense.defvjp(_forward, _backward, symbolic_zeros=True)
