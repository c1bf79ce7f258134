"""What may happen between the compiled calls of a run: plain objects, called in order.

A callback sees the live ``Run`` (``fit.py``): its recipe, plan, state and history, and ``stop``.
"""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from deltarule.learning.state import Best, Record

if TYPE_CHECKING:
    from deltarule.learning.fit import Run


class Callback:
    """Does nothing, four times; override what you need.

    ``every_epoch`` says that ``epoch_ended`` must see the parameters of each epoch. Where no
    callback needs that, several epochs of tiny data run in one call, and are reported one by one
    after it.
    """

    every_epoch = True

    def started(self, run: "Run") -> None:
        """Act before the first step, also of a resumed run."""

    def advanced(self, run: "Run") -> None:
        """Act after each compiled call, about twice a second."""

    def epoch_ended(self, run: "Run") -> None:
        """Act after each epoch; ``run.history[-1]`` is its record."""

    def ended(self, run: "Run") -> None:
        """Act after the last step, also of a run that was stopped."""


class EarlyStopping(Callback):
    """Stop when the best epoch is ``patience`` epochs old, and keep the weights of the best.

    The best epoch is the first of those with the lowest cost or the highest accuracy; one that
    measured anything that is not finite is never the best. All it needs to know is in the
    history, so a resumed run stops where the uninterrupted one would have.
    """

    def __init__(self, patience: int, monitor: str) -> None:
        self.patience = patience
        self.monitor = monitor

    def epoch_ended(self, run: "Run") -> None:
        """Keep the weights if this epoch is the best, stop if the best is too old."""
        if self.best(run.history) == len(run.history) - 1:
            # copies: the learner's own arrays are given to the next call to overwrite
            run.state.best = jax.tree.map(jnp.copy, Best(*run.state.learner.answer))
        self.judge(run)

    def judge(self, run: "Run") -> None:
        """Stop the run if its best epoch is too old; also asked when a run resumes."""
        best = self.best(run.history)
        if best is not None and len(run.history) - 1 - best >= self.patience:
            run.stop(f"{self.monitor} has not improved since epoch {best + 1}")

    def best(self, history: list[Record]) -> int | None:
        """Return the index of the best record, None if there is none yet."""
        sign = -1 if self.monitor.endswith("accuracy") else 1
        finite = [i for i, record in enumerate(history) if all(map(math.isfinite, record.values()))]
        return min(finite, key=lambda i: sign * history[i][self.monitor], default=None)
