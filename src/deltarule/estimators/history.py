"""How an estimator learned, epoch by epoch."""

from typing import TYPE_CHECKING, Any

from deltarule import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(list[dict[str, Any]]):
    """A record for each epoch: "epoch", "train_cost" and what else was measured.

    >>> history = History([{"epoch": 1, "train_cost": 0.9}, {"epoch": 2, "train_cost": 0.4}])
    >>> history[-1]["train_cost"], len(history.plot().axes)
    (0.4, 1)
    """

    def plot(self) -> "Figure":
        """Draw costs, and accuracies where they were measured, against the epoch.

        Needs matplotlib: ``pip install "deltarule[plot]"``.
        """
        if any(name.endswith("accuracy") for record in self for name in record):
            return plots.learning_curves(self)
        figure = plots.costs(self).get_figure(root=True)
        assert figure is not None  # it was just made
        return figure
