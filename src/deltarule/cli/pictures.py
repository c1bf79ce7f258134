"""The pictures of a run, where matplotlib is installed."""

import math
from pathlib import Path
from typing import Any

import typer

from deltarule import plots
from deltarule.data import Dataset
from deltarule.learning import Evaluation, Run


def draw(folder: Path, run: Run, result: Evaluation, test: Dataset) -> list[Path]:
    """Draw learning curves, first weights, confusion and worst mistakes; return their paths."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        typer.echo("no pictures: they need pip install 'deltarule[plot]'", err=True)
        return []
    weights = next(layer["w"] for layer in run.model.params if "w" in layer)
    drawn: dict[str, Any] = {
        "learning_curves.png": plots.learning_curves(run.history),
        "first_layer_weights.png": plots.weights(weights, _image_shape(test)),
        "confusion.png": plots.confusion(result.confusion, result.classes),
        "worst_mistakes.png": plots.mistakes(
            test.x.reshape(len(test), *_image_shape(test)),
            result.labels, result.predictions, result.probabilities, result.classes,
        ),
    }  # fmt: skip
    paths = []
    for name, picture in drawn.items():
        plots.save(picture, folder / name)
        paths.append(folder / name)
    return paths


def _image_shape(data: Dataset) -> tuple[int, int]:
    """Return height and width; a row of numbers is an image one pixel high."""
    return (data.shape[0], data.shape[1]) if len(data.shape) == 2 else (1, math.prod(data.shape))
