"""What an evaluation amounts to in the figures people report, by scikit-learn's own definitions."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from deltarule.learning.evaluate import Evaluation


class ClassScore(NamedTuple):
    """One class: of those predicted as it how many are right, of its own how many were found.

    ``precision`` is None if nothing was predicted as it, ``recall`` if there are no examples of it.
    """

    name: str
    precision: float | None
    recall: float | None
    examples: int


class ClassScores(NamedTuple):
    """Figures of a classification.

    ``log_loss``: -1/n sum ln p, p the output of the right class over the sum of all outputs, at
    least 2.2e-16.
    ``roc_auc``: the chance that an example of a class gets a larger output for it than one of
    another class, the mean over the classes; of two classes that of the second. None unless each
    class has examples.
    """

    log_loss: float
    roc_auc: float | None
    classes: tuple[ClassScore, ...]


class Deviations(NamedTuple):
    """Figures of a regression, in the unit of the answers; [outputs] each.

    ``rmse``: the root of the mean squared error. ``mae``: the mean of |error|. ``r2``: 1 - squared
    error over that of always answering the mean; None if all answers are the same.
    """

    rmse: tuple[float, ...]
    mae: tuple[float, ...]
    r2: tuple[float | None, ...]


def class_scores(result: Evaluation) -> ClassScores:
    """Return the figures of an evaluation with classes, whose outputs are none below 0.

    >>> right = Evaluation(2, 0.1, ("no", "yes"), np.array([0, 1]), np.array([0, 1]),
    ...                    np.array([[0.8, 0.2], [0.2, 0.8]]))
    >>> scores = class_scores(right)
    >>> round(scores.log_loss, 4), scores.roc_auc, scores.classes[1]
    (0.2231, 1.0, ClassScore(name='yes', precision=1.0, recall=1.0, examples=1))
    """
    k, labels = len(result.classes), result.labels
    shares = np.maximum(np.nan_to_num(result.probabilities.astype(np.float64)), 0)
    sums = shares.sum(axis=1, keepdims=True)
    shares = np.divide(shares, sums, out=np.full_like(shares, 1 / k), where=sums > 0)
    right = shares[np.arange(len(labels)), labels]
    counts = result.confusion
    found, predicted, there = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    each = [
        ClassScore(name, _share(found[i], predicted[i]), _share(found[i], there[i]), int(there[i]))
        for i, name in enumerate(result.classes)
    ]
    return ClassScores(
        float(-np.log(np.maximum(right, np.finfo(np.float64).eps)).mean()),
        _roc_auc(labels, shares, there),
        tuple(each),
    )


def deviations(answers: Any, predictions: Any) -> Deviations:
    """Return the figures of a regression from answers and predictions [n] or [n, k].

    >>> deviations([1.0, 2.0, 3.0], [1.0, 2.0, 5.0]).mae
    (0.6666666666666666,)
    """
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    y, a = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (answers, predictions))
    raw: dict[str, Any] = {"multioutput": "raw_values"}
    known = (y != y[:1]).any(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single example, whose R2 is not known
        r2 = np.atleast_1d(r2_score(y, a, **raw))
    return Deviations(
        tuple(root_mean_squared_error(y, a, **raw).tolist()),
        tuple(mean_absolute_error(y, a, **raw).tolist()),
        tuple(float(value) if fine else None for value, fine in zip(r2, known, strict=True)),
    )


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _roc_auc(labels: np.ndarray, shares: np.ndarray, there: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    if len(there) < 2 or not there.all():
        return None
    if len(there) == 2:
        return float(roc_auc_score(labels, shares[:, 1]))
    return float(roc_auc_score(labels, shares, multi_class="ovr", average="macro"))
