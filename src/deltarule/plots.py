"""Pictures of a run: how it learned, what it learned, and where it still goes wrong.

Every function takes data and an optional Axes, draws, and returns the Axes; none trains, opens a
window or touches the global state of pyplot, so all work in scripts, notebooks and threads and
without a display. matplotlib is an extra, imported when the first Axes is made.
The colours are told apart by the colour-blind (Okabe and Ito, "Color Universal Design", 2008).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, float | None]]
Result = tuple[str, float | None, float, float, float]
Workload = tuple[str, Mapping[str, tuple[float, float, float]]]
Style = dict[str, Any]

BLUE, VERMILION = "#0072B2", "#D55E00"
PEERS = (BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", VERMILION)
TITLE, LABEL, SMALL = 11, 9, 8  # font sizes in points
CENTRED: Style = {"ha": "center", "va": "center"}
MOST_TILES, MOST_NUMBERED, MOST_NAMED = 100, 30, 100  # neurons, classes, classes


def costs(history: History, ax: Axes | None = None) -> Axes:
    """Draw training and validation cost against the epoch, with a ring at the lowest validation.

    ``history`` has a mapping for each epoch with "epoch", "train_cost" and "validation_cost";
    a value that is absent, None or not finite is left out.

    >>> ax = costs([{"epoch": 1, "train_cost": 0.9}, {"epoch": 2, "train_cost": 0.4}])
    >>> ax.get_title("left")
    'Cost after each epoch'
    """
    ax = ax or _figure(6, 3.8).subplots()
    _dress(ax, "Cost after each epoch", "epoch", "mean cost of an example")
    return _curves(ax, history, "cost", np.argmin, lambda cost: f"{cost:.4g}")


def accuracies(history: History, ax: Axes | None = None) -> Axes:
    """Draw training and validation accuracy against the epoch, with a ring at the best validation.

    ``history`` is that of `costs`, with fractions "train_accuracy" and "validation_accuracy".

    >>> ax = accuracies([{"epoch": 1, "train_accuracy": 0.9, "validation_accuracy": 0.8}])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['train', 'validation', 'best: 80.00 %, epoch 1']
    """
    ax = ax or _figure(6, 3.8).subplots()
    _dress(ax, "Accuracy after each epoch", "epoch", "examples classified correctly")
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g} %")
    return _curves(ax, history, "accuracy", np.argmax, lambda share: f"{100 * share:.2f} %")


def learning_curves(history: History) -> Figure:
    """Draw `costs` and `accuracies` side by side in a new figure.

    >>> figure = learning_curves([{"epoch": 1, "train_cost": 0.9, "train_accuracy": 0.5}])
    >>> len(figure.axes)
    2
    """
    figure = _figure(11, 3.8)
    for draw, ax in zip((costs, accuracies), figure.subplots(1, 2), strict=True):
        draw(history, ax)
    return figure


def _curves(
    ax: Axes, history: History, measure: str, best: Callable[..., Any], text: Callable[[float], str]
) -> Axes:
    for part, colour, dashes in (("train", BLUE, "-"), ("validation", VERMILION, "--")):
        epochs, values = _series(history, f"{part}_{measure}")
        dot = "o" if len(values) <= 30 else ""
        if len(values):
            ax.plot(epochs, values, dashes, color=colour, label=part, marker=dot, ms=4)
    if not ax.lines:
        return _say(ax, f"No {measure} was measured")
    if len(values):  # of the validation, drawn last
        at = best(values)
        label = f"best: {text(values[at])}, epoch {epochs[at]:g}"
        ax.plot(epochs[at], values[at], "o", color=VERMILION, label=label, ms=9, mfc="none")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    return _legend(ax)


def _series(history: History, key: str) -> NDArray[np.float64]:
    """Return the epochs and the values measured there, [2, n]."""
    pairs = [(row.get("epoch", n), row.get(key)) for n, row in enumerate(history, start=1)]
    series = np.array(pairs, np.float64).reshape(-1, 2).T  # None becomes NaN
    return series[:, np.isfinite(series).all(axis=0)]


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
        ax = _tiles(ax, matrix[:drawn].reshape(drawn, *shape[:2]), scale, rows, ())
        ax.set_facecolor("0.8")
        _dress(ax, f"First-layer weights: {drawn} of {neurons} neurons")
    else:
        ax = ax or _figure(7, 4.5).subplots()
        ax.imshow(matrix, aspect="auto", **scale)
        ax.locator_params(integer=True)
        _dress(ax, f"First-layer weights: {neurons} neurons", "input", "neuron")
    _colour_bar(ax, ax.images[-1], "weight")
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
    ax = ax or _figure(1.1 * side, side).subplots()
    from matplotlib.colors import PowerNorm

    total, errors = int(counts.sum()), int(counts.sum() - counts.trace())
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shares = np.ma.array(shares, mask=np.eye(k, dtype=bool))
    ax.set_facecolor("0.9")  # shows through the masked diagonal
    norm = PowerNorm(0.5, 0, float(shares.max()) if errors else 0.01)
    image = ax.imshow(shares, cmap="Oranges", norm=norm)
    title = f"Errors: {errors} of {total} examples ({100 * errors / max(total, 1):.2f} %)"
    _dress(ax, title, "predicted class", "true class")
    _name_cells(ax, classes)
    if k <= MOST_NUMBERED:
        _number_cells(ax, counts, np.asarray(norm(shares.filled(0))))
    bar = _colour_bar(ax, image, "errors, share of the true class")
    bar.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    return ax


def _name_cells(ax: Axes, classes: Sequence[str]) -> None:
    k = len(classes)
    shown = range(0, k, -(-k // MOST_NAMED))
    names = [_short(classes[i], 16) for i in shown]
    size = float(np.clip(0.9 * _points(ax, k, k), 4.5, LABEL))
    font: Style = {"fontsize": size, "parse_math": False}
    ax.set_yticks(shown, names, **font)
    angle = 90 if k > MOST_NUMBERED else 45 if max(map(len, names)) > 3 else 0
    if angle:
        font |= {"rotation": angle, "rotation_mode": "anchor", "ha": "right", "va": "center"}
    ax.set_xticks(shown, names, **font)


def _number_cells(ax: Axes, counts: NDArray[Any], depth: NDArray[Any]) -> None:
    size = min(LABEL, _points(ax, *counts.shape) / max(2, 0.85 * len(f"{counts.max():.0f}")))
    for true, said in np.argwhere(counts):  # an empty cell says 0 more clearly than a digit does
        colour = "white" if depth[true, said] > 0.65 else "black"
        ax.text(said, true, f"{counts[true, said]:.0f}", color=colour, fontsize=size, **CENTRED)


def mistakes(
    images: ArrayLike,
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
    images, labels, predictions = np.asarray(images), np.asarray(labels), np.asarray(predictions)
    probabilities, n = np.asarray(probabilities), labels.size
    shapes = (images.shape, labels.shape, predictions.shape, probabilities.shape)
    fit = shapes[1:] == ((n,), (n,), (n, len(classes))) and images.ndim > 2
    if not fit or images.shape[3:] not in ((), (1,), (3,)) or most < 1:
        raise ValueError(
            "images, labels, predictions and probabilities must be [n, h, w] or [n, h, w, 1 or 3], "
            f"[n], [n] and [n, {len(classes)}], one column for each class, and most at least 1, "
            f"got shapes {shapes} and most={most}; pass one row for each image."
        )
    wrong = np.flatnonzero(labels != predictions)
    if not len(wrong):
        return _say(ax or _figure(5, 3).subplots(), f"Mistakes: none in {n} examples")
    sureness = probabilities[np.arange(n), predictions]
    worst = wrong[np.argsort(-sureness[wrong], kind="stable")][:most]
    names = [_short(name, 12) for name in classes]
    gap = "\n" if max(map(len, names)) > 3 else " "
    told = zip(labels[worst], predictions[worst], sureness[worst], strict=True)
    captions = [f"{names[true]}{gap}→ {names[said]} ({p:.2f})" for true, said, p in told]
    shown = images[worst].astype(np.float64)
    shown = (shown - shown.min()) / (np.ptp(shown) or 1)
    ax = _tiles(ax, shown, {"cmap": "gray", "vmin": 0, "vmax": 1}, None, captions)
    kept = f", the worst {len(worst)}" if len(worst) < len(wrong) else ""
    _dress(ax, f"Mistakes: {len(wrong)} of {n} examples{kept}")
    return ax


def comparison(
    rows: Sequence[Result], ax: Axes | None = None, *, label: str = "test accuracy (%)"
) -> Axes:
    """Draw what was claimed beside what was reached: a hollow diamond, and a dot with whiskers.

    ``rows`` are (name, claimed, reached mean, reached low, reached high), all in the unit that
    ``label`` names; claimed may be None.

    >>> ax = comparison([("784-30-10", 95.1, 95.0, 94.8, 95.2)])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['claimed', 'reached (mean, low to high)']
    """
    ax = ax or _figure(7, 1.3 + 0.35 * len(rows)).subplots()
    if not rows:
        return _say(ax, "No results to compare")
    claimed, mean, low, high = np.array([row[1:] for row in rows], np.float64).T
    places = np.arange(len(rows))
    _dress(ax, "Claimed and reached", label, rows=[name for name, *_ in rows])
    ax.grid(axis="x", color="0.9")
    ax.plot(claimed, places, "D", color=VERMILION, mfc="none", ms=8, label="claimed")
    ax.hlines(places, low, high, color=BLUE, linewidth=2)
    ax.plot(mean, places, "o", color=BLUE, ms=5, label="reached (mean, low to high)")
    return _legend(ax)


def bars(rows: Sequence[Workload], ax: Axes | None = None) -> Axes:
    """Draw benchmark ratios as bars from the line of 1×, on a logarithmic axis.

    ``rows`` are (workload, {peer: (median, low, high)}) of the peer's time over that of deltarule.
    Raises ``ValueError`` if a ratio is not a positive number.

    >>> ax = bars([("one epoch", {"PyTorch": (4.0, 3.5, 5.0)})])
    >>> ax.texts[0].get_text()
    ' 4×'
    """
    peers = list(dict.fromkeys(peer for _, ratios in rows for peer in ratios))
    ax = ax or _figure(7, 1.3 + 0.25 * len(rows) * (len(peers) + 1)).subplots()
    if not peers:
        return _say(ax, "No benchmarks to compare")
    every = np.array([ratio for _, ratios in rows for ratio in ratios.values()], np.float64)
    if not (np.isfinite(every) & (every > 0)).all():
        message = f"rows must hold positive ratios, got {every.tolist()}"
        raise ValueError(f"{message}; leave out what was not measured.")
    label = "time of the peer / time of deltarule"
    _dress(ax, "Right of 1×, deltarule is the faster", label, rows=[name for name, _ in rows])
    left, right = min(every.min() / 1.2, 0.5), max(every.max() * 1.6, 2)
    ax.set(xscale="log", xlim=(left, right))
    ax.locator_params(axis="x", subs=(1, 2, 5) if right < 200 * left else (1,))
    ax.xaxis.set_major_formatter("{x:g}×")
    ax.minorticks_off()
    ax.axvline(1, color="black", linewidth=1)
    height = 0.8 / len(peers)
    for i, peer in enumerate(peers):
        held = [(row, *ratios[peer]) for row, (_, ratios) in enumerate(rows) if peer in ratios]
        places, median, low, high = np.array(held, np.float64).T
        places += height * (i - (len(peers) - 1) / 2)
        colour = PEERS[i % len(PEERS)]
        ax.barh(places, median - 1, 0.9 * height, left=1, color=colour, label=_short(peer, 20))
        ax.hlines(places, low, high, color="black", linewidth=1)
        for ratio, end, place in zip(median, np.maximum(high, 1), places, strict=True):
            ax.text(end, place, f" {float(f'{ratio:.3g}'):g}×", va="center", fontsize=SMALL)
    return _legend(ax)


def save(picture: Figure | Axes, path: str | os.PathLike[str]) -> Path:
    """Write a figure, or the figure of an Axes, as PNG at 150 dots an inch; return the path.

    The file appears whole or not at all. Raises ``OSError`` if its folder cannot be written.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     save(costs([{"train_cost": 0.9}]), Path(folder, "costs.png")).name
    'costs.png'
    """
    path, figure = Path(path), picture.figure.figure  # of an Axes in a subfigure, the whole figure
    draft = path.with_name(f".{secrets.token_hex(8)}.png")
    try:
        figure.savefig(draft, dpi=150, bbox_inches="tight")
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "pictures need matplotlib; install it with: pip install 'deltarule[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _dress(ax: Axes, title: str, x: str = "", y: str = "", rows: Sequence[str] = ()) -> None:
    ax.set_title(title, loc="left", fontsize=TITLE)
    ax.set_xlabel(x, fontsize=LABEL)
    ax.set_ylabel(y, fontsize=LABEL)
    ax.tick_params(labelsize=SMALL)
    ax.spines[["top", "right"]].set_visible(False)
    if rows:
        ax.set_yticks(range(len(rows)), [_short(name, 40) for name in rows], parse_math=False)
        ax.set_ylim(len(rows) - 0.5, -0.5)


def _legend(ax: Axes) -> Axes:
    """Put the legend between title and data, where it hides neither."""
    key = ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=SMALL)
    key.set_in_layout(False)  # a wide legend must not squeeze the data; the title keeps its room
    pad = 10 + 16 * -(-len(key.get_texts()) // 3)
    ax.set_title(ax.get_title("left"), loc="left", fontsize=TITLE, pad=pad)
    return ax


def _say(ax: Axes, statement: str) -> Axes:
    ax.set_axis_off()
    ax.text(0.5, 0.5, statement, fontsize=TITLE, transform=ax.transAxes, **CENTRED)
    return ax


def _colour_bar(ax: Axes, image: ScalarMappable, label: str) -> Axes:
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, aspect=30)
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL)
    return bar.ax


def _tiles(
    ax: Axes | None, images: NDArray[Any], scale: Style, rows: int | None, captions: Sequence[str]
) -> Axes:
    """Draw images [n, h, w] in a grid on one Axes, in units of a pixel."""
    n, h, w = images.shape[:3]
    lines = [line for caption in captions for line in caption.split("\n")]
    gap, head = 0.1 * min(h, w), 0.12 * w * len(lines) / n
    across, down = w + gap, h + gap + head
    columns = int(np.ceil(n / rows if rows else np.sqrt(n * h / w)))
    rows = -(-n // columns)
    inches = float(np.clip(8 / columns, 1.1 if captions else 0.7, 1.7))
    height = max(1.5, rows * inches * down / across)
    ax = ax or _figure(max(4, columns * inches), height + 0.4).subplots()
    width = _points(ax, columns, rows * down / across)
    size = min(SMALL, 0.1 * width, width / (0.7 * max(map(len, lines), default=1)))
    for i, image in enumerate(images):
        left, top = (i % columns) * across, (i // columns) * down + head
        ax.imshow(image, extent=(left, left + w, top + h, top), **scale)
        if captions:
            ax.text(left, top - 0.02 * w, captions[i], fontsize=size, va="bottom", parse_math=False)
    ax.set(xlim=(-gap / 2, columns * across - gap / 2), ylim=(rows * down - gap / 2, -gap / 2))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def _points(ax: Axes, across: float, down: float) -> float:
    """Return the side in points of a square of which so many fit across and down an Axes."""
    box = ax.get_window_extent()
    return float(72 * min(box.width / across, box.height / down) / ax.figure.dpi)


def _short(name: object, most: int) -> str:
    words = " ".join(str(name).split())
    if len(words) > most:  # the end is kept: names of a family often differ there
        words = f"{words[: most // 2]}…{words[1 - most // 2 :]}"
    return words
