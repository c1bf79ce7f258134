"""deltarule: one call of ``fit``, through public names only.

The stopwatch is a callback: it starts when the data are on the device and the run is set up, and
stops after the last step, so permutations, transfers of the order, the sums for the history and
the Python between calls are on it. Inputs stay bytes and are scaled inside every step; training
cost and accuracy are measured in every step as well, which the other loops do not do.
"""

import time

import numpy as np
from task import KERNEL, POOL, SEED, Task, Weights, Workload

from deltarule import (
    Activation,
    Callback,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Network,
    Recipe,
    Run,
    fit,
)


class Stopwatch(Callback):
    """Seconds from the first call to the last."""

    every_epoch = False

    def started(self, run: Run) -> None:
        self.start = time.perf_counter()

    def ended(self, run: Run) -> None:
        self.seconds = time.perf_counter() - self.start


def network(job: Workload) -> Network:
    """Build the network of a workload."""
    if not job.maps:
        return Network(list(job.sizes), activation=job.hidden, output=job.output)
    hidden = Activation(job.hidden)
    seen = [layer for n in job.maps for layer in (Conv(n, KERNEL), MaxPool(POOL), hidden)]
    dense = [layer for n in job.sizes[1:-1] for layer in (Dense(n), hidden)]
    last = Dense(job.sizes[-1]), Activation(job.output)
    return Network(*seen, Flatten(), *dense, *last, shape=(job.side, job.side, 1))


class Deltarule:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task = task
        self.network = network(job)
        self.recipe = Recipe(
            cost="cross_entropy", optimizer="momentum" if job.momentum else "sgd",
            learning_rate=job.learning_rate, momentum=job.momentum, batch_size=job.batch_size,
            epochs=1, seed=SEED, precision=job.precision,
        )  # fmt: skip
        # a dictionary a layer; only convolutions and dense layers have anything to learn
        first = iter(task.first_weights())
        self.first = tuple(
            dict(zip("wb", next(first), strict=True)) if isinstance(layer, Conv | Dense) else {}
            for layer in self.network.layers
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
