"""Measuring a model: errors counted as integers over every example, never as means of means."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.learning.costs import cost_function, targets
from deltarule.network.activations import activation
from deltarule.network.model import Model


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model made of a labelled dataset.

    Args:
        n: examples.
        cost: the mean cost of an example, without penalties.
        classes: the names of the classes; empty for regression.
        labels, predictions: class indices [n].
        probabilities: the outputs of the network [n, k].
    """

    n: int
    cost: float
    classes: tuple[str, ...]
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray

    @property
    def correct(self) -> int:
        """How many predictions are right."""
        return int((self.predictions == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return self.correct / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy for new data of the same kind (Wilson 1927)."""
        from scipy.stats import binomtest

        low, high = binomtest(self.correct, self.n).proportion_ci(method="wilson")
        return float(low), float(high)

    @property
    def confusion(self) -> np.ndarray:
        """Counts [true class, predicted class]."""
        from sklearn.metrics import confusion_matrix

        return np.asarray(
            confusion_matrix(self.labels, self.predictions, labels=range(len(self.classes)))
        )

    @property
    def mistakes(self) -> np.ndarray:
        """The indices of the wrong predictions, the surest first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        sureness = self.probabilities[wrong, self.predictions[wrong]]
        return wrong[np.argsort(-sureness, kind="stable")]

    def most_confused(self, most: int = 3) -> list[tuple[str, str, int]]:
        """Return (true class, predicted class, count) of the most frequent mistakes."""
        errors = self.confusion.copy()
        np.fill_diagonal(errors, 0)
        order = np.argsort(-errors, axis=None, kind="stable")[:most]
        pairs = [divmod(int(flat), len(self.classes)) for flat in order]
        return [
            (self.classes[a], self.classes[b], int(errors[a, b])) for a, b in pairs if errors[a, b]
        ]


def evaluate(model: Model, data: Dataset, cost: str = "cross_entropy") -> Evaluation:
    """Ask ``model`` about every example of ``data``.

    Raises ``ValueError`` if ``data`` is empty, has other classes than the model, or inputs of
    another size.
    """
    if len(data) == 0:
        raise ValueError("data must hold at least one example, got none.")
    if data.classes != model.classes:
        raise ValueError(
            f"data has the classes {data.classes}, but the model knows {model.classes}."
        )
    logits = model.logits(data.x)
    with jax.enable_x64(True):
        z = jnp.asarray(logits, jnp.float64)
        y = targets(jnp.asarray(data.y), z.shape[-1], 0.0, z.dtype)
        mean = float(cost_function(cost, model.network.output)(z, y).mean())
        outputs = np.asarray(activation(model.network.output)(z))
    # Of the logits, as in training: where outputs round to 1 they no longer say which is largest.
    predictions = logits.argmax(axis=1) if model.classes else outputs
    return Evaluation(len(data), mean, model.classes, data.y, predictions, outputs)
