"""scikit-learn: ``MLPClassifier``, one epoch by ``partial_fit``.

Its output layer is softmax whatever the problem, so where the others have sigmoid outputs its
network differs in that; it is checked against deltarule with softmax outputs.
"""

import time

import numpy as np
from sklearn.neural_network import MLPClassifier
from task import SEED, Task, Weights

ACTIVATIONS = {"sigmoid": "logistic", "relu": "relu"}


class SklearnMLP:
    def __init__(self, task: Task) -> None:
        job = task.workload
        self.task, self.x, self.y = task, task.inputs(), task.labels
        self.model = MLPClassifier(
            hidden_layer_sizes=job.sizes[1:-1], activation=ACTIVATIONS[job.hidden], solver="sgd",
            alpha=0.0, batch_size=job.batch_size, learning_rate_init=job.learning_rate,
            momentum=0.0, nesterovs_momentum=False, random_state=SEED,
        )  # fmt: skip
        few = slice(job.batch_size)  # a first call to make the arrays
        self.model.partial_fit(self.x[few], self.y[few], classes=np.arange(job.sizes[-1]))

    def train(self, order: np.ndarray | None = None) -> float:
        first = self.task.first_weights()
        for k, (w, b) in enumerate(zip(first[::2], first[1::2], strict=True)):
            self.model.coefs_[k][:] = w.T
            self.model.intercepts_[k][:] = b
        self.model.shuffle = order is None
        x, y = (self.x, self.y) if order is None else (self.x[order], self.y[order])
        start = time.perf_counter()
        self.model.partial_fit(x, y)
        return time.perf_counter() - start

    def weights(self) -> Weights:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [a for w, b in pairs for a in (w.T, b)]
