"""Steps of Newton's kind whose curvature is damped as far as it takes to go downhill.

The step solves (A + mu I) s = -g, A a matrix of curvature. A large mu makes it short and steepest
downhill, a small one the full step. If the cost falls, the step is taken and mu becomes a tenth of
what it was; if not, mu becomes ten times as large and another step is tried (Marquardt 1963). A is
worked out once a step, so that a trial costs one evaluation of the cost. After ``MOST_TRIALS``
without success the weights stay where they are.
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
LEAST, MOST = 1e-12, 1e12  # of mu
MOST_TRIALS = 10  # of one step

Solve = Callable[[jax.Array], jax.Array]  # mu -> the step s [n]
System = Callable[[Objective, Params, jax.Array], tuple[Solve, float]]  # g [n]; gradients asked


class Damped(NamedTuple):
    """The damping mu, and what was asked so far."""

    damping: jax.Array
    evaluations: Evaluations


class _Trial(NamedTuple):
    """The step to take, 0 if none lowers the cost, and the damping to go on with."""

    step: Params
    mu: jax.Array
    falls: jax.Array
    trials: jax.Array


def damped(system: System, damping: jax.Array | float) -> optax.GradientTransformationExtraArgs:
    """Return the method whose ``system`` solves for steps, and tells how many gradients it took.

    ``damping`` is mu of the first step.
    """

    def init(params: Params) -> Damped:
        dtype = jax.tree.leaves(params)[0].dtype
        return Damped(jnp.asarray(damping, dtype), none_yet())

    def update(
        gradients: Params,
        state: Damped,
        params: Params,
        *,
        value: Any,
        objective: Objective,
        **_: Any,
    ) -> tuple[Params, Damped]:
        gradient, shaped = ravel_pytree(gradients)
        solve, gradients_asked = system(objective, params, gradient)

        def attempt(last: _Trial) -> _Trial:
            step = shaped(solve(last.mu))
            falls = objective.value(optax.apply_updates(params, step)) < value  # not if it is nan
            step = jax.tree.map(lambda s: jnp.where(falls, s, 0), step)
            mu = jnp.clip(jnp.where(falls, last.mu / FACTOR, last.mu * FACTOR), LEAST, MOST)
            return _Trial(step, mu, falls, last.trials + 1)

        def goes_on(last: _Trial) -> jax.Array:
            return ~last.falls & (last.trials < MOST_TRIALS)

        nowhere = jax.tree.map(jnp.zeros_like, gradients)
        none = _Trial(nowhere, state.damping, jnp.array(False), jnp.zeros((), jnp.int32))
        found = jax.lax.while_loop(goes_on, attempt, none)
        asked = state.evaluations.plus(1 + found.trials, 1 + gradients_asked)
        return found.step, Damped(found.mu, asked)

    return optax.GradientTransformationExtraArgs(init, update)
