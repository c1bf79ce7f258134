"""What an optimizer may ask about beside the gradient it is given.

The methods of ``optimizers.py`` that work on batches need the gradient alone. Those of
``second_order/`` compare costs along a line, or ask for curvature: they are given the
``Objective`` of the step as well, and count what they ask.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from deltarule.network.network import Params


class Objective(NamedTuple):
    """What a step makes small: the mean cost of its examples with the penalties, C(w).

    Args:
        value: w -> C; its derivative by ``jax.grad`` or ``jax.value_and_grad`` is one evaluation
            of the gradient, as fast as the engine's, and can not be differentiated again.
        gradient: w -> dC/dw, to be differentiated forward (``jax.jvp``, ``jax.jacfwd``).
        gauss_newton: w -> the Hessian [n, n] without the terms that vanish with the errors, of
            the weights in the order of ``ravel_pytree``; for the quadratic cost alone. It takes
            as many gradients as the network has outputs.
        outputs: of the network.
    """

    value: Callable[[Params], jax.Array]
    gradient: Callable[[Params], Params]
    gauss_newton: Callable[[Params], jax.Array]
    outputs: int


class Evaluations(NamedTuple):
    """How much an optimizer has asked for, in passes over the training data."""

    cost: jax.Array
    gradient: jax.Array

    def plus(self, cost: jax.Array | float = 0, gradient: jax.Array | float = 0) -> "Evaluations":
        """Return the sum."""
        return Evaluations(self.cost + cost, self.gradient + gradient)


def counted(opt_state: Any) -> Evaluations:
    """Return what the optimizer with this state has asked for so far, beside a gradient a step."""
    found: Evaluations = optax.tree.get(opt_state, "evaluations", none_yet())
    return found


def none_yet() -> Evaluations:
    """Return the count before the first step."""
    return Evaluations(jnp.zeros(()), jnp.zeros(()))


def differentiable(
    value: Callable[[Params], jax.Array],
    value_and_gradient: Callable[[Params], tuple[jax.Array, Params]],
) -> Callable[[Params], jax.Array]:
    """Return ``value`` with the gradient that ``value_and_gradient`` works out."""

    @jax.custom_vjp
    def cost(params: Params) -> jax.Array:
        return value(params)

    def back(gradient: Params, factor: jax.Array) -> tuple[Params]:
        return (jax.tree.map(lambda g: factor * g, gradient),)

    cost.defvjp(value_and_gradient, back)
    return cost
