"""Activations: by the companion where that is faster, otherwise the formulas."""

import jax

from deltarule.network import companion
from deltarule.network.activations import activation as formula
from deltarule.network.kernels.choice import by_companion, wide


def activate(z: jax.Array, name: str) -> jax.Array:
    """Return f(z), element by element, for the entry ``name`` of ``activations.py``.

    >>> import jax.numpy as jnp
    >>> activate(jnp.array([-1.0, 2.0]), "relu").tolist()
    [0.0, 2.0]
    """
    if name in companion.ALONE and by_companion("activation", z, z.size):
        return companion.activate(z, name)
    return formula(name)(wide(z)).astype(z.dtype)


def finish(z: jax.Array, b: jax.Array | None, activation: str) -> jax.Array:
    """Return f(z + b): what follows a product."""
    return activate(z if b is None else z + b, activation)
