"""What convolution and dense layers have in common: y = f(a product of x and w, plus b)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from deltarule.network.companion.loading import array, call


def outputs(
    name: str, shape: tuple[int, ...], x: jax.Array, w: jax.Array, b: jax.Array | None, **how: Any
) -> jax.Array:
    """Return y of ``shape`` and x's type."""
    bias = jnp.zeros(0, jnp.float32) if b is None else b
    y: jax.Array = call(f"deltarule_{name}_forward", array(shape, x.dtype), x, w, bias, **how)
    return y


def remembered(apply: Callable[..., jax.Array], x: Any, w: Any, b: Any, activation: str) -> Any:
    """Return y and what ``gradients`` needs, for a rule with symbolic zeros."""
    arrays = x.value, w.value, None if b is None else b.value
    y = apply(*arrays)
    # What is saved must be arrays or their absence: () says that x has a gradient, None that not.
    return y, (*arrays, None if activation == "identity" else y, () if x.perturbed else None)


def gradients(name: str, saved: Any, g: Any, **how: Any) -> Any:
    """Return the gradients of x, w and b, None where there is none to work out."""
    x, w, b, y, onward = saved
    if isinstance(g, SymbolicZero):
        return None, None, None
    results = (
        array((0,) if onward is None else x.shape, x.dtype),
        array(w.shape, jnp.float32),
        array((0,) if b is None else b.shape, jnp.float32),
    )
    y = jnp.zeros(0, g.dtype) if y is None else y
    dx, dw, db = call(f"deltarule_{name}_backward", results, x, w, y, g, **how)
    return None if onward is None else dx, dw, None if b is None else db
