"""Learning rates: the cost against a rate that grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from deltarule.plots.canvas import BLUE, VERMILION, dress, figure, legend, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREEN = "#009E73"
ROOM = 0.1  # of the height of the curve, above and below it


def rate_range(
    rates: ArrayLike,
    costs: ArrayLike,
    suggestion: float | None = None,
    optimum: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a learning-rate range test: the running mean of the cost as the rate grows.

    ``rates`` and ``costs`` [k] are drawn on a logarithmic axis of rates; ``suggestion`` and
    ``optimum``, 1/lambda_max, are marked where given. Raises ``ValueError`` if the two differ in
    length or a rate is not positive.

    >>> ax = rate_range([0.01, 0.1, 1.0], [2.3, 1.1, 4.0], suggestion=0.1)
    >>> [line.get_label() for line in ax.lines]
    ['cost, running mean', 'suggested: 0.1']
    """
    x, y = np.asarray(rates, np.float64), np.asarray(costs, np.float64)
    if x.shape != y.shape or x.ndim != 1 or not (x > 0).all():
        raise ValueError(
            "rates and costs must be as many, and rates positive; got shapes "
            f"{x.shape} and {y.shape}."
        )
    ax = ax or figure(6, 3.8).subplots()
    if not np.isfinite(y).any():
        return say(ax, "No cost was finite")
    dress(ax, "Cost while the learning rate grows", "learning rate", "mean cost of an example")
    ax.set_xscale("log")
    ax.plot(x, y, color=BLUE, label="cost, running mean")
    marks: Sequence[tuple[float | None, str, str, str]] = (
        (suggestion, "suggested", VERMILION, "--"), (optimum, "1/λ max", GREEN, ":"),
    )  # fmt: skip
    for rate, name, colour, dashes in marks:
        if rate is not None and np.isfinite(rate) and rate > 0:
            ax.axvline(rate, color=colour, linestyle=dashes, label=f"{name}: {rate:.2g}")
    low, high = np.nanmin(y), np.nanmax(y)
    if low < y[0]:
        high = min(high, 2 * y[0] - low)  # the fall matters, not how far the cost exploded
    if low < high:
        ax.set_ylim(low - ROOM * (high - low), high + ROOM * (high - low))
    return legend(ax)
