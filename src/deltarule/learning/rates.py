"""Which learning rate? Two answers, measured in seconds before a run.

``automatic_rate`` is LeCun's: 1 over the largest curvature at the initial weights, which is as far
as gradient descent may go in the steepest direction. ``range_test`` is Smith's: train for a few
hundred steps while the rate grows from too small to too large, and look where the cost falls.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.learning.fit import Run
from deltarule.learning.pages import few
from deltarule.learning.program import Examples, Hyper, Learner, Program
from deltarule.learning.recipe import AUTO, Recipe
from deltarule.learning.step import measured, step
from deltarule.network import kernels
from deltarule.network.network import Network
from deltarule.seeds import generator

STEPS = 300
LEAST_STEPS = 20
SMOOTHING = 0.95  # the share of the past in the running mean of costs
EXPLODED = 4.0  # times the lowest cost: beyond it nothing is learned of better rates
CAUTION = 10.0  # the rate of the lowest cost is this many times too large to train with


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test found.

    Args:
        rates: [k] growing learning rates, up to where the cost exploded.
        costs: [k] a running mean of the cost of the batches, each measured before its step.
        suggestion: a rate to train with.
        exploded: whether the cost exploded; if not, no rate was too large.
    """

    rates: np.ndarray
    costs: np.ndarray
    suggestion: float
    exploded: bool


def automatic_rate(network: Network, train: Dataset, recipe: Recipe | None = None) -> float:
    """Return eta = 1/lambda_max at the initial weights; times 1 - mu with momentum mu.

    lambda_max is estimated from 400 examples, one at a time (LeCun et al. 1998, equation 64);
    expect its order and a digit, not more. It is what ``Recipe(learning_rate="auto")`` trains
    with: it depends on the network, the data, the seed and the penalty, on nothing else. It knows
    of curvature at the start, not of the noise of small batches: online, begin with a tenth.

    Raises ``ValueError`` if the recipe's optimizer is not sgd, momentum or nesterov.

    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    >>> xor = Dataset(x, np.array([0, 1, 1, 0]), classes=("0", "1"))
    >>> 0.5 < automatic_rate(Network([2, 8, 2], activation="tanh", output="softmax"), xor) < 1
    True
    """
    recipe = replace(recipe or Recipe(), learning_rate=AUTO, early_stopping=None, epochs=1)
    return _run(network, train, recipe).rate


def range_test(
    network: Network,
    train: Dataset,
    recipe: Recipe | None = None,
    *,
    lowest: float = 1e-5,
    highest: float = 10.0,
    steps: int = STEPS,
) -> RangeTest:
    """Train for ``steps`` steps while the rate grows from ``lowest`` to ``highest``.

    rate_s = lowest (highest/lowest)^(s/(steps - 1)). The suggestion is a tenth of the rate at
    which the running mean of the cost is lowest (Smith 2017, Cyclical learning rates for training
    neural networks; with growth by a factor, and the tenth, as has become usual). Everything else
    is the recipe's; nothing is kept of what is learned.

    Raises ``ValueError`` for rates that do not grow, fewer than 20 steps, and an optimizer that
    sees all examples at every step or finds its rate itself.

    >>> from deltarule.data import load
    >>> found = range_test(Network([64, 10], output="softmax"), load("digits").train)
    >>> 0.01 < found.suggestion < 1
    True
    """
    recipe = replace(
        recipe or Recipe(), learning_rate=None, early_stopping=None, schedule="constant"
    )
    if not 0 < lowest < highest < np.inf:
        raise ValueError(f"lowest and highest must be rates that grow, got {lowest} and {highest}.")
    if steps < LEAST_STEPS:
        raise ValueError(f"steps must be at least {LEAST_STEPS}, got {steps}.")
    method = recipe.method
    if method.all_data or method.adapts or method.learning_rate is None:
        raise ValueError(
            f"a range test changes the learning rate from batch to batch, which means nothing to "
            f"{recipe.optimizer}; choose an optimizer such as sgd or adam."
        )
    rates = np.geomspace(lowest, highest, steps)
    run = _run(network, train, recipe)
    with jax.enable_x64(recipe.precision == "float64"):
        order = _order(len(train), steps * run.batch_size, recipe.seed)
        program, learner, examples, hyper, seed = run.setting
        examples, order = few(examples, order.reshape(steps, -1))
        costs = _climb(
            program, learner, examples, hyper, seed, order, jnp.asarray(rates, recipe.dtype)
        )
    return _judged(rates, np.asarray(costs, float))


def _run(network: Network, train: Dataset, recipe: Recipe) -> Run:
    with jax.enable_x64(recipe.precision == "float64"):
        return Run(network, train, None, recipe, None, None, ())


def _order(n: int, count: int, seed: int) -> np.ndarray:
    """Return ``count`` indices: those of epoch after epoch."""
    epochs = range(-(-count // n))
    orders = [generator(seed, "shuffle", epoch).permutation(n) for epoch in epochs]
    return np.concatenate(orders)[:count].astype(np.int32)


@partial(jax.jit, static_argnums=0)
def _climb(
    program: Program,
    learner: Learner,
    train: Examples,
    hyper: Hyper,
    seed: jax.Array,
    orders: jax.Array,  # [steps, batch]
    rates: jax.Array,  # [steps]
) -> jax.Array:
    """Return the cost of the batch of each step, before the step, as the rate grows."""

    def one(learner: Learner, row: tuple[jax.Array, jax.Array, jax.Array]) -> Any:
        number, index, rate = row
        key = jax.random.fold_in(jax.random.key(seed), number)
        now = hyper._replace(rates=hyper.rates._replace(learning_rate=rate))
        after = step(program, learner, train.take(index), now, key)
        cost = after.cost - learner.cost
        return after._replace(cost=learner.cost), cost / len(index)

    with kernels.using(program.kernels):
        learner = measured(program, learner, train, orders.reshape(-1), hyper, due=True)
        rows = jnp.arange(len(rates)), orders, rates
        costs: jax.Array = jax.lax.scan(one, learner, rows)[1]
    return costs


def _judged(rates: np.ndarray, costs: np.ndarray) -> RangeTest:
    smooth = _smoothed(costs)
    lowest = np.minimum.accumulate(np.where(np.isfinite(smooth), smooth, np.inf))
    over = ~(np.isfinite(smooth) & (smooth <= EXPLODED * lowest))
    end = int(over.argmax()) if over.any() else len(rates)
    if end == 0:
        raise ValueError(
            "the cost is not finite before the first step; scale the inputs, which may hold large "
            "values."
        )
    best = rates[smooth[:end].argmin()]
    return RangeTest(rates[:end], smooth[:end], float(best / CAUTION), bool(over.any()))


def _smoothed(costs: np.ndarray) -> np.ndarray:
    """Return the mean of the costs so far, each step older weighing SMOOTHING times as much."""
    total, weight, means = 0.0, 0.0, []
    for cost in costs:
        total, weight = SMOOTHING * total + cost, SMOOTHING * weight + 1
        means.append(total / weight)
    return np.array(means)
