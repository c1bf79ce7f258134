"""The methods that see all examples at every step, on functions whose answers are known."""

from functools import cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from deltarule.learning.objective import Objective
from deltarule.learning.optimizers import OPTIMIZERS, Rates, optimizer
from deltarule.learning.second_order import bfgs, conjugate_gradient, line_search

RATES = Rates(1.0, 0.9, 0.9, 0.999, 1e-8, 0.0, 0.0, damping=1e-6)
SEARCHING = ("conjugate_gradient", "fletcher_reeves", "bfgs", "lbfgs")
DAMPED = ("newton", "levenberg_marquardt")
every_method = pytest.mark.parametrize("name", [*SEARCHING, *DAMPED])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def objective(f, jacobian=None):
    """Return what a step may ask of f; J'J of the errors for Levenberg-Marquardt."""

    def gauss_newton(w):
        j = jacobian(w)
        return j.T @ j

    return Objective(f, jax.grad(f), gauss_newton if jacobian else jax.hessian(f), 1)


@cache
def rosenbrocks(name, steps=120):
    """Return the path of a method down Rosenbrock's valley."""
    points, state = path(name, rosenbrock, [-1.2, 1.0], steps, jacobian=rosenbrock_jacobian)
    return points, state


def path(name, f, start, steps, *, jacobian=None, rates=RATES):
    """Return the weights before the first step and after each, and the last state."""
    asked = objective(f, jacobian)
    method = optimizer(name, rates)

    @jax.jit
    def step(w, state):
        value, gradient = jax.value_and_grad(f)(w)
        change, state = method.update(gradient, state, w, value=value, objective=asked)
        return optax.apply_updates(w, change), state

    w = jnp.asarray(start, float)
    state, points = method.init(w), [w]
    for _ in range(steps):
        w, state = step(w, state)
        points.append(w)
    return np.array(points), state


def rosenbrock(w):
    return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)


def rosenbrock_jacobian(w):
    # C = |r|^2 / 2 with r = sqrt(2) (10 (b - a^2), 1 - a)
    return jnp.sqrt(2.0) * jnp.array([[-20 * w[0], 10.0], [-1.0, 0.0]])


