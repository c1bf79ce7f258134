"""Epochs of Adam by the companion, where it is there: ``program.train`` in one call.

Weights are turned, from scikit-learn's [inputs, outputs] to [outputs, inputs] and back; the
numbers are the same up to rounding.
"""

from typing import Any

import numpy as np

from deltarule.estimators.asked import NAMES
from deltarule.estimators.program import (
    Arrays,
    Examples,
    Hyper,
    Kind,
    Learned,
    Outcome,
    Patience,
    Plan,
    compiled,
)
from deltarule.network import companion, kernels
from deltarule.network.companion.dense_steps import HIDDEN, MOST_LAYERS, Adam, Course, adam_epochs

COSTS = {  # with one number a sample the mean over the outputs, and with it ours, is their sum
    ("log_loss", "softmax"): "log_loss",
    ("log_loss", "logistic"): "log_loss",
    ("squared_error", "identity"): "quadratic",
}


def fits(kind: Kind, sizes: tuple[int, ...]) -> bool:
    """Whether the companion trains such networks, of samples that weigh the same."""
    return (
        kind.solver == "adam"
        and (kind.loss, kind.output) in COSTS
        and NAMES.get(kind.hidden, kind.hidden) in HIDDEN
        and (kind.loss == "log_loss" or sizes[-1] == 1)
        and len(sizes) - 1 <= MOST_LAYERS
        and kernels.current_backend() == "cpu"
        and companion.is_there()
    )


def targets(kind: Kind, y: Any, dtype: np.dtype) -> Any:
    """Return encoded answers [n, outputs] as the companion takes them: of one class, its place."""
    if kind.output == "softmax":
        return y.argmax(axis=1).astype(np.int32)
    return y.astype(dtype)


def run(
    kind: Kind, learned: Learned, examples: Examples, plan: Plan, hyper: Hyper, patience: Patience
) -> Outcome:
    """Return what ``program.run`` does, for ``examples`` with such ``targets``."""
    counts = np.stack([plan.n, plan.epochs, patience.waited, patience.longest])
    course = Course(counts, np.stack([hyper.alpha, patience.best, patience.tol]))
    adam = Adam(hyper.beta_1, hyper.beta_2, hyper.rest_1, hyper.rest_2, hyper.epsilon)
    parts = [_turned(part) for part in _parts(learned)]
    given = examples.x, examples.y, plan.orders, plan.rates, adam, course, parts
    losses, epochs, after = compiled(_train, (kind,), given)(*given)
    (coefs, intercepts), first, second = (_turned_back(part) for part in after)
    moments = (*first[0], *first[1]), (*second[0], *second[1])
    return Outcome(Learned(coefs, intercepts, *moments), losses, epochs, patience)


def _train(kind: Kind, *given: Any) -> Any:
    """Call the companion and do nothing else: to turn weights here, XLA compiles 0.1 s longer."""
    hidden, output = (NAMES.get(name, name) for name in (kind.hidden, kind.output))
    layers = len(given[-1][0])
    names = *(hidden,) * (layers - 1), output
    return adam_epochs(names, COSTS[kind.loss, kind.output], kind.batch, *given)


def _parts(learned: Learned) -> list[tuple[Arrays, Arrays]]:
    """Return weights and biases of all layers, of the parameters and of both moments."""
    layers = len(learned.coefs)
    moments = [(each[:layers], each[layers:]) for each in (learned.first, learned.second)]
    return [(learned.coefs, learned.intercepts), *moments]


def _turned(part: tuple[Arrays, Arrays]) -> list[tuple[Any, Any]]:
    return [(b, np.ascontiguousarray(w.T)) for w, b in zip(*part, strict=True)]


def _turned_back(part: list[tuple[Any, Any]]) -> tuple[Arrays, Arrays]:
    return tuple(np.asarray(w).T for _, w in part), tuple(b for b, _ in part)
