"""Small data and small searches for the tests of tuning."""

import json
from pathlib import Path
from typing import Any

from deltarule import data
from deltarule.learning import Recipe
from deltarule.tuning import Choices, Range, Tuning, tune

DIGITS = data.load("digits")
TRAINING, VALIDATION = DIGITS.train.take(100), DIGITS.validation.take(60)
RECIPE = Recipe(batch_size=20, seed=3)
SPACE = {"hidden": Choices(("4", "6")), "learning_rate": Range(0.01, 3), "l2": Range(1e-6, 1e-3)}


def search(folder: Path, **changes: Any) -> Tuning:
    """Run a search of a second: nine trials, three of them go on, one to the end."""
    usual = {"space": SPACE, "recipe": RECIPE, "trials": 9, "epochs": 27, "jobs": 2}
    return tune(TRAINING, VALIDATION, folder, **(usual | changes))


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return what the search wrote down of each trial and stage, in order of stage and trial."""
    read = map(json.loads, (folder / "trials.jsonl").read_text().splitlines())
    return sorted(read, key=lambda record: (record["of"], record["number"]))


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the history of a run without the one number that no two runs share."""
    read = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [{k: v for k, v in record.items() if k != "seconds"} for record in read]


def outcome(folder: Path) -> tuple[list[dict[str, Any]], bytes]:
    """Return what must not depend on threads or kills."""
    return lines(folder), (folder / "best" / "model.safetensors").read_bytes()
