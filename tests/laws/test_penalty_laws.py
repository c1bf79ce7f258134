"""Every pair of penalties obeys every law: a price on weights, never on biases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import SMOOTH, largest_error, off_the_kink
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.learning import penalties

ROWS = {"none": (0.0, 0.0), "L1": (0.3, 0.0), "L2": (0.0, 0.7), "both": (0.2, 0.5)}

every_row = pytest.mark.parametrize(("l1", "l2"), ROWS.values(), ids=ROWS)


def layers(seed=4):
    """Two layers of weights and biases around one without parameters, and one with others."""
    normal = np.random.default_rng(seed).standard_normal
    w = lambda *shape: off_the_kink(normal(shape))  # noqa: E731
    arrays = ({"w": w(3, 2), "b": w(3)}, {}, {"w": w(2, 3), "b": w(2)}, {"scale": w(2)})
    return jax.tree.map(jnp.asarray, arrays)


@every_row
def test_value_is_the_formula(l1, l2):
    params = layers()
    w = np.concatenate([np.ravel(params[0]["w"]), np.ravel(params[2]["w"])])
    by_hand = l1 * np.abs(w).sum() + l2 / 2 * w @ w
    assert float(penalties.value(params, l1, l2)) == pytest.approx(by_hand, rel=1e-13)


@every_row
def test_gradient_is_that_of_the_value(l1, l2):
    params = layers()
    nothing = jax.tree.map(jnp.zeros_like, params)
    leaves, tree = jax.tree.flatten(params)

    def total(leaves):
        return 1.0 + penalties.value(jax.tree.unflatten(tree, leaves), l1, l2)

    gradient = jax.tree.leaves(penalties.add_gradient(params, nothing, l1, l2))
    assert largest_error(total, leaves, gradient) < SMOOTH
    derived = jax.tree.leaves(jax.grad(lambda p: penalties.value(p, l1, l2))(params))
    for ours, theirs in zip(gradient, derived, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@every_row
def test_it_adds_to_what_is_there_and_only_for_weights(l1, l2):
    params, gradients = layers(), layers(seed=5)
    after = penalties.add_gradient(params, gradients, l1, l2)
    for layer, before in zip(after, gradients, strict=True):
        for name in before:
            same = np.array_equal(layer[name], before[name])
            assert same == (name != "w" or l1 == l2 == 0)
    w, g = params[0]["w"], gradients[0]["w"]
    np.testing.assert_allclose(after[0]["w"], g + l1 * np.sign(w) + l2 * w, rtol=1e-14)


@every_row
def test_the_penalties_may_be_traced(l1, l2):
    params, gradients = layers(), layers(seed=5)
    with jax.disable_jit(False):
        traced = jax.jit(penalties.add_gradient)(params, gradients, l1, l2)
    plain = penalties.add_gradient(params, gradients, l1, l2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-14), traced, plain)


@every_row
def test_a_step_down_the_penalty_makes_weights_smaller(l1, l2):
    params = layers()
    gradient = penalties.add_gradient(params, jax.tree.map(jnp.zeros_like, params), l1, l2)
    after = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)
    shrunk = np.abs(after[0]["w"]) < np.abs(params[0]["w"])
    assert shrunk.all() == (l1 + l2 > 0)


def test_penalties_by_hand():
    params = ({"w": jnp.array([[3.0, -4.0]]), "b": jnp.array([100.0])},)
    # 0.1 (3 + 4) + 0.2/2 (9 + 16) = 0.7 + 2.5
    assert float(penalties.value(params, 0.1, 0.2)) == pytest.approx(3.2)
    none = ({"w": jnp.zeros((1, 2)), "b": jnp.zeros(1)},)
    after = penalties.add_gradient(params, none, 0.1, 0.2)
    # 0.1 + 0.2 * 3 and -0.1 - 0.2 * 4
    np.testing.assert_allclose(after[0]["w"], [[0.7, -0.9]])
    assert after[0]["b"] == 0


def test_l1_leaves_a_weight_of_zero_alone():
    zero = ({"w": jnp.zeros((2, 2))},)
    assert not penalties.add_gradient(zero, zero, 0.5, 0.5)[0]["w"].any()


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 10), st.floats(0, 10), st.floats(-100, 100))
def test_the_price_is_even_and_never_negative(l1, l2, w):
    prices = [float(penalties.value(({"w": jnp.array([[s * w]])},), l1, l2)) for s in (1, -1)]
    assert prices[0] == prices[1] >= 0
