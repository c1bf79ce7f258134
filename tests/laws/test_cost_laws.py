"""Every cost, with every output activation it accepts, obeys every law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import ACTIVATIONS as FORMULAS
from formulas import cost as formula
from formulas import largest_error, off_the_kink
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deltarule.learning.costs import COSTS, cost_function, targets
from deltarule.network.activations import ACTIVATIONS

ROWS = [("quadratic", output) for output in FORMULAS] + [
    ("cross_entropy", "sigmoid"),
    ("cross_entropy", "softmax"),
]
REFUSED = [("cross_entropy", o) for o in FORMULAS if o not in ("sigmoid", "softmax")]

every_row = pytest.mark.parametrize(("name", "output"), ROWS)

RNG = np.random.default_rng(7)
Z = off_the_kink(2 * RNG.standard_normal((5, 4)))
Y = RNG.dirichlet(np.ones(4), size=5)  # each row a distribution: a target for every output
EXTREME = 1e4 * np.array([[1, -1, 0, 1], [1, 1, 1, 1], [-1, 0, 0, 1], [1, 1, -1, -1], [0, 0, 0, 0]])
ONE_HOT = np.eye(4)[[0, 1, 2, 3, 1]]


def test_the_table_is_complete():
    assert {*ROWS, *REFUSED} == {(name, output) for name in COSTS for output in ACTIVATIONS}
    assert len(ROWS) + len(REFUSED) == len(COSTS) * len(ACTIVATIONS)


@every_row
def test_value_is_the_books_formula(name, output):
    value, _ = COSTS[name](output)
    np.testing.assert_allclose(value(Z, Y), formula(name, output, Z, Y), rtol=1e-12)
    np.testing.assert_allclose(cost_function(name, output)(Z, Y), value(Z, Y), rtol=1e-15)


@every_row
def test_delta_is_the_derivative_of_the_value(name, output):
    value, delta = COSTS[name](output)
    derived = jax.grad(lambda z: value(z, Y).sum())(jnp.asarray(Z))
    np.testing.assert_allclose(delta(Z, Y), derived, rtol=1e-9, atol=1e-13)


@every_row
def test_delta_against_central_differences(name, output):
    _, delta = COSTS[name](output)

    def total(p):
        return formula(name, output, p[0], Y).sum()

    assert largest_error(total, [Z], [delta(Z, Y)]) < FORMULAS[output].tolerance


@every_row
def test_training_uses_delta_and_leaves_the_targets_alone(name, output):
    _, delta = COSTS[name](output)
    weight = jnp.arange(5.0)  # an example's own factor comes through
    total = lambda z, y: (weight * cost_function(name, output)(z, y)).sum()  # noqa: E731
    for_z, for_y = jax.grad(total, argnums=(0, 1))(jnp.asarray(Z), jnp.asarray(Y))
    np.testing.assert_allclose(for_z, weight[:, None] * delta(Z, Y), rtol=1e-15)
    assert not for_y.any()


@every_row
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_value_nor_delta_is_ever_infinite(name, output, dtype):
    for z in (EXTREME, -EXTREME):
        for y in (ONE_HOT, np.zeros_like(ONE_HOT), np.ones_like(ONE_HOT)):
            z, y = jnp.asarray(z, dtype), jnp.asarray(y, dtype)
            costs, back = jax.vjp(lambda z, y=y: cost_function(name, output)(z, y), z)
            (delta,) = back(jnp.ones_like(costs))
            assert costs.shape == (5,)
            assert costs.dtype == delta.dtype == dtype
            assert np.isfinite(costs).all()
            assert np.isfinite(delta).all()


@every_row
def test_nothing_costs_less_than_the_right_answer(name, output):
    value, delta = COSTS[name](output)
    right = jnp.asarray(FORMULAS[output].value(Z))  # a = y
    least = value(Z, right)
    np.testing.assert_allclose(delta(Z, right), 0, atol=1e-14)
    for scale in (1e-3, 0.1, 1.0):
        moved = Z + scale * np.random.default_rng(8).standard_normal(Z.shape)
        assert (value(moved, right) >= least - 1e-12).all()


@every_row
def test_each_example_costs_the_same_alone(name, output):
    value, delta = COSTS[name](output)
    one = slice(2, 3)
    np.testing.assert_allclose(value(Z[one], Y[one]), value(Z, Y)[one], rtol=1e-14)
    np.testing.assert_allclose(delta(Z[one], Y[one]), delta(Z, Y)[one], rtol=1e-14)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_delta_of_cross_entropy_is_the_error(output):
    _, delta = COSTS["cross_entropy"](output)
    np.testing.assert_allclose(delta(Z, Y), FORMULAS[output].value(Z) - Y, rtol=1e-13)


@pytest.mark.parametrize(("name", "output"), REFUSED)
def test_cross_entropy_needs_outputs_that_are_probabilities(name, output):
    with pytest.raises(ValueError, match=f"expects sigmoid or softmax outputs, got '{output}'"):
        cost_function(name, output)


def test_an_unknown_cost_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"cost must be one of .*did you mean 'quadratic'"):
        cost_function("quadratik", "sigmoid")


def test_costs_by_hand():
    z = jnp.array([[np.log(3.0), 0.0]])
    y = jnp.array([[1.0, 0.0]])
    # sigmoid: a = (3/4, 1/2). Quadratic: ((1/4)^2 + (1/2)^2) / 2 = (1/16 + 4/16) / 2 = 5/32
    assert float(cost_function("quadratic", "sigmoid")(z, y)[0]) == pytest.approx(5 / 32)
    # delta = (a - y) a (1 - a) = (-1/4 * 3/16, 1/2 * 1/4) = (-3/64, 1/8)
    _, delta = COSTS["quadratic"]("sigmoid")
    np.testing.assert_allclose(delta(z, y), [[-3 / 64, 1 / 8]])
    # Cross-entropy: -ln 3/4 - ln 1/2 = ln 8/3
    assert float(cost_function("cross_entropy", "sigmoid")(z, y)[0]) == pytest.approx(np.log(8 / 3))
    # softmax: a = (3/4, 1/4), C = -ln 3/4
    assert float(cost_function("cross_entropy", "softmax")(z, y)[0]) == pytest.approx(np.log(4 / 3))
    # identity: a = z = (2, 5) against (1, 3): (1 + 4) / 2
    z, y = jnp.array([[2.0, 5.0]]), jnp.array([[1.0, 3.0]])
    assert float(cost_function("quadratic", "identity")(z, y)[0]) == 2.5


BATCH = arrays.arrays(float, (5, 4), elements=st.floats(-1e4, 1e4))


@settings(deadline=None, max_examples=50)
@given(z=BATCH, labels=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_cost_is_between_zero_and_what_the_wrong_logits_amount_to(z, labels):
    with jax.enable_x64(True):
        y = np.eye(4)[labels]
        for output in ("sigmoid", "softmax"):
            costs = np.asarray(cost_function("cross_entropy", output)(z, y))
            assert (costs >= -1e-12).all()
            most = 2 * np.abs(z).sum(axis=1) + 4 * np.log(2)
            assert (costs <= most + 1e-12).all()  # at z = 0 they are equal, up to rounding


@settings(deadline=None, max_examples=50)
@given(z=BATCH, constant=st.floats(-1e3, 1e3))
def test_a_constant_added_to_all_logits_costs_nothing(z, constant):
    with jax.enable_x64(True):
        cost = cost_function("cross_entropy", "softmax")
        np.testing.assert_allclose(cost(z + constant, ONE_HOT), cost(z, ONE_HOT), atol=1e-9)


def test_at_zero_the_cost_is_the_bound_up_to_rounding():
    # found by hypothesis: four outputs that differ from 0 by less than rounding cost 4 ln 2
    z = jnp.array([[-9.18235404e-17, 0.0, 0.0, 0.0]])
    value = cost_function("cross_entropy", "sigmoid")(z, jnp.eye(4)[:1])
    assert float(value[0]) == pytest.approx(4 * np.log(2), rel=1e-15)


# Targets.


def test_smoothed_targets_by_hand():
    # k = 4, smoothing 0.2: every class gets 0.2 / 4 = 0.05, the true one 0.8 more
    y = targets(jnp.array([1, 3], jnp.int32), 4, 0.2, jnp.dtype("float64"))
    np.testing.assert_allclose(y, [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]])


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.sampled_from([1, 2, 10]))
def test_targets_sum_to_one(smoothing, k):
    with jax.enable_x64(True):
        y = targets(jnp.arange(k), k, smoothing, jnp.dtype("float64"))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-12)
    assert (y >= 0).all()
    assert (np.diag(y) >= y.max(axis=1) - 1e-12).all()


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_without_smoothing_a_target_is_a_single_one(dtype):
    y = targets(jnp.array([2, 0], dtype), 3, 0.0, jnp.dtype("float32"))
    assert y.dtype == "float32"
    assert y.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_targets_of_regression_pass_through():
    y = targets(jnp.array([[0.5, -2.0]]), 2, 0.3, jnp.dtype("float64"))
    assert y.tolist() == [[0.5, -2.0]]
    assert targets(jnp.array([1.5, 2.5]), 1, 0.3, jnp.dtype("float64")).tolist() == [[1.5], [2.5]]
