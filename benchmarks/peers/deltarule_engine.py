"""deltarule without its compiled companion: one call of ``fit``, through public names only.

The stopwatch is a callback: it starts when the data are on the device and the run is set up, and
stops after the last step, so permutations, transfers of the order, the sums for the history and
the Python between calls are on it. Inputs stay bytes and are scaled inside every step; training
cost and accuracy are measured in every step as well, which the other loops do not do.
"""

import os
import time
from collections.abc import Iterator
from unittest import mock

import numpy as np
from task import EPSILON, POOL, SEED, WEIGHT_DECAY, Task, Weights, Workload

from deltarule import (
    Activation,
    BatchNorm,
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
from deltarule.network import Layer


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
    dense = [layer for n in job.sizes[1:-1] for layer in (Dense(n), Activation(job.hidden))]
    last = Dense(job.sizes[-1]), Activation(job.output)
    return Network(*convolutions(job), Flatten(), *dense, *last, shape=(job.side, job.side, 1))


def convolutions(job: Workload) -> Iterator[Layer]:
    """Yield the layers that see maps."""
    hidden = Activation(job.hidden)
    for group in job.maps:
        for n in group:
            yield Conv(n, job.kernel, padding=job.padding, bias=not job.batch_norm)
            if job.batch_norm:
                yield BatchNorm(epsilon=EPSILON)
                yield hidden
        yield MaxPool(POOL)
        if not job.batch_norm:
            yield hidden


def learned(layer: Layer) -> tuple[str, ...]:
    """Return the names of what ``layer`` learns, in the order of ``Weights``."""
    if isinstance(layer, BatchNorm):
        return "scale", "shift"
    if isinstance(layer, Conv) and not layer.bias:
        return ("w",)
    return ("w", "b") if isinstance(layer, Conv | Dense) else ()


class Deltarule:
    companion = "0"  # DELTARULE_NATIVE while it trains; "0" is without

    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task = task
        self.network = network(job)
        self.recipe = Recipe(
            cost="cross_entropy", optimizer=job.optimizer, learning_rate=job.learning_rate,
            momentum=job.momentum, weight_decay=WEIGHT_DECAY, batch_size=job.batch_size,
            epochs=1, seed=SEED, precision=job.precision,
        )  # fmt: skip
        first = iter(task.first_weights())
        self.first = tuple(
            {name: next(first) for name in learned(layer)} for layer in self.network.layers
        )

    def train(self, order: np.ndarray | None = None) -> float:
        if order is not None and not np.array_equal(order, self.task.order()):
            raise ValueError("order must be that of the seed: fit always shuffles.")
        watch = Stopwatch()
        self.run = self.fit(watch)
        return watch.seconds

    def fit(self, watch: Callback) -> Run:
        """Train while ``watch`` looks on; the switch is read whenever a run is planned."""
        with mock.patch.dict(os.environ, DELTARULE_NATIVE=self.companion):
            return fit(
                self.network, self.task.dataset,
                recipe=self.recipe, params=self.first, callbacks=[watch],
            )  # fmt: skip

    def weights(self) -> Weights:
        pairs = zip(self.network.layers, self.run.model.params, strict=True)
        return [params[name] for layer, params in pairs for name in learned(layer)]
