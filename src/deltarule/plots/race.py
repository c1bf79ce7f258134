"""A race of optimizers: cost against epochs, gradients and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltarule.plots.canvas import PEERS, SMALL, dress, figure, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AGAINST = {
    "epoch": "epochs, or iterations",
    "gradient_evaluations": "gradients of all examples",
    "seconds": "seconds",
}
DASHES = ("-", "--", ":")  # a second and a third round of the colours

Curves = Mapping[str, Sequence[Mapping[str, float]]]


def race(
    curves: Curves, passes: float | None = None, heading: str = "Cost on the training data"
) -> Figure:
    """Draw the cost of each optimizer against epochs, gradient evaluations and seconds.

    ``curves`` has for each name its points in order, mappings with "epoch",
    "gradient_evaluations", "seconds" and "cost", the cost above 0. Gradients are shown up to
    ``passes`` and a little more, if that is given; seconds on a logarithmic axis.

    >>> points = [{"epoch": 0, "gradient_evaluations": 0, "seconds": 0, "cost": 2.3}]
    >>> len(race({"sgd": points}).axes)
    3
    """
    picture = figure(11, 4.6)
    axes = picture.subplots(1, len(AGAINST), sharey=True)
    for ax, what in zip(axes, AGAINST, strict=True):
        cost_against(what, curves, ax)
    if passes is not None:
        axes[1].set_xlim(-0.02 * passes, 1.2 * passes)
    axes[0].set_title(heading, loc="left")
    axes[0].set_ylabel("mean cost of an example, with penalties")
    lines, names = axes[0].get_legend_handles_labels()
    if lines:
        picture.legend(
            lines, names, loc="outside lower center", ncols=5, frameon=False, fontsize=SMALL
        )
    return picture


def cost_against(what: str, curves: Curves, ax: Axes | None = None) -> Axes:
    """Draw the costs against one of "epoch", "gradient_evaluations" and "seconds".

    >>> cost_against("seconds", {}).texts[0].get_text()
    'Nobody ran'
    """
    ax = ax or figure(5, 4).subplots()
    if not curves:
        return say(ax, "Nobody ran")
    dress(ax, "", AGAINST[what], "")
    for i, (name, points) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": PEERS[i % len(PEERS)], "ls": DASHES[i // len(PEERS) % 3]}
        ax.plot([p[what] for p in points], [p["cost"] for p in points], label=name, lw=1.6, **style)
    ax.set_yscale("log")
    if what == "seconds" and any(p[what] > 0 for points in curves.values() for p in points):
        ax.set_xscale("log")
    return ax
