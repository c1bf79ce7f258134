"""Measuring a model: errors counted as integers over every example, never as means of means."""

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.data.unread import in_parts
from deltarule.learning.costs import cost_function, targets
from deltarule.network.activations import activation
from deltarule.network.model import Model

# logits, the activation they belong to, outputs, predictions, those of each member
Said = tuple[np.ndarray, str, np.ndarray, np.ndarray, np.ndarray | None]

BINS = 15  # of confidence, as in Guo et al.


class Panel(Protocol):
    """Several models that answer together, as ``Committee`` does."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty for regression."""

    @property
    def output(self) -> str:
        """The name of the activation that every member ends in."""

    def ask(self, x: np.ndarray) -> Said:
        """Return the five parts of ``committee.Opinions`` about inputs x [n, ...]."""


class Calibration(NamedTuple):
    """How often predictions are right at each level of confidence; arrays [bins].

    A bin without predictions is left out. ``confidence`` is the mean output of the predicted class
    in a bin, ``accuracy`` the share of right predictions in it, ``n`` how many there are.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    n: np.ndarray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a model, or a committee, made of a labelled dataset.

    Args:
        n: examples.
        cost: the mean cost of an example, without penalties; of a committee that of the mean of
            its members' outputs.
        classes: the names of the classes; empty for regression.
        labels, predictions: class indices [n].
        probabilities: the outputs of the network or the committee [n, k].
        member_predictions: what each member of a committee predicts by itself [members, n].
    """

    n: int
    cost: float
    classes: tuple[str, ...]
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    member_predictions: np.ndarray | None = None

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

    def calibration(self, bins: int = BINS) -> Calibration:
        """Sort the predictions into ``bins`` of equal width by their confidence.

        Confidence is the output of the predicted class; bin m holds ((m - 1)/bins, m/bins].
        Raises ``ValueError`` if the outputs are no probabilities.
        """
        from sklearn.calibration import calibration_curve

        if not self.classes or self.probabilities.min() < 0 or self.probabilities.max() > 1:
            raise ValueError(
                "calibration needs outputs between 0 and 1 for classes, as softmax and sigmoid "
                "give; these are others."
            )
        confidence = self.probabilities[np.arange(self.n), self.predictions]
        right = self.predictions == self.labels
        accuracy, mean = calibration_curve(right, confidence, pos_label=True, n_bins=bins)
        edges = np.linspace(0, 1, bins + 1)[1:-1]
        n = np.bincount(np.searchsorted(edges, confidence))
        return Calibration(mean, accuracy, n[n > 0])

    @property
    def calibration_error(self) -> float:
        """The expected calibration error over 15 bins (Guo et al. 2017, equation 3).

        sum over bins m of n_m/n |accuracy_m - confidence_m|: 0 if of the predictions made with
        confidence 0.9 nine in ten are right, and so for every confidence.
        """
        bins = self.calibration()
        return float((bins.n * np.abs(bins.accuracy - bins.confidence)).sum() / self.n)

    @property
    def member_accuracies(self) -> tuple[float, ...]:
        """The accuracy of each member by itself; empty for a single model."""
        if self.member_predictions is None or not self.classes:
            return ()
        return tuple(float(share) for share in (self.member_predictions == self.labels).mean(1))

    @property
    def disagreement(self) -> float:
        """The mean share of pairs of members that predict differently (``disagreement``)."""
        if self.member_predictions is None or not self.classes:
            return 0.0
        return disagreement(self.member_predictions)


def disagreement(predictions: np.ndarray) -> float:
    """Return how often two members of a committee differ, from class indices [members, n].

    The mean over the examples of the share of pairs that differ: with v_c of N votes for class c,
    1 - sum_c v_c (v_c - 1) / (N (N - 1)), one minus the agreement of Fleiss 1971. 0 if N is 1.

    >>> disagreement(np.array([[0, 1], [0, 2], [0, 1]]))  # no pair of 3, then 2 pairs of 3
    0.3333333333333333
    """
    members, n = predictions.shape
    if members < 2 or n == 0:
        return 0.0
    differing = sum(int((one != other).sum()) for one, other in combinations(predictions, 2))
    return float(differing / (n * members * (members - 1) // 2))


def evaluate(model: Model | Panel, data: Dataset, cost: str = "cross_entropy") -> Evaluation:
    """Ask ``model``, or a committee, about every example of ``data``.

    Raises ``ValueError`` if ``data`` is empty, has other classes than the model, or inputs of
    another size.
    """
    if len(data) == 0:
        raise ValueError("data must hold at least one example, got none.")
    if data.classes != model.classes:
        raise ValueError(
            f"data has the classes {data.classes}, but the model knows {model.classes}."
        )
    ask = partial(_asked, model) if isinstance(model, Model) else model.ask
    logits, output, outputs, predictions, members = _joined([ask(x) for x in in_parts(data.x)])
    learned = model.network.output if isinstance(model, Model) else model.output
    with jax.enable_x64(True):
        z = jnp.asarray(logits, jnp.float64)
        y = targets(jnp.asarray(data.y), z.shape[-1], 0.0, z.dtype, learned)
        mean = float(cost_function(cost, output)(z, y).mean())
    return Evaluation(len(data), mean, model.classes, data.y, predictions, outputs, members)


def _joined(said: list[Said]) -> Said:
    """Return what was said of all examples, from what was said of one part after the other."""
    if len(said) == 1:
        return said[0]
    logits, output, outputs, predictions, members = zip(*said, strict=True)
    joined = [np.concatenate(each) for each in (logits, outputs, predictions)]
    votes = None if members[0] is None else np.concatenate(members, axis=1)
    return joined[0], output[0], joined[1], joined[2], votes


def _asked(model: Model, x: np.ndarray) -> Said:
    """Return of one model what ``Panel.ask`` returns of several."""
    logits, output = model.logits(x), model.network.output
    with jax.enable_x64(True):
        outputs = np.asarray(activation(output)(jnp.asarray(logits, jnp.float64)))
    # Of the logits, as in training: where outputs round to 1 they no longer say which is largest.
    predictions = logits.argmax(axis=1) if model.classes else outputs
    return logits, output, outputs, predictions, None
