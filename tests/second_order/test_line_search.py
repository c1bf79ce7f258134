"""Line searches: accepted steps meet their conditions, and failures do no harm."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.learning.objective import Objective
from deltarule.learning.second_order import line_search
from deltarule.learning.second_order.line_search import searched
from second_order.descents import Landscape, N, bowl


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def along(m):
    """Directions p = -M g, which count how often they are asked since they began anew."""
    return optax.GradientTransformation(
        lambda params: jnp.zeros((), jnp.int32),
        lambda gradient, count, params=None: (-m @ gradient, count + 1),
    )


@partial(jax.jit, static_argnums=0)
def first_step(flatness, land, m, w):
    method = searched(along(m), flatness)
    value, gradient = jax.value_and_grad(land.cost)(w)
    return method.update(gradient, method.init(w), w, value=value, objective=land.objective())


FLAT = 0.3
landscapes = st.builds(
    lambda seed, spread, valley: bowl(spread, seed)._replace(valley=valley),
    st.integers(0, 1000), st.floats(1.5, 1e3), st.sampled_from([0.0, 0.1, 3.0]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(land=landscapes, seed=st.integers(0, 1000), length=st.floats(1e-4, 1))
def test_an_accepted_step_meets_the_wolfe_conditions(land, seed, length):
    rng = np.random.default_rng(seed)
    m, w = length * bowl(10, seed).a, rng.standard_normal(N)
    with jax.enable_x64(True):  # the fixture is gone when hypothesis comes again
        step, state = first_step(FLAT, land, m, w)
        slope = jax.grad(land.cost)
        before, after = float(step @ slope(w)), float(step @ slope(w + step))
        gain = float(land.cost(w + step) - land.cost(w))
    trials = float(state.evaluations.cost) - 1
    assert before < 0
    assert gain <= line_search.DECREASE * before
    assert abs(after) <= FLAT * abs(before) or trials == line_search.MOST_TRIALS
    assert float(state.search.value) == pytest.approx(float(land.cost(w + step)), rel=1e-12)
    assert 1 <= trials <= line_search.MOST_TRIALS


def test_a_direction_uphill_is_replaced_by_the_gradient_and_forgotten():
    land, w = bowl(), np.ones(N)
    up, state = first_step(FLAT, land, -np.eye(N), w)
    steepest, _ = first_step(FLAT, land, np.eye(N), w)
    np.testing.assert_array_equal(up, steepest)
    assert int(state.direction) == 0
    _, trusted = first_step(FLAT, land, np.eye(N), w)
    assert int(trusted.direction) == 1


WALL = Landscape(np.eye(N), np.full(N, 2.0), wall=1.0)  # at (1, 1, 1) every step leads into it


def test_a_search_that_finds_no_number_stays_and_begins_anew():
    step, state = first_step(FLAT, WALL, np.eye(N), np.ones(N))
    np.testing.assert_array_equal(step, 0)
    assert int(state.direction) == 0
    assert float(state.search.value) == 1.5
    np.testing.assert_array_equal(state.search.grad, -1)
    assert float(state.search.learning_rate) == 1  # not what the search had come down to


def test_a_search_that_finds_only_higher_costs_stays():
    """As where rounding hides the slope. optax alone would take the last step that it tried."""
    w = jnp.array([1.0, 2.0])
    cost = lambda v: 5.0 + jnp.any(v != w) + 0 * v.sum()  # noqa: E731
    ask = Objective(cost, jax.grad(cost), jax.hessian(cost), 1)
    method = searched(along(np.eye(2)), FLAT)
    update = jax.jit(partial(method.update, objective=ask))
    step, state = update(w, method.init(w), w, value=5.0)
    np.testing.assert_array_equal(step, 0)
    assert float(state.search.value) == 5
    assert float(state.evaluations.cost) == 1 + line_search.MOST_TRIALS
    _, again = update(w, state, w, value=5.0)  # what is known of the point is not asked again
    assert float(again.evaluations.cost) == 1 + 2 * line_search.MOST_TRIALS


def test_a_gradient_that_is_no_number_moves_nothing():
    method, w = searched(along(np.eye(N)), FLAT), jnp.ones(N)
    step, state = jax.jit(partial(method.update, objective=bowl().objective()))(
        jnp.full(N, jnp.nan), method.init(w), w, value=1.0
    )
    np.testing.assert_array_equal(step, 0)
    assert int(state.direction) == 0
