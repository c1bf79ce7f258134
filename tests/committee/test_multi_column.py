"""The multi-column network of 2012 in small: columns of two kinds, each shown a view of its own."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from test_committee_training import everything

from deltarule import Dataset, Recipe, load_model
from deltarule.committee import Committee
from deltarule.committee_training import CommitteeRun, train_committee
from deltarule.data.augment import Augment
from deltarule.data.views import view
from deltarule.learning import Run, plan
from deltarule.network.architectures import mcdnn_column, nielsen_conv
from deltarule.runs import RunFolder
from deltarule.training import Keeper

RNG = np.random.default_rng(8)
X = np.zeros((40, 28, 28), np.uint8)
X[:, 4:24, 9:19] = RNG.integers(0, 256, (40, 20, 10))  # a frame of nothing, as digits have
DATA = Dataset(X, np.arange(40) % 2, ("even", "odd"), 1 / 255)
NETWORKS = [
    mcdnn_column(classes=2),
    nielsen_conv(maps=(4, 6), units=(20,), dropout=0.5, activation="tanh", classes=2),
]
VIEWS = ["width-14+pad-29", "width-16"]
RECIPE = Recipe(epochs=4, batch_size=16, learning_rate=0.02, optimizer="momentum", seed=5,
                augment=Augment(shift=1, rotation=10))  # fmt: skip


def keep(folder: Path, **options: Any) -> CommitteeRun:
    return train_committee(
        NETWORKS, DATA, DATA[:10], RECIPE, folder, members=2, views=VIEWS, **options
    )


def killed(folder: str) -> None:
    """Train step by step, and kill this process when both members are inside their second epoch.

    Members wait for each other after a checkpoint, which they write on their own.
    """
    plan.CALL_SECONDS = 1e-9
    both, save = threading.Barrier(2), Keeper.save

    def save_and_die(keeper: Keeper, run: Run) -> None:
        save(keeper, run)
        if run.state.epoch > 0 and run.state.position > 0:
            both.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    Keeper.save = save_and_die  # type: ignore[method-assign]
    keep(Path(folder), every_seconds=0.0, jobs=2)


SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
import test_multi_column
test_multi_column.killed(sys.argv[1])
"""


def test_columns_that_are_killed_end_with_the_same_bits(tmp_path: Path) -> None:
    keep(tmp_path / "whole")
    run, here = tmp_path / "run", str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(run), here, *sys.path])
    assert done.returncode == -signal.SIGKILL
    assert not list(run.rglob("model.safetensors"))
    for number in (1, 2):
        with RunFolder(run / f"member-{number}") as folder:
            found = folder.latest_checkpoint(strict=True)
        assert found is not None
        assert found.number == 4  # of three steps an epoch the first of the second
    again = keep(run, resume=True)
    assert [member.resumed_at for member in again.members] == [1, 1]
    assert everything(run) == everything(tmp_path / "whole")

    stored = load_model(run / "model.safetensors")
    assert isinstance(stored, Committee)
    assert stored.views == tuple(VIEWS)
    assert [member.network for member in stored.members] == NETWORKS
    each = [member.outputs(view(name)(X)) for member, name in
            zip(stored.members, VIEWS, strict=True)]  # fmt: skip
    np.testing.assert_allclose(stored.outputs(X), np.mean(each, axis=0), rtol=1e-6)
    assert not np.allclose(each[0], each[1], atol=1e-3)
