"""Keras on its JAX backend: ``model.fit`` on arrays, without a progress bar."""

import os
import time

os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported

import keras
import numpy as np
from task import Task, Weights


class KerasJax:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task, self.x = task, task.inputs()
        rate = job.learning_rate
        if job.output == "sigmoid":
            loss, self.y = keras.losses.BinaryCrossentropy(from_logits=True), task.one_hot()
            rate *= job.sizes[-1]  # the loss is a mean over the outputs too
        else:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.y = task.labels
        hidden = [keras.layers.Dense(n, activation=job.hidden) for n in job.sizes[1:-1]]
        self.model = keras.Sequential(
            [keras.Input((job.sizes[0],)), *hidden, keras.layers.Dense(job.sizes[-1])]
        )
        self.model.compile(optimizer=keras.optimizers.SGD(rate), loss=loss)

    def train(self, order: np.ndarray | None = None) -> float:
        first = self.task.first_weights()
        self.model.set_weights([a.T for a in first])
        x, y = (self.x, self.y) if order is None else (self.x[order], self.y[order])
        start = time.perf_counter()
        self.model.fit(
            x, y, batch_size=self.task.workload.batch_size, epochs=1,
            shuffle=order is None, verbose=0,
        )  # fmt: skip
        return time.perf_counter() - start

    def weights(self) -> Weights:
        return [a.T for a in self.model.get_weights()]
