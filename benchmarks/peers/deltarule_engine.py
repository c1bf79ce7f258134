"""deltarule: one call of ``fit``, through public names only.

The stopwatch is a callback: it starts when the data are on the device and the run is set up, and
stops after the last step, so permutations, transfers of the order, the sums for the history and
the Python between calls are on it. Inputs stay bytes and are scaled inside every step; training
cost and accuracy are measured in every step as well, which the other loops do not do.
"""

import time

import numpy as np
from task import SEED, Task, Weights

from deltarule import Callback, Network, Recipe, Run, fit


class Stopwatch(Callback):
    """Seconds from the first call to the last."""

    every_epoch = False

    def started(self, run: Run) -> None:
        self.start = time.perf_counter()

    def ended(self, run: Run) -> None:
        self.seconds = time.perf_counter() - self.start


class Deltarule:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task = task
        self.network = Network(list(job.sizes), activation=job.hidden, output=job.output)
        self.recipe = Recipe(
            cost="cross_entropy", optimizer="sgd", learning_rate=job.learning_rate,
            batch_size=job.batch_size, epochs=1, seed=SEED,
        )  # fmt: skip
        # a dictionary a layer; an activation has nothing to learn
        self.first = tuple(
            arrays for w, b in task.first_weights() for arrays in ({"w": w, "b": b}, {})
        )

    def train(self, order: np.ndarray | None = None) -> float:
        if order is not None and not np.array_equal(order, self.task.order()):
            raise ValueError("order must be that of the seed: fit always shuffles.")
        watch = Stopwatch()
        self.run = fit(
            self.network, self.task.dataset,
            recipe=self.recipe, params=self.first, callbacks=[watch],
        )  # fmt: skip
        return watch.seconds

    def weights(self) -> Weights:
        return [(layer["w"], layer["b"]) for layer in self.run.model.params if layer]
