"""What a network learned, and where it still goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deltarule.plots.canvas import (
    CENTRED,
    LABEL,
    Style,
    colour_bar,
    dress,
    figure,
    points,
    say,
    short,
    tiles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TILES, MOST_NUMBERED, MOST_NAMED = 100, 30, 100  # neurons, classes, classes


def weights(
    matrix: ArrayLike, shape: Sequence[int], ax: Axes | None = None, *, rows: int | None = None
) -> Axes:
    """Draw the weights into each neuron as an image, all on one scale that is white at 0.

    ``matrix`` is [neurons, inputs], ``shape`` that of one input: (h, w) or (h, w, 1); any other
    gives one heat map, a row per neuron. ``rows`` is the number of rows of the grid (None: about
    square). Of more than 100 neurons the first 100 are drawn as images.
    Raises ``ValueError`` if the matrix does not fit ``shape``.

    >>> weights(np.eye(4), (2, 2)).get_title("left")
    'First-layer weights: 4 of 4 neurons'
    """
    matrix, inputs = np.asarray(matrix, np.float64), int(np.prod(shape))
    fits = matrix.ndim == 2 and matrix.size and matrix.shape[1] == inputs
    if not fits or (rows or 1) < 1:
        raise ValueError(
            f"matrix must be [neurons, {inputs}] for inputs of shape {tuple(shape)}, and rows at "
            f"least 1, got shape {matrix.shape} and rows={rows}; pass the shape of one input."
        )
    limit = np.abs(matrix[np.isfinite(matrix)]).max(initial=0) or 1
    scale: Style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    neurons = len(matrix)
    if len(shape) > 1 and min(shape[:2]) > 1 and tuple(shape[2:]) in ((), (1,)):
        drawn = min(neurons, MOST_TILES)
        ax = tiles(ax, matrix[:drawn].reshape(drawn, *shape[:2]), scale, rows, ())
        ax.set_facecolor("0.8")
        dress(ax, f"First-layer weights: {drawn} of {neurons} neurons")
    else:
        ax = ax or figure(7, 4.5).subplots()
        ax.imshow(matrix, aspect="auto", **scale)
        ax.locator_params(integer=True)
        dress(ax, f"First-layer weights: {neurons} neurons", "input", "neuron")
    colour_bar(ax, ax.images[-1], "weight")
    return ax


def confusion(matrix: ArrayLike, classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix in which the errors are seen, although most counts are right.

    ``matrix`` is [k, k] of counts, a row per true class and a column per predicted class. An error
    is coloured by its share of its true class, on a square-root scale; the diagonal is grey. Counts
    other than 0 are written up to 30 classes; with more than 100, not every class is named.
    Raises ``ValueError`` if the matrix is not [k, k] for k classes.

    >>> confusion([[9, 1], [0, 10]], ["cat", "dog"]).get_title("left")
    'Errors: 1 of 20 examples (5.00 %)'
    """
    counts, k = np.asarray(matrix), len(classes)
    if counts.shape != (k, k) or not k:
        raise ValueError(
            f"matrix must be [{k}, {k}] of counts for the {k} classes, got shape {counts.shape}; "
            "pass a row and a column, and a name, for every class."
        )
    side = float(np.clip(0.35 * k + 2.2, 4.5, 13))
    ax = ax or figure(1.1 * side, side).subplots()
    from matplotlib.colors import PowerNorm

    total, errors = int(counts.sum()), int(counts.sum() - counts.trace())
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.ma.array(shares, mask=np.eye(k, dtype=bool))
    ax.set_facecolor("0.9")  # shows through the masked diagonal
    norm = PowerNorm(0.5, 0, float(shares.max()) if errors else 0.01)
    image = ax.imshow(shares, cmap="Oranges", norm=norm)
    title = f"Errors: {errors} of {total} examples ({100 * errors / max(total, 1):.2f} %)"
    dress(ax, title, "predicted class", "true class")
    _name_cells(ax, classes)
    if k <= MOST_NUMBERED:
        _number_cells(ax, counts, np.asarray(norm(shares.filled(0))))
    bar = colour_bar(ax, image, "errors, share of the true class")
    bar.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    return ax


