"""Activations that nothing takes along, by the companion: one pass over memory each way."""

from functools import partial

import jax

from deltarule.network.companion.loading import array, call


def activate(z: jax.Array, name: str) -> jax.Array:
    """Return f(z), element by element; ``name`` is "elu", "gelu" or "softplus".

    The formulas are those of ``network/activations.py``. ``z`` is of any shape, in float32 or
    bfloat16, and so is the result; what lies between is float32. ``z`` is kept for the gradient.

    >>> from deltarule.network import companion
    >>> import jax.numpy as jnp
    >>> if companion.is_there():
    ...     assert activate(jnp.array([-jnp.inf, 0.0, 2.0]), "elu").tolist() == [-1.0, 0.0, 2.0]
    """
    return _activate(z, name)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _activate(z: jax.Array, name: str) -> jax.Array:
    y: jax.Array = call("deltarule_activation_forward", array(z.shape, z.dtype), z, activation=name)
    return y


def _forward(z: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
    return _activate(z, name), z


def _backward(name: str, z: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    return (call("deltarule_activation_backward", array(z.shape, z.dtype), z, g, activation=name),)


_activate.defvjp(_forward, _backward)
