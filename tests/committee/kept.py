"""What trainings of committees keep and are told, for the tests of how they are trained."""

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
