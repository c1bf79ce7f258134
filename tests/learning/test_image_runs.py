"""A run with all that images bring, stopped in the middle of an epoch, goes on from its folder."""

import hashlib

import numpy as np
import pytest
from fits import FixedPlan, use_plan

from deltarule.data import Dataset
from deltarule.data.augment import Augment
from deltarule.learning import Callback, Recipe
from deltarule.learning.measure import part_size
from deltarule.learning.plan import make_plan
from deltarule.network import Activation, Conv, Dense, Dropout, Flatten, MaxPool, Network, companion
from deltarule.runs import RunFolder
from deltarule.training import train

BATCH, EXAMPLES = 96, 250  # three steps an epoch, the last of 58
RNG = np.random.default_rng(4)
DATA = Dataset(RNG.integers(0, 256, (EXAMPLES, 8, 8)).astype(np.uint8), np.arange(EXAMPLES) % 3,
               scale=1 / 255)  # fmt: skip
HELD_OUT = DATA[:40]
RELU = Activation("relu")
NETWORK = Network(
    Conv(4, 3, padding="same"), RELU, Dropout(0.2), Conv(6, 3), RELU, MaxPool(2), Flatten(),
    Dropout(0.5), Dense(3), Activation("softmax"), shape=(8, 8, 1),
)  # fmt: skip
RECIPE = Recipe(
    epochs=4, batch_size=BATCH, learning_rate=0.05, optimizer="momentum", precision="bfloat16",
    seed=3, augment=Augment(shift=1, rotation=10, elastic_alpha=5, elastic_sigma=2), average=0.9,
)  # fmt: skip


class StopAt(Callback):
    """Stops the run after some step of an epoch."""

    every_epoch = False

    def __init__(self, epoch, position):
        self.place = epoch, position

    def advanced(self, run):
        if (run.state.epoch, run.state.position) == self.place:
            run.stop("enough")


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(params=["the companion", "no companion"])
def steps_one_by_one(request, monkeypatch):
    """Make each compiled call one step, with the kernels that are there or are not."""
    if request.param == "no companion":
        monkeypatch.setenv("DELTARULE_NATIVE", "0")
    elif not companion.has_bfloat16():
        pytest.skip("deltarule-native is not installed, or has no bfloat16 on this processor")

    def plan(*arguments, **options):
        made = make_plan(*arguments, **options)
        return FixedPlan(made.steps, 1, 1, made.kernels, made.part, made.at_once)

    use_plan(monkeypatch, plan)
    return request.param


@pytest.mark.parametrize("place", [(0, 1), (2, 2)], ids=str)
def test_a_run_stopped_in_an_epoch_ends_with_the_same_bits(tmp_path, steps_one_by_one, place):
    whole = train(NETWORK, DATA, HELD_OUT, RECIPE, tmp_path / "whole")
    cut = part_size(BATCH, whole.plan.part) < BATCH
    assert cut == (steps_one_by_one == "no companion")  # which makes no patches, and cuts nothing
    begun = train(NETWORK, DATA, HELD_OUT, RECIPE, tmp_path / "run", callbacks=[StopAt(*place)])
    assert begun.stopped == "enough"
    with RunFolder(tmp_path / "run") as folder:
        found = folder.latest_checkpoint()
    assert found is not None
    assert found.number == 3 * place[0] + place[1]  # in the middle of an epoch
    resumed = train(NETWORK, DATA, HELD_OUT, RECIPE, tmp_path / "run", resume=True)
    assert resumed.resumed_at == place[0]
    assert len(resumed.history) == RECIPE.epochs
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")
