"""Steps whose length is found by a line search, for methods that give a direction.

The search is optax's (Nocedal and Wright 2006, algorithms 3.5 and 3.6): it accepts a step of
length s along p from w if the strong Wolfe conditions hold,

    C(w + s p) <= C(w) + c1 s p'g(w)         enough decrease, c1 = 1e-4
    |p'g(w + s p)| <= c2 |p'g(w)|            flat enough, c2 = ``flatness``

or, so near a minimum that rounding hides the decrease, the slopes say that there was one (Hager and
Zhang 2005). The cost and the gradient of the point where it stops are kept: they begin the next
step, so that a search which succeeds at once costs one evaluation of the gradient.

A search that finds no lower cost leaves the weights where they are, and a direction that leads
uphill is replaced by the gradient's; after both, what was learned of directions is forgotten.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from deltarule.learning.objective import Evaluations, Objective, none_yet
from deltarule.network.network import Params

MOST_TRIALS = 20  # of one search
DECREASE = 1e-4  # c1
ROUNDING = 1e-6  # the share of a cost that rounding may add or take away


class Searched(NamedTuple):
    """The state of a method that searches along its directions."""

    direction: Any  # the state of what gives the directions
    search: Any  # of optax's search; holds cost and gradient at the point it stopped at
    decrease: jax.Array  # of the cost by the last step
    evaluations: Evaluations


def searched(
    direction: optax.GradientTransformation, flatness: float, *, first_trial: str = "parabola"
) -> optax.GradientTransformationExtraArgs:
    """Return the method that goes along ``direction`` as far as the Wolfe conditions ask.

    Args:
        direction: gradients -> the way p to go.
        flatness: c2, from 1e-4 to 1; small where the directions rely on exact minima.
        first_trial: the length to try first: "parabola", which would lower a parabola by as much
            as the last step lowered the cost (Nocedal and Wright 2006, equation 3.60); or "one",
            which is right for a direction of Newton's kind.
    """
    line = optax.scale_by_zoom_linesearch(
        MOST_TRIALS, slope_rtol=DECREASE, curv_rtol=flatness, approx_dec_rtol=ROUNDING,
        initial_guess_strategy="one",
    )  # fmt: skip

    def init(params: Params) -> Searched:
        start = line.init(params)
        return Searched(direction.init(params), start, jnp.zeros_like(start.value), none_yet())

    def update(
        gradients: Params,
        state: Searched,
        params: Params | None = None,
        *,
        value: Any,
        objective: Objective,
        **_: Any,
    ) -> tuple[Params, Searched]:
        way, after = direction.update(gradients, state.direction, params)
        slope = optax.tree.vdot(way, gradients)
        downhill = slope < 0
        length = jnp.ones_like(slope)
        if first_trial == "parabola":
            length = jnp.where(downhill & (state.decrease > 0), -2 * state.decrease / slope, 1)
        # the search tells lengths apart down to a share of 1: so 1 is the one to try first
        way = jax.tree.map(lambda p, g: length * jnp.where(downhill, p, -g), way, gradients)
        step, search = line.update(
            way, state.search, params, value=value, grad=gradients, value_fn=objective.value
        )
        trials = search.info.num_linesearch_steps
        first = jnp.isinf(state.search.value)  # nothing was known of the point to begin from
        evaluations = state.evaluations.plus(trials + first, trials + first)
        # optax's search takes the last length it tried where it has found none
        found = (search.value < value) | (search.info.decrease_error <= 0)
        step = jax.tree.map(lambda s: jnp.where(found, s, 0), step)
        here = line.init(params)._replace(value=value, grad=gradients, info=search.info)
        search = optax.tree.where(found, search, here)
        after = jax.lax.cond(downhill & found, lambda: after, lambda: direction.init(params))
        return step, Searched(after, search, value - search.value, evaluations)

    return optax.GradientTransformationExtraArgs(init, update)
