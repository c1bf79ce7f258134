"""Weights of examples and classes: two is twice, zero is never."""

import numpy as np
import pytest
from fits import NETWORK, blobs, weights

from deltarule.data import Dataset
from deltarule.learning import Recipe, fit
from deltarule.network import Dense, Network

DATA = blobs(12)
START = NETWORK.init(np.random.default_rng(0))[0]


def trained(data, sample_weight=None, **options):
    """Three steps on the whole set at once, in float64: the order of examples is but rounding."""
    recipe = Recipe(
        batch_size=len(data), epochs=3, learning_rate=0.5, l2=0.1, precision="float64", **options
    )
    run = fit(NETWORK, data, recipe=recipe, params=START, sample_weight=sample_weight)
    return weights(run), run


def test_a_weight_of_two_is_the_row_twice():
    twice, _ = trained(DATA[[0, 0, *range(1, 12)]])
    weighted, run = trained(DATA, [2] + [1] * 11)
    np.testing.assert_allclose(weighted, twice, rtol=0, atol=1e-12)
    repeated_cost = trained(DATA[[0, 0, *range(1, 12)]])[1].history[-1]["train_cost"]
    assert run.history[-1]["train_cost"] == pytest.approx(repeated_cost, rel=1e-12)
    assert np.abs(weighted - trained(DATA)[0]).max() > 1e-3


def test_a_weight_of_zero_is_the_row_removed():
    removed, _ = trained(DATA[1:])
    np.testing.assert_allclose(trained(DATA, [0] + [1] * 11)[0], removed, rtol=0, atol=1e-12)


def test_only_proportions_count():
    half = np.full(12, 0.5)
    np.testing.assert_allclose(trained(DATA, half)[0], trained(DATA)[0], rtol=0, atol=1e-12)


def test_class_weights_are_sample_weights():
    by_class, _ = trained(DATA, class_weight=(1, 2, 0.5))
    by_example, _ = trained(DATA, np.array([1, 2, 0.5])[DATA.y])
    np.testing.assert_allclose(by_class, by_example, rtol=0, atol=1e-12)


def test_both_weights_multiply():
    mixed, _ = trained(DATA, np.arange(1.0, 13), class_weight=(1, 2, 3))
    product, _ = trained(DATA, np.arange(1.0, 13) * (DATA.y + 1))
    np.testing.assert_allclose(mixed, product, rtol=0, atol=1e-12)


def test_balanced_makes_classes_count_alike():
    """Of the counts 6, 3, 3: each class weighs 12/(3 n_c), in the whole as much as another."""
    data = DATA[[0, 3, 6, 9, 0, 3, 1, 4, 7, 2, 5, 8]]
    balanced, _ = trained(data, class_weight="balanced")
    by_hand, _ = trained(data, np.array([2 / 3, 4 / 3, 4 / 3])[data.y])
    np.testing.assert_allclose(balanced, by_hand, rtol=0, atol=1e-12)


def test_a_small_batch_is_not_weighed_on_its_own():
    """By hand: x = y = 1 twice, weights 1 and 3, scaled to 1/2 and 3/2; batch 1, rate 1/4.

    The first step moves w and b by (1/4) u (1 - a), u its weight, the second by what is left:
    a = u/2 after the first, a + v/2 (1 - a) after the second, in either order 1/4 + 3/4 - 3/16.
    """
    data = Dataset(np.ones((2, 1)), np.ones((2, 1)))
    recipe = Recipe(cost="quadratic", batch_size=1, epochs=1, learning_rate=0.25)
    network = Network(Dense(1, "zeros", "zeros"), shape=(1,))
    run = fit(network, data, recipe=recipe, sample_weight=np.array([1.0, 3.0]))
    assert weights(run).sum() == pytest.approx(1 / 4 + 3 / 4 - 3 / 16, rel=1e-6)


def test_a_balanced_class_without_examples_is_no_trouble():
    data = Dataset(DATA.x[:6], DATA.y[:6] % 2, classes=("a", "b", "c"))
    assert np.isfinite(trained(data, class_weight="balanced")[0]).all()


REFUSED = {
    "length": ([1.0] * 11, {}, r"one number for each of the 12 examples, got .* \(11,\)"),
    "shape": (np.ones((12, 1)), {}, r"got an array of shape \(12, 1\)"),
    "negative": ([-1.0] + [1.0] * 11, {}, "finite, not negative, and not all zero"),
    "nan": ([np.nan] + [1.0] * 11, {}, "finite, not negative, and not all zero"),
    "all zero": ([0.0] * 12, {}, "finite, not negative, and not all zero"),
    "classes: too few": (None, {"class_weight": (1, 2)}, "each of the 3 classes"),
    "classes: negative": (None, {"class_weight": (1, 2, -1)}, "one finite number of at least 0"),
    "classes: nan": (None, {"class_weight": (1, 2, np.nan)}, "one finite number of at least 0"),
    "classes: one number": (None, {"class_weight": [3]}, "each of the 3 classes"),
    "nothing left": ([1.0] * 4 + [0.0] * 8, {"class_weight": (0, 0, 0)}, "no example that counts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    sample_weight, options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        trained(DATA, sample_weight, **options)


def test_regression_has_no_class_weights():
    data = Dataset(np.ones((4, 1)), np.ones((4, 1)))
    recipe = Recipe(cost="quadratic", class_weight="balanced", batch_size=2)
    with pytest.raises(ValueError, match="class_weight is for classification"):
        fit(Network(Dense(1)), data, recipe=recipe)


def test_a_share_of_validation_would_tear_the_weights_apart():
    with pytest.raises(ValueError, match="sample_weight belongs to the examples of train"):
        fit(NETWORK, DATA, 0.5, Recipe(batch_size=2), sample_weight=np.ones(12))
