"""The values a compiled program works on; read ``costs.py`` first, then ``measure.py``.

What shapes the program is ``Program``, a static value. Everything else is traced: rates, penalties,
smoothing, what is learned, the examples and what a stretch of epochs amounted to.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from deltarule.data.augment import Augment
from deltarule.learning.objective import Evaluations
from deltarule.learning.optimizers import Rate, Rates
from deltarule.network import kernels
from deltarule.network.kernels import Kernels
from deltarule.network.network import Network, Params


@dataclass(frozen=True)
class Program:
    """What a compiled program depends on; two runs with equal programs and shapes share one.

    ``precision`` is that of weights and sums; ``kernels`` say how products are worked out.
    A batch is worked on in parts of at most ``part`` examples, whose gradients are added up, and
    costs are measured on at most ``at_once`` examples together; None sets no limit. ``average``
    says whether a running average of the weights is kept.
    """

    network: Network
    cost: str
    optimizer: str
    clip: bool
    batch_size: int
    outputs: int
    precision: str
    kernels: Kernels = field(default_factory=kernels.usual)
    part: int | None = None
    at_once: int | None = None
    augment: Augment | None = None
    average: bool = False


class Hyper(NamedTuple):
    """The traced numbers of a run; ``rates.learning_rate`` is replaced at every step."""

    rates: Rates
    l1: Rate
    l2: Rate
    smoothing: Rate
    average: Rate = 0.0


class Examples(NamedTuple):
    """Examples as they came, on the device; ``weight`` is None where all count alike."""

    x: jax.Array  # [n, ...]
    y: jax.Array  # [n] class indices, or [n, outputs]
    weight: jax.Array | None  # [n], of mean 1
    scale: Rate

    def take(self, index: jax.Array) -> "Examples":
        """Return the examples at ``index`` [batch]."""
        weight = None if self.weight is None else self.weight[index]
        return Examples(self.x[index], self.y[index], weight, self.scale)


class Average(NamedTuple):
    """The running average of what was learned, and of how many steps."""

    params: Params
    state: Params
    steps: jax.Array


class Learner(NamedTuple):
    """What a step changes: all of it on the device, donated from call to call."""

    params: Params
    state: Params
    opt_state: Any
    cost: jax.Array  # sum over this epoch's examples so far, each measured before its step
    correct: jax.Array  # count over the same examples
    average: Average | None = None

    @property
    def answer(self) -> tuple[Params, Params]:
        """The parameters and state to measure and to keep: the average, if there is one."""
        source = self.average or self
        return source.params, source.state


class Report(NamedTuple):
    """What one epoch amounted to: sums and counts over all its examples."""

    cost: jax.Array
    correct: jax.Array
    penalty: jax.Array
    validation_cost: jax.Array
    validation_correct: jax.Array
    learning_rate: jax.Array  # of an optimizer that changes it itself
    evaluations: Evaluations  # all since the start, where the optimizer counts them
