"""The arithmetic of scikit-learn's multilayer perceptron, compiled: costs, gradients, epochs.

Weights are [inputs, outputs] and a batch is [examples, inputs], as scikit-learn has them. With
activations a and weighted inputs z = a W + b, for a batch of examples that weigh w, n in sum:

    cost       sum of w loss(y, a) / n + alpha / (2 n) sum of W^2
    delta      w (a - y) at the output; delta W' times the slope of a one layer below
    gradients  (a' delta + alpha W) / n, and the sum of delta over the examples / n

delta has this form at every output because loss and output activation belong together: softmax or
logistic with the cross-entropy, identity with the squared error, exp with Poisson's deviance.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import expit, xlogy

Array = Any  # of JAX inside a program, of NumPy outside
Arrays = tuple[Array, ...]

PROGRAMS = 64  # kept at once: one for each kind of network and shape of data
PACKED = 20_000  # weights, at most, that are updated as one vector: fewer and larger operations


class Kind(NamedTuple):
    """What a program is compiled for, besides shapes."""

    hidden: str
    output: str
    loss: str
    solver: str
    nesterov: bool = False
    batch: int = 0


class Hyper(NamedTuple):
    """Numbers that change without compiling again; of momentum or of Adam only those are used."""

    alpha: Any
    momentum: Any = 0.0
    beta_1: Any = 0.0
    rest_1: Any = 1.0  # 1 - beta_1, in double precision before it is rounded
    beta_2: Any = 0.0
    rest_2: Any = 1.0
    epsilon: Any = 0.0


class Learned(NamedTuple):
    """Weights, biases, and the optimizer's moments of both, weights first."""

    coefs: Arrays
    intercepts: Arrays
    first: Arrays
    second: Arrays


class Examples(NamedTuple):
    """Inputs [n, inputs], targets [n, outputs] and weights [n]."""

    x: Array
    y: Array
    weight: Array


class Plan(NamedTuple):
    """Which examples when: orders [epochs, steps x batch], filled up; rates [epochs, steps].

    There are ``n`` examples.
    """

    orders: Any
    rates: Any
    n: Any
    epochs: Any  # to run, at most as many as there are orders


class Patience(NamedTuple):
    """The lowest cost so far, how many epochs ago, and when to stop."""

    best: Any
    waited: Any
    longest: Any
    tol: Any


class Outcome(NamedTuple):
    """What ``train`` returns: what was learned, a cost an epoch, how many epochs, the patience."""

    learned: Learned
    losses: jax.Array
    epochs: jax.Array
    patience: Patience


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "identity": lambda z: z,
    "logistic": expit,
    "tanh": jnp.tanh,
    "relu": lambda z: jnp.maximum(z, 0),
    "softmax": partial(jax.nn.softmax, axis=1),
    "exp": jnp.exp,
}
SLOPES: dict[str, Callable[[jax.Array], jax.Array]] = {  # from the activation
    "identity": jnp.ones_like,
    "logistic": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
    "relu": lambda a: (a != 0).astype(a.dtype),
}


def _inside(a: jax.Array) -> jax.Array:
    """Return probabilities that have a logarithm."""
    eps = float(np.finfo(a.dtype).eps)
    return jnp.clip(a, eps, 1 - eps)


def _cross_entropy(y: jax.Array, a: jax.Array) -> jax.Array:
    return -xlogy(y, _inside(a))


def _binary_cross_entropy(y: jax.Array, a: jax.Array) -> jax.Array:
    a = _inside(a)
    return -(xlogy(y, a) + xlogy(1 - y, 1 - a))


def _squared_error(y: jax.Array, a: jax.Array) -> jax.Array:
    return (y - a) ** 2 / (2 * y.shape[1])  # the mean over the outputs


def _poisson(y: jax.Array, a: jax.Array) -> jax.Array:
    return xlogy(y, y / a) - y + a


LOSSES = {
    ("log_loss", "softmax"): _cross_entropy,
    ("log_loss", "logistic"): _binary_cross_entropy,
    ("squared_error", "identity"): _squared_error,
    ("poisson", "exp"): _poisson,
}


