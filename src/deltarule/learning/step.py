"""One step of training as one pure function, and whole epochs of them as one compiled call.

Read ``measure.py`` first. A step takes a batch, works out cost and gradient, adds the penalty's
gradient and lets the optimizer change the parameters. ``advance`` runs any stretch of steps, or
several epochs, inside one compiled program: between two calls from Python nothing happens, so a
step of a few microseconds stays one.
"""

import gc
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from deltarule.learning import penalties, small
from deltarule.learning.measure import (
    Measured,
    gauss_newton,
    gradients_of,
    measure,
    total,
    zero_sums,
)
from deltarule.learning.objective import Objective, counted, differentiable, none_yet
from deltarule.learning.optimizers import OPTIMIZERS, Rate, optimizer
from deltarule.learning.program import Average, Examples, Hyper, Learner, Program, Report
from deltarule.learning.second_order.diagonal_lm import EXAMPLES, remember
from deltarule.learning.second_order.line_search import Searched
from deltarule.learning.second_order.second_derivatives import estimated
from deltarule.network import kernels
from deltarule.network.network import Params

Begun = tuple[jax.Array, Params, Measured]  # the cost, its gradient, what was measured with it

KEPT_PROGRAMS = 16  # compiled programs take about 7 MB each, and JAX keeps all it ever made


def start(program: Program, hyper: Hyper, params: Params, state: Params) -> Learner:
    """Return the learner before its first step."""
    opt_state = optimizer(program.optimizer, hyper.rates, clip=program.clip).init(params)
    # Each array its own, for all are donated; and of a strong type, as those that a step returns.
    opt_state = jax.tree.map(lambda array: jnp.array(array, array.dtype), opt_state)
    average = None
    if program.average:
        copies = jax.tree.map(jnp.copy, (params, state))
        average = Average(copies[0], copies[1], jnp.zeros((), jnp.int32))
    return Learner(params, state, opt_state, *zero_sums(program), average)


def step(
    program: Program, learner: Learner, batch: Examples, hyper: Hyper, key: jax.Array
) -> Learner:
    """Return the learner after one step on ``batch``: w <- update(w, dC/dw), C the mean cost."""
    here = _Here(program, learner, batch, hyper, key)
    value, gradients, (cost, correct, state) = here.begin()
    method = optimizer(program.optimizer, hyper.rates, clip=program.clip)
    updates, opt_state = method.update(
        gradients, learner.opt_state, learner.params, value=value, objective=here.objective()
    )
    params = optax.apply_updates(learner.params, updates)
    cost, correct = learner.cost + cost, learner.correct + correct
    return _averaging(Learner(params, state, opt_state, cost, correct, learner.average), hyper)


class _Here(NamedTuple):
    """Where a step begins: what can be asked about other parameters in the place of these."""

    program: Program
    learner: Learner
    batch: Examples
    hyper: Hyper
    key: jax.Array

    def begin(self) -> Begun:
        """Return cost, gradient and what was measured, as far as the optimizer does not know."""
        params, state = self.learner.params, self.learner.opt_state
        if not isinstance(state, Searched):
            return self.ask(params)
        known = state.search  # the last search has measured where it ended
        begun: Begun = jax.lax.cond(
            jnp.isinf(known.value),
            lambda: self.ask(params),
            lambda: (known.value, known.grad, self.measure(params)),
        )
        return begun

    def ask(self, params: Params) -> Begun:
        """Return cost and gradient, both with the penalties, and what was measured."""
        gradients, measured = gradients_of(
            self.program, self.learner._replace(params=params), self.batch, self.hyper, self.key
        )
        gradients = penalties.add_gradient(params, gradients, self.hyper.l1, self.hyper.l2)
        return self._cost(params, measured), gradients, measured

    def measure(self, params: Params) -> Measured:
        """Return what ``gradients_of`` measures, without gradients."""
        return measure(
            self.program, params, self.learner.state, self.batch, self.hyper.smoothing, self.key,
            train=True,
        )  # fmt: skip

    def objective(self) -> Objective:
        """Return what the optimizer may ask."""
        return Objective(
            differentiable(
                lambda params: self._cost(params, self.measure(params)),
                lambda params: self.ask(params)[:2],
            ),
            lambda params: self.ask(params)[1],
            self._gauss_newton,
            self.program.outputs,
        )

    def _gauss_newton(self, params: Params) -> jax.Array:
        matrix = gauss_newton(
            self.program, params, self.learner.state, self.batch, self.hyper.smoothing
        )
        of_penalty, _ = ravel_pytree(penalties.curvature(params, self.hyper.l2))
        return matrix + jnp.diag(of_penalty)

    def _cost(self, params: Params, measured: Measured) -> jax.Array:
        penalty = penalties.value(params, self.hyper.l1, self.hyper.l2)
        return (measured[0] / len(self.batch.x) + penalty).astype(self.program.precision)


