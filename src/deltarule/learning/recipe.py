"""A recipe: every choice of a run that is not the network and not the data."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from deltarule.choices import choose
from deltarule.data.augment import Augment
from deltarule.learning.costs import COSTS
from deltarule.learning.optimizers import OPTIMIZERS, Method
from deltarule.learning.orders import ORDERS
from deltarule.learning.schedules import SCHEDULES

MONITORS = ("validation_cost", "validation_accuracy", "train_cost", "train_accuracy")
PRECISIONS = {"float32": "float32", "bfloat16": "float32", "float64": "float64"}  # of weights


@dataclass(frozen=True)
class Recipe:
    """How to train, as plain data: it is stored with every run and every model.

    Args:
        cost: "cross_entropy" or "quadratic" (``costs.py``).
        optimizer: how to go downhill, an entry of ``optimizers.py``: "sgd", "adam", "bfgs", ...
        learning_rate: eta of a step on the mean cost of a batch; None takes what is usual for
            the optimizer: 0.1 for sgd, 0.01 with momentum, 0.001 for adam and its kin; "auto"
            measures it before the first step (``rates.py``). Not for methods that search along
            a line.
        batch_size: examples a step; 1 is online learning. The last batch may be smaller. None
            takes 10, or all examples for the optimizers that work on all of them.
        epochs: passes over the training data.
        order: in which an epoch shows the examples (``orders.py``): "shuffle"; "alternate", in
            which successive ones are of different classes; or "emphasize", which shows those with
            a large cost more often: not where some are labelled wrong.
        l1, l2: the penalty l1 sum |w| + l2/2 sum w^2 on weights; l2 is lambda/n of the book.
        momentum: mu of momentum and nesterov.
        beta1, beta2, epsilon: the constants of adam; epsilon of rmsprop too.
        weight_decay: of adamw.
        damping: mu of diagonal_lm, newton and levenberg_marquardt, added to curvatures before
            they divide the gradient; None takes what is usual.
        clip: the largest length of a gradient; longer ones are shortened. None: no limit.
        label_smoothing: the share of a target spread evenly over the classes.
        schedule: how the learning rate changes (``schedules.py``), with ``decay`` and
            ``decay_every`` epochs.
        class_weight: "balanced", or a weight a class; None weighs all alike.
        early_stopping: stop when the best epoch is this many epochs old, and go back to its
            weights; None never stops early.
        monitor: what "best" means; by default validation accuracy, for regression the cost.
        augment: new examples from the old: each is moved and bent anew every time it is seen
            (``data/augment.py``); for images only. None: examples as they are.
        average: measure and keep a running average of the weights, w' <- average w' + (1 -
            average) w after each step (Polyak and Juditsky 1992); 0 keeps the last weights.
        seed: of initial weights, shuffles, cuts, dropout and augmentation.
        precision: "float32"; "float64"; or "bfloat16": products of numbers of 16 bits with sums of
            32, and weights of 32, which is faster where the processor has units for it; not for
            newton and levenberg_marquardt.

    Raises ``ValueError`` for a value outside its range.

    >>> Recipe(epochs=30, learning_rate=0.5, batch_size=10, l2=5 / 50_000).optimizer
    'sgd'
    """

    cost: str = "cross_entropy"
    optimizer: str = "sgd"
    learning_rate: float | str | None = None
    batch_size: int | None = None
    epochs: int = 30
    order: str = "shuffle"
    l1: float = 0.0
    l2: float = 0.0
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-4
    damping: float | None = None
    clip: float | None = None
    label_smoothing: float = 0.0
    schedule: str = "constant"
    decay: float | None = None
    decay_every: int = 10
    class_weight: str | tuple[float, ...] | None = None
    early_stopping: int | None = None
    monitor: str | None = None
    augment: Augment | None = None
    average: float = 0.0
    seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Refuse what could not be run, by name."""
        for name, choices in _CHOICES.items():
            choose(name, getattr(self, name), choices)
        if self.monitor is not None:
            choose("monitor", self.monitor, dict.fromkeys(MONITORS))
        for name, (low, high, whole) in _RANGES.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), low, high, whole))
        object.__setattr__(self, "class_weight", _class_weight(self.class_weight))
        object.__setattr__(self, "augment", _augment(self.augment))
        self._check_method()

    @property
    def method(self) -> Method:
        """The optimizer's row of the table."""
        return OPTIMIZERS[self.optimizer]

    @property
    def dtype(self) -> str:
        """The type of weights and sums."""
        return PRECISIONS[self.precision]

    @property
    def rate(self) -> float:
        """The learning rate at the start: the one given or the optimizer's usual one.

        1 for methods that find the length of their steps themselves; ``nan`` while it is to be
        measured.
        """
        if self.learning_rate is None:
            return 1.0 if self.method.learning_rate is None else self.method.learning_rate
        return math.nan if isinstance(self.learning_rate, str) else self.learning_rate

    @property
    def mu(self) -> float:
        """The damping: the one given, the optimizer's usual one, or 0."""
        return (self.method.damping or 0.0) if self.damping is None else self.damping

    def _check_method(self) -> None:
        """Refuse what the optimizer would ignore, or could not work with."""
        method, name = self.method, self.optimizer
        if method.learning_rate is None and self.learning_rate is not None:
            raise ValueError(
                f"learning_rate is for methods with a fixed step; {name} finds the length of its "
                "steps by itself: leave it out."
            )
        if self.learning_rate == AUTO and not method.auto:
            those = ", ".join(each for each, row in OPTIMIZERS.items() if row.auto)
            raise ValueError(
                f"learning_rate {AUTO!r} is measured for {those} alone; leave it out with {name}, "
                "or give a number."
            )
        if (method.adapts or method.learning_rate is None) and self.schedule != "constant":
            raise ValueError(
                f"{name} finds its learning rate by itself, so the schedule {self.schedule} would "
                "be ignored; leave it out."
            )
        if method.damping is None and self.damping is not None:
            raise ValueError(f"damping is not used by {name}; leave it out.")
        if method.quadratic and self.cost != "quadratic":
            raise ValueError(
                f"{name} is for sums of squares: choose cost='quadratic', or for {self.cost} "
                "another optimizer, such as lbfgs."
            )
        if method.all_data and self.order != "shuffle":
            raise ValueError(
                f"order {self.order} is for optimizers that work on batches; {name} sees all "
                "examples at every step: leave it out."
            )
        if method.all_data and (self.clip is not None or self.augment is not None):
            other = "clip" if self.clip is not None else "augment"
            raise ValueError(
                f"{other} changes what {name} compares from step to step; leave it out, or choose "
                "an optimizer that works on batches, such as adam."
            )

    def describe(self) -> dict[str, Any]:
        """Return the recipe as plain data; ``Recipe.from_description`` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_description(cls, fields: Mapping[str, Any]) -> "Recipe":
        """Build the recipe that ``describe`` described; an unknown field is a ``ValueError``."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"a recipe has no field {unknown[0]!r}; it has {sorted(known)}.")
        return cls(**fields)


