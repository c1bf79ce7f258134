"""The result does not depend on how a run is cut into compiled calls: not by a single bit."""

import numpy as np
import pytest
from fits import BATCH, NETWORK, FixedPlan, blobs, cut_into, digest, history, use_plan
from hypothesis import given
from hypothesis import strategies as st

from deltarule.learning import Recipe, fit
from deltarule.learning.plan import Plan, make_plan
from deltarule.network import Network

DATA, HELD_OUT = blobs(), blobs(17, seed=1)
DROPOUT = Network([4, 5, 3], activation="relu", output="softmax", dropout=0.3)
RUNS = {
    "sgd": (NETWORK, Recipe(batch_size=BATCH, epochs=5, learning_rate=0.3)),
    "adam, dropout, l1": (
        DROPOUT,
        Recipe(batch_size=BATCH, epochs=5, optimizer="adam", l1=1e-3, schedule="cosine", clip=1.0),
    ),
    "momentum, weights, float64": (
        NETWORK,
        Recipe(
            batch_size=BATCH, epochs=5, optimizer="momentum", class_weight=(1, 2, 3), l2=1e-3,
            precision="float64",
        ),
    ),
}  # fmt: skip


def fingerprint(network, recipe):
    run = fit(network, DATA, HELD_OUT, recipe)
    return digest(run.state), history(run)


@pytest.mark.parametrize("name", RUNS)
def test_steps_per_call(monkeypatch, name):
    reached = []
    for steps_per_call in (1, 3, 7, 9):
        cut_into(monkeypatch, steps_per_call)
        reached.append(fingerprint(*RUNS[name]))
    assert all(each == reached[0] for each in reached)


# five epochs: one by one, 3 + 2, all at once
@pytest.mark.parametrize(("name", "epochs"), [("sgd", (1, 3, 32)), ("adam, dropout, l1", (1, 32))])
def test_epochs_per_call(monkeypatch, name, epochs):
    reached = []
    for epochs_per_call in epochs:
        cut_into(monkeypatch, 9, epochs_per_call)
        reached.append(fingerprint(*RUNS[name]))
    assert all(each == reached[0] for each in reached)


def test_calls_of_changing_length(monkeypatch):
    whole = fingerprint(*RUNS["sgd"])
    lengths = np.random.default_rng(0)

    class Wandering(FixedPlan):
        def after(self, steps, seconds):
            return int(lengths.integers(1, self.steps + 1))

    def plan(*_, **__):
        return Wandering(9, 1, 4)

    use_plan(monkeypatch, plan)
    assert all(fingerprint(*RUNS["sgd"]) == whole for _ in range(5))


@given(
    examples=st.integers(1, 10**6), batch_size=st.integers(1, 10**4),
    units=st.integers(1, 10**6), every_epoch=st.booleans(),
)  # fmt: skip
def test_a_plan_covers_the_epoch(examples, batch_size, units, every_epoch):
    network = Network([100, units])
    plan = make_plan(network, (100,), examples, batch_size, every_epoch=every_epoch)
    assert (plan.steps - 1) * batch_size < examples <= plan.steps * batch_size
    assert 1 <= plan.steps_per_call <= plan.steps
    assert plan.epochs_per_call >= 1
    if every_epoch:
        assert plan.epochs_per_call == 1
    if plan.epochs_per_call > 1:
        assert plan.steps_per_call == plan.steps


@given(
    steps=st.integers(1, 10**6), made=st.integers(1, 10**6),
    seconds=st.floats(0, 1e6), guess=st.integers(1, 10**6),
)  # fmt: skip
def test_the_next_call_is_never_empty_and_never_longer_than_an_epoch(steps, made, seconds, guess):
    plan = Plan(steps, 1, min(guess, steps))
    assert 1 <= plan.after(made, seconds) <= steps


def test_a_call_follows_the_clock():
    plan = Plan(steps=10_000, epochs_per_call=1, steps_per_call=100)
    assert plan.after(100, 5.0) == 10  # ten times too slow: a tenth
    assert plan.after(100, 0.25) == 200  # twice too fast: the double
    assert plan.after(100, 0.001) == 400  # far too fast: four times, a measurement may be wrong
