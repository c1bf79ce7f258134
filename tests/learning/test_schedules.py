"""Schedules: worked by hand, held against optax, and what a run records of them."""

import numpy as np
import optax
import pytest
from fits import BATCH, NETWORK, blobs

from deltarule.learning import Recipe, fit
from deltarule.learning.schedules import SCHEDULES, learning_rates


def of_run(schedule, epochs, steps, rate=0.5, **options):
    rows = [learning_rates(schedule, rate, e, epochs, steps, **options) for e in range(epochs)]
    return np.concatenate(rows)


@pytest.mark.parametrize(("epochs", "steps"), [(10, 1), (10, 3), (1, 10), (20, 7)])
def test_cosines_are_those_of_optax(epochs, steps):
    total = epochs * steps  # a multiple of 10: optax rounds the 30 % down to whole steps
    peers = {
        "cosine": optax.cosine_decay_schedule(0.5, total),
        "one_cycle": optax.cosine_onecycle_schedule(total, 0.5),
    }
    for name, peer in peers.items():
        wanted = [float(peer(step)) for step in range(total)]
        np.testing.assert_allclose(of_run(name, epochs, steps), wanted, atol=2e-7)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_records_the_last_rate_of_each_epoch(schedule):
    recipe = Recipe(epochs=4, learning_rate=0.5, batch_size=BATCH, schedule=schedule)
    run = fit(NETWORK, blobs(), recipe=recipe)
    recorded = [record["learning_rate"] for record in run.history]
    assert recorded == list(of_run(schedule, 4, 9)[8::9])