_CHOICES: dict[str, Mapping[str, Any]] = {
    "cost": COSTS,
    "optimizer": OPTIMIZERS,
    "order": dict.fromkeys(ORDERS),
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
}

AUTO = "auto"  # a learning rate that is measured before the first step
_OPTIONAL = ("learning_rate", "batch_size", "damping", "clip", "decay", "early_stopping")
_ANY = math.inf
_BELOW_1 = 1 - 1e-7  # float32 still tells it from 1
_RANGES: dict[str, tuple[float, float, bool]] = {  # lowest, highest, whole numbers only
    "learning_rate": (0, _ANY, False),
    "batch_size": (1, _ANY, True),
    "epochs": (1, 10_000_000, True),
    "l1": (0, _ANY, False),
    "l2": (0, _ANY, False),
    "momentum": (0, 1, False),
    "beta1": (0, _BELOW_1, False),  # at 1 adam's bias correction divides by 0
    "beta2": (0, _BELOW_1, False),
    "epsilon": (0, _ANY, False),
    "weight_decay": (0, _ANY, False),
    "damping": (0, _ANY, False),
    "clip": (1e-30, _ANY, False),  # at 0 a gradient of 0 is divided by its own length
    "label_smoothing": (0, 1, False),
    "decay": (0, _ANY, False),
    "average": (0, _BELOW_1, False),
    "decay_every": (1, _ANY, True),
    "early_stopping": (1, _ANY, True),
    "seed": (0, 2**63 - 1, True),
}


def _number(name: str, value: Any, low: float, high: float, whole: bool) -> float | str | None:
    """Return ``value`` as int or float: 0 instead of 0.0 would make another compiled program."""
    if value is None and name in _OPTIONAL:
        return None
    if name == "learning_rate" and isinstance(value, str) and value == AUTO:
        return value
    number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not number or not low <= value <= high or value == math.inf:
        kind = "a whole number" if whole else "a number"
        upper = "" if high == math.inf else f" and at most {high:,}"
        raise ValueError(f"{name} must be {kind} of at least {low}{upper}, got {value!r}.")
    return int(value) if whole else float(value)


def _class_weight(value: Any) -> str | tuple[float, ...] | None:
    if value is None or (isinstance(value, str) and value == "balanced"):
        return value
    try:
        return tuple(float(weight) for weight in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"class_weight must be 'balanced' or one number a class, got {value!r}."
        ) from None


def _augment(value: Any) -> Augment | None:
    if isinstance(value, Mapping):
        value = Augment(**value)
    if value is not None and not isinstance(value, Augment):
        raise ValueError(f"augment must be an Augment or None, got {value!r}.")
    return value
