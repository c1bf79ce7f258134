"""Steps of Newton's kind whose curvature is damped as far as it takes to go downhill.

The step solves (A + mu I) s = -g, A a matrix of curvature. A large mu makes it short and steepest
downhill, a small one the full step. If the cost falls, the step is taken and mu becomes a tenth;
if not, the weights stay where they are and mu becomes ten times as large (Marquardt 1963).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from deltarule.learning.objective import Evaluations, Objective, none_yet
from deltarule.network.network import Params

FACTOR = 10.0
LEAST, MOST = 1e-12, 1e12

Curvature = Callable[[Objective, Params], tuple[jax.Array, float]]


class Damped(NamedTuple):
    """The damping mu, and what was asked so far."""

    damping: jax.Array
    evaluations: Evaluations


def damped(
    curvature: Curvature, damping: jax.Array | float
) -> optax.GradientTransformationExtraArgs:
    """Return the method whose ``curvature`` gives A [n, n] and how many gradients that took.

    ``damping`` is mu of the first step.
    """

    def init(params: Params) -> Damped:
        dtype = jax.tree.leaves(params)[0].dtype
        return Damped(jnp.asarray(damping, dtype), none_yet())

    def update(
        gradients: Params,
        state: Damped,
        params: Params | None = None,
        *,
        value: Any,
        objective: Objective,
        **_: Any,
    ) -> tuple[Params, Damped]:
        assert params is not None
        gradient, shaped = ravel_pytree(gradients)
        matrix, cost = curvature(objective, params)
        step = shaped(_solved(matrix, state.damping, gradient))
        after = objective.value(optax.apply_updates(params, step))
        falls = after < value  # not if it is not a number
        step = jax.tree.map(lambda s: jnp.where(falls, s, 0), step)
        mu = jnp.clip(jnp.where(falls, state.damping / FACTOR, state.damping * FACTOR), LEAST, MOST)
        asked = state.evaluations.plus(2, 1 + cost)
        return step, Damped(mu.astype(state.damping.dtype), asked)

    return optax.GradientTransformationExtraArgs(init, update)


def _solved(matrix: jax.Array, mu: jax.Array, gradient: jax.Array) -> jax.Array:
    """Return s of (|A| + mu I) s = -g; |A| is A with its negative eigenvalues made positive.

    A Hessian of a network is seldom positive definite: along its negative eigenvectors the plain
    step would go uphill (Nocedal and Wright 2006, section 3.4).
    """
    values, vectors = jnp.linalg.eigh(matrix)
    along: jax.Array = (vectors.T @ gradient) / (jnp.abs(values) + mu)
    step: jax.Array = -vectors @ along
    return step
