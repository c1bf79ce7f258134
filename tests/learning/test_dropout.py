"""Dropout inside training: the rate is the share dropped, chance comes from the seed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fits import FixedPlan, blobs, digest, use_plan, weights

from deltarule.data import Dataset
from deltarule.learning import Callback, Recipe, fit
from deltarule.network import Dense, Dropout, Network

MANY = 20_000
LINE = Network(Dense(1, "zeros", "zeros"), shape=(MANY,))


def masked(rate):
    return Network(Dropout(rate), Dense(1, "zeros", "zeros"), shape=(MANY,))


class Watch(Callback):
    def __init__(self):
        self.weights = []

    def advanced(self, run):
        dense = next(layer for layer in run.state.learner.params if "w" in layer)
        self.weights.append(np.array(dense["w"][0]))


def steps_on_ones(network, monkeypatch, seed=0):
    """Return the weights after each of four steps, two an epoch, on examples of ones."""
    use_plan(monkeypatch, lambda *_, **__: FixedPlan(2, 1, 1))
    data, watch = Dataset(np.ones((2, MANY)), np.ones((2, 1))), Watch()
    recipe = Recipe(cost="quadratic", batch_size=1, epochs=2, learning_rate=0.1 / MANY, seed=seed)
    fit(network, data, recipe=recipe, callbacks=[watch])
    return watch.weights


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_rate_is_the_share_dropped(rate, monkeypatch):
    """From zero weights, the first gradient is 0 where the input was dropped.

    Elsewhere it is -1/(1 - rate), and so the weight after the step 0.1/MANY/(1 - rate).
    """
    w = steps_on_ones(masked(rate), monkeypatch)[0]
    deviation = (rate * (1 - rate) / MANY) ** 0.5
    assert (w == 0).mean() == pytest.approx(rate, abs=5 * deviation)
    np.testing.assert_allclose(w[w != 0], 0.1 / MANY / (1 - rate), rtol=1e-5)


def test_every_step_has_a_mask_of_its_own(monkeypatch):
    w = steps_on_ones(masked(0.5), monkeypatch)
    assert len(w) == 4
    for steps, each in enumerate(w, start=1):  # dropped every time: 1/2, 1/4, 1/8, 1/16
        assert (each == 0).mean() == pytest.approx(0.5**steps, abs=0.02)


def test_the_same_seed_gives_the_same_masks_and_another_others(monkeypatch):
    first, again, other = (steps_on_ones(masked(0.5), monkeypatch, s)[0] for s in (3, 3, 4))
    assert np.array_equal(first, again)
    assert ((first == 0) == (other == 0)).mean() == pytest.approx(0.5, abs=0.02)


def test_a_rate_of_zero_is_no_dropout_at_all(monkeypatch):
    none = steps_on_ones(LINE, monkeypatch)
    zero = steps_on_ones(masked(0.0), monkeypatch)
    assert np.array_equal(none, zero)
    assert Network([4, 5, 3], dropout=0.0) == Network([4, 5, 3])


def test_prediction_and_validation_never_drop():
    data = blobs(40)
    network = Network([4, 50, 3], activation="relu", output="softmax", dropout=0.9)
    recipe = Recipe(epochs=1, batch_size=40, learning_rate=0)
    run = fit(network, data, data, recipe)
    plain = Network([4, 50, 3], activation="relu", output="softmax")
    params = tuple(p for p, layer in zip(run.model.params, network.layers, strict=True)
                   if not isinstance(layer, Dropout))  # fmt: skip
    z, _ = plain.logits(params, ({},) * 4, jnp.asarray(data.x, jnp.float32))
    asked = [run.model.logits(data.x) for _ in range(2)]
    assert np.array_equal(*asked)
    np.testing.assert_allclose(asked[0], z, rtol=1e-5, atol=1e-6)
    record = run.history[0]  # nothing was learned: only dropout tells the two costs apart
    costs = -np.asarray(jax.nn.log_softmax(z))[np.arange(40), data.y]
    assert record["validation_cost"] == pytest.approx(costs.mean(), rel=1e-5)
    assert abs(record["train_cost"] - record["validation_cost"]) > 0.1


def test_the_masks_follow_the_seed_and_not_the_caller():
    data = blobs(40)
    network = Network([4, 5, 3], output="softmax", dropout=0.5)
    jax.random.normal(jax.random.key(0))  # other uses of chance change nothing
    np.random.default_rng().normal()
    runs = [fit(network, data, recipe=Recipe(epochs=2, seed=seed)) for seed in (1, 1, 2)]
    assert digest(runs[0].state) == digest(runs[1].state)
    assert not np.array_equal(weights(runs[0]), weights(runs[2]))
