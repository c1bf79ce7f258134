"""One step of training as one pure function, and whole epochs of them as one compiled call.

Read ``costs.py`` first. A step takes a batch, works out cost and gradient, adds the penalty's
gradient and lets the optimizer change the parameters. ``advance`` runs any stretch of steps, or
several epochs, inside one compiled program: between two calls from Python nothing happens, so a
step of a few microseconds stays one.

What shapes the compiled program is ``Program``, a static value. Everything else is traced: rates,
penalties, smoothing, the key of chance, the order of the examples, where to start and stop.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from deltarule.data.augment import Augment
from deltarule.learning import penalties, small
from deltarule.learning.costs import cost_function, targets
from deltarule.learning.optimizers import Rate, Rates, optimizer
from deltarule.network import kernels
from deltarule.network.kernels import Kernels
from deltarule.network.model import scaled
from deltarule.network.network import Network, Params

Sums = tuple[jax.Array, jax.Array]  # of costs, of right answers
Measured = tuple[jax.Array, jax.Array, Params]  # the same, and the state after

VALIDATION_CHUNK = 1000  # examples a step when costs are only measured
KEPT_PROGRAMS = 16  # compiled programs take about 7 MB each, and JAX keeps all it ever made


@dataclass(frozen=True)
class Program:
    """What a compiled program depends on; two runs with equal programs and shapes share one.

    ``precision`` is that of weights and sums; ``kernels`` say how products are worked out.
    A batch is worked on in parts of at most ``part`` examples, whose gradients are added up, and
    costs are measured on at most ``at_once`` examples together; None sets no limit. ``average``
    says whether a running average of the weights is kept.
    """

    network: Network
    cost: str
    optimizer: str
    clip: bool
    batch_size: int
    outputs: int
    precision: str
    kernels: Kernels = field(default_factory=kernels.usual)
    part: int | None = None
    at_once: int | None = None
    augment: Augment | None = None
    average: bool = False


class Hyper(NamedTuple):
    """The traced numbers of a run; ``rates.learning_rate`` is replaced at every step."""

    rates: Rates
    l1: Rate
    l2: Rate
    smoothing: Rate
    average: Rate = 0.0


class Examples(NamedTuple):
    """Examples as they came, on the device; ``weight`` is None where all count alike."""

    x: jax.Array  # [n, ...]
    y: jax.Array  # [n] class indices, or [n, outputs]
    weight: jax.Array | None  # [n], of mean 1
    scale: Rate

    def take(self, index: jax.Array) -> "Examples":
        """Return the examples at ``index`` [batch]."""
        weight = None if self.weight is None else self.weight[index]
        return Examples(self.x[index], self.y[index], weight, self.scale)


class Average(NamedTuple):
    """The running average of what was learned, and of how many steps."""

    params: Params
    state: Params
    steps: jax.Array


class Learner(NamedTuple):
    """What a step changes: all of it on the device, donated from call to call."""

    params: Params
    state: Params
    opt_state: Any
    cost: jax.Array  # sum over this epoch's examples so far, each measured before its step
    correct: jax.Array  # count over the same examples
    average: Average | None = None

    @property
    def answer(self) -> tuple[Params, Params]:
        """The parameters and state to measure and to keep: the average, if there is one."""
        source = self.average or self
        return source.params, source.state


class Report(NamedTuple):
    """What one epoch amounted to: sums and counts over all its examples."""

    cost: jax.Array
    correct: jax.Array
    penalty: jax.Array
    validation_cost: jax.Array
    validation_correct: jax.Array


def start(program: Program, hyper: Hyper, params: Params, state: Params) -> Learner:
    """Return the learner before its first step."""
    opt_state = optimizer(program.optimizer, hyper.rates, clip=program.clip).init(params)
    average = None
    if program.average:  # arrays of its own: both are donated
        copies = jax.tree.map(jnp.copy, (params, state))
        average = Average(copies[0], copies[1], jnp.zeros((), jnp.int32))
    return Learner(params, state, opt_state, *_zero_sums(program), average)


def step(
    program: Program, learner: Learner, batch: Examples, hyper: Hyper, key: jax.Array
) -> Learner:
    """Return the learner after one step on ``batch``: w <- update(w, dC/dw), C the mean cost."""
    gradients, (cost, correct, state) = _gradients(program, learner, batch, hyper, key)
    gradients = penalties.add_gradient(learner.params, gradients, hyper.l1, hyper.l2)
    method = optimizer(program.optimizer, hyper.rates, clip=program.clip)
    updates, opt_state = method.update(gradients, learner.opt_state, learner.params)
    params = optax.apply_updates(learner.params, updates)
    cost, correct = learner.cost + cost, learner.correct + correct
    return _averaging(Learner(params, state, opt_state, cost, correct, learner.average), hyper)


def _averaging(learner: Learner, hyper: Hyper) -> Learner:
    """Return the learner with this step in its average, if there is one."""
    if learner.average is None:
        return learner
    average = _averaged(learner.average, learner.params, learner.state, hyper.average)
    return learner._replace(average=average)


def _gradients(
    program: Program, learner: Learner, batch: Examples, hyper: Hyper, key: jax.Array
) -> tuple[Params, Measured]:
    """Return dC/dw, and the sum of the costs, the count of right answers and the state after."""
    n = len(batch.x)

    def mean_cost(
        params: Params, state: Params, part: Examples, key: jax.Array
    ) -> tuple[jax.Array, Measured]:
        measured = _measure(program, params, state, part, hyper.smoothing, key, train=True)
        return measured[0] / n, measured

    gradient = jax.grad(mean_cost, has_aux=True)
    size = part_size(n, program.part)
    if size == n:
        found: tuple[Params, Measured] = gradient(learner.params, learner.state, batch, key)
        return found

    def add(i: jax.Array, total: tuple[Params, Measured]) -> tuple[Params, Measured]:
        gradients, (cost, correct, state) = total
        part = batch.take(i * size + jnp.arange(size))
        more, measured = gradient(learner.params, state, part, jax.random.fold_in(key, i))
        gradients = jax.tree.map(jnp.add, gradients, more)
        return gradients, (cost + measured[0], correct + measured[1], measured[2])

    nothing = jax.tree.map(jnp.zeros_like, learner.params)
    total: tuple[Params, Measured] = jax.lax.fori_loop(
        0, n // size, add, (nothing, (*_zero_sums(program), learner.state))
    )
    return total


def part_size(n: int, most: int | None) -> int:
    """Return into parts of which size to cut a batch of ``n``: alike, and at most ``most``.

    Parts less than half as large as allowed would cost more than they save: then ``n``.

    >>> part_size(512, 64), part_size(100, 64), part_size(97, 64), part_size(10, None)
    (64, 50, 97, 10)
    """
    if most is None:
        return n
    sizes = range(min(n, most), max(most // 2, 1) - 1, -1)
    return next((size for size in sizes if n % size == 0), n)


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


def make_room() -> None:
    """Forget the compiled programs when there are many, as after a search over batch sizes."""
    if advance._cache_size() >= KEPT_PROGRAMS:  # type: ignore[attr-defined]
        advance.clear_cache()  # type: ignore[attr-defined]
        gc.collect()  # they hang in cycles


def _measure(
    program: Program,
    params: Params,
    state: Params,
    batch: Examples,
    smoothing: Rate,
    key: jax.Array | None = None,
    train: bool = False,
) -> Measured:
    """Return the sum of the costs, the number of right answers and the state after."""
    dtype = jnp.dtype(program.precision)
    network, x = program.network, batch.x
    if train and key is not None and program.augment is not None:
        key, chance = jax.random.split(key)
        x = program.augment.apply(chance, x)
    x = scaled(x.reshape(len(x), *(network.shape or x.shape[1:])), batch.scale, dtype)
    z, state = network.logits(params, state, x, key=key, train=train)
    y = targets(batch.y, program.outputs, smoothing, dtype)
    costs = cost_function(program.cost, network.output)(z, y)  # [batch]
    if batch.weight is not None:
        costs = costs * batch.weight.astype(dtype)
    correct = (z.argmax(axis=-1) == batch.y).sum() if batch.y.ndim == 1 else jnp.zeros((), int)
    return costs.sum(), correct.astype(jnp.int32), state


def _total(program: Program, learner: Learner, examples: Examples) -> Sums:
    """Return the sum of the costs and the number of right answers over all ``examples``."""
    n = len(examples.x)
    length = min(n, program.at_once or VALIDATION_CHUNK)
    params, state = learner.answer
    whole, rest = divmod(n, length)

    def add(first: jax.Array | int, length: int, sums: Sums) -> Sums:
        index = first + jnp.arange(length)
        chunk = examples.take(index)
        cost, correct, _ = _measure(program, params, state, chunk, 0.0)
        return sums[0] + cost, sums[1] + correct

    sums = jax.lax.fori_loop(
        0, whole, lambda i, sums: add(i * length, length, sums), _zero_sums(program)
    )
    return add(whole * length, rest, sums) if rest else sums


def _close(
    program: Program,
    learner: Learner,
    report: Report,
    row: jax.Array,
    validation: Examples | None,
    hyper: Hyper,
) -> tuple[Learner, Report]:
    """Write the epoch's row of the report and set the sums back to zero."""
    measured = _zero_sums(program)
    if validation is not None:
        measured = _total(program, learner, validation)
    penalty = penalties.value(learner.answer[0], hyper.l1, hyper.l2)
    values = Report(learner.cost, learner.correct, penalty, *measured)
    report = jax.tree.map(lambda column, value: column.at[row].set(value), report, values)
    zero_cost, zero_correct = _zero_sums(program)
    return learner._replace(cost=zero_cost, correct=zero_correct), report


def _zero_sums(program: Program) -> Sums:
    return jnp.zeros((), program.precision), jnp.zeros((), jnp.int32)


def _blank(program: Program, rows: int) -> Report:
    real, count = jnp.zeros(rows, program.precision), jnp.zeros(rows, jnp.int32)
    return Report(real, count, real, real, count)
