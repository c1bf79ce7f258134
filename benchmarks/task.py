"""What is equal for all peers: data, sizes, batch, cost, learning rate, first weights, steps.

A ``Workload`` is the description of a job, a ``Task`` the same with its data. Every peer gets the
same task and does with it what its users would write; read one of ``peers/`` next.
"""

import os
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import isqrt, prod
from typing import Any

import numpy as np

from deltarule import Dataset, data
from deltarule.seeds import generator

SEED = 0
EXAMPLES = 50_000
POOL = 2  # pixels on a side
WEIGHT_DECAY = 0.01  # of AdamW: weights decay; biases, scales and shifts do not
EPSILON = 1e-5  # of batch norm
# Of one layer after the other: w [units, inputs] or [maps, rows, columns, channels], and b [units]
# or [maps]; with batch norm the scales and the shifts [maps] in place of b. Maps reach the first
# dense layer row by row, the channels of a pixel side by side.
Weights = list[np.ndarray]


@dataclass(frozen=True)
class Workload:
    """Sizes of the layers, and how they learn: on the mean cross-entropy of a batch.

    ``sizes`` counts inputs, hidden neurons and outputs. With ``maps`` the inputs are a square image
    that first passes through convolutions of ``kernel`` x ``kernel`` pixels: as many maps as each
    number says, and max pooling of 2 x 2 after each group of numbers. With ``batch_norm`` the
    convolutions have no bias, and each is followed by batch norm and the hidden activation; without
    it a group is one convolution, and the hidden activation follows its pooling.

    ``our_steps`` and ``peer_steps`` shorten the blocks where a whole epoch would take many
    seconds; the times compared are those of a step. ``peer_precision`` is that of other libraries
    where it is not ours. ``goals`` are the ratios to reach, by peer.
    """

    name: str
    sizes: tuple[int, ...]
    batch_size: int
    learning_rate: float
    hidden: str = "sigmoid"
    output: str = "sigmoid"
    our_steps: int | None = None
    peer_steps: int | None = None
    maps: tuple[tuple[int, ...], ...] = ()
    kernel: int = 5
    padding: str = "valid"
    batch_norm: bool = False
    optimizer: str = "sgd"
    momentum: float = 0.0
    precision: str = "float32"
    peer_precision: str | None = None
    goals: dict[str, float] = field(default_factory=dict, hash=False)

    @property
    def title(self) -> str:
        """What the workload is, in one cell of a table."""
        layers = [str(n) for n in self.sizes]
        if self.maps:
            layers[0] = f"{self.side}x{self.side}"
            groups = [[f"{maps}C{self.kernel}" for maps in group] for group in self.maps]
            layers[1:1] = [part for group in groups for part in (*group, f"MP{POOL}")]
        precision = "" if self.precision == "float32" else self.precision
        beside = f" beside {self.peer_precision}" if self.peer_precision else ""
        parts = [
            "batch norm" if self.batch_norm else "",
            self.hidden if self.hidden == self.output else f"{self.hidden}, {self.output}",
            f"momentum {self.momentum:g}" if self.momentum else "",
            "AdamW" if self.optimizer == "adamw" else "",
            precision + beside,
            f"batch {self.batch_size}",
        ]
        return f"{'-'.join(layers)} {', '.join(part for part in parts if part)}"

    @property
    def side(self) -> int:
        """Rows, and columns, of the image that the inputs are."""
        return isqrt(self.sizes[0])

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of w of each layer, as in ``Weights``."""
        side, channels, found = self.side, 1, []
        for group in self.maps:
            for maps in group:
                found.append((maps, self.kernel, self.kernel, channels))
                side -= 0 if self.padding == "same" else self.kernel - 1
                channels = maps
            side //= POOL
        inputs = side * side * channels if self.maps else self.sizes[0]
        return found + [(n, m) for m, n in pairwise((inputs, *self.sizes[1:]))]

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


def _large(name: str, batch_size: int, steps: int, goal: float | None, **fields: Any) -> Workload:
    """Build a workload of relu neurons whose blocks have ``steps`` steps, a second or two."""
    goals = {} if goal is None else {"torch_eager": goal}
    return Workload(
        name, batch_size=batch_size, hidden="relu", output="softmax",
        our_steps=steps, peer_steps=steps, goals=goals, **fields,
    )  # fmt: skip


_LENET = {
    "sizes": (784, 500, 10), "maps": ((20,), (50,)),
    "learning_rate": 0.02, "optimizer": "momentum", "momentum": 0.9,
}  # fmt: skip
_WIDE = {"sizes": (784, 2500, 2000, 1500, 1000, 500, 10), "learning_rate": 0.1}
_BF16 = {"precision": "bfloat16"}
IMAGES = (
    _large("lenet64", 64, 150, 1.15, **_LENET),
    _large("lenet64-bf16", 64, 150, 1.1, **_LENET, **_BF16),
    _large("lenet512", 512, 20, 1.0, **_LENET),
    _large("lenet512-bf16", 512, 24, 0.95, **_LENET, **_BF16),
    _large("wide128", 128, 25, None, **_WIDE),
    _large("wide128-bf16", 128, 40, 1.35, **_WIDE, **_BF16),
    _large("wide512", 512, 10, None, **_WIDE),
    _large("wide512-bf16", 512, 16, 0.95, **_WIDE, **_BF16),
)

_CNN = {
    "sizes": (784, 10), "maps": ((48, 48), (96, 96), (160, 160)), "kernel": 3, "padding": "same",
    "batch_norm": True, "optimizer": "adamw", "learning_rate": 0.001,
}  # fmt: skip


def _again(name: str, goal: float) -> Workload:
    """Return the workload ``name`` of another suite, here with this goal."""
    found = next(job for job in (*WORKLOADS, *IMAGES) if job.name == name)
    return replace(found, goals={"torch_eager": goal})


NATIVE = (
    _large("cnn128", 128, 10, 1.4, **_CNN),
    _large("cnn128-bf16", 128, 16, 1.8, **_CNN, **_BF16),
    _again("lenet64", 1.8),
    _again("lenet64-bf16", 1.8),
    _again("lenet512", 1.6),
    _again("lenet512-bf16", 1.6),
    _again("wide128-bf16", 1.5),
    _again("wide512-bf16", 1.2),
    _again("W4", 1.3),
    replace(_again("W4", 2.5), name="W4-bf16", precision="bfloat16", peer_precision="float32"),
    _again("W2", 18),
    _again("W3", 8.5),
    _again("W1", 45),
)


@dataclass(frozen=True)
class Suite:
    """Workloads that are measured in one run and stored in one file.

    A name means the same work in every suite; goals are the suite's own. ``ours``: which deltarule
    is measured, with the companion or without it. ``peers``: beside which others. ``marker``: its
    place in the page. ``startup``: whether start-up is timed too. ``memory``: the workloads whose
    peak memory is measured.
    """

    name: str
    marker: str
    workloads: tuple[Workload, ...]
    ours: str
    peers: tuple[str, ...]
    startup: bool = False
    memory: tuple[str, ...] = ()

    @property
    def with_companion(self) -> bool:
        """Whether deltarule is measured with its compiled companion."""
        return self.ours == "deltarule_native"


_OTHERS = ("torch_eager", "torch_compiled", "sklearn_mlp", "keras_jax", "numpy_textbook")
SUITES = (
    Suite("cpu", "benchmarks", WORKLOADS, "deltarule_engine", _OTHERS, startup=True),
    Suite(
        "cpu-images", "benchmarks of images", IMAGES, "deltarule_engine", ("torch_eager",),
        memory=("lenet512",),
    ),
    Suite(
        "cpu-native", "benchmarks of the companion", NATIVE, "deltarule_native",
        ("torch_eager", "deltarule_engine"),
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Task:
    """A workload with the examples to learn from.

    >>> task = Task(WORKLOADS[1], random_bytes(200, 784))
    >>> task.steps, [w.shape for w in task.first_weights()]
    (20, [(30, 784), (30,), (10, 30), (10,)])
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
        """Return the inputs scaled to [0, 1], [n, inputs], for peers that scale before.

        They are float32; float64 in a check that is worked out in that.
        """
        dtype = np.float64 if self.workload.precision == "float64" else np.float32
        x = self.dataset.x.reshape(len(self.dataset), -1)
        return x.astype(dtype) * dtype(self.dataset.scale)

    def one_hot(self) -> np.ndarray:
        """Return the targets, float32 [n, classes]."""
        return np.eye(self.workload.sizes[-1], dtype=np.float32)[self.labels]

    def first_weights(self) -> Weights:
        """Draw the weights every peer starts from: variance 1/inputs; scales 1, the rest zeros."""
        rng, found = np.random.default_rng(SEED), []
        for shape in self.workload.shapes:
            found.append(rng.standard_normal(shape) / np.sqrt(prod(shape[1:])))
            if len(shape) == 4 and self.workload.batch_norm:
                found.append(np.ones(shape[0]))
            found.append(np.zeros(shape[0]))
        return found

    def cost(self, weights: Weights, examples: int = 1000) -> float:
        """Return the mean cross-entropy of a relu and softmax network on the first examples.

        Worked out in NumPy: no peer judges itself. Batch norm takes these examples as its batch.
        """
        few, job = self.dataset.take(min(examples, len(self.dataset))), self.workload
        inputs = Task(job, few).inputs()
        if job.maps:
            inputs = inputs.reshape(-1, job.side, job.side, 1)
        z = _logits(job, weights, inputs)
        z -= z.max(axis=1, keepdims=True)
        right = z[np.arange(len(z)), Task(job, few).labels]
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - right))

    def order(self) -> np.ndarray:
        """Return the order in which deltarule takes the examples in its first epoch, seed SEED."""
        return generator(SEED, "shuffle", 0).permutation(len(self.dataset))

    def take(self, steps: int | None) -> "Task":
        """Return the same task with the examples of the first ``steps`` steps only."""
        if steps is None:
            return self
        examples = min(len(self.dataset), steps * self.workload.batch_size)
        return Task(self.workload, self.dataset.take(examples))


