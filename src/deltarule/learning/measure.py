"""Costs and gradients of a network on examples. Read ``program.py`` first."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from deltarule.learning.costs import cost_function, targets
from deltarule.learning.optimizers import Rate
from deltarule.learning.program import Examples, Hyper, Learner, Program
from deltarule.network import kernels
from deltarule.network.activations import activation
from deltarule.network.model import scaled
from deltarule.network.network import Params

Sums = tuple[jax.Array, jax.Array]  # of costs, of right answers
Measured = tuple[jax.Array, jax.Array, Params]  # the same, and the state after

JACOBIANS = 64  # examples whose derivatives are held at once
VALIDATION_CHUNK = 1000  # examples a step when costs are only measured
CHUNK_NUMBERS = 1 << 22  # of their inputs, at most


def gradients_of(
    program: Program, learner: Learner, batch: Examples, hyper: Hyper, key: jax.Array
) -> tuple[Params, Measured]:
    """Return dC/dw, and the sum of the costs, the count of right answers and the state after."""
    n = len(batch.x)

    def mean_cost(
        params: Params, state: Params, part: Examples, key: jax.Array
    ) -> tuple[jax.Array, Measured]:
        measured = measure(program, params, state, part, hyper.smoothing, key, train=True)
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
        0, n // size, add, (nothing, (*zero_sums(program), learner.state))
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


def measure(
    program: Program,
    params: Params,
    state: Params,
    batch: Examples,
    smoothing: Rate,
    key: jax.Array | None = None,
    train: bool = False,
) -> Measured:
    """Return the sum of the costs, the number of right answers and the state after."""
    z, y, state = answers(program, params, state, batch, smoothing, key, train)
    costs = _weighed(program, z, y, batch)
    correct = (z.argmax(axis=-1) == batch.y).sum() if batch.y.ndim == 1 else jnp.zeros((), int)
    return costs.sum(), correct.astype(jnp.int32), state


def _weighed(program: Program, z: jax.Array, y: jax.Array, batch: Examples) -> jax.Array:
    """Return the cost of each example [batch], times its weight."""
    costs = cost_function(program.cost, program.network.output)(z, y)
    return costs if batch.weight is None else costs * batch.weight.astype(costs.dtype)


@partial(jax.jit, static_argnums=0)
def each_cost(program: Program, params: Params, state: Params, examples: Examples) -> jax.Array:
    """Return the cost of each of ``examples`` [n], as at prediction, times its weight."""
    n, length = len(examples.x), chunk(program, examples.x.shape)

    def some(index: jax.Array) -> jax.Array:
        batch = examples.take(index)
        z, y, _ = answers(program, params, state, batch, 0.0, None, train=False)
        return _weighed(program, z, y, batch)

    whole = n - n % length
    with kernels.using(program.kernels):
        costs = jax.lax.map(some, jnp.arange(whole).reshape(-1, length)).reshape(-1)
        return jnp.concatenate([costs, some(jnp.arange(whole, n))]) if whole < n else costs


def answers(
    program: Program,
    params: Params,
    state: Params,
    batch: Examples,
    smoothing: Rate,
    key: jax.Array | None,
    train: bool,
) -> Measured:
    """Return the weighted inputs z of the last layer, the targets y and the state after."""
    dtype = jnp.dtype(program.precision)
    network, x = program.network, batch.x
    if train and key is not None and program.augment is not None:
        key, chance = jax.random.split(key)
        x = program.augment.apply(chance, x)
    x = scaled(x.reshape(len(x), *(network.shape or x.shape[1:])), batch.scale, dtype)
    z, state = network.logits(params, state, x, key=key, train=train)
    return z, targets(batch.y, program.outputs, smoothing, dtype, network.output), state


def total(program: Program, learner: Learner, examples: Examples) -> Sums:
    """Return the sum of the costs and the number of right answers over all ``examples``."""
    return added(program, learner.answer, examples, zero_sums(program))


def added(program: Program, answer: tuple[Params, Params], examples: Examples, sums: Sums) -> Sums:
    """Return ``sums`` with those of ``examples`` added, chunk by chunk."""
    length = chunk(program, examples.x.shape)
    whole, rest = divmod(len(examples.x), length)

    def add(first: jax.Array | int, length: int, sums: Sums) -> Sums:
        index = first + jnp.arange(length)
        cost, correct, _ = measure(program, *answer, examples.take(index), 0.0)
        return sums[0] + cost, sums[1] + correct

    sums = jax.lax.fori_loop(0, whole, lambda i, sums: add(i * length, length, sums), sums)
    return add(whole * length, rest, sums) if rest else sums


def chunk(program: Program, shape: tuple[int, ...]) -> int:
    """Return how many of inputs of ``shape`` [n, ...] to measure at once."""
    most = max(1, CHUNK_NUMBERS // math.prod(shape[1:]))
    return min(shape[0], program.at_once or VALIDATION_CHUNK, most)


def zero_sums(program: Program) -> Sums:
    """Return the sums of no examples."""
    return jnp.zeros((), program.precision), jnp.zeros((), jnp.int32)


def gauss_newton(
    program: Program, params: Params, state: Params, batch: Examples, smoothing: Rate
) -> jax.Array:
    """Return J'J / n [weights, weights], J the derivatives of all outputs' errors a - y.

    For the quadratic cost, whose Hessian it is but for terms that vanish with the errors; the
    weights are in the order of ``ravel_pytree``.
    """
    flat, shaped = ravel_pytree(params)
    n, length = len(batch.x), min(len(batch.x), JACOBIANS)

    def errors(flat: jax.Array, index: jax.Array) -> jax.Array:
        one = batch.take(index[None])
        z, y, _ = answers(program, shaped(flat), state, one, smoothing, None, train=True)
        root = 1.0 if one.weight is None else jnp.sqrt(one.weight.astype(z.dtype))
        outputs: jax.Array = root * (activation(program.network.output)(z) - y)[0]
        return outputs

    def add(first: jax.Array | int, length: int, total: jax.Array) -> jax.Array:
        jacobian = jax.vmap(jax.jacrev(errors), (None, 0))(flat, first + jnp.arange(length))
        rows = jacobian.reshape(-1, len(flat))
        more: jax.Array = total + rows.T @ rows
        return more

    whole, rest = divmod(n, length)
    nothing = jnp.zeros((len(flat), len(flat)), flat.dtype)
    total = jax.lax.fori_loop(0, whole, lambda i, total: add(i * length, length, total), nothing)
    return (add(whole * length, rest, total) if rest else total) / n
