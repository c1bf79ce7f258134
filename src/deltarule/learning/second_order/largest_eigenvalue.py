"""The largest eigenvalue of the Hessian, on line (LeCun, Bottou, Orr and Mueller 1998, 8.2).

Along an eigenvector a small step changes the gradient by the eigenvalue times the step; a vector
that is replaced by that change, over and over, turns to the eigenvector of the largest eigenvalue
(the power method) and its length to that eigenvalue. One example at a time is enough:

    (64)  Psi <- (1 - gamma) Psi + gamma/alpha (g_p(w + alpha Psi/|Psi|) - g_p(w))

g_p is the gradient of example p alone. 1/|Psi| is the best single learning rate of gradient
descent near a minimum; beyond 2/|Psi| it diverges.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from deltarule.learning import penalties
from deltarule.learning.measure import gradients_of
from deltarule.learning.program import Examples, Hyper, Learner, Program
from deltarule.network import kernels
from deltarule.network.network import Params

GAMMAS = ((20, 0.1), (80, 0.03), (200, 0.01), (400, 0.003))  # gamma until which example (Fig. 24)
PATTERNS = 400
ALPHA = 0.01  # short, but long enough that the change of a gradient stands out of its rounding
_SHORT = 1e-6  # the length of the first, random Psi: it gives a direction and is soon forgotten


@partial(jax.jit, static_argnums=0)
def largest_eigenvalue(
    program: Program,
    learner: Learner,
    train: Examples,
    order: jax.Array,
    hyper: Hyper,
    seed: jax.Array,
) -> jax.Array:
    """Return |Psi| at the weights of ``learner`` after looking at ``order``, batch by batch.

    ``order`` [PATTERNS, examples at once] are indices into ``train``: one at once in the paper.
    The cost is that of training: with dropout, augmentation and the L2 penalty, if any.
    """

    def gradient(params: Params, batch: Examples, key: jax.Array) -> Params:
        here = learner._replace(params=params)
        found, _ = gradients_of(program, here, batch, hyper, key)
        return penalties.add_gradient(params, found, 0.0, hyper.l2)

    def look(p: jax.Array, psi: Params) -> Params:
        batch, key = train.take(order[p]), jax.random.fold_in(jax.random.key(seed), p)
        way = optax.tree.scale(ALPHA / optax.tree.norm(psi), psi)
        there = gradient(optax.tree.add(learner.params, way), batch, key)
        change = optax.tree.sub(there, gradient(learner.params, batch, key))
        gamma = gammas[p]
        mixed: Params = jax.tree.map(lambda a, b: a + gamma * (b / ALPHA - a), psi, change)
        return mixed

    ends, values = zip(*GAMMAS, strict=True)
    dtype = jnp.dtype(program.precision)
    gammas = jnp.asarray(values, dtype)[
        jnp.searchsorted(jnp.array(ends), jnp.arange(PATTERNS), side="right")
    ]
    with kernels.using(program.kernels):
        psi = jax.lax.fori_loop(0, PATTERNS, look, _random(learner.params, seed))
    length = optax.tree.norm(psi)
    return jnp.where(length < _SHORT, 0, length)  # shorter than it began: nothing is curved


def _random(params: Params, seed: jax.Array) -> Params:
    """Return a random direction, of length _SHORT."""
    drawn = optax.tree.random_like(jax.random.key(seed), params)
    short: Params = optax.tree.scale(_SHORT / optax.tree.norm(drawn), drawn)
    return short
