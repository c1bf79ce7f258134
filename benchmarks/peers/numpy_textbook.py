"""The textbook of this library: NumPy, written to be read, always in float64."""

import time

import numpy as np
from task import Task, Weights

from deltarule.textbook import CrossEntropyCost, Network


class NumpyTextbook:
    def __init__(self, task: Task) -> None:
        self.task = task
        self.network = Network(task.workload.sizes, cost=CrossEntropyCost)
        self.data = task.inputs().astype(float).T, task.one_hot().astype(float).T

    def train(self, order: np.ndarray | None = None) -> float:
        first = self.task.first_weights()
        self.network.weights = first[::2]
        self.network.biases = [b[:, None] for b in first[1::2]]
        job = self.task.workload
        start = time.perf_counter()
        self.network.SGD(
            self.data, 1, job.batch_size, job.learning_rate,
            order=None if order is None else [order],
        )  # fmt: skip
        return time.perf_counter() - start

    def weights(self) -> Weights:
        pairs = zip(self.network.weights, self.network.biases, strict=True)
        return [a for w, b in pairs for a in (w, b[:, 0])]
