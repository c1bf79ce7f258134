"""What a finished run amounts to: measured once on the test set, drawn and said."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from deltarule.cli.pictures import draw
from deltarule.cli.report import (
    calibration_lines,
    class_lines,
    committee_lines,
    confusion_lines,
    document,
    score_lines,
    summary_of,
)
from deltarule.data import Splits
from deltarule.files import load_model
from deltarule.learning import Recipe, evaluate
from deltarule.learning.recipe import AUTO
from deltarule.runs import MODEL
from deltarule.storage import printable


@dataclass(frozen=True)
class Outcome:
    """Where a run is kept, the history of its network or of each member, and why it stopped."""

    folder: Path
    histories: list[list[dict[str, Any]]]
    stopped: str | None


def report(outcome: Outcome, splits: Splits, recipe: Recipe, *, as_json: bool) -> None:
    """Evaluate what was stored, draw it, and print either lines or one JSON document."""
    folder = outcome.folder
    model = load_model(folder / MODEL)  # what is reported is what was stored
    result = evaluate(model, splits.test, recipe.cost)
    pictures = draw(folder, model, outcome.histories, result, splits.test)
    if as_json:
        last = [history[-1] for history in outcome.histories]
        facts = {
            "test": summary_of(result, model),
            "epochs": sum(map(len, outcome.histories)),
            "stopped": outcome.stopped,
            "last_epoch": last[0] if len(last) == 1 else last,
            "model": printable(folder / MODEL),
            "pictures": [printable(path) for path in pictures],
        }
        typer.echo(document(facts))
        return
    if outcome.stopped:
        typer.echo(f"stopped early:  {outcome.stopped}")
    own_data = model.preparation is not None  # whose classes differ more than ten digits do
    lines = [
        *_measured_rates(outcome, recipe),
        *score_lines("test", result, model),
        *class_lines(result, most=20 if own_data else 0),
        *committee_lines(result),
        *confusion_lines(result),
        *calibration_lines(result),
    ]
    for line in lines:
        typer.echo(line)
    typer.echo(f"model:          {printable(folder / MODEL)}")
    for path in pictures:
        typer.echo(f"picture:        {printable(path)}")


def _measured_rates(outcome: Outcome, recipe: Recipe) -> list[str]:
    """Return the learning rate each network began with, if it was measured."""
    if recipe.learning_rate != AUTO:
        return []
    rates = [f"{history[0]['learning_rate']:.3g}" for history in outcome.histories if history]
    return [f"learning rate:  {', '.join(rates)}, measured"]
