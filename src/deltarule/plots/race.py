"""A race of optimizers: cost against epochs, gradients and seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltarule.choices import choose
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

Curve = Sequence[Mapping[str, float]]
Curves = Mapping[str, Sequence[Curve]]


def race(
    curves: Curves,
    against: Sequence[str] = tuple(AGAINST),
    heading: str = "Cost on the training data",
) -> Figure:
    """Draw the cost of each optimizer against epochs, gradient evaluations and seconds.

    ``curves`` has for each name one curve a seed, each its points in order: mappings with "epoch",
    "gradient_evaluations", "seconds" and "cost", the cost above 0. The first seed's is drawn
    boldly. There is a panel for each of ``against``.

    >>> points = [{"epoch": 0, "gradient_evaluations": 0, "seconds": 0, "cost": 2.3}]
    >>> len(race({"sgd": [points]}).axes)
    3
    """
    picture = figure(2 + 3 * len(against), 4.6)
    axes = picture.subplots(1, len(against), sharey=True, squeeze=False)[0]
    for ax, what in zip(axes, against, strict=True):
        cost_against(what, curves, ax)
    axes[0].set_title(heading, loc="left")
    axes[0].set_ylabel("mean cost of an example, with penalties")
    lines, names = axes[0].get_legend_handles_labels()
    if lines:
        picture.legend(
            lines, names, loc="outside lower center", ncols=max(2, 2 * len(against) - 1),
            frameon=False, fontsize=SMALL,
        )  # fmt: skip
    return picture


def cost_against(what: str, curves: Curves, ax: Axes | None = None) -> Axes:
    """Draw the costs against one of "epoch", "gradient_evaluations" and "seconds".

    Seconds are drawn on a logarithmic axis, and begin with the first epoch. ``curves`` are those of
    ``race``. Raises ``ValueError`` for another name.

    >>> cost_against("seconds", {}).texts[0].get_text()
    'Nobody ran'
    """
    label = choose("against", what, AGAINST)
    ax = ax or figure(5, 4).subplots()
    if not curves:
        return say(ax, "Nobody ran")
    dress(ax, "", label, "")
    for i, (name, seeds) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": PEERS[i % len(PEERS)], "ls": DASHES[i // len(PEERS) % 3]}
        for j, points in enumerate(seeds):
            bold = {"lw": 0.7, "alpha": 0.5} if j else {"lw": 1.6, "label": name}
            # one point alone, such as the end of the only epoch, would be no line
            dot = "o" if sum(p[what] > 0 for p in points) == 1 else ""
            ax.plot(
                [p[what] for p in points], [p["cost"] for p in points], marker=dot, ms=3,
                **style, **bold,
            )  # fmt: skip
    if what == "seconds" and any(p[what] > 0 for s in curves.values() for c in s for p in c):
        ax.set_xscale("log", nonpositive="mask")
    return _logarithmic(ax)


def _logarithmic(ax: Axes) -> Axes:
    """Give the costs a logarithmic axis; plain numbers where they span little."""
    ax.set_yscale("log")
    ax.tick_params(which="both", labelsize=SMALL)
    low, high = ax.get_ylim()
    if high < 10 * low:
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("{x:.2g}")
    return ax
