"""The product x w' of a batch with stored weights, plain or with bfloat16 operands."""

import jax
import jax.numpy as jnp
from jax import lax

from deltarule.network import companion
from deltarule.network.kernels.activations import activate, finish
from deltarule.network.kernels.choice import by_companion, current, wide, working


def dense(
    x: jax.Array, w: jax.Array, b: jax.Array | None = None, activation: str = "identity"
) -> jax.Array:
    """Return f(x w' + b) for ``x`` [n, inputs], ``w`` [outputs, inputs] and ``b`` [outputs].

    >>> import jax.numpy as jnp
    >>> dense(jnp.ones((1, 2)), jnp.array([[1.0, 2.0]]), jnp.array([-4.0]), "relu").tolist()
    [[0.0]]
    """
    if by_companion("dense", x, x.size * w.shape[0]):
        with_it, after = companion.split(activation, companion.WITH_PRODUCTS)
        return activate(companion.dense(working(x), w, b, with_it), after)
    return finish(product(wide(x), w), b, activation)


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
    return _barrier([a.T.reshape(-1)])[0].reshape(columns, rows)


def _barrier(arrays: list[jax.Array]) -> list[jax.Array]:
    kept: list[jax.Array] = lax.optimization_barrier(arrays)  # type: ignore[no-untyped-call]
    return kept


def settled(x: jax.Array) -> jax.Array:
    """Return ``x``, worked out once and kept in memory.

    The compiler fuses what is element by element into everything that reads it, and so works it
    out again for each patch or window that sees it. It never fuses a concatenation.
    """
    axis = next((i for i, size in enumerate(x.shape) if size > 1), None)
    if axis is None:
        return x
    halves = jnp.split(x, [x.shape[axis] // 2], axis)
    # without the barrier the compiler would see that it puts together what was one
    return lax.concatenate(_barrier(halves), axis)


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
