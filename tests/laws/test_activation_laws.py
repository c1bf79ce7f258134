"""Every activation obeys every law; its row is in ``formulas.py``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import ACTIVATIONS as ROWS
from formulas import largest_error, off_the_kink
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.network import activations
from deltarule.network.activations import ACTIVATIONS, activation

every_row = pytest.mark.parametrize("name", ROWS)

EXTREMES = np.array([[-1e4, 0.0, 1e4], [-700.0, 3.0, 700.0], [1e4, 1e4, -1e4]])
GRID = np.concatenate([np.linspace(-12, 12, 240).reshape(-1, 3), EXTREMES])  # rows of three


def slopes(name, z, c):
    """Return the gradient of sum c f(z) with respect to z."""
    (gradient,) = jax.vjp(activation(name), jnp.asarray(z))[1](jnp.asarray(c))
    return np.asarray(gradient)


def test_the_table_is_complete():
    assert set(ROWS) == set(ACTIVATIONS)


@every_row
def test_the_name_is_the_functions(name):
    assert activation(name) is getattr(activations, name)


@every_row
def test_value_is_the_formula(name):
    a = np.asarray(activation(name)(jnp.asarray(GRID)))
    assert a.shape == GRID.shape
    np.testing.assert_allclose(a, ROWS[name].value(GRID), rtol=1e-12, atol=1e-15)


@every_row
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_is_kept_and_nothing_overflows(name, dtype):
    z = jnp.asarray(GRID, dtype)
    a, back = jax.vjp(activation(name), z)
    (slope,) = back(jnp.ones_like(a))
    assert a.dtype == slope.dtype == dtype
    assert np.isfinite(a).all()
    assert np.isfinite(slope).all()


@every_row
def test_slope_against_central_differences(name):
    rng = np.random.default_rng(3)
    z, c = off_the_kink(3 * rng.standard_normal(GRID.shape)), rng.standard_normal(GRID.shape)
    total = lambda p: np.sum(c * ROWS[name].value(p[0]))  # noqa: E731
    assert largest_error(total, [z], [slopes(name, z, c)]) < ROWS[name].tolerance


@every_row
def test_outputs_stay_in_range_and_rise(name):
    row, a = ROWS[name], np.asarray(activation(name)(jnp.asarray(GRID)))
    assert (a >= row.low).all()
    assert (a <= row.high).all()
    if name != "softmax":
        z = jnp.linspace(-20, 20, GRID.size).reshape(GRID.shape)
        rises = np.diff(np.asarray(activation(name)(z)).ravel()) > -1e-14  # rounding
        assert rises.all() == row.rises


@every_row
def test_each_example_goes_its_own_way(name):
    together = np.asarray(activation(name)(jnp.asarray(GRID)))
    for i in (0, len(GRID) // 2, len(GRID) - 1):
        alone = activation(name)(jnp.asarray(GRID[i : i + 1]))
        np.testing.assert_allclose(together[i : i + 1], alone, rtol=1e-15)


@every_row
def test_only_softmax_looks_at_its_neighbours(name):
    z = jnp.array([[0.5, -1.0, 2.0]])
    moved = activation(name)(z.at[0, 2].set(1.0)) - activation(name)(z)
    assert [bool(change) for change in np.asarray(moved)[0]] == [name == "softmax"] * 2 + [True]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), st.floats(-1e4, 1e4))
def test_softmax_is_a_distribution_whatever_is_added_to_all(z, constant):
    with jax.enable_x64(True):
        a = activations.softmax(jnp.array([z]))
        same = activations.softmax(jnp.array([z]) + constant)
    assert float(a.sum()) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(a, same, atol=1e-9)  # z + constant is rounded


def test_values_by_hand():
    z = jnp.array([[np.log(3.0), -1.0]])
    by_hand = {
        "sigmoid": 3 / 4,  # 1 / (1 + 1/3)
        "tanh": 4 / 5,  # (3 - 1/3) / (3 + 1/3) = (8/3) / (10/3)
        "softplus": np.log(4),  # log(1 + 3)
        "relu": np.log(3),
        "identity": np.log(3),
    }
    for name, value in by_hand.items():
        assert float(activation(name)(z)[0, 0]) == pytest.approx(value, rel=1e-14)
    assert float(activation("leaky_relu")(z)[0, 1]) == pytest.approx(-0.01)
    assert float(activation("elu")(z)[0, 1]) == pytest.approx(1 / np.e - 1)
    # gelu: -1 times the 15.87 % of a normal distribution that lie below -1
    assert float(activation("gelu")(z)[0, 1]) == pytest.approx(-0.15865525, rel=1e-7)
    # softmax of (ln 3, 0): (3, 1) / (3 + 1)
    np.testing.assert_allclose(activation("softmax")(z * jnp.array([1, 0]))[0], [3 / 4, 1 / 4])


def test_lecuns_tanh_goes_through_one_where_it_should():
    # 1.7159 tanh(2/3) = 1.7159 * 0.58278 = 0.99999
    ones = activation("lecun_tanh")(jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(ones, [1, -1], atol=2e-5)


def test_the_slope_of_relu_at_zero_is_zero():
    assert slopes("relu", np.zeros((1, 1)), np.ones((1, 1))) == 0


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"activation must be one of .*did you mean 'relu'"):
        activation("relux")