def _name_cells(ax: Axes, classes: Sequence[str]) -> None:
    k = len(classes)
    shown = range(0, k, -(-k // MOST_NAMED))
    names = [short(classes[i], 16) for i in shown]
    size = float(np.clip(0.9 * points(ax, k, k), 4.5, LABEL))
    font: Style = {"fontsize": size, "parse_math": False}
    ax.set_yticks(shown, names, **font)
    angle = 90 if k > MOST_NUMBERED else 45 if max(map(len, names)) > 3 else 0
    if angle:
        font |= {"rotation": angle, "rotation_mode": "anchor", "ha": "right", "va": "center"}
    ax.set_xticks(shown, names, **font)


def _number_cells(ax: Axes, counts: NDArray[Any], depth: NDArray[Any]) -> None:
    size = min(LABEL, points(ax, *counts.shape) / max(2, 0.85 * len(f"{counts.max():.0f}")))
    for true, said in np.argwhere(counts):  # an empty cell says 0 more clearly than a digit does
        colour = "white" if depth[true, said] > 0.8 else "black"
        ax.text(said, true, f"{counts[true, said]:.0f}", color=colour, fontsize=size, **CENTRED)


def mistakes(
    images: Any,
    labels: ArrayLike,
    predictions: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    ax: Axes | None = None,
    *,
    most: int = 25,
) -> Axes:
    """Draw the worst mistakes, the surest first, each under "true → said (probability)".

    ``images`` is [n, h, w], [n, h, w, 1] or [n, h, w, 3] (colour), ``labels`` and ``predictions``
    are [n] class indices, ``probabilities`` is [n, k]. The worst mistake is the one that gave its
    wrong class the highest probability.
    Raises ``ValueError`` if the shapes do not fit each other or ``most`` is below 1.

    >>> ax = mistakes(np.eye(2)[None], [0], [1], [[0.2, 0.8]], ["cat", "dog"])
    >>> ax.texts[0].get_text()
    'cat → dog (0.80)'
    """
    if not hasattr(images, "shape"):
        images = np.asarray(images)  # else only those that are drawn are asked for
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    probabilities, n = np.asarray(probabilities), labels.size
    shapes = (images.shape, labels.shape, predictions.shape, probabilities.shape)
    fit = shapes[1:] == ((n,), (n,), (n, len(classes))) and len(images.shape) > 2
    if not fit or images.shape[3:] not in ((), (1,), (3,)) or most < 1:
        raise ValueError(
            "images, labels, predictions and probabilities must be [n, h, w] or [n, h, w, 1 or 3], "
            f"[n], [n] and [n, {len(classes)}], one column for each class, and most at least 1, "
            f"got shapes {shapes} and most={most}; pass one row for each image."
        )
    wrong = np.flatnonzero(labels != predictions)
    if not len(wrong):
        return say(ax or figure(5, 3).subplots(), f"Mistakes: none in {n} examples")
    sureness = probabilities[np.arange(n), predictions]
    worst = wrong[np.argsort(-sureness[wrong], kind="stable")][:most]
    names = [short(name, 12) for name in classes]
    gap = "\n" if max(map(len, names)) > 3 else " "
    told = zip(labels[worst], predictions[worst], sureness[worst], strict=True)
    captions = [f"{names[true]}{gap}→ {names[said]} ({p:.2f})" for true, said, p in told]
    shown = np.asarray(images[worst], np.float64)
    shown = (shown - shown.min()) / (np.ptp(shown) or 1)
    ax = tiles(ax, shown, {"cmap": "gray", "vmin": 0, "vmax": 1}, None, captions)
    kept = f", the worst {len(worst)}" if len(worst) < len(wrong) else ""
    dress(ax, f"Mistakes: {len(wrong)} of {n} examples{kept}")
    return ax