def quadratic(n, seed=0, spread=100.0):
    """Return f, its matrix A of eigenvalues from 1 to ``spread`` and its minimum."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    a = basis @ np.diag(np.geomspace(1, spread, n)) @ basis.T
    low = rng.standard_normal(n)
    return (lambda w: (w - low) @ jnp.asarray(a) @ (w - low) / 2), a, low


# ---- every method


@every_method
def test_rosenbrock_ends_in_its_minimum(name):
    points, _ = rosenbrocks(name)
    np.testing.assert_allclose(points[-1], 1, atol=1e-5)


@every_method
def test_no_step_goes_uphill(name):
    costs = [float(rosenbrock(w)) for w in rosenbrocks(name)[0]]
    assert all(after <= before for before, after in pairwise(costs))


@every_method
def test_a_quadratic_ends_in_its_minimum(name):
    f, a, low = quadratic(5)
    root = np.linalg.cholesky(a).T
    points, _ = path(name, f, np.zeros(5), 25, jacobian=lambda w: jnp.asarray(root))
    np.testing.assert_allclose(points[-1], low, atol=1e-6)


@every_method
def test_a_minimum_is_not_left(name):
    f, _, low = quadratic(4)
    points, _ = path(name, f, low, 3)
    np.testing.assert_array_equal(points, np.broadcast_to(low, points.shape))


@every_method
def test_the_same_bits_twice(name):
    again, _ = path(name, rosenbrock, [-1.2, 1.0], 10, jacobian=rosenbrock_jacobian)
    np.testing.assert_array_equal(rosenbrocks(name)[0][:11], again)


@every_method
def test_a_cost_that_is_no_number_is_not_walked_into(name):
    f = lambda w: jnp.where(w[0] > 1, jnp.nan, jnp.sum((w - 2) ** 2))  # noqa: E731
    points, _ = path(name, f, [0.0, 0.0], 5)
    assert np.isfinite(points).all()
    assert points[-1][0] <= 1


# ---- methods that search along a line


@pytest.mark.parametrize("name", SEARCHING)
def test_evaluations_are_those_that_are_made(name):
    calls = []

    def f(w):
        jax.debug.callback(lambda _: calls.append(1), w[0])
        return rosenbrock(w)

    method = optimizer(name, RATES)
    w = jnp.array([-1.2, 1.0])
    state = method.init(w)
    value, gradient = jax.value_and_grad(f)(w)
    for _ in range(3):
        change, state = method.update(gradient, state, w, value=value, objective=objective(f))
        w = optax.apply_updates(w, change)
        value, gradient = state.search.value, state.search.grad  # as ``step`` does
    jax.effects_barrier()
    assert len(calls) == float(state.evaluations.gradient) == float(state.evaluations.cost)


@pytest.mark.parametrize("name", SEARCHING)
def test_accepted_steps_meet_the_wolfe_conditions(name):
    flatness = 0.1 if "bfgs" not in name else 0.9
    points, slope = rosenbrocks(name)[0][:15], jax.jit(jax.grad(rosenbrock))
    for before, after in pairwise(points):
        way = after - before
        down, left = float(way @ slope(before)), float(way @ slope(after))
        assert down < 0
        assert rosenbrock(after) <= rosenbrock(before) + line_search.DECREASE * down + 1e-12
        assert abs(left) <= flatness * abs(down) + 1e-12


# ---- conjugate gradient


def exact(f, a, direction, start, steps):
    """Return points and directions of a method with exact searches on a quadratic of matrix a."""
    w, state, points, ways = jnp.asarray(start), direction.init(jnp.asarray(start)), [start], []
    for _ in range(steps):
        g = jax.grad(f)(w)
        p, state = direction.update(g, state, w)
        w = w - (p @ g) / (p @ a @ p) * p
        points.append(np.array(w))
        ways.append(np.array(p))
    return np.array(points), np.array(ways)


CONJUGATE = {
    "polak-ribiere": conjugate_gradient._plus,
    "fletcher-reeves": conjugate_gradient._fletcher_reeves,
}


@pytest.mark.parametrize("beta", CONJUGATE)
@pytest.mark.parametrize("n", [2, 5, 12])
def test_n_exact_steps_reach_the_minimum_of_n_dimensions(beta, n):
    f, a, low = quadratic(n, spread=20)
    way = optax.GradientTransformation(conjugate_gradient._start, CONJUGATE[beta])
    points, ways = exact(f, a, way, np.zeros(n), n)
    np.testing.assert_allclose(points[-1], low, atol=1e-8)
    between = ways @ a @ ways.T
    lengths = np.sqrt(np.diag(between))
    np.testing.assert_allclose(between / np.outer(lengths, lengths), np.eye(n), atol=1e-6)


def conjugate(gradient, last, way, age=0):
    state = conjugate_gradient.Conjugate(*map(jnp.asarray, (last, way)), jnp.asarray(age))
    p, after = conjugate_gradient._plus(jnp.asarray(gradient), state)
    return np.array(p), int(after.age)


def test_a_direction_by_hand():
    # g = (0, 1) after (2, 0): beta = ((0, 1) - (2, 0))'(0, 1) / 4 = 1/4; p = -g + p_before / 4
    np.testing.assert_allclose(conjugate([0.0, 1.0], [2.0, 0.0], [-2.0, 0.0])[0], [-0.5, -1.0])


@pytest.mark.parametrize(
    ("why", "arguments"),
    {
        "gradients far from orthogonal": ([1.0, 1.0], [1.0, 0.5], [-1.0, -0.5]),
        "as many steps as dimensions": ([0.0, 1.0], [2.0, 0.0], [-2.0, 0.0], 2),
        "uphill": ([0.0, 1.0], [0.1, 0.0], [0.0, 5.0]),
    }.items(),
)
def test_it_begins_anew(why, arguments):
    p, age = conjugate(*arguments)
    np.testing.assert_array_equal(p, -np.array(arguments[0]))
    assert age == 0


def test_a_negative_beta_is_taken_as_none():
    # g = (3, 0.1) after (0, 5): g'g - last'g = 9.01 - 0.5 > 0, beta = 8.51 / 25; after (0, 5) with
    # g = (0.1, 0.004): g'g - last'g = 0.010016 - 0.02 < 0, though nearly orthogonal
    p, _ = conjugate([3.0, 0.1], [0.0, 5.0], [0.0, -5.0])
    np.testing.assert_allclose(p, [-3.0, -0.1 - 5 * 8.51 / 25])
    overlap = conjugate_gradient.ORTHOGONAL
    try:
        conjugate_gradient.ORTHOGONAL = 10.0  # so that only the sign of beta decides
        p, _ = conjugate([0.1, 0.004], [0.0, 5.0], [0.0, -5.0])
    finally:
        conjugate_gradient.ORTHOGONAL = overlap
    np.testing.assert_allclose(p, [-0.1, -0.004])


# ---- BFGS


def test_an_update_of_bfgs_by_hand():
    # M = I, delta = (1, 0), phi = (2, 1): delta'phi = 2, phi'M phi = 5, and
    # M + (1 + 5/2) diag(1, 0) / 2 - ((2 1; 0 0) + (2 0; 1 0)) / 2 = (0.75 -0.5; -0.5 1)
    m, ones = jnp.eye(2), jnp.ones(2)
    last = bfgs.InverseHessian(m, ones, ones, jnp.asarray(2))
    better = bfgs.improved(last, jnp.array([1.0, 0.0]), jnp.array([2.0, 1.0]))
    np.testing.assert_allclose(better, [[0.75, -0.5], [-0.5, 1.0]])


def test_m_maps_the_change_of_gradient_onto_the_step_and_stays_positive():
    rng = np.random.default_rng(0)
    m, (_, a, _) = np.eye(6), quadratic(6)
    for _ in range(20):
        delta = rng.standard_normal(6)
        phi = a @ delta
        last = bfgs.InverseHessian(jnp.asarray(m), delta, delta, jnp.asarray(5))
        m = np.array(bfgs.improved(last, jnp.asarray(delta), jnp.asarray(phi)))
        np.testing.assert_allclose(m @ phi, delta, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(m, m.T, rtol=1e-9, atol=1e-9)
        assert np.linalg.eigvalsh(m).min() > 0


def test_an_update_that_rounding_has_spoiled_is_left_out():
    last = bfgs.InverseHessian(jnp.eye(2), jnp.ones(2), jnp.ones(2), jnp.asarray(2))
    for phi in ([0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]):
        kept = bfgs.improved(last, jnp.array([1.0, 0.0]), jnp.array(phi))
        np.testing.assert_array_equal(kept, np.eye(2))


def test_bfgs_converges_superlinearly():
    points, _ = rosenbrocks("bfgs")
    errors = np.linalg.norm(points - 1, axis=1)
    errors = errors[errors > 1e-11]
    ratios = errors[1:] / errors[:-1]
    assert ratios[-2:].max() < 0.05 < ratios[:-8].mean()


def test_bfgs_needs_about_as_many_gradients_as_scipys():
    start = np.linspace(-1, 1, 6)
    theirs = minimize(rosen, start, jac=rosen_der, method="BFGS", options={"gtol": 1e-6})
    points, _ = path("bfgs", rosenbrock, start, 150)
    assert float(rosenbrock(points[-1])) < 1e-12
    arrived = np.argmax([float(rosenbrock(w)) <= max(theirs.fun, 1e-12) for w in points])
    assert 0 < arrived <= 1.5 * theirs.nit


def test_conjugate_gradient_needs_about_as_many_gradients_as_scipys():
    start = np.linspace(-1, 1, 6)
    theirs = minimize(rosen, start, jac=rosen_der, method="CG", options={"gtol": 1e-5})
    for name in ("conjugate_gradient", "fletcher_reeves"):
        points, _ = path(name, rosenbrock, start, 300)
        arrived = np.argmax([float(rosenbrock(w)) <= max(theirs.fun, 1e-8) for w in points])
        assert 0 < arrived <= 4 * theirs.nit


# ---- Newton and Levenberg-Marquardt


def test_newton_reaches_the_minimum_of_a_quadratic_in_one_step():
    f, _, low = quadratic(5)
    points, state = path("newton", f, np.zeros(5), 1, rates=RATES._replace(damping=1e-12))
    np.testing.assert_allclose(points[-1], low, rtol=1e-9)
    assert (float(state.evaluations.cost), float(state.evaluations.gradient)) == (2, 6)


def test_newton_leaves_a_saddle_downhill():
    saddle = lambda w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4  # noqa: E731
    points, _ = path("newton", saddle, [0.5, 1e-3], 30)
    np.testing.assert_allclose(np.abs(points[-1]), [0, np.sqrt(0.5)], atol=1e-6)


def test_levenberg_marquardt_solves_least_squares_in_one_step():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal(20)
    f = lambda w: jnp.sum((x @ w - y) ** 2) / 2  # noqa: E731
    points, _ = path(
        "levenberg_marquardt", f, np.zeros(4), 1, jacobian=lambda w: jnp.asarray(x),
        rates=RATES._replace(damping=1e-12),
    )  # fmt: skip
    np.testing.assert_allclose(points[-1], np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-9)


@pytest.mark.parametrize("name", DAMPED)
def test_a_step_that_would_go_uphill_is_not_taken_and_damps_more(name):
    f = lambda w: jnp.sum(jnp.sqrt(1 + w**2))  # noqa: E731 - Newton from 2 overshoots to -8
    points, state = path(name, f, [2.0], 1, rates=RATES._replace(damping=1e-9))
    np.testing.assert_array_equal(points[-1], points[0])
    np.testing.assert_allclose(state.damping, 1e-8)
    points, state = path(name, f, [0.5], 1, rates=RATES._replace(damping=1e-9))
    assert abs(points[-1][0]) < 0.5
    np.testing.assert_allclose(state.damping, 1e-10)


# ---- the table


def test_the_table_knows_which_see_all_data():
    assert {name for name, row in OPTIMIZERS.items() if row.all_data} == {*SEARCHING, *DAMPED}
    assert all(row.counts for row in OPTIMIZERS.values() if row.all_data)
