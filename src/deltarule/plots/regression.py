"""Regression: what was said against what is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from deltarule.plots.canvas import BLUE, VERMILION, dress, figure, legend, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 20_000


def predictions(answers: ArrayLike, said: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw each prediction over its answer; on the dashed line they are equal.

    ``answers`` and ``said`` are [n]. Of more than 20,000 every k-th is drawn. Raises
    ``ValueError`` if they are not as many.

    >>> predictions([1.0, 2.0, 3.0], [1.5, 2.0, 2.5]).get_title("left")
    'Predictions: RMSE 0.408'
    """
    y, a = (np.asarray(each, np.float64) for each in (answers, said))
    if y.shape != a.shape or y.ndim != 1:
        raise ValueError(
            f"answers and predictions must be as many, got shapes {y.shape} and {a.shape}."
        )
    ax = ax or figure(5, 4.6).subplots()
    finite = np.isfinite(y) & np.isfinite(a)
    if not finite.any():
        return say(ax, "No prediction was finite")
    rmse = float(np.sqrt(np.mean((y - a)[finite] ** 2)))
    y, a = (each[finite][:: -(-len(each) // MOST_POINTS)] for each in (y, a))
    dress(ax, f"Predictions: RMSE {rmse:.3g}", "answer", "prediction")
    ax.plot(y, a, "o", color=BLUE, markersize=4, alpha=0.5, markeredgewidth=0, label="example")
    ends = [float(min(y.min(), a.min())), float(max(y.max(), a.max()))]
    ax.plot(ends, ends, color=VERMILION, linestyle="--", label="equal")
    return legend(ax)
