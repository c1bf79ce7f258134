"""BFGS: its matrix M, and how fast it arrives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize, rosen, rosen_der

from deltarule.learning.second_order import bfgs
from second_order.descents import FAR, ROSENBROCK, bowl, down_the_valley, path


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def improved(m, delta, phi):
    with jax.enable_x64(True):
        return np.array(bfgs.improved(*map(jnp.asarray, (m, delta, phi))))


def test_an_update_by_hand():
    # M = I, delta = (1, 0), phi = (2, 1): delta'phi = 2, phi'M phi = 5, and
    # M + (1 + 5/2) diag(1, 0) / 2 - ((2 1; 0 0) + (2 0; 1 0)) / 2 = (0.75 -0.5; -0.5 1)
    found = improved(np.eye(2), np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(found, [[0.75, -0.5], [-0.5, 1.0]])


vectors = arrays(float, 4, elements=st.floats(-2, 2).map(lambda x: round(x, 2)))
positive = arrays(float, (4, 4), elements=st.floats(-1, 1).map(lambda x: round(x, 2))).map(
    lambda root: root @ root.T + np.eye(4)
)


@settings(deadline=None)
@given(m=positive, a=positive, delta=vectors.filter(lambda d: d @ d > 0.01))
def test_m_maps_the_change_of_gradient_onto_the_step_and_stays_positive(m, a, delta):
    phi = a @ delta  # of a cost with the Hessian A
    found = improved(m, delta, phi)
    np.testing.assert_allclose(found @ phi, delta, atol=1e-9)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    assert np.linalg.eigvalsh(found).min() > 0


@settings(deadline=None)
@given(m=positive, a=positive, t=positive, delta=vectors.filter(lambda d: d @ d > 0.01))
def test_units_of_the_weights_do_not_matter(m, a, t, delta):
    """With w = T u: delta_u = T^-1 delta, phi_u = T'phi, and M_u = T^-1 M T'^-1 stays that."""
    there = np.linalg.inv(t)
    other = improved(there @ m @ there.T, there @ delta, t.T @ (a @ delta))
    np.testing.assert_allclose(t @ other @ t.T, improved(m, delta, a @ delta), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("phi", "use"),
    [
        ([1.0, 0.0], True),
        ([1e-3, 1.0], True),
        ([1e-9, 1.0], False),
        ([0.0, 1.0], False),
        ([-1.0, 0.0], False),
        ([0.0, 0.0], False),
        ([np.nan, 0.0], False),
    ],
)
def test_an_update_whose_sign_rounding_may_have_made_is_left_out(phi, use):
    w, g = jnp.array([1.0, 1.0]), jnp.array([3.0, 4.0])
    m = jnp.array([[2.0, 1.0], [1.0, 3.0]])
    last = bfgs.InverseHessian(m, w, g, jnp.asarray(2, jnp.int32))
    _, after = bfgs._direction(g + jnp.array(phi), last, w + jnp.array([1.0, 0.0]))
    assert (int(after.updates) == 3) == use
    assert np.array_equal(after.matrix, m) == (not use)
    np.testing.assert_array_equal(after.weights, [2, 1])  # the next step counts from here


def test_m_is_scaled_before_its_first_update_only():
    # delta'phi / phi'phi = 1/4 of an identity; then delta = (1, 0), phi = (2, 0) make M_11 1/2
    w, g, d = jnp.array([1.0, 1.0]), jnp.array([3.0, 4.0]), jnp.array([1.0, 0.0])
    first = bfgs._start(w)._replace(gradient=g)
    p, second = bfgs._direction(g + 2 * d, first, w + d)
    np.testing.assert_allclose(second.matrix, [[0.5, 0], [0, 0.5]])
    np.testing.assert_allclose(p, [-2.5, -2])
    _, third = bfgs._direction(g + 6 * d, second, w + 2 * d)
    np.testing.assert_allclose(third.matrix, [[0.25, 0], [0, 0.5]])


def test_the_first_direction_is_the_steepest():
    w, g = jnp.array([1.0, 1.0]), jnp.array([3.0, 4.0])
    p, after = bfgs._direction(g, bfgs._start(w), w)
    np.testing.assert_array_equal(p, -g)
    assert int(after.updates) == 0


def test_it_converges_superlinearly():
    """Each error is a vanishing share of the one before: it is not so for gradient descent."""
    points, _ = down_the_valley("bfgs")
    errors = np.linalg.norm(points - 1, axis=1)
    last = int(np.argmax(errors < 1e-7))
    ratios = errors[1 : last + 1] / errors[:last]
    assert ratios[-2:].max() < 0.05 < 0.3 < ratios[: last // 2].mean()


def test_m_becomes_the_inverse_hessian_of_a_quadratic():
    land = bowl(10)
    _, states = path("bfgs", land, np.zeros(3), 8)
    np.testing.assert_allclose(states[-1].direction.matrix, np.linalg.inv(land.a), rtol=1e-3)


@pytest.mark.parametrize(("name", "theirs"), [("bfgs", "BFGS"), ("lbfgs", "L-BFGS-B")])
def test_it_needs_about_as_many_gradients_as_scipys(name, theirs):
    found = minimize(rosen, FAR, jac=rosen_der, method=theirs, options={"gtol": 1e-6})
    points, states = down_the_valley(name)
    arrived = np.argmax(ROSENBROCK.costs(points) <= max(found.fun, 1e-12))
    assert arrived > 0
    assert float(states[arrived - 1].evaluations.gradient) <= 1.5 * found.njev
