"""The peers: one file a library, each written as the users of that library usually write it.

A peer is made from a ``Task`` and has two methods:

    train(order=None) -> seconds    one epoch from the first weights, in ``order`` or, if there is
                                    none, freshly shuffled; the clock starts when data and model
                                    are ready, and shuffling is on it
    weights() -> Weights            what it learned

``train`` is both what is timed and what is checked: given an order, every peer must end at the
same weights. Importing this package imports no library; ``load`` does.
"""

import importlib
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import numpy as np
from task import Task, Weights, Workload


class Peer(Protocol):
    """See the head of this file."""

    def __init__(self, task: Task) -> None: ...

    def train(self, order: np.ndarray | None = None) -> float:
        """Learn for one epoch from the first weights; return the seconds it took."""

    def weights(self) -> Weights:
        """Return what was learned."""


@dataclass(frozen=True)
class Entry:
    """A row of the table of peers.

    ``only_output``: the library's output layer is always this one; ``only_hidden``: it has these
    neurons and no others. ``images``: it has convolutions here. ``distributions`` and ``programs``
    must be installed. ``ours``: it is deltarule, and a suite may measure the others beside it.
    """

    title: str
    kind: str
    distributions: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    only_output: str | None = None
    only_hidden: str | None = None
    images: bool = False
    ours: bool = False

    def missing(self) -> str | None:
        """Return what this peer lacks here, None if it can run."""
        for distribution in self.distributions:
            try:
                version(distribution)
            except PackageNotFoundError:
                return f"{distribution} is not installed"
        absent = [program for program in self.programs if shutil.which(program) is None]
        return f"{absent[0]} is not installed" if absent else None

    def refuses(self, workload: Workload) -> str | None:
        """Return why the library cannot do ``workload``, None if it can."""
        if self.only_hidden not in (None, workload.hidden):
            return f"has {self.only_hidden} neurons only"
        if workload.maps and not self.images:
            return "has no convolutions here"
        return None

    def adapted(self, workload: Workload) -> Workload:
        """Return ``workload`` with the output layer this library really has."""
        return replace(workload, output=self.only_output or workload.output)

    def timed(self, workload: Workload) -> Workload:
        """Return ``workload`` in the precision in which this peer is timed."""
        beside = None if self.ours else workload.peer_precision
        return replace(workload, precision=beside or workload.precision)

    def block(self, workload: Workload) -> int | None:
        """Return how many steps of ``workload`` are timed at once, None for an epoch."""
        return workload.our_steps if self.ours else workload.peer_steps


PEERS = {
    "deltarule_native": Entry(
        "deltarule with the companion", "DeltaruleNative", images=True, ours=True
    ),
    "deltarule_engine": Entry(
        "deltarule without the companion", "Deltarule", images=True, ours=True
    ),
    "torch_eager": Entry("PyTorch", "TorchEager", ("torch",), images=True),
    "torch_compiled": Entry(
        "PyTorch, torch.compile", "TorchCompiled", ("torch",), ("g++",), images=True
    ),
    "sklearn_mlp": Entry("scikit-learn", "SklearnMLP", ("scikit-learn",), only_output="softmax"),
    "keras_jax": Entry("Keras on JAX", "KerasJax", ("keras", "jax")),
    "numpy_textbook": Entry("our textbook, in NumPy", "NumpyTextbook", only_hidden="sigmoid"),
}


def load(peer: str) -> type[Peer]:
    """Import a peer's file and return its class."""
    found: type[Peer] = getattr(importlib.import_module(f"peers.{peer}"), PEERS[peer].kind)
    return found
