"""Illnesses of the answers: a class that is never given, and no gain over simpler means."""

import warnings

import numpy as np

from deltarule.data import Dataset
from deltarule.learning.curvature import sample
from deltarule.learning.evaluate import Evaluation
from deltarule.learning.health.case import ILL, NOT_JUDGED, SUSPICIOUS, Case, Finding, percent

NEVER, MAJORITY, LINEAR = (
    "class never predicted",
    "no better than majority",
    "no better than linear",
)

LEAST_EXAMPLES = 5  # of a class, before its absence from the answers says anything
LINEAR_EXAMPLES = 2000  # a linear model is as good as it gets with some hundred a class
LINEAR_NUMBERS = 4_000_000  # in its inputs: a second or two
LINEAR_STEPS = 100
CHANCE = 0.05  # the probability by which a difference may still be luck
MARKED = 0.02  # of accuracy: a difference that is an illness and not only a hint


def never_predicted(case: Case) -> list[Finding]:
    """Find classes that have training examples, but are the answer to none of them."""
    given, true = (np.bincount(each, minlength=len(case.seen.classes))
                   for each in (case.seen.predictions, case.seen.labels))  # fmt: skip
    never = np.flatnonzero((true >= LEAST_EXAMPLES) & (given == 0))
    if not len(never):
        return []
    names = ", ".join(repr(case.seen.classes[index]) for index in never[:5])
    names += ", ..." if len(never) > 5 else ""
    sentence = (
        f"Of {len(true)} classes {len(never)} never come out as an answer ({names}), though "
        f"{true[never].sum():,} of {case.seen.n:,} training examples belong to them."
    )
    remedy = "Train longer or at another learning rate; for rare classes class_weight='balanced'."
    return [Finding(NEVER, ILL, sentence, remedy)]


def no_gain(case: Case) -> list[Finding]:
    """Compare the accuracy with that of the largest class, and that of a linear model."""
    result, where = (case.held_out, "validation") if case.held_out else (case.seen, "training")
    shares = np.bincount(result.labels, minlength=len(result.classes)) / result.n
    largest = float(shares.max())
    if result.interval[0] <= largest and len(result.classes) > 1:
        kind = int(shares.argmax())
        sentence = (
            f"Accuracy on {where} examples is {percent(result.accuracy)}; always to answer "
            f"{result.classes[kind]!r} would give {percent(largest)}."
        )
        remedy = (
            "Look at the data and labels first, then at the learning rate; judge rare classes by "
            "their own accuracy and weigh them with class_weight='balanced'."
        )
        severity = ILL if result.accuracy <= largest else SUSPICIOUS
        return [Finding(MAJORITY, severity, sentence, remedy)]
    return _linear(case)


def _linear(case: Case) -> list[Finding]:
    if case.held_out is None or case.validation is None:
        sentence = "Without validation data no comparison with a linear model is fair."
        return [Finding(LINEAR, NOT_JUDGED, sentence, "Hold some examples out.")]
    affordable = LINEAR_NUMBERS // int(np.prod(case.train.shape))
    if affordable < 10 * len(case.train.classes):
        sentence = "The inputs are too many for a linear model in reasonable time."
        return [Finding(LINEAR, NOT_JUDGED, sentence, "Try one on smaller images.")]
    few = sample(case.train, min(affordable, LINEAR_EXAMPLES))
    if len(np.unique(few.y)) < 2:
        return []
    right = _linear_answers(few, case.validation) == case.held_out.labels
    return _compared(right, case.held_out, len(few))


def _linear_answers(train: Dataset, validation: Dataset) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = [
        np.asarray(data.x).reshape(len(data), -1).astype(np.float64) for data in (train, validation)
    ]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=LINEAR_STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as far as it came is far enough
        answers: np.ndarray = model.fit(rows[0], train.y).predict(rows[1])
    return answers


def _compared(linear: np.ndarray, result: Evaluation, examples: int) -> list[Finding]:
    """Compare answers to the same examples by the sign test (McNemar 1947)."""
    from scipy.stats import binomtest

    ours = result.predictions == result.labels
    wins, losses = int((linear & ~ours).sum()), int((ours & ~linear).sum())
    if wins == 0 or binomtest(wins, wins + losses, alternative="greater").pvalue > CHANCE:
        return []
    accuracy = float(linear.mean())
    sentence = (
        f"A linear model of {examples:,} training examples reaches {percent(accuracy)} on "
        f"validation examples, the network {percent(result.accuracy)}."
    )
    remedy = "Train longer, at another learning rate, or with less l2; or use the linear model."
    severity = ILL if accuracy - result.accuracy > MARKED else SUSPICIOUS
    return [Finding(LINEAR, severity, sentence, remedy)]
