"""A search over hyper-parameters: what mattered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltarule.plots.canvas import BLUE, LABEL, SMALL, VERMILION, dress, figure, say, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 3  # pictures in a row
LOG_FROM = 20  # times the smallest value is the largest: then the axis is logarithmic
BLUES = ("#ffffff", "#c6dbef", "#6baed6", "#2171b5", "#08306b")  # the deeper, the more epochs
LABELS = {"validation_accuracy": "validation accuracy", "validation_cost": "validation cost"}

Trials = Sequence[Mapping[str, Any]]


def tuning(trials: Trials, metric: str = "validation_accuracy") -> Figure:
    """Draw a metric against each hyper-parameter that varies: a small picture each.

    ``trials`` are mappings with "values" (hyper-parameters by name), "epochs" (done), "diverged"
    and the metric. The deeper the blue, the more epochs; the best is marked with a star, those
    that diverged with a cross at the bad end of the metric. Trials come the best first.

    >>> trials = [
    ...     {"values": {"l2": rate}, "epochs": 3, "diverged": None, "validation_accuracy": 0.9}
    ...     for rate in (0.1, 0.001)
    ... ]
    >>> [ax.get_xlabel() for ax in tuning(trials).axes]
    ['l2']
    """
    names = [name for name in trials[0]["values"] if _varies(name, trials)] if trials else []
    rows = max(1, -(-len(names) // ACROSS))
    across = min(ACROSS, max(1, len(names)))
    picture = figure(3.2 * across + 0.4, 2.5 * rows + 0.7)
    axes = picture.subplots(rows, across, squeeze=False, sharey=True).ravel()
    for ax in axes[max(1, len(names)) :]:
        ax.remove()
    if not names:
        say(axes[0], "Nothing varied")
        return picture
    for i, name in enumerate(names):
        against(name, trials, metric, axes[i])
        if i % across == 0:
            axes[i].set_ylabel(LABELS.get(metric, metric), fontsize=LABEL)
    marks, meanings = axes[0].get_legend_handles_labels()
    picture.legend(
        marks, meanings, loc="outside lower center", ncols=6, frameon=False, fontsize=SMALL
    )
    return picture


def against(name: str, trials: Trials, metric: str, ax: Axes | None = None) -> Axes:
    """Draw the metric of each trial against the hyper-parameter ``name``.

    >>> against("l2", [], "validation_cost").texts[0].get_text()
    'No trial'
    """
    ax = ax or figure(4, 3).subplots()
    if not trials:
        return say(ax, "No trial")
    dress(ax, "", name.replace("_", " "))
    x = _places(name, trials, ax)
    ended = [trial["diverged"] is None and trial[metric] is not None for trial in trials]
    for level in (levels := sorted({t["epochs"] for t, e in zip(trials, ended, strict=True) if e})):
        here = [i for i, trial in enumerate(trials) if ended[i] and trial["epochs"] == level]
        shade = BLUES[max(-len(BLUES), levels.index(level) - len(levels))]
        ax.plot(
            [x[i] for i in here], [trials[i][metric] for i in here], "o", color=shade, mec=BLUE,
            ms=5, label=f"{level} epoch{'s' if level > 1 else ''}",
        )  # fmt: skip
    if any(ended):
        sign = 1 if metric.endswith("cost") else -1
        best = min((i for i, e in enumerate(ended) if e), key=lambda i: sign * trials[i][metric])
        ax.plot(x[best], trials[best][metric], "*", color=VERMILION, ms=13, label="best")
    if not all(ended):
        lost = [place for place, fine in zip(x, ended, strict=True) if not fine]
        edge = 1.0 if metric.endswith("cost") else 0.0
        ax.plot(
            lost, [edge] * len(lost), "x", color="0.4", label="diverged",
            transform=ax.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    return ax


def _varies(name: str, trials: Trials) -> bool:
    return len({trial["values"][name] for trial in trials}) > 1


def _places(name: str, trials: Trials, ax: Axes) -> list[float]:
    """Return where each trial stands along the axis, which is made for them."""
    values = [trial["values"][name] for trial in trials]
    different = sorted(set(values), key=_size)
    if any(isinstance(value, str) for value in values) or len(different) <= 5 < len(values):
        # few values: side by side, spread a little so that trials do not cover each other
        ax.set_xticks(range(len(different)), [_said(value) for value in different])
        ax.set_xlim(-0.5, len(different) - 0.5)
        ax.tick_params(labelsize=SMALL)
        spread = [((i * 0.618) % 1 - 0.5) * 0.4 for i in range(len(values))]
        return [different.index(value) + s for value, s in zip(values, spread, strict=True)]
    if different[0] > 0 and different[-1] >= LOG_FROM * different[0]:
        ax.set_xscale("log")
    return [float(value) for value in values]


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else short(value, 12)


def _size(value: Any) -> list[float]:
    """Return what to order by: 30 comes before 100, and 100 before 100x50."""
    return [float(number) for number in re.findall(r"[-+.\de]+", str(value))]
