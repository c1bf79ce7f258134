"""What is equal for all peers: data, sizes, batch, cost, learning rate, first weights, steps.

A ``Workload`` is the description of a job, a ``Task`` the same with its data. Every peer gets the
same task and does with it what its users would write; read one of ``peers/`` next.
"""

import os
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from deltarule import Dataset, data
from deltarule.seeds import generator

SEED = 0
EXAMPLES = 50_000
Weights = list[tuple[np.ndarray, np.ndarray]]  # (w [units, inputs], b [units]) of each layer


@dataclass(frozen=True)
class Workload:
    """Sizes of the layers, and how they learn: plain SGD on the mean cross-entropy of a batch.

    ``peer_steps`` shortens the blocks of the peers where a whole epoch would take many seconds;
    the times compared are those of a step. ``goals`` are the ratios to reach, by peer.
    """

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    learning_rate: float
    hidden: str = "sigmoid"
    output: str = "sigmoid"
    peer_steps: int | None = None
    goals: dict[str, float] = field(default_factory=dict, hash=False)

    @property
    def title(self) -> str:
        """What the workload is, in one cell of a table."""
        units = "-".join(str(n) for n in self.sizes)
        layers = self.hidden if self.hidden == self.output else f"{self.hidden}, {self.output}"
        return f"{units} {layers}, batch {self.batch_size}"

    def steps(self, examples: int) -> int:
        """How many steps an epoch of ``examples`` has; the last batch may be smaller."""
        return -(-examples // self.batch_size)


WORKLOADS = (
    Workload(
        "W1", (784, 30, 10), 1, 0.05, peer_steps=2000,
        goals={"torch_eager": 49, "sklearn_mlp": 49},
    ),
    Workload("W2", (784, 30, 10), 10, 0.5, goals={"torch_eager": 9, "sklearn_mlp": 7.5}),
    Workload("W3", (784, 100, 100, 10), 10, 0.5, goals={"torch_eager": 3.2, "sklearn_mlp": 4.1}),
    Workload(
        "W4", (784, 256, 256, 10), 128, 0.1, "relu", "softmax",
        goals={"torch_eager": 1.1, "sklearn_mlp": 2.2},
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Task:
    """A workload with the examples to learn from.

    >>> task = Task(WORKLOADS[1], random_bytes(200, 784))
    >>> task.steps, [w.shape for w, b in task.first_weights()]
    (20, [(30, 784), (10, 30)])
    """

    workload: Workload
    dataset: Dataset

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return self.workload.steps(len(self.dataset))

    @property
    def labels(self) -> np.ndarray:
        """The class of each example, int64 [n]."""
        return self.dataset.y.astype(np.int64)

    def inputs(self) -> np.ndarray:
        """Return the inputs scaled to [0, 1], float32 [n, inputs]: for peers that scale before."""
        x = self.dataset.x.reshape(len(self.dataset), -1)
        return x.astype(np.float32) * np.float32(self.dataset.scale)

    def one_hot(self) -> np.ndarray:
        """Return the targets, float32 [n, classes]."""
        return np.eye(self.workload.sizes[-1], dtype=np.float32)[self.labels]

    def first_weights(self) -> Weights:
        """Draw the weights every peer starts from: variance 1/inputs, biases zero."""
        rng = np.random.default_rng(SEED)
        return [
            (rng.standard_normal((n, m)) / np.sqrt(m), np.zeros(n))
            for m, n in pairwise(self.workload.sizes)
        ]

    def order(self) -> np.ndarray:
        """Return the order in which deltarule takes the examples in its first epoch, seed SEED."""
        return generator(SEED, "shuffle", 0).permutation(len(self.dataset))

    def take(self, steps: int | None) -> "Task":
        """Return the same task with the examples of the first ``steps`` steps only."""
        if steps is None:
            return self
        examples = min(len(self.dataset), steps * self.workload.batch_size)
        return Task(self.workload, self.dataset.take(examples))


def load_examples() -> Dataset:
    """Return the 50 000 training digits of MNIST, or random bytes where DELTARULE_DATA is unset."""
    if os.environ.get("DELTARULE_DATA"):
        return data.load("mnist").train
    return random_bytes(EXAMPLES, 784)


def random_bytes(examples: int, inputs: int, classes: int = 10) -> Dataset:
    """Return ``examples`` of random bytes, four in five of them 0 as in pictures of digits."""
    rng = np.random.default_rng(SEED)
    x = rng.integers(0, 256, (examples, inputs), dtype=np.uint8)
    x[rng.random(x.shape) < 0.8] = 0
    names = tuple(str(k) for k in range(classes))
    return Dataset(x, rng.integers(0, classes, examples), names, 1 / 255, "random bytes")
