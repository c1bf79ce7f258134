"""What changes between two runs without compiling anything again, counted."""

import importlib
from pathlib import Path

import jax
import numpy as np
import pytest
from fits import BATCH, NETWORK, blobs, weights

from deltarule.data import Dataset
from deltarule.learning import Recipe, fit, step
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.learning.setup import hyper_of
from deltarule.learning.step import advance, start
from deltarule.network import Network

COMPILED = "/jax/core/compile/backend_compile_duration"
DATA = blobs()


class Count:
    def __init__(self):
        self.compilations = 0

    def __call__(self, event, seconds, **_):
        self.compilations += event == COMPILED


@pytest.fixture
def counted():
    count = Count()
    jax.monitoring.register_event_duration_secs_listener(count)
    yield count
    jax.monitoring.unregister_event_duration_listener(count)


def recipe(**changes):
    usual = {"epochs": 3, "learning_rate": 0.1, "decay_every": 1, "batch_size": BATCH}
    return Recipe(**(usual | changes))


SHUFFLED = DATA[np.random.default_rng(1).permutation(len(DATA))]
CHANGES = [
    ("learning_rate", {}, {"learning_rate": 0.3}),
    ("learning_rate a whole number", {}, {"learning_rate": 1}),
    ("learning_rate of NumPy", {}, {"learning_rate": np.float64(0.2)}),
    ("l1 from 0", {"l1": 0}, {"l1": 0.01}),
    ("l2 from 0", {"l2": 0}, {"l2": 0.01}),
    ("label_smoothing", {}, {"label_smoothing": 0.1}),
    ("seed", {}, {"seed": 5}),
    ("epochs", {}, {"epochs": 7}),
    ("step schedule", {}, {"schedule": "step"}),
    ("inverse schedule", {}, {"schedule": "inverse"}),
    ("exponential schedule", {}, {"schedule": "exponential"}),
    ("cosine schedule", {}, {"schedule": "cosine"}),
    ("one-cycle schedule", {}, {"schedule": "one_cycle"}),
    ("momentum", {"optimizer": "momentum"}, {"optimizer": "momentum", "momentum": 0.5}),
    ("beta1", {"optimizer": "adamw"}, {"optimizer": "adamw", "beta1": 0.5}),
    ("beta2", {"optimizer": "adamw"}, {"optimizer": "adamw", "beta2": 0.9}),
    ("epsilon", {"optimizer": "adamw"}, {"optimizer": "adamw", "epsilon": 1}),
    ("weight_decay", {"optimizer": "adamw"}, {"optimizer": "adamw", "weight_decay": 1}),
    ("clip", {"clip": 1.0}, {"clip": 0.01}),
    ("class_weight", {"class_weight": "balanced"}, {"class_weight": (1, 2, 3)}),
]


@pytest.mark.parametrize(
    ("before", "after"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_a_number_changes_and_nothing_compiles(counted, before, after):
    first = fit(NETWORK, DATA, recipe=recipe(**before))
    counted.compilations, programs = 0, advance._cache_size()
    second = fit(NETWORK, DATA, recipe=recipe(**after))
    assert (counted.compilations, advance._cache_size()) == (0, programs)
    assert not np.array_equal(weights(first), weights(second))


def test_shuffled_data_and_another_scale_compile_nothing(counted):
    fit(NETWORK, DATA, recipe=recipe())
    counted.compilations = 0
    fit(NETWORK, SHUFFLED, recipe=recipe())
    fit(NETWORK, Dataset(DATA.x, DATA.y, DATA.classes, scale=0.5), recipe=recipe())
    assert counted.compilations == 0


def test_an_equal_network_built_anew_compiles_nothing(counted):
    fit(NETWORK, DATA, recipe=recipe())
    counted.compilations = 0
    again = Network([4, 5, 3], activation="tanh", output="softmax")
    assert again is not NETWORK
    fit(again, DATA, recipe=recipe())
    assert counted.compilations == 0


def test_the_second_call_with_everything_in_use_compiles_nothing(counted):
    network = Network([4, 5, 3], activation="relu", output="softmax", dropout=0.2)
    everything = recipe(
        optimizer="adamw", clip=1.0, schedule="cosine", early_stopping=2, l1=1e-4,
        class_weight="balanced", precision="float64",
    )  # fmt: skip
    for _ in range(2):
        counted.compilations = 0
        run = fit(network, DATA, 0.3, everything)
        run.model.predict(DATA.x)
    assert counted.compilations == 0


def test_the_count_can_rise(counted):
    fit(NETWORK, DATA, recipe=recipe())
    counted.compilations = 0
    fit(NETWORK, DATA, recipe=recipe(batch_size=9))
    assert counted.compilations > 0


def test_the_cache_of_programs_is_bounded(monkeypatch):
    empty = jax.jit(advance.__wrapped__, static_argnums=0, donate_argnums=1)
    for module in (step, importlib.import_module("deltarule.learning.together")):
        monkeypatch.setattr(module, "advance", empty)
    monkeypatch.setattr(step, "KEPT_PROGRAMS", 2)
    sizes = []
    for batch_size in (3, 4, 6, 3):
        run = fit(NETWORK, DATA[:12], recipe=recipe(batch_size=batch_size, epochs=1))
        sizes.append(empty._cache_size())
        assert np.isfinite(weights(run)).all()
    assert sizes == [1, 2, 1, 2]


def test_many_runs_in_one_process_take_no_more_memory():
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to read the memory of this process")
    fit(NETWORK, DATA, recipe=recipe(epochs=1))
    before, programs = resident(), advance._cache_size()
    for seed in range(200):
        fit(NETWORK, DATA, recipe=recipe(epochs=1, seed=seed))
    assert advance._cache_size() == programs
    assert resident() - before < 20  # MB


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimizer_starts_with_the_types_that_a_step_returns(optimizer):
    """Else the second call of every run would compile anew: a weak type is another type."""
    run = fit(NETWORK, DATA, recipe=Recipe(
        optimizer=optimizer, epochs=1, cost="quadratic", precision="float32"
    ))  # fmt: skip
    first = start(run.program, hyper_of(run.recipe), run.model.params, run.model.state)
    kinds = [jax.tree.map(jax.typeof, each) for each in (first, run.state.learner)]
    assert kinds[0] == kinds[1]
