"""Newton's method with the whole Hessian, damped: for tiny networks.

Each step goes to the minimum of the quadratic that has the cost's value, slope and curvature
(LeCun et al. 1998, equation 40), were it not for damping (``damping.py``): s = -(|H| + mu I)^-1 g.
|H| is H with its negative eigenvalues made positive. The Hessian of a network is seldom positive
definite, and along its negative eigenvectors the plain step would go uphill (Nocedal and Wright
2006, section 3.4). H of n parameters is worked out as n products with unit vectors, each about one
gradient's work.
"""

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from deltarule.learning.objective import Objective
from deltarule.learning.second_order.damping import Solve, damped
from deltarule.network.network import Params

DAMPING = 1e-3
MOST_PARAMETERS = 1_000  # its steps take n gradients, and n^3 operations
AT_ONCE = 16  # products with unit vectors: each takes as much memory as a gradient


def newton(damping: jax.Array | float = DAMPING) -> optax.GradientTransformationExtraArgs:
    """Return Newton's method; ``damping`` is mu of the first step."""
    return damped(_system, damping)


def _system(objective: Objective, params: Params, gradient: jax.Array) -> tuple[Solve, float]:
    values, vectors = jnp.linalg.eigh(hessian(objective, params))
    along = vectors.T @ gradient
    return lambda mu: -vectors @ (along / (jnp.abs(values) + mu)), float(len(gradient))


def hessian(objective: Objective, params: Params) -> jax.Array:
    """Return H [n, n], the weights in the order of ``ravel_pytree``; it takes n gradients."""
    weights, shaped = ravel_pytree(params)

    def gradient(flat: jax.Array) -> jax.Array:
        return ravel_pytree(objective.gradient(shaped(flat)))[0]

    def column(unit: jax.Array) -> jax.Array:
        product: jax.Array = jax.jvp(gradient, (weights,), (unit,))[1]
        return product

    units = jnp.eye(len(weights), dtype=weights.dtype)
    matrix: jax.Array = jax.lax.map(column, units, batch_size=AT_ONCE)
    return (matrix + matrix.T) / 2
