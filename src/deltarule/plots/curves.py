"""How a run learned: costs and accuracies against the epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deltarule.plots.canvas import BLUE, VERMILION, dress, figure, legend, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, float | None]]


def costs(history: History, ax: Axes | None = None) -> Axes:
    """Draw training and validation cost against the epoch, with a ring at the lowest validation.

    ``history`` has a mapping for each epoch with "epoch", "train_cost" and "validation_cost";
    a value that is absent, None or not finite is left out.

    >>> ax = costs([{"epoch": 1, "train_cost": 0.9}, {"epoch": 2, "train_cost": 0.4}])
    >>> ax.get_title("left")
    'Cost after each epoch'
    """
    ax = ax or figure(6, 3.8).subplots()
    dress(ax, "Cost after each epoch", "epoch", "mean cost of an example")
    return _curves(ax, history, "cost", np.argmin, lambda cost: f"{cost:.4g}")


def accuracies(history: History, ax: Axes | None = None) -> Axes:
    """Draw training and validation accuracy against the epoch, with a ring at the best validation.

    ``history`` is that of `costs`, with fractions "train_accuracy" and "validation_accuracy".

    >>> ax = accuracies([{"epoch": 1, "train_accuracy": 0.9, "validation_accuracy": 0.8}])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['train', 'validation', 'best: 80.00 %, epoch 1']
    """
    ax = ax or figure(6, 3.8).subplots()
    dress(ax, "Accuracy after each epoch", "epoch", "examples classified correctly")
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")
    return _curves(ax, history, "accuracy", np.argmax, lambda share: f"{100 * share:.2f} %")


def learning_curves(history: History) -> Figure:
    """Draw `costs` and `accuracies` side by side in a new figure.

    >>> figure = learning_curves([{"epoch": 1, "train_cost": 0.9, "train_accuracy": 0.5}])
    >>> len(figure.axes)
    2
    """
    picture = figure(11, 3.8)
    for draw, ax in zip((costs, accuracies), picture.subplots(1, 2), strict=True):
        draw(history, ax)
    return picture


def _curves(
    ax: Axes, history: History, measure: str, best: Callable[..., Any], text: Callable[[float], str]
) -> Axes:
    for part, colour, dashes in (("train", BLUE, "-"), ("validation", VERMILION, "--")):
        epochs, values = _series(history, f"{part}_{measure}")
        dot = "o" if len(values) <= 30 else ""
        if len(values):
            ax.plot(epochs, values, dashes, color=colour, label=part, marker=dot, ms=4)
    if not ax.lines:
        return say(ax, f"No {measure} was measured")
    if len(values):  # of the validation, drawn last
        at = best(values)
        label = f"best: {text(values[at])}, epoch {epochs[at]:g}"
        ax.plot(epochs[at], values[at], "o", color=VERMILION, label=label, ms=9, mfc="none")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    return legend(ax)


def _series(history: History, key: str) -> NDArray[np.float64]:
    """Return the epochs and the values measured there, [2, n]."""
    pairs = [(row.get("epoch", n), row.get(key)) for n, row in enumerate(history, start=1)]
    series = np.array(pairs, np.float64).reshape(-1, 2).T  # None becomes NaN
    return series[:, np.isfinite(series).all(axis=0)]
