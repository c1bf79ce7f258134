"""Pictures of a run: how it learned, what it learned, and where it still goes wrong.

Every function takes data and an optional Axes, draws, and returns the Axes; none trains, opens a
window or touches the global state of pyplot, so all work in scripts, notebooks and threads and
without a display. matplotlib is an extra, imported when the first Axes is made.
"""

from deltarule.plots.canvas import save
from deltarule.plots.comparisons import bars, comparison
from deltarule.plots.curvature import density, eigenvalues
from deltarule.plots.curves import accuracies, costs, learning_curves
from deltarule.plots.examples import examples
from deltarule.plots.networks import confusion, mistakes, weights
from deltarule.plots.race import cost_against, race
from deltarule.plots.rates import rate_range
from deltarule.plots.regression import predictions
from deltarule.plots.tuning import against, tuning

__all__ = [
    "accuracies",
    "against",
    "bars",
    "comparison",
    "confusion",
    "cost_against",
    "costs",
    "density",
    "eigenvalues",
    "examples",
    "learning_curves",
    "mistakes",
    "predictions",
    "race",
    "rate_range",
    "save",
    "tuning",
    "weights",
]
