"""A run that goes on from what was stored equals the uninterrupted one, bit for bit."""

import json

import numpy as np
import pytest
from fits import BATCH, NETWORK, PutBack, Snapshots, blobs, cut_into, digest, history, weights

from deltarule.learning import Recipe, fit
from deltarule.network import Network

DATA, HELD_OUT = blobs(), blobs(17, seed=1)
DROPOUT = Network([4, 5, 3], activation="relu", output="softmax", dropout=0.3)
RUNS = {
    "momentum": (
        NETWORK, {"optimizer": "momentum", "class_weight": (1, 2, 3), "precision": "float64"},
    ),
    "adam and dropout": (DROPOUT, {"optimizer": "adam", "schedule": "cosine", "clip": 1.0}),
    "early stopping": (NETWORK, {"learning_rate": 3.0, "early_stopping": 4, "epochs": 30}),
}  # fmt: skip


def recipe(**options):
    return Recipe(**({"epochs": 6, "batch_size": BATCH, "l2": 1e-3} | options))


@pytest.mark.parametrize("name", RUNS)
def test_resumed_at_many_places_mid_epoch_too(monkeypatch, name):
    cut_into(monkeypatch, 4)  # of 9 steps: after 4, 8, 9, then 4 of the next epoch ...
    network, options = RUNS[name]
    stored = Snapshots()
    whole = fit(network, DATA, HELD_OUT, recipe(**options), callbacks=[stored])
    calls = len(stored.arrays)
    places = {0, 1, 2, calls // 2, calls // 2 + 1, calls - 2, calls - 1}
    for place in sorted(places):
        put_back = PutBack(stored.arrays[place], stored.headers[place])
        run = fit(network, DATA, HELD_OUT, recipe(**options), callbacks=[put_back])
        assert digest(run.state) == digest(whole.state), place
        assert np.array_equal(weights(run), weights(whole))
        assert history(run) == history(whole)
        assert run.stopped == whole.stopped


def test_the_runs_above_are_what_they_should_be(monkeypatch):
    cut_into(monkeypatch, 4)
    stored = Snapshots()
    network, options = RUNS["early stopping"]
    run = fit(network, DATA, HELD_OUT, recipe(**options), callbacks=[stored])
    assert "has not improved" in run.stopped
    assert {json.loads(header)["position"] for header in stored.headers} == {4, 8, 0}
    assert any(name.startswith("best.") for name in stored.arrays[-1])
    assert any("opt_state" in name for name in stored.arrays[-1]) is False  # sgd remembers nothing


def test_a_stored_state_is_not_touched_by_the_training_that_follows():
    """The compiled program overwrites the arrays it is given; what was handed out stays."""

    class Keep(Snapshots):
        def __init__(self):
            super().__init__()
            self.lent, self.models = [], []

        def advanced(self, run):
            super().advanced(run)
            self.lent.append(run.state.arrays())  # not copied
            self.models.append((run.model, weights(run).copy()))

    keep = Keep()
    fit(NETWORK, DATA, recipe=recipe(early_stopping=9), callbacks=[keep])
    for lent, copied in zip(keep.lent, keep.arrays, strict=True):
        assert all(np.array_equal(lent[name], copied[name]) for name in copied)
    for model, copied in keep.models:
        parts = [layer[name].ravel() for layer in model.params for name in sorted(layer)]
        assert np.array_equal(np.concatenate(parts), copied)


def test_longer_runs_go_on_where_shorter_ones_ended():
    options = {"optimizer": "adam"}
    whole = fit(NETWORK, DATA, recipe=recipe(**options, epochs=7))
    first = fit(NETWORK, DATA, recipe=recipe(**options, epochs=3))
    before = digest(first.state), weights(first).copy()
    for _ in range(2):  # the state that is lent can be lent again
        second = fit(NETWORK, DATA, recipe=recipe(**options, epochs=7), resume=first.state)
        assert digest(second.state) == digest(whole.state)
        assert history(second) == history(whole)
    assert len(first.history) == 3
    assert (digest(first.state), weights(first).tolist()) == (before[0], before[1].tolist())


def test_a_finished_run_has_nothing_to_go_on_with():
    run = fit(NETWORK, DATA, recipe=recipe(epochs=2))
    again = fit(NETWORK, DATA, recipe=recipe(epochs=2), resume=run.state)
    assert digest(again.state) == digest(run.state)


@pytest.fixture(scope="module")
def finished():
    return fit(NETWORK, DATA, recipe=recipe(optimizer="momentum", epochs=2))


def restored_with(finished, change):
    arrays = dict(finished.state.arrays())
    change(arrays)
    return finished.state.restored(arrays, finished.state.header())


def test_what_is_stored_comes_back(finished):
    state = restored_with(finished, lambda arrays: None)
    assert digest(state) == digest(finished.state)
    assert (state.epoch, state.position, state.best) == (2, 0, None)
    assert state.header() == json.loads(json.dumps(finished.state.header()))


def test_arrays_have_names_a_reader_understands(finished):
    names = set(finished.state.arrays())
    assert {"learner.params.0.w", "learner.params.0.b", "learner.cost"} <= names
    assert any("opt_state" in name and name.endswith("0.w") for name in names)


REFUSED = {
    "missing": (lambda a: a.pop("learner.params.0.w"), "'learner.params.0.w' is missing"),
    "unknown": (lambda a: a.update(extra=np.zeros(1)), "'extra' is missing or unknown"),
    "half a best": (
        lambda a: a.update({"best.params.0.w": a["learner.params.0.w"]}),
        "'best.params.0.b' is missing",
    ),
    "shape": (
        lambda a: a.update({"learner.params.0.w": a["learner.params.0.w"].T}),
        r"'learner.params.0.w' must be float32 of shape \(5, 4\), got float32 of shape \(4, 5\)",
    ),
    "type": (
        lambda a: a.update({"learner.params.0.w": a["learner.params.0.w"].astype(np.float64)}),
        "'learner.params.0.w' must be float32 of shape .* got float64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_of_another_run_are_refused(finished, name):
    change, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        restored_with(finished, change)