def cost_and_gradients(
    kind: Kind, coefs: Arrays, intercepts: Arrays, batch: Examples, alpha: jax.Array
) -> tuple[jax.Array, Arrays]:
    """Return the cost of a batch, and its derivatives by all weights and then all biases."""
    activations, w = [batch.x], batch.weight[:, None]
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        name = kind.output if i == len(coefs) - 1 else kind.hidden
        activations.append(ACTIVATIONS[name](activations[-1] @ coef + intercept))
    n, y = batch.weight.sum(), batch.y.astype(batch.x.dtype)
    losses = LOSSES[kind.loss, kind.output](y, activations[-1])
    squares = sum((coef * coef).sum() for coef in coefs)
    # an example without weight must not count even where its loss is infinite
    cost = jnp.where(w != 0, w * losses, 0).sum() / n + 0.5 * alpha * squares / n
    delta = w * (activations.pop() - y)
    by_coef, by_intercept = [], []
    for coef in reversed(coefs):
        a = activations.pop()
        by_coef.append((a.T @ delta + alpha * coef) / n)
        by_intercept.append(delta.sum(0) / n)
        if activations:
            delta = (delta @ coef.T) * SLOPES[kind.hidden](a)
    return cost, (*reversed(by_coef), *reversed(by_intercept))


