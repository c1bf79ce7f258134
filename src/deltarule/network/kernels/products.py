"""The product x w' of a batch with stored weights, plain or with bfloat16 operands."""

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.network.kernels.choice import current


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    """Return x w' for ``x`` [n, inputs] and ``w`` [outputs, inputs], as weights are stored.

    >>> import jax.numpy as jnp
    >>> product(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0], [5.0, 6.0]])).tolist()
    [[11.0, 17.0]]
    """
    if current().product == "bfloat16":
        return _rounded_product(x, w)
    # Contracting over the second axis of both keeps W as it is stored: no copy, and fast for
    # a batch of one as well as of many (measured; see docs/decisions/).
    return lax.dot_general(x, w, (((1,), (1,)), ((), ())))


def rounded(x: jax.Array) -> jax.Array:
    """Return ``x`` in bfloat16."""
    return x.astype(jnp.bfloat16)


def contract(a: jax.Array, b: jax.Array, i: int, j: int) -> jax.Array:
    """Return the product of two matrices over axis ``i`` of ``a`` and ``j`` of ``b``.

    bfloat16 matrices are summed in float32.
    """
    sums = jnp.float32 if a.dtype == jnp.bfloat16 else None
    return lax.dot_general(a, b, (((i,), (j,)), ((), ())), preferred_element_type=sums)


def turned(a: jax.Array) -> jax.Array:
    """Return the transpose of ``a``, laid out in memory row by row.

    A bfloat16 product whose first operand is only a view of a transpose is silently worked out in
    float32. The flat shape behind a barrier makes the compiler forget that it ever was one.
    """
    rows, columns = a.shape
    return lax.optimization_barrier(a.T.reshape(-1)).reshape(columns, rows)


@jax.custom_vjp
def _rounded_product(x: jax.Array, w: jax.Array) -> jax.Array:
    return contract(rounded(x), rounded(w), 1, 1).astype(x.dtype)


def _forward(x: jax.Array, w: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _rounded_product(x, w), (x, w)


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, w = saved
    g = rounded(g)
    dx = contract(g, rounded(w), 1, 0)
    dw = contract(turned(g), rounded(x), 1, 0)
    return dx.astype(x.dtype), dw.astype(w.dtype)


_rounded_product.defvjp(_forward, _backward)
