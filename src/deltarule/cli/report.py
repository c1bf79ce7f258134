"""How results are said on a terminal."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deltarule.committee import Committee
from deltarule.data import Columns
from deltarule.learning import Evaluation
from deltarule.learning.scores import class_scores, deviations
from deltarule.network import Model
from deltarule.storage import encoded, printable

MEMBERS = ("member_accuracies", "disagreement")  # what only a committee's summary has


def score_lines(name: str, result: Evaluation, model: Model | Committee) -> list[str]:
    """Return how good the answers are, under ``name``: of classes, or of quantities."""
    if result.classes:
        return _accuracy_lines(f"{name} accuracy".strip(), result)
    lines = []
    for output, (rmse, mae, r2) in _deviations(result, model).items():
        of = f" of {printable(output)}" if output else ""
        lines += [
            f"{f'{name} RMSE'.strip() + ':':16}{rmse:.5g}{of}",
            f"{'MAE:':16}{mae:.5g}",
            f"{'R2:':16}{'unknown, all answers are the same' if r2 is None else f'{r2:.4f}'}",
        ]
    return lines


def class_lines(result: Evaluation, most: int = 0) -> list[str]:
    """Return log loss and ROC AUC, and precision and recall of up to ``most`` classes."""
    if not result.classes or not calibrated(result):
        return []
    scores = class_scores(result)
    lines = [f"log loss:       {scores.log_loss:.4f}"]
    if scores.roc_auc is not None:
        lines.append(f"ROC AUC:        {scores.roc_auc:.4f}")
    if most:
        lines.append("                precision     recall   examples")
    lines += [
        f"{printable(each.name)[:15]:15} {_percent(each.precision)} {_percent(each.recall)} "
        f"{each.examples:10,}"
        for each in scores.classes[:most]
    ]
    if most and len(scores.classes) > most:
        lines.append(f"... and {len(scores.classes) - most} classes more; --json has all")
    return lines


def _percent(share: float | None) -> str:
    return f"{'-':>10}" if share is None else f"{100 * share:8.2f} %"


def _deviations(
    result: Evaluation, model: Model | Committee
) -> dict[str, tuple[float, float, float | None]]:
    """Return RMSE, MAE and R2 by the name of the output, in the unit of the answers."""
    answers, predictions = in_their_unit(result, model)
    found = zip(*deviations(answers, predictions), strict=True)
    names = [""] if answers.shape[1] == 1 else [f"output {i}" for i in range(answers.shape[1])]
    if isinstance(model.preparation, Columns):
        names = [model.preparation.target.name]
    return dict(zip(names, found, strict=True))


def in_their_unit(
    result: Evaluation, model: Model | Committee
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return answers and predictions of a regression [n, k] in the unit of the data."""
    answers, predictions = result.labels, result.predictions
    if isinstance(model.preparation, Columns):  # learned in deviations from a mean
        answers, predictions = map(model.preparation.decode, (answers, predictions))
    return tuple(np.reshape(each, (result.n, -1)) for each in (answers, predictions))  # type: ignore[return-value]


def _accuracy_lines(name: str, result: Evaluation) -> list[str]:
    low, high = result.interval
    return [
        f"{name + ':':16}{100 * result.accuracy:.2f} %, {result.correct:,} of {result.n:,}",
        f"95 % interval:  {100 * low:.2f} to {100 * high:.2f} %",
    ]


def confusion_lines(result: Evaluation, most: int = 3) -> list[str]:
    """Return the most frequent mistakes in words; none of a regression."""
    if not result.classes:
        return []
    return [
        f"most confused:  {printable(a)} taken for {printable(b)}, {n} time{'s' if n > 1 else ''}"
        for a, b, n in result.most_confused(most)
    ]


def committee_lines(result: Evaluation) -> list[str]:
    """Return what the members of a committee reach by themselves; nothing for a single model."""
    accuracies = [100 * accuracy for accuracy in result.member_accuracies]
    if not accuracies:
        return []
    mean = sum(accuracies) / len(accuracies)
    return [
        f"members:        {len(accuracies)}, {min(accuracies):.2f} to {max(accuracies):.2f} %, "
        f"mean {mean:.2f} %",
        f"disagreement:   {100 * result.disagreement:.2f} % of pairs of answers differ",
    ]


def calibration_lines(result: Evaluation) -> list[str]:
    """Return the calibration error, where outputs are probabilities."""
    if not calibrated(result):
        return []
    return [f"calibration:    off by {100 * result.calibration_error:.2f} % on average"]


def calibrated(result: Evaluation) -> bool:
    """Say whether the outputs can be read as probabilities of classes."""
    outputs = result.probabilities
    return bool(result.classes) and outputs.min() >= 0 and outputs.max() <= 1


def document(facts: Any) -> str:
    """Return plain data as a JSON document; numbers not finite become null, as JSON has none."""
    return json.dumps(encoded(facts, "document", special=lambda number: None), indent=2)


def summary_of(result: Evaluation, model: Model | Committee) -> dict[str, Any]:
    """Return an evaluation as plain data."""
    if not result.classes:
        return {
            "examples": result.n,
            "cost": result.cost,
            "outputs": [
                {"name": name, "rmse": rmse, "mae": mae, "r2": r2}
                for name, (rmse, mae, r2) in _deviations(result, model).items()
            ],
        }
    scores = class_scores(result)
    return {
        "examples": result.n,
        "correct": result.correct,
        "accuracy": result.accuracy,
        "interval_95": result.interval,
        "cost": result.cost,
        "most_confused": result.most_confused(),
        "confusion": result.confusion.tolist(),
        "calibration_error": result.calibration_error if calibrated(result) else None,
        "log_loss": scores.log_loss if calibrated(result) else None,
        "roc_auc": scores.roc_auc,
        "per_class": [each._asdict() for each in scores.classes],
        **_members(result),
    }


def _members(result: Evaluation) -> dict[str, Any]:
    if not result.member_accuracies:
        return {}
    return {
        "member_accuracies": result.member_accuracies,
        "disagreement": result.disagreement,
    }
