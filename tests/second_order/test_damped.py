"""Newton's method and Levenberg-Marquardt: exact where theory says so, damped elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.learning.objective import Objective
from deltarule.learning.optimizers import Rates, optimizer
from deltarule.learning.second_order import damping, newton
from second_order.descents import DAMPED, FAR, ROSENBROCK, Landscape, bowl, path

every_damped = pytest.mark.parametrize("name", DAMPED)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@every_damped
def test_a_quadratic_takes_one_step(name):
    land = bowl()
    points, states = path(name, land, np.zeros(3), 1, damping=0.0)
    np.testing.assert_allclose(points[-1], land.low, rtol=1e-9)
    # the cost here and there; the gradient, and three columns of H or rows of J
    assert states[-1].evaluations == (2, 4)


@every_damped
def test_a_step_by_hand(name):
    # A = diag(1, 4, 9), mu = 1, from 0 with the minimum in (1, 1, 1): g = -(1, 4, 9), and
    # s = (1/2, 4/5, 9/10); the cost falls, so mu becomes 0.1
    land = Landscape(np.diag([1.0, 4.0, 9.0]), np.ones(3))
    points, states = path(name, land, np.zeros(3), 1, damping=1.0)
    np.testing.assert_allclose(points[-1], [0.5, 0.8, 0.9])
    assert float(states[-1].damping) == pytest.approx(0.1)


def bent(name, w, mu):
    """Return w and the state after a step down C = sqrt(1 + w^2), where Newton overshoots."""
    cost = lambda w: jnp.sum(jnp.sqrt(1 + w**2))  # noqa: E731
    ask = Objective(cost, jax.grad(cost), jax.hessian(cost), 1)
    method, w = optimizer(name, Rates(*[0.0] * 7, damping=mu)), jnp.array([w])
    value, gradient = jax.value_and_grad(cost)(w)
    step, state = method.update(gradient, method.init(w), w, value=value, objective=ask)
    return float((w + step)[0]), state


@every_damped
def test_damping_grows_until_the_cost_falls(name):
    # At 2: g = 2/sqrt(5) = 0.894 and H = 5^-1.5 = 0.0894. The cost falls if |2 - s| < 2, that is
    # s = g/(H + mu) < 4, mu > 0.134: not with 0.001, 0.01 and 0.1, but with 1, where s = 0.821.
    after, state = bent(name, 2.0, 1e-3)
    assert after == pytest.approx(2 - 0.894427 / 1.0894427, abs=1e-6)
    assert float(state.damping) == pytest.approx(0.1)
    assert state.evaluations == (1 + 4, 1 + 1)


@every_damped
def test_without_success_the_weights_stay_and_damping_is_kept(name, monkeypatch):
    monkeypatch.setattr(damping, "MOST_TRIALS", 2)
    after, state = bent(name, 2.0, 1e-3)
    assert after == 2.0
    assert float(state.damping) == pytest.approx(0.1)
    assert state.evaluations == (1 + 2, 1 + 1)


@every_damped
def test_damping_stays_within_its_bounds(name):
    _, states = path(name, bowl(), np.zeros(3), 30, damping=1e-9)
    assert float(states[-1].damping) >= damping.LEAST
    _, states = path(name, ROSENBROCK._replace(wall=-10.0), FAR, 4, damping=1.0)
    assert float(states[-1].damping) == damping.MOST


def test_newton_leaves_a_saddle_downhill():
    land = Landscape(np.diag([4.0, -2.0, 1.0]), np.zeros(3))
    points, _ = path("newton", land, np.array([0.5, 1e-3, 0.2]), 3)
    assert abs(points[-1][1]) > 1e-3 * 7  # twice as far with each step
    np.testing.assert_allclose(points[-1][[0, 2]], 0, atol=1e-6)


def test_the_hessian_is_that_of_the_cost():
    points, _ = path("newton", ROSENBROCK, FAR, 1)
    for w in points:
        found = newton.hessian(ROSENBROCK.objective(), jnp.asarray(w))
        np.testing.assert_allclose(found, jax.hessian(ROSENBROCK.cost)(w), rtol=1e-10)


def test_newton_converges_quadratically():
    points, _ = path("newton", ROSENBROCK, FAR, 60)
    errors = np.linalg.norm(points - 1, axis=1)
    near = errors[(errors < 0.1) & (errors > 1e-7)]
    assert len(near) >= 3
    assert (near[1:] < 30 * near[:-1] ** 2 + 1e-2 * near[:-1]).all()


def test_levenberg_marquardt_solves_least_squares_in_one_step():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    points, _ = path("levenberg_marquardt", Landscape(x.T @ x, found), FAR, 1, damping=1e-12)
    np.testing.assert_allclose(points[-1], found, rtol=1e-9)
