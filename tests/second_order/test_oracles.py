"""The same minima as the solvers of SciPy and optimistix, from the same start."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares, minimize

from deltarule.data import Dataset
from deltarule.learning import Recipe, fit
from deltarule.network import Network
from learning.fits import blobs
from second_order.descents import FAR, ROSENBROCK, bowl, path


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


OURS = {"bfgs": optimistix.BFGS, "conjugate_gradient": optimistix.NonlinearCG}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("land", [bowl(), ROSENBROCK], ids=["quadratic", "rosenbrock"])
def test_optimistix_ends_in_the_same_minimum(name, land):
    solver = OURS[name](rtol=1e-8, atol=1e-8)
    start = FAR if land is ROSENBROCK else np.zeros(3)
    theirs = optimistix.minimise(
        lambda w, its: its.cost(w), solver, jnp.asarray(start), args=land, max_steps=5000
    )
    points, _ = path(name, land, start, 120)
    np.testing.assert_allclose(points[-1], theirs.value, atol=1e-4)


@cache
def lowest():
    """Return where SciPy finds the one minimum of a penalised softmax regression."""
    data = blobs()

    def cost(flat):  # as ravel_pytree has it: b [3], then w [12]
        z = data.x @ flat[3:].reshape(3, 4).T + flat[:3]
        log = z - jax.scipy.special.logsumexp(z, axis=1, keepdims=True)
        return -jnp.mean(log[jnp.arange(len(data)), data.y]) + 0.025 * jnp.sum(flat[3:] ** 2)

    both = jax.jit(jax.value_and_grad(cost))
    ask = lambda flat: tuple(map(np.asarray, both(flat)))  # noqa: E731
    return minimize(ask, np.zeros(15), jac=True, tol=1e-10).x


@pytest.mark.parametrize("name", ["conjugate_gradient", "lbfgs", "newton"])
def test_a_convex_network_ends_in_the_minimum_of_scipy(name):
    recipe = Recipe(optimizer=name, epochs=40, l2=0.05, precision="float64")
    run = fit(Network([4, 3], output="softmax"), blobs(), recipe=recipe)
    flat = np.array(ravel_pytree(run.model.params)[0])
    flat[:3] += np.mean(lowest()[:3] - flat[:3])  # softmax does not see what biases share
    np.testing.assert_allclose(flat, lowest(), atol=2e-5)


def test_a_small_network_fits_a_curve_as_well_as_scipys_levenberg_marquardt():
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 40)[:, None]
    y = np.sin(3 * x) + 0.05 * rng.standard_normal(x.shape)
    network = Network([1, 2, 1], activation="tanh", output="identity")
    recipe = Recipe(
        optimizer="levenberg_marquardt", cost="quadratic", epochs=200, precision="float64"
    )
    start, _ = network.init(np.random.default_rng(1))
    flat, shaped = ravel_pytree(jax.tree.map(jnp.asarray, start))
    run = fit(network, Dataset(x, y), recipe=recipe, params=start)

    @jax.jit
    def errors(flat):
        (first, _, last, _) = shaped(flat)
        hidden = jnp.tanh(x @ first["w"].T + first["b"])
        return (hidden @ last["w"].T + last["b"] - y).ravel()

    theirs = least_squares(errors, flat, jac=jax.jit(jax.jacobian(errors)), method="lm")
    ours = run.history[-1]["train_cost"]
    assert ours == pytest.approx(theirs.cost / 40, rel=0.01)
    assert ours < 0.05**2  # noise alone costs 0.05^2 / 2
