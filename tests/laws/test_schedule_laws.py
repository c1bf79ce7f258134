"""Every schedule obeys every law; the rates of its row are worked out by hand."""

from math import cos, pi

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deltarule.learning.schedules import SCHEDULES, learning_rates

# Of a run of 5 epochs of 2 steps with eta 0.8: the ten rates. Decay 1/2, every 2 epochs.
ETA, EPOCHS, STEPS, DECAY, EVERY = 0.8, 5, 2, 0.5, 2


def twice(rates):
    return [rate for rate in rates for _ in range(2)]


ROWS = {
    "constant": [0.8] * 10,
    "step": twice([0.8, 0.8, 0.4, 0.4, 0.2]),
    "exponential": twice([0.8, 0.4, 0.2, 0.1, 0.05]),
    "inverse": twice([0.8, 0.8 / 1.5, 0.4, 0.8 / 2.5, 0.8 / 3]),
    # half a cosine: 1 at the first step, and 0 would come after the last
    "cosine": [0.8 * (1 + cos(pi * s / 10)) / 2 for s in range(10)],
    # half a cosine up from 0.8/25 = 0.032 in three steps, (1 - cos 60°)/2 = 1/4, (1 - cos 120°)/2
    # = 3/4 of the way; then one down towards 0.8/250 000 = 3.2e-6 in seven
    "one_cycle": [0.032, 0.032 + 0.768 / 4, 0.032 + 0.768 * 3 / 4]
    + [3.2e-6 + (0.8 - 3.2e-6) * (1 + cos(pi * s / 7)) / 2 for s in range(7)],
}

every_row = pytest.mark.parametrize("name", ROWS)


def rates(name, rate=ETA, epochs=EPOCHS, steps=STEPS, decay=DECAY, every=EVERY):
    rows = [
        learning_rates(name, rate, epoch, epochs, steps, decay, every) for epoch in range(epochs)
    ]
    return np.array(rows)


def test_the_table_is_complete():
    assert set(ROWS) == set(SCHEDULES)


@every_row
def test_rates_by_hand(name):
    np.testing.assert_allclose(rates(name).ravel(), ROWS[name], rtol=1e-12)


@every_row
def test_a_row_a_step_in_float64(name):
    epoch = learning_rates(name, ETA, 1, EPOCHS, STEPS)
    assert epoch.shape == (STEPS,)
    assert epoch.dtype == np.float64


@every_row
def test_twice_the_rate_is_twice_every_rate_and_none_is_none(name):
    np.testing.assert_allclose(rates(name, 2 * ETA), 2 * rates(name), rtol=1e-12)
    assert not rates(name, 0.0).any()


@every_row
def test_an_epoch_alone_is_the_epoch_of_the_run(name):
    assert np.array_equal(learning_rates(name, ETA, 3, EPOCHS, STEPS, DECAY, EVERY), rates(name)[3])


@every_row
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 2), (3, 1), (2, 2), (1, 4), (2, 5)])
def test_no_rate_is_above_eta_or_below_zero(name, epochs, steps):
    found = rates(name, epochs=epochs, steps=steps)
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= ETA * (1 + 1e-6)).all()


@every_row
def test_a_rate_only_falls_once_it_has_reached_its_top(name):
    found = rates(name, epochs=10).ravel()  # 20 steps: one_cycle is at its top at the sixth
    top = int(found.argmax())
    assert found[top] == pytest.approx(ETA)
    assert (np.diff(found[top:]) <= 1e-12).all()
    assert (top > 0) == (name == "one_cycle")


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("cosine", lambda steps: optax.cosine_decay_schedule(ETA, steps)),
        ("one_cycle", lambda steps: optax.cosine_onecycle_schedule(steps, ETA)),
    ],
)
@pytest.mark.parametrize("steps", [5, 20])  # 0.3 of them all is whole: optax rounds it
def test_rates_are_those_of_optax(name, reference, steps):
    theirs = jax.vmap(reference(2 * steps))(jnp.arange(2 * steps))
    np.testing.assert_allclose(rates(name, epochs=2, steps=steps).ravel(), theirs, rtol=1e-12)


def test_the_talks_schedule():
    # eta = 1/(0.5 epoch + 10) = 0.1/(1 + 0.05 epoch)
    for epoch in (0, 1, 7, 29):
        found = learning_rates("inverse", 0.1, epoch, epochs=30, steps=3, decay=0.05)
        np.testing.assert_allclose(found, 1 / (0.5 * epoch + 10), rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "second"),
    [("step", 0.08), ("exponential", 0.8 * 0.95), ("inverse", 0.8 / 1.05), ("constant", 0.8)],
)
def test_the_usual_decay(name, second):
    usual = learning_rates(name, ETA, epoch=1, epochs=5, steps=1, every=1)
    assert usual[0] == pytest.approx(second)


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"schedule must be one of .*did you mean 'cosine'"):
        learning_rates("cosin", 0.1, 0, 1, 1)
