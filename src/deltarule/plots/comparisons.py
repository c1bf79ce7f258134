"""Results beside others: published figures and other libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deltarule.plots.canvas import BLUE, PEERS, SMALL, VERMILION, dress, figure, legend, say, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = tuple[str, float | None, float, float, float]
Workload = tuple[str, Mapping[str, tuple[float, float, float]]]


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
    ax = ax or figure(7, 1.3 + 0.35 * len(rows)).subplots()
    if not rows:
        return say(ax, "No results to compare")
    claimed, mean, low, high = np.array([row[1:] for row in rows], np.float64).T
    places = np.arange(len(rows))
    dress(ax, "Claimed and reached", label, rows=[name for name, *_ in rows])
    ax.grid(axis="x", color="0.9")
    ax.plot(claimed, places, "D", color=VERMILION, mfc="none", ms=8, label="claimed")
    ax.hlines(places, low, high, color=BLUE, linewidth=2)
    ax.plot(mean, places, "o", color=BLUE, ms=5, label="reached (mean, low to high)")
    return legend(ax)


def bars(rows: Sequence[Workload], ax: Axes | None = None) -> Axes:
    """Draw benchmark ratios as bars from the line of 1×, on a logarithmic axis.

    ``rows`` are (workload, {peer: (median, low, high)}) of the peer's time over that of deltarule.
    Raises ``ValueError`` if a ratio is not a positive number.

    >>> ax = bars([("one epoch", {"PyTorch": (4.0, 3.5, 5.0)})])
    >>> ax.texts[0].get_text()
    ' 4×'
    """
    peers = list(dict.fromkeys(peer for _, ratios in rows for peer in ratios))
    ax = ax or figure(7, 1.3 + 0.25 * len(rows) * (len(peers) + 1)).subplots()
    if not peers:
        return say(ax, "No benchmarks to compare")
    every = np.array([ratio for _, ratios in rows for ratio in ratios.values()], np.float64)
    if not (np.isfinite(every) & (every > 0)).all():
        message = f"rows must hold positive ratios, got {every.tolist()}"
        raise ValueError(f"{message}; leave out what was not measured.")
    label = "time of the peer / time of deltarule"
    dress(ax, "Right of 1×, deltarule is the faster", label, rows=[name for name, _ in rows])
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
        ax.barh(places, median - 1, 0.9 * height, left=1, color=colour, label=short(peer, 20))
        ax.hlines(places, low, high, color="black", linewidth=1)
        for ratio, end, place in zip(median, np.maximum(high, 1), places, strict=True):
            ax.text(end, place, f" {float(f'{ratio:.3g}'):g}×", va="center", fontsize=SMALL)
    return legend(ax)
