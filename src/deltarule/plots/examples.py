"""What a network learns from: a sheet of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from deltarule.plots.canvas import dress, short, tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_IMAGES = 400


def examples(
    images: ArrayLike,
    titles: Sequence[str] = (),
    ax: Axes | None = None,
    *,
    rows: int | None = None,
    heading: str | None = None,
) -> Axes:
    """Draw images in a grid, row by row, each under its title, all on one scale of brightness.

    ``images`` is [n, h, w], [n, h, w, 1] or [n, h, w, 3] (colour) of numbers, at most 400 of them;
    the smallest is black and the largest white. ``titles`` are n texts, or none; ``rows`` is the
    number of rows (None: about square).
    Raises ``ValueError`` if the shapes do not fit each other.

    >>> examples(np.eye(4).reshape(1, 4, 4), ["a line"]).texts[0].get_text()
    'a line'
    """
    shown, n = np.asarray(images), len(titles)
    fits = shown.ndim > 2 and shown.shape[3:] in ((), (1,), (3,)) and shown.size
    if not fits or not len(shown) <= MOST_IMAGES or n not in (0, len(shown)) or (rows or 1) < 1:
        raise ValueError(
            f"images and titles must be [n, h, w] or [n, h, w, 1 or 3], of n from 1 to "
            f"{MOST_IMAGES}, and n texts or none, and rows at least 1, got shape {shown.shape}, "
            f"{n} titles and rows={rows}; pass one title for each image."
        )
    shown = shown.astype(np.float64)
    shown = (shown - shown.min()) / (np.ptp(shown) or 1)
    captions = [short(title, 24) for title in titles]
    ax = tiles(ax, shown, {"cmap": "gray", "vmin": 0, "vmax": 1}, rows, captions)
    dress(ax, heading or f"Examples: {len(shown)}")
    return ax