def packed(
    kind: Kind, sizes: tuple[int, ...], vector: jax.Array, examples: Examples, alpha: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the cost and its gradient for weights and biases in one vector, for L-BFGS."""
    parts = _parts(vector, [*pairwise(sizes), *((size,) for size in sizes[1:])])
    half = len(parts) // 2
    cost, gradients = cost_and_gradients(kind, parts[:half], parts[half:], examples, alpha)
    return cost, _vector(gradients)


def _vector(parts: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate([part.ravel() for part in parts])


def _parts(vector: jax.Array, shapes: Sequence[tuple[int, ...]]) -> Arrays:
    """Return the arrays of these shapes of which ``vector`` is made up."""
    ends = list(accumulate(math.prod(shape) for shape in shapes))
    parts = jnp.split(vector, ends[:-1])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def train(
    kind: Kind,
    learned: Learned,
    examples: Examples,
    plan: Plan,
    hyper: Hyper,
    patience: Patience,
) -> Outcome:
    """Train for ``plan.epochs`` epochs, or until the cost has not fallen for too long."""
    steps = -(-plan.n // kind.batch)
    shapes = [each.shape for each in (*learned.coefs, *learned.intercepts)]
    half, one = len(shapes) // 2, sum(map(math.prod, shapes)) <= PACKED

    def weights(learned: Learned) -> tuple[Arrays, Arrays]:
        parts = _parts(learned.coefs[0], shapes) if one else (*learned.coefs, *learned.intercepts)
        return parts[:half], parts[half:]

    def step(i: jax.Array, carry: tuple[Learned, jax.Array], epoch: jax.Array) -> Any:
        learned, total = carry
        batch, real = _batch(kind, examples, plan, epoch, i)
        cost, gradients = cost_and_gradients(kind, *weights(learned), batch, hyper.alpha)
        gradients = (_vector(gradients),) if one else gradients
        rate = plan.rates[epoch, i]
        return UPDATES[kind.solver](kind, learned, gradients, rate, hyper), total + cost * real

    def go_on(carry: Outcome) -> Any:
        waiting = carry.patience.waited <= carry.patience.longest
        return (carry.epochs < plan.epochs) & (waiting | (carry.epochs == 0))

    def epoch(carry: Outcome) -> Outcome:
        at = carry.epochs
        start = (carry.learned, jnp.zeros_like(patience.best))
        learned, total = jax.lax.fori_loop(0, steps, partial(step, epoch=at), start)
        loss = total / plan.n.astype(total.dtype)
        best, waited = carry.patience.best, carry.patience.waited
        waited = jnp.where(loss > best - patience.tol, waited + 1, 0)
        after = patience._replace(best=jnp.where(loss < best, loss, best), waited=waited)
        return Outcome(learned, carry.losses.at[at].set(loss), at + 1, after)

    losses = jnp.zeros(len(plan.rates), patience.best.dtype)
    if one:
        learned = Learned((_vector((*learned.coefs, *learned.intercepts)),), (), *(
            (_vector(moment),) if moment else () for moment in (learned.first, learned.second)
        ))  # fmt: skip
    start = Outcome(learned, losses, jnp.zeros_like(plan.epochs), patience)
    outcome: Outcome = jax.lax.while_loop(go_on, epoch, start)
    learned = outcome.learned
    moments = [
        _parts(moment[0], shapes) if one and moment else moment
        for moment in (learned.first, learned.second)
    ]
    return outcome._replace(learned=Learned(*weights(learned), *moments))


def _batch(
    kind: Kind, examples: Examples, plan: Plan, epoch: jax.Array, i: jax.Array
) -> tuple[Examples, jax.Array]:
    """Return a batch and how many examples are in it; what fills up the last one weighs nothing."""
    at = i * kind.batch
    rows = jax.lax.dynamic_slice(plan.orders, (epoch, at), (1, kind.batch))[0]
    real = at + jnp.arange(kind.batch) < plan.n
    x, y, weight = (each[rows] for each in examples)
    return Examples(x, y, jnp.where(real, weight, 0)), real.sum().astype(weight.dtype)


def _moved(learned: Learned, by: Sequence[jax.Array]) -> tuple[Arrays, Arrays]:
    moved = [p + d for p, d in zip((*learned.coefs, *learned.intercepts), by, strict=True)]
    half = len(learned.coefs)
    return tuple(moved[:half]), tuple(moved[half:])


def _sgd(kind: Kind, learned: Learned, gradients: Arrays, rate: jax.Array, h: Hyper) -> Learned:
    """v <- mu v - eta g; w <- w + v, or with Nesterov's look ahead w + mu v - eta g."""
    pairs = zip(learned.first, gradients, strict=True)
    velocities = tuple(h.momentum * v - rate * g for v, g in pairs)
    by = velocities
    if kind.nesterov:
        ahead = zip(velocities, gradients, strict=True)
        by = tuple(h.momentum * v - rate * g for v, g in ahead)
    return Learned(*_moved(learned, by), velocities, learned.second)


def _adam(kind: Kind, learned: Learned, gradients: Arrays, rate: jax.Array, h: Hyper) -> Learned:
    """w <- w - eta_t m / (sqrt(v) + epsilon); eta_t holds the corrections of both means."""
    first = [h.beta_1 * m + h.rest_1 * g for m, g in zip(learned.first, gradients, strict=True)]
    second = [
        h.beta_2 * v + h.rest_2 * (g * g) for v, g in zip(learned.second, gradients, strict=True)
    ]
    by = [-rate * m / (jnp.sqrt(v) + h.epsilon) for m, v in zip(first, second, strict=True)]
    return Learned(*_moved(learned, by), tuple(first), tuple(second))


UPDATES = {"sgd": _sgd, "adam": _adam}


def run(kind: Kind, *given: Any) -> Outcome:
    """Return ``train`` of the same, compiled once for a kind and the shapes of what is given."""
    outcome: Outcome = compiled(train, (kind,), given)(*given)
    return outcome


def run_packed(kind: Kind, sizes: tuple[int, ...], *given: Any) -> tuple[jax.Array, jax.Array]:
    """Return ``packed`` of the same, compiled once."""
    found: tuple[jax.Array, jax.Array] = compiled(packed, (kind, sizes), given)(*given)
    return found


def compiled(function: Any, static: tuple[Any, ...], given: Any) -> Any:
    """Return ``function`` of ``static`` and more, compiled once for the shapes of ``given``."""
    shapes = tuple((each.shape, each.dtype.str) for each in jax.tree.leaves(given))
    return _compiled(function, static, shapes)


@lru_cache(maxsize=PROGRAMS)
def _compiled(function: Any, static: tuple[Any, ...], signature: tuple[Any, ...]) -> Any:
    """Return a program of its own for every signature, so that a forgotten one is freed."""
    return jax.jit(partial(function, *static))
