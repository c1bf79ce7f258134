"""What all pictures share: figures, fonts, colours, tiles, and saving.

The colours are told apart by the colour-blind (Okabe and Ito, "Color Universal Design", 2008).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Style = dict[str, Any]

BLUE, VERMILION = "#0072B2", "#D55E00"
PEERS = (BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", VERMILION)
TITLE, LABEL, SMALL = 11, 9, 8  # font sizes in points
CENTRED: Style = {"ha": "center", "va": "center"}


def save(picture: Figure | Axes, path: str | os.PathLike[str]) -> Path:
    """Write a figure, or the figure of an Axes, as PNG at 150 dots an inch; return the path.

    The file appears whole or not at all. Raises ``OSError`` if its folder cannot be written.

    >>> from deltarule.plots import costs
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


def figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, laid out without overlaps."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            "pictures need matplotlib; install it with: pip install 'deltarule[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def dress(ax: Axes, title: str, x: str = "", y: str = "", rows: Sequence[str] = ()) -> None:
    """Give the Axes its title, labels and, for named rows, their names."""
    ax.set_title(title, loc="left", fontsize=TITLE)
    ax.set_xlabel(x, fontsize=LABEL)
    ax.set_ylabel(y, fontsize=LABEL)
    ax.tick_params(labelsize=SMALL)
    ax.spines[["top", "right"]].set_visible(False)
    if rows:
        ax.set_yticks(range(len(rows)), [short(name, 40) for name in rows], parse_math=False)
        ax.set_ylim(len(rows) - 0.5, -0.5)


def legend(ax: Axes) -> Axes:
    """Put the legend between title and data, where it hides neither."""
    key = ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=SMALL)
    key.set_in_layout(False)  # a wide legend must not squeeze the data; the title keeps its room
    pad = 10 + 16 * -(-len(key.get_texts()) // 3)
    ax.set_title(ax.get_title("left"), loc="left", fontsize=TITLE, pad=pad)
    return ax


def say(ax: Axes, statement: str) -> Axes:
    """Write a statement where there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, statement, fontsize=TITLE, transform=ax.transAxes, **CENTRED)
    return ax


def colour_bar(ax: Axes, image: ScalarMappable, label: str) -> Axes:
    """Put a labelled colour bar beside the image."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, aspect=30)
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL)
    return bar.ax


def tiles(
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
    ax = ax or figure(max(4, columns * inches), height + 0.4).subplots()
    width = points(ax, columns, rows * down / across)
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


def points(ax: Axes, across: float, down: float) -> float:
    """Return the side in points of a square of which so many fit across and down an Axes."""
    box = ax.get_window_extent()
    return float(72 * min(box.width / across, box.height / down) / ax.figure.dpi)


def short(name: object, most: int) -> str:
    """Return the name in at most so many characters, cut in the middle."""
    words = " ".join(str(name).split())
    if len(words) > most:  # the end is kept: names of a family often differ there
        words = f"{words[: most // 2]}…{words[1 - most // 2 :]}"
    return words
