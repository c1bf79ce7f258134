"""The pictures of a run, where matplotlib is installed."""

import math
from pathlib import Path
from typing import Any

import typer

from deltarule import plots
from deltarule.cli.report import in_their_unit
from deltarule.committee import Committee
from deltarule.data import Columns, Dataset
from deltarule.data.unread import Unread
from deltarule.learning import Evaluation
from deltarule.network import Model
from deltarule.network.layers.contract import is_weight


def draw(
    folder: Path,
    model: Model | Committee,
    histories: list[list[dict[str, Any]]],
    result: Evaluation,
    test: Dataset,
) -> list[Path]:
    """Draw learning curves, first weights, confusion and worst mistakes; return their paths.

    Of a regression, predictions over answers take the place of the last two. Of a committee the
    weights are the first member's, and each member's curves have a picture.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        typer.echo("no pictures: they need pip install 'deltarule[plot]'", err=True)
        return []
    drawn: dict[str, Any] = {
        f"learning_curves{_number(i, histories)}.png": plots.learning_curves(history)
        for i, history in enumerate(histories, 1)
    }
    first = model.members[0] if isinstance(model, Committee) else model
    if (weights := _first_weights(first)) is not None:
        drawn["first_layer_weights.png"] = plots.weights(*weights)
    if not result.classes:
        answers, predictions = in_their_unit(result, model)
        drawn["predictions.png"] = plots.predictions(answers[:, 0], predictions[:, 0])
        return _saved(drawn, folder)
    drawn |= {
        "confusion.png": plots.confusion(result.confusion, result.classes),
    }
    if isinstance(model.preparation, Columns):
        return _saved(drawn, folder)  # a row of a table is nothing to look at
    drawn |= {
        "worst_mistakes.png": plots.mistakes(
            _images(test),
            result.labels, result.predictions, result.probabilities, result.classes,
        ),
    }  # fmt: skip
    return _saved(drawn, folder)


def _images(data: Dataset) -> Any:
    """Return inputs as images; what is still in its files stays there."""
    if isinstance(data.x, Unread):
        return data.x
    return data.x.reshape(len(data), *_image_shape(data.shape))


def _saved(drawn: dict[str, Any], folder: Path) -> list[Path]:
    paths = []
    for name, picture in drawn.items():
        plots.save(picture, folder / name)
        paths.append(folder / name)
    return paths


def _number(i: int, histories: list[Any]) -> str:
    return f"_{i}" if len(histories) > 1 else ""


def _first_weights(model: Model) -> tuple[Any, tuple[int, ...]] | None:
    """Return the first layer's weights, a row a neuron, and the shape of its image."""
    weights = next(
        (a for layer in model.params for name, a in layer.items() if is_weight(name)), None
    )
    if weights is None:
        return None
    if weights.ndim == 2:
        # of decorrelated inputs: what the weights on the components make of the image itself
        turns = next((layer["matrix"] for layer in model.state if "matrix" in layer), None)
        weights = weights if turns is None else weights @ turns
        fits = weights.shape[1] == math.prod(model.shape)
        return weights, _image_shape(model.shape) if fits else (1, weights.shape[1])
    kernel = weights.shape[1:3]
    # of a kernel over several channels the mean: one picture a filter
    return weights.mean(axis=3).reshape(len(weights), -1), kernel


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return height, width and perhaps colours; a row of numbers is an image one pixel high."""
    image = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
    return shape if image else (1, math.prod(shape))
