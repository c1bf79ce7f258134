"""How an estimator learned, epoch by epoch."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from deltarule import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(list[dict[str, Any]]):
    """A record for each epoch: "epoch", "train_cost" and what else was measured.

    Of a committee a record for each epoch of each "member", 1 the first.

    >>> history = History([{"epoch": 1, "train_cost": 0.9}, {"epoch": 2, "train_cost": 0.4}])
    >>> history[-1]["train_cost"], len(history.plot().axes)
    (0.4, 1)
    """

    def plot(self) -> "Figure":
        """Draw costs, and accuracies where they were measured, against the epoch.

        Of a committee the means of the members that got so far. Needs matplotlib:
        ``pip install "deltarule[plot]"``.
        """
        records = self._means()
        if any(name.endswith("accuracy") for record in records for name in record):
            return plots.learning_curves(records)
        figure = plots.costs(records).get_figure(root=True)
        assert figure is not None  # it was just made
        return figure

    def _means(self) -> list[dict[str, Any]]:
        """Return a record for each epoch, of one network or of several."""
        by_epoch: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for record in self:
            by_epoch[record["epoch"]].append(record)
        return [
            {name: float(np.mean([record[name] for record in records])) for name in records[0]}
            for records in by_epoch.values()
        ]