def measured(
    program: Program,
    learner: Learner,
    train: Examples,
    order: jax.Array,
    hyper: Hyper,
    due: jax.Array | bool,
) -> Learner:
    """Return the learner with second derivatives of the first examples of ``order`` [n].

    The learner as it is unless that is ``due``, or if its optimizer asks for none.
    """
    if not OPTIMIZERS[program.optimizer].diagonal:
        return learner
    few = order[:EXAMPLES]

    def measure(learner: Learner) -> Learner:
        found = estimated(program, learner, train.take(few), hyper.l2)
        after = remember(learner.opt_state, found, passes=len(few) / len(order))
        return learner._replace(opt_state=after)

    after: Learner = jax.lax.cond(due, measure, lambda it: it, learner)
    return after


def _averaging(learner: Learner, hyper: Hyper) -> Learner:
    """Return the learner with this step in its average, if there is one."""
    if learner.average is None:
        return learner
    average = _averaged(learner.average, learner.params, learner.state, hyper.average)
    return learner._replace(average=average)


def _averaged(average: Average, params: Params, state: Params, decay: Rate) -> Average:
    """Return the average after one more step; early on it forgets faster, down to the mean."""
    steps = average.steps + 1
    # At first the plain mean of all steps, so that the random start does not linger.
    share = jnp.maximum(1 - decay, 1 / steps)
    moved = jax.tree.map(
        lambda old, new: old + share.astype(old.dtype) * (new - old),
        (average.params, average.state), (params, state),
    )  # fmt: skip
    return Average(moved[0], moved[1], steps)


def _with_its_kernels(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def traced(program: Program, *arguments: Any) -> Any:
        with kernels.using(program.kernels):
            return run(program, *arguments)

    return traced


@partial(jax.jit, static_argnums=0, donate_argnums=1)
@_with_its_kernels
def advance(
    program: Program,
    learner: Learner,
    train: Examples,
    validation: Examples | None,
    orders: jax.Array,  # [epochs, n] a permutation of the examples for each epoch
    rates: jax.Array,  # [epochs, steps] learning rates
    hyper: Hyper,
    seed: jax.Array,
    first_epoch: jax.Array,
    epochs: jax.Array,  # how many rows of orders to run
    first_step: jax.Array,
    last_step: jax.Array,  # stop before this step of each epoch
) -> tuple[Learner, Report]:
    """Run the steps [first_step, last_step) of ``epochs`` epochs; one row of the report each.

    The numbers do not depend on how a run is cut into calls: every call runs the same program.
    """
    n, size = orders.shape[1], program.batch_size
    whole, rest = divmod(n, size)
    steps = whole + (rest > 0)

    def one(e: jax.Array, s: jax.Array | int, length: int, learner: Learner) -> Learner:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), first_epoch + e), s)
        at_this_rate = hyper._replace(rates=hyper.rates._replace(learning_rate=rates[e, s]))
        if small.fits(program, learner.params, train):
            order = small.Order(orders, e, s, length)
            after = small.step(program, learner, train, order, at_this_rate, key)
            return _averaging(after, hyper)
        index = jax.lax.dynamic_slice(orders, (e, s * size), (1, length))[0]
        return step(program, learner, train.take(index), at_this_rate, key)

    def epoch(e: jax.Array, carry: tuple[Learner, Report]) -> tuple[Learner, Report]:
        learner, report = carry
        learner = measured(program, learner, train, orders[e], hyper, due=first_step == 0)
        learner = jax.lax.fori_loop(
            first_step, jnp.minimum(last_step, whole), lambda s, it: one(e, s, size, it), learner
        )
        if rest:  # the last batch is smaller: a step of its own shape
            learner = jax.lax.cond(
                last_step > whole, lambda it: one(e, whole, rest, it), lambda it: it, learner
            )
        closed: tuple[Learner, Report] = jax.lax.cond(
            last_step == steps,
            lambda it, report: _close(program, it, report, e, validation, hyper),
            lambda it, report: (it, report),
            learner,
            report,
        )
        return closed

    carry = learner, _blank(program, len(orders))
    after: tuple[Learner, Report] = jax.lax.fori_loop(0, epochs, epoch, carry)
    return after


def make_room(*functions: Any) -> None:
    """Forget what was compiled of each of ``functions`` of which there are many programs."""
    for function in functions:
        if function._cache_size() >= KEPT_PROGRAMS:
            function.clear_cache()
            gc.collect()  # they hang in cycles


def _close(
    program: Program,
    learner: Learner,
    report: Report,
    row: jax.Array,
    validation: Examples | None,
    hyper: Hyper,
) -> tuple[Learner, Report]:
    """Write the epoch's row of the report and set the sums back to zero."""
    measured = zero_sums(program)
    if validation is not None:
        measured = total(program, learner, validation)
    penalty = penalties.value(learner.answer[0], hyper.l1, hyper.l2)
    rate = optax.tree.get(learner.opt_state, "eta", jnp.zeros(()))
    values = Report(
        learner.cost, learner.correct, penalty, *measured, rate, counted(learner.opt_state)
    )
    report = jax.tree.map(lambda column, value: column.at[row].set(value), report, values)
    zero_cost, zero_correct = zero_sums(program)
    return learner._replace(cost=zero_cost, correct=zero_correct), report


def _blank(program: Program, rows: int) -> Report:
    real, count = jnp.zeros(rows, program.precision), jnp.zeros(rows, jnp.int32)
    counts = jax.tree.map(lambda _: jnp.zeros(rows), none_yet())
    return Report(real, count, real, real, count, real, counts)
