"""Conjugate gradient: the directions of the papers, and when they begin anew."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from deltarule.learning.second_order import conjugate_gradient
from deltarule.learning.second_order.conjugate_gradient import Conjugate
from second_order.descents import FAR, ROSENBROCK, bowl, down_the_valley

BETAS = {
    "polak-ribiere": conjugate_gradient._plus,
    "fletcher-reeves": conjugate_gradient._fletcher_reeves,
}
every_beta = pytest.mark.parametrize("beta", BETAS)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def exactly(land, beta, steps):
    """Return points and directions from 0, every search ending exactly in its minimum."""
    w, points, ways = np.zeros(len(land.low)), [], []
    state = conjugate_gradient._start(jnp.asarray(w))
    for _ in range(steps):
        g = land.a @ (w - land.low)
        p, state = BETAS[beta](jnp.asarray(g), state)
        p = np.array(p)
        w = w - (p @ g) / (p @ land.a @ p) * p
        points.append(w)
        ways.append(p)
    return np.array(points), np.array(ways)


@every_beta
@pytest.mark.parametrize("n", [2, 9])
def test_n_exact_steps_reach_the_minimum_of_n_dimensions(beta, n):
    land = bowl(20, n=n)
    points, _ = exactly(land, beta, n)
    np.testing.assert_allclose(points[-1], land.low, atol=1e-8)
    assert np.linalg.norm(points[-2] - land.low) > 1e-3  # and no fewer


@every_beta
def test_directions_are_conjugate(beta):
    land = bowl(20, n=9)
    _, ways = exactly(land, beta, 9)
    between = ways @ land.a @ ways.T
    lengths = np.sqrt(np.diag(between))
    np.testing.assert_allclose(between / np.outer(lengths, lengths), np.eye(9), atol=1e-6)


def following(beta, gradients):
    """Return the directions at these gradients in turn."""
    state, ways = conjugate_gradient._start(jnp.zeros(len(gradients[0]))), []
    for g in gradients:
        p, state = BETAS[beta](jnp.asarray(g), state)
        ways.append(np.array(p))
    return ways


@every_beta
def test_it_begins_anew_after_every_n_steps(beta):
    units = [np.eye(3)[k % 3] * 0.9**k for k in range(8)]  # orthogonal one after another
    anew = [bool(np.array_equal(p, -g)) for p, g in zip(following(beta, units), units, strict=True)]
    assert anew == [True, False, False, True, False, False, True, False]


def test_directions_by_hand():
    # p = -(2, 0); then g = (0, 1), g_before = (2, 0), both numerators ((0, 1) - (2, 0))'(0, 1) = 1
    # and (0, 1)'(0, 1) = 1 over 4: p = -(0, 1) - (2, 0)/4
    for beta in BETAS:
        first, second = following(beta, [np.array([2.0, 0.0]), np.array([0.0, 1.0])])
        np.testing.assert_allclose(first, [-2, 0])
        np.testing.assert_allclose(second, [-0.5, -1])
    # g = (0.1, 1) after (2, 0): (g - g_before)'g = 1.01 - 0.2 = 0.81, and g'g = 1.01
    pair = [np.array([2.0, 0.0]), np.array([0.1, 1.0])]
    np.testing.assert_allclose(following("polak-ribiere", pair)[1], [-0.1 - 2 * 0.81 / 4, -1])
    np.testing.assert_allclose(following("fletcher-reeves", pair)[1], [-0.1 - 2 * 1.01 / 4, -1])


def test_it_begins_anew_where_gradients_are_far_from_orthogonal():
    # g'g_before = 0.4 |g| |g_before| against 0.2 g'g, with |g| = 1: 0.39 is too much, 0.19 is not
    for cosine, anew in ((0.39, True), (-0.39, True), (0.19, False), (-0.19, False)):
        g = np.array([cosine, np.sqrt(1 - cosine**2)])
        _, p = following("polak-ribiere", [np.array([1.0, 0.0]), g])
        assert np.array_equal(p, -g) == anew


def test_a_direction_uphill_is_not_taken():
    # p_before = (0, 5), beta = 1/0.01: p = (0, -1) + 100 (0, 5) would climb along g = (0, 1)
    state = Conjugate(jnp.array([0.1, 0.0]), jnp.array([0.0, 5.0]), jnp.asarray(1))
    p, after = conjugate_gradient._plus(jnp.array([0.0, 1.0]), state)
    np.testing.assert_array_equal(p, [0, -1])
    assert int(after.age) == 1


def test_a_negative_beta_is_taken_as_none(monkeypatch):
    # (g - g_before)'g = 0.01 - 0.02 < 0 for g = (0.1, 0) after (0.2, 1)
    monkeypatch.setattr(conjugate_gradient, "ORTHOGONAL", 10.0)  # only the sign of beta decides
    pair = [np.array([0.2, 1.0]), np.array([0.1, 0.0])]
    np.testing.assert_array_equal(following("polak-ribiere", pair)[1], -pair[1])
    assert not np.array_equal(following("fletcher-reeves", pair)[1], -pair[1])


@pytest.mark.parametrize("name", ["conjugate_gradient", "fletcher_reeves"])
def test_it_needs_about_as_many_gradients_as_scipys(name):
    theirs = minimize(rosen, FAR, jac=rosen_der, method="CG", options={"gtol": 1e-5})
    points, states = down_the_valley(name)
    arrived = np.argmax(ROSENBROCK.costs(points) <= max(theirs.fun, 1e-9))
    assert arrived > 0
    assert float(states[arrived - 1].evaluations.gradient) <= 2 * theirs.njev


def test_a_step_of_the_network_is_a_tree():
    tree = (
        ({"w": jnp.array([[2.0]]), "b": jnp.array([0.0])},),
        ({"w": jnp.array([[0.0]]), "b": jnp.array([1.0])},),
    )
    state = conjugate_gradient._start(tree[0])
    for gradient in tree:
        p, state = conjugate_gradient._plus(gradient, state)
    assert optax.tree.vdot(p, p) == 1.25  # (-0.5, -1), as above
