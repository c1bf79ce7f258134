"""How a cost is curved: the eigenvalues of its Hessian, beside the learning rate in use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deltarule.plots.canvas import BLUE, VERMILION, dress, figure, legend, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = Sequence[float] | NDArray[np.float64]

DECADES = 8  # below the largest eigenvalue: what is smaller still counts as flat
BINS_A_DECADE = 4


def eigenvalues(values: Numbers, limit: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw the largest eigenvalues, the largest first, on a logarithmic axis.

    ``values`` are eigenvalues in any order; those that are not positive are left out. ``limit`` is
    the curvature that the learning rate in use still bears, 2/eta for gradient descent: a line.

    >>> ax = eigenvalues([4.0, 1.0, 0.5], limit=20.0)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['eigenvalue', 'limit at the learning rate: 20']
    """
    ax = ax or figure(6, 3.8).subplots()
    dress(ax, "Largest eigenvalues of the Hessian", "rank", "curvature")
    ordered = np.sort(np.asarray(values, np.float64))[::-1]
    ordered = ordered[ordered > 0]
    if not len(ordered):
        return say(ax, "Nothing curves upwards")
    places = np.arange(1, len(ordered) + 1)
    dot = "o" if len(ordered) <= 60 else ""
    ax.plot(places, ordered, "-", color=BLUE, marker=dot, ms=4, label="eigenvalue")
    ax.set_yscale("log")
    ax.locator_params(axis="x", integer=True, min_n_ticks=1)
    if limit is not None:
        label = f"limit at the learning rate: {limit:.3g}"
        ax.axhline(limit, color=VERMILION, linestyle="--", label=label)
    ax.yaxis.set_major_formatter("{x:g}")
    return legend(ax)


def density(values: Numbers, ax: Axes | None = None) -> Axes:
    """Draw how many eigenvalues of a whole spectrum there are of each size, both signs.

    Bins are equally wide in the logarithm of the size; what is below 1e-8 of the largest is flat
    and shown in the middle.

    >>> ax = density([4.0, 1.0, 0.5, 0.0, -0.1])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['upwards: 3', 'flat: 1', 'downwards: 1']
    """
    ax = ax or figure(6, 3.8).subplots()
    dress(ax, "The whole spectrum", "curvature", "eigenvalues")
    array = np.asarray(values, np.float64)
    top = float(np.abs(array).max(initial=0))
    if not top > 0:
        return say(ax, "Nothing is curved")
    floor = top / 10**DECADES
    edges = np.geomspace(floor, top * (1 + 1e-9), DECADES * BINS_A_DECADE + 1)
    groups = {
        "upwards": (array[array > floor], edges, BLUE),
        "flat": (array[np.abs(array) <= floor], np.array([-floor, floor]), "0.6"),
        "downwards": (array[array < -floor], -edges[::-1], VERMILION),
    }
    for name, (held, bins, colour) in groups.items():
        ax.hist(held, bins=bins.tolist(), color=colour, label=f"{name}: {len(held):,}")
    ax.set_xscale("symlog", linthresh=floor)
    powers = 10.0 ** np.arange(np.ceil(np.log10(floor)) + 1, np.log10(top), 3)
    ax.set_xticks([*-powers[::-1], 0.0, *powers])
    ax.minorticks_off()
    ax.set_yscale("symlog", linthresh=1)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_ylim(0, None)
    return legend(ax)
