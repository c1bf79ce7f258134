"""Functions whose minima are known, and the paths of the methods down them.

All are of one family in three dimensions, whose numbers are traced: a method is compiled once.
"""

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from deltarule.learning.objective import Objective
from deltarule.learning.optimizers import OPTIMIZERS, Rates, optimizer

N = 3
SEARCHING = ("conjugate_gradient", "fletcher_reeves", "bfgs", "lbfgs")
DAMPED = ("newton", "levenberg_marquardt")
RATES = Rates(1.0, 0.9, 0.9, 0.999, 1e-8, 0.0, 0.0)
FAR = np.array([-1.2, 1.0, -0.5])  # from the minimum (1, 1, 1) of Rosenbrock's valley


class Landscape(NamedTuple):
    """(u - low)'A (u - low)/2 + valley Rosenbrock(u) with u = T w, not a number where w > wall."""

    a: np.ndarray
    low: np.ndarray
    valley: float = 0.0
    basis: np.ndarray = np.eye(N)
    wall: float = np.inf

    def cost(self, w):
        u = self.basis @ w
        away = u - self.low
        bent = jnp.sum(100 * (u[1:] - u[:-1] ** 2) ** 2 + (1 - u[:-1]) ** 2)
        cost = away @ self.a @ away / 2 + self.valley * bent
        return jnp.where(jnp.max(w) > self.wall, jnp.nan, cost)

    def gauss_newton(self, w):
        """J'J of the errors; half a square counts 1, and Rosenbrock's sum has whole ones."""
        j = jax.jacobian(lambda w: _bends(self.basis @ w))(w)
        return self.basis.T @ self.a @ self.basis + 2 * self.valley * j.T @ j

    def objective(self):
        return Objective(self.cost, jax.grad(self.cost), self.gauss_newton, N)

    def costs(self, points):
        return np.array(jax.vmap(self.cost)(jnp.asarray(points)))


def _bends(u):
    return jnp.concatenate([10 * (u[1:] - u[:-1] ** 2), 1 - u[:-1]])


ROSENBROCK = Landscape(np.zeros((N, N)), np.zeros(N), 1.0)


def bowl(spread=100.0, seed=0, n=N):
    """Return a quadratic of eigenvalues from 1 to ``spread``."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    a = basis @ np.diag(np.geomspace(1, spread, n)) @ basis.T
    return Landscape((a + a.T) / 2, rng.standard_normal(n))


@partial(jax.jit, static_argnums=0)
def _step(name, land, w, state, rates):
    # the searching methods know cost and gradient from the search before
    value, gradient = jax.value_and_grad(land.cost)(w)
    change, state = optimizer(name, rates).update(
        gradient, state, w, value=value, objective=land.objective()
    )
    return optax.apply_updates(w, change), state


def path(name, land, start, steps, *, damping=None, dtype="float64"):
    """Return the weights before the first step and after each, and the states after each."""
    usual = OPTIMIZERS[name].damping or 0.0
    rates = RATES._replace(damping=usual if damping is None else damping)
    land, w, rates = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (land, start, rates))
    state = jax.tree.map(lambda a: jnp.array(a, a.dtype), optimizer(name, rates).init(w))
    points, states = [w], []
    for _ in range(steps):
        w, state = _step(name, land, w, state, rates)
        points.append(w)
        states.append(state)
    return np.array(points), states


@cache
def down_the_valley(name):
    """Return a path of 120 steps down Rosenbrock's valley."""
    return path(name, ROSENBROCK, FAR, 120)
