"""Pictures of a run: how it learned, what it learned, and where it still goes wrong.

Every function takes data and an optional Axes, draws, and returns the Axes; none trains, opens a
window or touches the global state of pyplot, so all work in scripts, notebooks and threads and
without a display. matplotlib is an extra, imported when the first Axes is made.
"""

from deltarule.plots.canvas import save
from deltarule.plots.comparisons import bars, comparison
from deltarule.plots.curves import accuracies, costs, learning_curves
from deltarule.plots.examples import examples
from deltarule.plots.networks import confusion, mistakes, weights

__all__ = [
    "accuracies",
    "bars",
    "comparison",
    "confusion",
    "costs",
    "examples",
    "learning_curves",
    "mistakes",
    "save",
    "weights",
]