def _logits(job: Workload, weights: Weights, a: np.ndarray) -> np.ndarray:
    """Return the weighted inputs of the last layer for images or vectors ``a``."""
    rest = (array.astype(a.dtype) for array in weights)
    for group in job.maps:
        for _ in group:
            z = _convolved(a, next(rest), job.padding)
            if job.batch_norm:
                z -= z.mean(axis=(0, 1, 2))
                z *= next(rest) / np.sqrt(np.square(z).mean(axis=(0, 1, 2)) + EPSILON)
            a = np.maximum(z + next(rest), 0)
        a = _pooled(a)
    a = a.reshape(len(a), -1)
    for w in rest:
        z = a @ w.T + next(rest)
        a = np.maximum(z, 0)
    return z


def _convolved(x: np.ndarray, w: np.ndarray, padding: str) -> np.ndarray:
    """Return the convolution of x [n, h, w, c] with w, worked out for a few images at once."""
    if padding == "same":
        around = (w.shape[1] // 2,) * 2
        x = np.pad(x, ((0, 0), around, around, (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(x, w.shape[1:3], axis=(1, 2))
    parts = [patches[i : i + 50] for i in range(0, len(x), 50)]
    return np.concatenate([np.tensordot(part, w, ((4, 5, 3), (1, 2, 3))) for part in parts])


def _pooled(x: np.ndarray) -> np.ndarray:
    """Return the maxima over 2 x 2 pixels of x [n, h, w, c]."""
    rows, columns = (size // POOL * POOL for size in x.shape[1:3])  # the odd one is left out
    corners = [x[:, i:rows:POOL, j:columns:POOL] for i in range(POOL) for j in range(POOL)]
    return np.maximum.reduce(corners)


def load_examples() -> Dataset:
    """Return the 50 000 training digits of MNIST, or random bytes where DELTARULE_DATA is unset."""
    if os.environ.get("DELTARULE_DATA"):
        return data.load("mnist").train
    return random_bytes(EXAMPLES, 784)


def random_bytes(examples: int, inputs: int, classes: int = 10) -> Dataset:
    """Return ``examples`` of random bytes, four in five of them 0 as in pictures of digits.

    Every class has its own bright pixels, so that there is something to learn.
    """
    rng = np.random.default_rng(SEED)
    x = rng.integers(0, 256, (examples, inputs), dtype=np.uint8)
    x[rng.random(x.shape) < 0.8] = 0
    y = rng.integers(0, classes, examples)
    marks = rng.random((classes, inputs)) < 0.1  # the pixels that are 255 in all of a class
    x[marks[y]] = 255
    return Dataset(x, y, tuple(str(k) for k in range(classes)), 1 / 255, "random bytes")
