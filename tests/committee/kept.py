"""What trainings of committees keep and are told, for the tests of how they are trained."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from deltarule import Callback
from deltarule.learning import Run
from deltarule.runs import RunFolder

FIRST_SEED = 7  # of member 1


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run without the seconds, which are never the same."""
    records = RunFolder(folder).read_lines("history.jsonl")
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


class Once(Callback):
    """Does ``act`` when member ``number`` has done ``epoch`` epochs."""

    def __init__(self, number: int, epoch: int, act: Any) -> None:
        self.seed, self.epoch, self.act = FIRST_SEED + number - 1, epoch, act

    def epoch_ended(self, run: Run) -> None:
        if (run.recipe.seed, run.state.epoch) == (self.seed, self.epoch):
            self.act(run)


_KILL = """
import importlib, os, sys
sys.path[:0] = sys.argv[3:]
t = importlib.import_module(sys.argv[1])
t.keep(t.Path(sys.argv[2]), callbacks=[t.Once(2, 3, lambda run: os._exit(9))], every_epochs=1)
"""


def kill_in_training(module: str, folder: Path) -> None:
    """Train with ``keep`` of a test module in a process that ends in epoch 3 of member 2."""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", _KILL, module, str(folder), here, *sys.path])
    assert done.returncode == 9
