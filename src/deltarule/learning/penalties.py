"""L1 and L2: a price on large weights, never on biases.

    penalty = l1 sum |w| + l2/2 sum w^2         d/dw = l1 sign(w) + l2 w

It is added to the mean cost of an example, so l2 is lambda/n of the book, and l1 likewise.
Sources: Krogh and Hertz 1992 (L2, weight decay); Williams 1995 (L1).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from deltarule.network.layers.contract import is_weight
from deltarule.network.network import Params

Rate = jax.Array | float


def value(params: Params, l1: Rate, l2: Rate) -> jax.Array:
    """Return the penalty, a scalar."""
    weights = [a for layer in params for name, a in layer.items() if is_weight(name)]
    absolute = sum((jnp.abs(w).sum() for w in weights), start=jnp.zeros(()))
    squared = sum((jnp.square(w).sum() for w in weights), start=jnp.zeros(()))
    return jnp.asarray(l1 * absolute + l2 / 2 * squared)


def add_gradient(params: Params, gradients: Params, l1: Rate, l2: Rate) -> Params:
    """Return ``gradients`` plus those of the penalty.

    The derivative is written out: asking for it through ``value`` would read every weight once
    more a step. The signs for L1 are only worked out if it is in use, for they are dear in steps
    of a few microseconds; ``l1`` stays a traced number all the same.
    """

    def with_l1(gradients: Params) -> Params:
        return _each_weight(params, gradients, lambda g, w: g + l1 * jnp.sign(w))

    gradients = jax.lax.cond(l1 != 0, with_l1, lambda same: same, gradients)
    return _each_weight(params, gradients, lambda g, w: g + l2 * w)


def curvature(params: Params, l2: Rate) -> Params:
    """Return the second derivatives of the penalty: l2 for weights, 0 for biases."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return _each_weight(params, zeros, lambda zero, _: zero + l2)


def _each_weight(
    params: Params, gradients: Params, change: Callable[[jax.Array, jax.Array], jax.Array]
) -> Params:
    return tuple(
        {name: change(g, p[name]) if is_weight(name) else g for name, g in layer.items()}
        for layer, p in zip(gradients, params, strict=True)
    )
