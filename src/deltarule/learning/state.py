"""Everything a run needs to go on, as one value that can be stored and put back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.learning.program import Learner
from deltarule.network.network import Params

Record = dict[str, Any]


class Best(NamedTuple):
    """The parameters and state of the best epoch so far."""

    params: Params
    state: Params


@dataclass
class TrainState:
    """Where a run stands.

    Args:
        learner: parameters, layer state, optimizer state and the sums of the epoch under way.
        position: steps already made in the epoch under way.
        history: a record for each whole epoch: epoch (from 1), learning_rate, train_cost,
            train_accuracy, penalty, validation_cost, validation_accuracy, seconds;
            and cost_evaluations and gradient_evaluations so far, in passes over the training
            data, where the optimizer asks for more than a gradient a step.
        best: kept while training stops early, else None.
        order: [n] the examples of the epoch under way in turn, int32; kept where it follows from
            what was learned before the epoch (``Recipe.order`` "emphasize"), else None.
    """

    learner: Learner
    position: int = 0
    history: list[Record] = field(default_factory=list)
    best: Best | None = None
    order: np.ndarray | None = None

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    @property
    def answer(self) -> tuple[Params, Params]:
        """The parameters and layer state to keep: the best, the average, or the last."""
        return (self.best.params, self.best.state) if self.best else self.learner.answer

    def copy(self) -> "TrainState":
        """Return the same state in arrays of its own: training overwrites those it was given."""
        learner = jax.tree.map(jnp.copy, self.learner)
        return TrainState(learner, self.position, list(self.history), self.best, self.order)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by name, for a checkpoint."""
        return {name: np.asarray(array) for name, array in _named(self._tree())}

    def restored(self, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> "TrainState":
        """Return the state that ``arrays`` and ``header`` hold; this one gives the structure.

        Raises ``ValueError`` if an array is missing, unknown or of another shape or type.
        """
        best = self.best
        if best is None and any(name.startswith("best.") for name in arrays):
            best = Best(*self.learner.answer)
        template = TrainState(self.learner, 0, [], best, self.order)._tree()
        expected = dict(_named(template))
        if set(expected) != set(arrays):
            odd = sorted(set(expected) ^ set(arrays))[0]
            raise ValueError(f"the arrays do not fit this run: {odd!r} is missing or unknown.")
        for name, array in expected.items():
            found = arrays[name]
            if array.shape != found.shape or array.dtype != found.dtype:
                raise ValueError(
                    f"array {name!r} must be {array.dtype} of shape {array.shape}, got "
                    f"{found.dtype} of shape {found.shape}."
                )
        leaves = [jnp.asarray(arrays[name]) for name in expected]
        learner, best, order = jax.tree.unflatten(jax.tree.structure(template), leaves)
        order = None if order is None else np.asarray(order)
        return TrainState(learner, int(header["position"]), list(header["history"]), best, order)

    def header(self) -> dict[str, Any]:
        """Return what is not an array, as plain data."""
        return {"position": self.position, "history": self.history}

    def _tree(self) -> tuple[Learner, Best | None, np.ndarray | None]:
        return self.learner, self.best, self.order


def _named(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    roots = {"0": "learner", "1": "best", "2": "order"}
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    split = [name.partition(".") for name in names]
    return [
        (f"{roots[head]}{dot}{rest}", leaf)
        for (head, dot, rest), (_, leaf) in zip(split, leaves, strict=True)
    ]
