"""A learning rate that follows the gradient: equations 17 to 19 in NumPy, and what it finds."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deltarule.data import load
from deltarule.learning import Recipe, fit
from deltarule.learning.second_order.adaptive_rate import adaptive_rate
from deltarule.network import Network
from learning.fits import PutBack, Snapshots, blobs, cut_into, digest


def follow(gradient, w, steps, eta, **constants):
    """Return the weights and rates after each step."""
    method = adaptive_rate(eta, **constants)
    params = ({"w": jnp.asarray(w, jnp.float32)},)
    state = method.init(params)
    ws, etas = [], []
    for t in range(steps):
        g = jnp.asarray(gradient(np.asarray(params[0]["w"]), t), jnp.float32)
        step, state = method.update(({"w": g},), state)
        params = optax.apply_updates(params, step)
        ws.append(np.asarray(params[0]["w"]))
        etas.append(float(state.eta))
    return np.array(ws), np.array(etas)


def test_the_steps_are_those_of_the_paper():
    rng = np.random.default_rng(0)
    gs = rng.standard_normal((6, 3))
    ws, etas = follow(lambda _, t: gs[t], np.ones(3), 6, 0.3, alpha=0.2, beta=0.7, delta=0.1)
    w, r, eta = np.ones(3), np.zeros(3), 0.3
    for t, g in enumerate(gs):
        w = w - eta * g  # (17)
        r = 0.9 * r + 0.1 * g  # (18)
        eta = eta + 0.2 * eta * (0.7 * np.linalg.norm(r) - eta)  # (19)
        np.testing.assert_allclose(ws[t], w, rtol=1e-5)
        assert etas[t] == pytest.approx(eta, rel=1e-5)


def test_a_constant_gradient_leads_to_beta_times_its_length():
    _, etas = follow(lambda _, t: [3.0, 4.0], [0.0, 0.0], 600, 0.01, beta=0.2, delta=0.05)
    assert etas[-1] == pytest.approx(0.2 * 5, rel=1e-3)


def test_it_settles_on_a_minimum_and_follows_it_when_it_moves():
    """Gradients with noise, of a bowl whose minimum jumps at step 400."""
    rng = np.random.default_rng(1)

    def gradient(w, t):
        return w - (2.0 if t < 400 else -4.0) + rng.standard_normal(2)

    ws, etas = follow(gradient, [0.0, 0.0], 800, 0.5, alpha=0.1, beta=0.5, delta=0.02)
    assert etas[350:400].mean() < 0.3 * 0.5  # near it, the rate falls
    assert etas[400:450].max() > 3 * etas[350:400].mean()  # it is gone: the rate rises
    assert np.abs(ws[700:].mean(axis=0) + 4).max() < 0.2  # and it is found again
    assert etas[750:].mean() < 0.3 * etas[400:450].max()


def test_a_network_learns_from_a_rate_that_is_far_too_small():
    network = Network([4, 5, 3], activation="tanh", output="softmax")
    ends = [
        fit(network, blobs(), recipe=Recipe(optimizer=name, learning_rate=1e-3, epochs=100))
        for name in ("adaptive_rate", "sgd")
    ]
    adaptive, fixed = (run.history[-1]["train_cost"] for run in ends)
    assert adaptive < 0.7 * fixed


def test_resumed_it_ends_with_the_same_bits(monkeypatch):
    cut_into(monkeypatch, 3)
    network = Network([4, 5, 3], activation="tanh", output="softmax")
    recipe = Recipe(optimizer="adaptive_rate", epochs=2, clip=1.0)
    stored = Snapshots()
    whole = fit(network, blobs(), recipe=recipe, callbacks=[stored])
    put_back = PutBack(stored.arrays[0], stored.headers[0])
    assert digest(fit(network, blobs(), recipe=recipe, callbacks=[put_back]).state) == digest(
        whole.state
    )


def test_a_schedule_is_refused():
    with pytest.raises(ValueError, match="adaptive_rate finds its learning rate by itself"):
        Recipe(optimizer="adaptive_rate", schedule="cosine")


def test_the_history_shows_the_rate_it_has_come_to():
    train = load("digits").train.take(60)
    run = fit(Network([64, 5, 10]), train, recipe=Recipe(optimizer="adaptive_rate", epochs=2))
    rates = [record["learning_rate"] for record in run.history]
    assert rates[0] != rates[1]
    assert rates[1] == float(run.state.learner.opt_state.eta)
