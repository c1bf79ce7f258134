"""Small data, plans cut by hand, and ways to compare two runs, for the tests of training."""

import hashlib
import importlib
import json
from dataclasses import dataclass

import jax
import numpy as np

from deltarule.data import Dataset
from deltarule.learning import Callback, Run, TrainState
from deltarule.learning.plan import Plan
from deltarule.network import Network

# One network, one number of examples and one batch size nearly everywhere: the tests share what
# is compiled for them. 43 = 8 x 5 + 3, nine steps, the last one smaller.
NETWORK = Network([4, 5, 3], activation="tanh", output="softmax")
BATCH = 5


def blobs(n: int = 43, *, inputs: int = 4, classes: int = 3, seed: int = 0) -> Dataset:
    """Clouds of points, one a class, the classes in turn."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return Dataset(rng.normal(size=(n, inputs)) + 2 * np.eye(classes, inputs)[y], y)


@dataclass(frozen=True)
class FixedPlan(Plan):
    """Calls of one length, whatever they take."""

    def after(self, steps: int, seconds: float) -> int:
        return self.steps_per_call


def cut_into(monkeypatch, steps_per_call: int, epochs_per_call: int = 1) -> None:
    """Make every run from here on call the compiled program for so much at a time."""

    def plan(network, shape, examples, batch_size, **_):
        steps = -(-examples // batch_size)
        return FixedPlan(steps, epochs_per_call, min(steps, steps_per_call))

    use_plan(monkeypatch, plan)


def use_plan(monkeypatch, make_plan) -> None:
    """Let ``make_plan`` plan every run from here on."""
    # the name deltarule.learning.fit is the function; its module is found by import
    monkeypatch.setattr(importlib.import_module("deltarule.learning.fit"), "make_plan", make_plan)


class Snapshots(Callback):
    """Keeps a copy of everything a run needs to go on, after each compiled call."""

    every_epoch = False

    def __init__(self):
        self.arrays, self.headers = [], []

    def advanced(self, run):
        self.arrays.append({name: a.copy() for name, a in run.state.arrays().items()})
        self.headers.append(json.dumps(run.state.header()))


class PutBack(Callback):
    """Begins where a snapshot left off."""

    every_epoch = False

    def __init__(self, arrays, header):
        self.arrays, self.header = arrays, json.loads(header)

    def started(self, run):
        run.state = run.state.restored(self.arrays, self.header)


def digest(state: TrainState) -> str:
    """SHA-256 of every array a run needs to go on, by name."""
    sha = hashlib.sha256()
    for name, array in sorted(state.arrays().items()):
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def history(run: Run) -> list[dict[str, float]]:
    """The records without the one number that no two runs share."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.history]


def weights(run: Run) -> np.ndarray:
    """Every parameter of the model, in one row."""
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(run.model.params)])


def host(params):
    """The parameters as NumPy arrays of their own."""
    return jax.tree.map(np.array, params)
