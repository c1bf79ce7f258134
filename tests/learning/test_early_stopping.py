"""Early stopping: when, for which epoch, with whose weights."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fits import BATCH, NETWORK, blobs, weights

from deltarule.data import Dataset
from deltarule.learning import Callback, EarlyStopping, Recipe, fit
from deltarule.learning.examples import cut
from deltarule.network import Activation, Dense, Network

NAN, INF = float("nan"), float("inf")

# monitored values, patience, after which epoch it stops (None: never), which epoch is kept
HISTORIES = {
    "best is the last": ("accuracy", [0.1, 0.2, 0.3], 1, None, 3),
    "patience 1": ("accuracy", [0.5, 0.6, 0.6, 0.7], 1, 3, 2),
    "patience 2 waits for two": ("accuracy", [0.5, 0.6, 0.5, 0.5, 0.9], 2, 4, 2),
    "patience 2, better just in time": ("accuracy", [0.5, 0.6, 0.5, 0.61, 0.6], 2, None, 4),
    "first best on ties": ("accuracy", [0.6, 0.6, 0.6, 0.6], 3, 4, 1),
    "cost goes down": ("cost", [3.0, 2.0, 2.5, 2.1, 1.0], 2, 4, 2),
    "cost ties": ("cost", [3.0, 2.0, 2.0, 2.0], 2, 4, 2),
    "NaN is never the best": ("cost", [NAN, 2.0, NAN, NAN, 1.0], 2, 4, 2),
    "infinity is never the best": ("cost", [INF, INF, 5.0, 4.0], 1, None, 4),
    "only NaN": ("accuracy", [NAN, NAN, NAN], 1, None, None),
    "zero accuracy can be the best": ("accuracy", [0.0, 0.0, 0.0], 2, 3, 1),
}


def watch(monitor, values, patience):
    """Feed a history by hand; return the epoch of the stop and of the weights kept."""
    run = SimpleNamespace(history=[], state=SimpleNamespace(learner=None, best=None), reasons=[])
    run.stop = run.reasons.append
    stopping = EarlyStopping(patience, f"validation_{monitor}")
    for epoch, value in enumerate(values, start=1):
        run.history.append({"epoch": epoch, f"validation_{monitor}": value})
        run.state.learner = SimpleNamespace(answer=(({"w": jnp.full(1, epoch)},), ()))
        stopping.epoch_ended(run)
        if run.reasons:
            break
    kept = run.state.best and int(run.state.best.params[0]["w"][0])
    return (epoch if run.reasons else None), kept, run.reasons


@pytest.mark.parametrize("name", HISTORIES)
def test_history_by_hand(name):
    monitor, values, patience, stops, kept = HISTORIES[name]
    stopped, found, reasons = watch(monitor, values, patience)
    assert (stopped, found) == (stops, kept)
    assert reasons == ([f"validation_{monitor} has not improved since epoch {kept}"] * bool(stops))


def test_accuracy_of_an_epoch_that_measured_nan_is_never_the_best():
    """Weights that are not numbers still answer some class, and may be right by chance."""
    history = [
        {"validation_accuracy": 0.9, "train_cost": NAN},
        {"validation_accuracy": 0.3, "train_cost": 1.0},
    ]
    assert EarlyStopping(3, "validation_accuracy").best(history) == 1


class Watch(Callback):
    """Copies the weights of every epoch."""

    def __init__(self):
        self.weights = []

    def epoch_ended(self, run):
        leaves = jax.tree.leaves(run.state.learner.params)
        self.weights.append(np.concatenate([np.array(leaf).ravel() for leaf in leaves]))


@pytest.fixture(scope="module")
def noisy():
    """Random labels: what is learned of them is worth nothing on others."""
    rng = np.random.default_rng(0)
    return Dataset(rng.normal(size=(60, 4)), rng.integers(0, 3, 60), classes=("a", "b", "c"))


@pytest.mark.parametrize("monitor", ["validation_accuracy", "validation_cost", "train_cost"])
def test_the_model_is_that_of_the_best_epoch(noisy, monitor):
    watch = Watch()
    recipe = Recipe(
        epochs=40, learning_rate=2.0, batch_size=BATCH, early_stopping=5, monitor=monitor, seed=3
    )
    run = fit(NETWORK, noisy[:43], noisy[43:], recipe, callbacks=[watch])
    values = [record[monitor] for record in run.history]
    best = int(np.argmax(values) if monitor.endswith("accuracy") else np.argmin(values))
    assert np.array_equal(weights(run), watch.weights[best])
    if monitor.startswith("validation"):
        assert run.stopped == f"{monitor} has not improved since epoch {best + 1}"
        assert len(run.history) == best + 1 + 5
        assert not np.array_equal(weights(run), watch.weights[-1])


def test_the_best_epoch_counts_also_where_the_run_was_not_stopped(noisy):
    watch = Watch()
    recipe = Recipe(epochs=6, learning_rate=2.0, batch_size=BATCH, early_stopping=50, seed=1)
    run = fit(NETWORK, noisy[:43], noisy[43:], recipe, callbacks=[watch])
    best = int(np.argmax([record["validation_accuracy"] for record in run.history]))
    assert run.stopped is None
    assert best < 5
    assert np.array_equal(weights(run), watch.weights[best])


def test_the_default_cut_is_a_tenth(noisy):
    run = fit(NETWORK, noisy, recipe=Recipe(epochs=1, early_stopping=1))
    assert (len(run.train), len(run.validation)) == (54, 6)
    assert "validation_accuracy" in run.history[0]


def test_without_early_stopping_nothing_is_cut(noisy):
    data = noisy[:43]
    run = fit(NETWORK, data, recipe=Recipe(epochs=1, batch_size=BATCH))
    assert run.validation is None
    assert "validation_cost" not in run.history[0]
    assert run.train is data


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_a_cut_is_disjoint_complete_and_keeps_proportions(share):
    y = np.repeat([0, 1, 2], [120, 60, 20])
    data = Dataset(np.arange(200.0)[:, None], y)
    rest, held = cut(data, share, seed=0)
    assert sorted([*rest.x[:, 0], *held.x[:, 0]]) == list(range(200))
    assert len(held) == 200 * share
    np.testing.assert_array_equal(np.bincount(held.y), np.array([120, 60, 20]) * share)
    for part in (rest, held):
        assert (part.y == y[part.x[:, 0].astype(int)]).all()


def test_the_seed_determines_the_cut():
    data = blobs(60)
    same = [cut(data, 0.2, seed=7)[1].x for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], cut(data, 0.2, seed=8)[1].x)


def test_regression_watches_the_cost():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    data = Dataset(x, x @ [[1.0], [2.0]] + 1)
    recipe = Recipe(cost="quadratic", epochs=20, early_stopping=3, learning_rate=0.1)
    run = fit(Network(Dense(1)), data, recipe=recipe)
    values = [record["validation_cost"] for record in run.history]
    assert "validation_accuracy" not in run.history[0]
    assert "train_accuracy" not in run.history[0]
    assert values[-1] < 1e-3 * values[0]


REFUSED = {
    "accuracy of a regression": (
        {"monitor": "train_accuracy"}, 0.5, "'train_accuracy' needs classes",
    ),
    "a share of 1": ({}, 1.0, "share of train between 0 and 1, got 1.0"),
    "a share of 0": ({}, 0.0, "share of train between 0 and 1, got 0.0"),
    "a number of examples": ({}, 5, "a Dataset or a share of train between 0 and 1, got 5"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    options, validation, message = REFUSED[name]
    data = Dataset(np.ones((20, 1)), np.ones((20, 1)))
    recipe = Recipe(cost="quadratic", early_stopping=2, **options)
    with pytest.raises(ValueError, match=message):
        fit(Network(Dense(1)), data, validation, recipe)


def test_validation_is_monitored_only_where_there_is_any():
    data = blobs()
    recipe = Recipe(early_stopping=2, monitor="validation_cost", epochs=1)
    with pytest.raises(ValueError, match="'validation_cost' needs validation data, got none"):
        fit(NETWORK, data, data[:0], recipe)
    run = fit(NETWORK, data, data[:0], Recipe(early_stopping=2, epochs=1, batch_size=BATCH))
    assert run.callbacks[0].monitor == "train_accuracy"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (blobs(12), "0.1 of these 12 examples: The test_size = 2 should be greater"),
        (blobs(31)[np.r_[0:30:3, 1:30:3, 2]], "least populated classes in y have only 1 member"),
        (Dataset(np.ones((1, 2)), [0]), "give another share, or validation as a Dataset"),
    ],
)
def test_too_few_examples_for_a_cut(data, message):
    network = Network(Dense(len(data.classes)), Activation("softmax"))
    with pytest.raises(ValueError, match=message):
        fit(network, data, recipe=Recipe(early_stopping=2))


@pytest.mark.parametrize(
    "other",
    [
        Dataset(np.ones((6, 5)), np.arange(6) % 3),
        Dataset(np.ones((6, 4)), np.arange(6) % 3, classes=("c", "b", "a")),
        Dataset(np.ones((6, 4)), np.arange(6) % 2),
        Dataset(np.ones((6, 4)), np.ones((6, 3))),
    ],
    ids=["shape", "class names", "classes", "regression"],
)
def test_validation_of_another_kind_is_refused(other):
    with pytest.raises(ValueError, match="validation must have the inputs and answers of train"):
        fit(Network(Dense(3), Activation("softmax")), blobs(12), other)
