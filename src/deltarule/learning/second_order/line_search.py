"""Steps whose length is found by a line search, for methods that give a direction.

The search is optax's (Nocedal and Wright 2006, algorithms 3.5 and 3.6): it accepts a step of
length s along p from w if the strong Wolfe conditions hold,

    C(w + s p) <= C(w) + c1 s p'g(w)         enough decrease, c1 = 1e-4
    |p'g(w + s p)| <= c2 |p'g(w)|            flat enough, c2 = ``flatness``

The cost and the gradient of the point where it stops are kept: they begin the next step, so that
a search which succeeds at once costs one evaluation of the gradient.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from deltarule.learning.objective import Evaluations, Objective, none_yet
from deltarule.network.network import Params

MOST_TRIALS = 20  # of one search
DECREASE = 1e-4  # c1


class Searched(NamedTuple):
    """The state of a method that searches along its directions."""

    direction: Any  # the state of what gives the directions
    search: Any  # of optax's search; holds cost and gradient at the point it stopped at
    evaluations: Evaluations


def searched(
    direction: optax.GradientTransformation, flatness: float, *, first_trial: str = "keep"
) -> optax.GradientTransformationExtraArgs:
    """Return the method that goes along ``direction`` as far as the Wolfe conditions ask.

    Args:
        direction: gradients -> the way p to go, downhill.
        flatness: c2, from 1e-4 to 1; small where the directions rely on exact minima.
        first_trial: "keep" tries the last accepted length first, "one" the length 1 of Newton.
    """
    line = optax.scale_by_zoom_linesearch(
        MOST_TRIALS, slope_rtol=DECREASE, curv_rtol=flatness, initial_guess_strategy=first_trial
    )

    def init(params: Params) -> Searched:
        return Searched(direction.init(params), line.init(params), none_yet())

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
        step, search = line.update(
            way, state.search, params, value=value, grad=gradients, value_fn=objective.value
        )
        trials = search.info.num_linesearch_steps
        first = jnp.isinf(state.search.value)  # nothing was known of the point to begin from
        evaluations = state.evaluations.plus(trials + first, trials + first)
        return step, Searched(after, search, evaluations)

    return optax.GradientTransformationExtraArgs(init, update)
