"""The methods that see all examples at every step, on functions whose minima are known."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.learning.optimizers import OPTIMIZERS, optimizer
from deltarule.learning.second_order import damping, line_search
from second_order.descents import (
    DAMPED,
    FAR,
    RATES,
    ROSENBROCK,
    SEARCHING,
    Landscape,
    bowl,
    down_the_valley,
    path,
)

every_method = pytest.mark.parametrize("name", [*SEARCHING, *DAMPED])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def test_the_table_knows_which_see_all_data():
    assert {name for name, row in OPTIMIZERS.items() if row.all_data} == {*SEARCHING, *DAMPED}
    assert all(row.counts for row in OPTIMIZERS.values() if row.all_data)


@every_method
def test_the_valley_ends_in_its_minimum(name):
    points, _ = down_the_valley(name)
    np.testing.assert_allclose(points[-1], 1, atol=1e-5)


@every_method
def test_no_step_goes_uphill(name):
    costs = ROSENBROCK.costs(down_the_valley(name)[0])
    assert (np.diff(costs) <= 0).all()


@every_method
def test_a_quadratic_ends_in_its_minimum(name):
    land = bowl()
    points, _ = path(name, land, np.zeros(3), 20)
    np.testing.assert_allclose(points[-1], land.low, atol=1e-6)


@every_method
def test_a_minimum_is_not_left(name):
    points, _ = path(name, ROSENBROCK, np.ones(3), 3)
    np.testing.assert_array_equal(points, 1)


@every_method
def test_the_same_bits_twice(name):
    again, _ = path(name, ROSENBROCK, FAR, 10)
    np.testing.assert_array_equal(down_the_valley(name)[0][:11], again)


ROTATION, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
STRETCH = ROTATION @ np.diag([0.2, 1.0, 5.0])


@every_method
def test_a_rotation_of_the_weights_changes_no_step(name):
    turned, _ = path(name, ROSENBROCK._replace(basis=ROTATION), ROTATION.T @ FAR, 5)
    np.testing.assert_allclose(turned @ ROTATION.T, down_the_valley(name)[0][:6], rtol=1e-6)


@pytest.mark.parametrize("name", DAMPED)
def test_without_damping_units_of_the_weights_do_not_matter(name):
    near = np.array([1.1, 1.2, 1.5])
    land = Landscape(100 * np.eye(3), np.ones(3), 1.0)  # H is positive: |H| depends on the units
    plain, _ = path(name, land, near, 4, damping=0.0)
    stretched = land._replace(basis=STRETCH)
    other, _ = path(name, stretched, np.linalg.solve(STRETCH, near), 4, damping=0.0)
    np.testing.assert_allclose(other @ STRETCH.T, plain, rtol=1e-7)
    assert land.costs(plain)[-1] < 1e-3 * land.costs(plain)[0]


# ---- hard numbers


@every_method
def test_a_cost_that_is_no_number_is_not_walked_into(name):
    land = Landscape(np.eye(3), np.full(3, 2.0), wall=1.0)
    points, _ = path(name, land, np.zeros(3), 8)
    assert np.isfinite(points).all()
    assert points.max() <= 1
    assert land.costs(points)[-1] < land.costs(points)[0] / 2


@every_method
def test_where_no_cost_is_a_number_the_weights_stay(name):
    points, _ = path(name, ROSENBROCK._replace(wall=-10.0), FAR, 2)
    np.testing.assert_array_equal(points, np.broadcast_to(FAR, points.shape))


@pytest.mark.parametrize("name", ["conjugate_gradient", "bfgs", "lbfgs", *DAMPED])
def test_in_single_precision_it_settles_where_rounding_ends_all_progress(name):
    with jax.enable_x64(False):
        land = Landscape(*bowl(1000)[:2], valley=0.01)._replace(low=np.array([3.0, 8.0, 60.0]))
        points, states = path(name, land, np.zeros(3), 120, dtype="float32")
    costs = land.costs(points.astype(float))  # in double, lest the measure be what is measured
    assert {leaf.dtype for leaf in jax.tree.leaves(states[-1].evaluations)} == {np.dtype("f4")}
    assert all(after <= before * (1 + line_search.ROUNDING) for before, after in pairwise(costs))
    trials = np.diff([float(state.evaluations.cost) for state in states])
    most = damping.MOST_TRIALS + 1 if name in DAMPED else line_search.MOST_TRIALS
    assert trials.max() <= most
    best, _ = path("newton", land, points[-1].astype(float), 20)
    assert costs[-1] == pytest.approx(float(land.cost(jnp.asarray(best[-1]))), rel=1e-4)


# ---- what is counted


@pytest.mark.parametrize("name", ["conjugate_gradient", "newton", "levenberg_marquardt"])
def test_evaluations_are_those_that_are_made(name):
    asked = []

    def cost(w):
        asked.append(w)
        return ROSENBROCK.cost(w)

    objective = ROSENBROCK.objective()._replace(value=cost)
    method = optimizer(name, RATES._replace(damping=1e-3))
    w, made = jnp.asarray(FAR), 0
    state = method.init(w)
    value, gradient = jax.value_and_grad(ROSENBROCK.cost)(w)
    with jax.disable_jit():
        for step in (1, 2):
            change, state = method.update(gradient, state, w, value=value, objective=objective)
            w = w + change
            if name in SEARCHING:  # the next step begins with what this one knew
                value, gradient = state.search.value, state.search.grad
                made = gradients = 1 + len(asked)
            else:  # three more for three columns of H, or three rows of J
                value, gradient = jax.value_and_grad(ROSENBROCK.cost)(w)
                made, gradients = step + len(asked), 4 * step
            assert float(state.evaluations.cost) == made
            assert float(state.evaluations.gradient) == gradients
