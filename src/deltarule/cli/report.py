"""How results are said on a terminal."""

import json
from typing import Any

from deltarule.learning import Evaluation
from deltarule.storage import encoded, printable

MEMBERS = ("member_accuracies", "disagreement")  # what only a committee's summary has


def score_lines(name: str, result: Evaluation) -> list[str]:
    """Return the accuracy under ``name`` with the counts behind it, and its interval."""
    low, high = result.interval
    return [
        f"{name + ':':16}{100 * result.accuracy:.2f} %, {result.correct:,} of {result.n:,}",
        f"95 % interval:  {100 * low:.2f} to {100 * high:.2f} %",
    ]


def confusion_lines(result: Evaluation, most: int = 3) -> list[str]:
    """Return the most frequent mistakes in words."""
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


def summary_of(result: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data."""
    return {
        "examples": result.n,
        "correct": result.correct,
        "accuracy": result.accuracy,
        "interval_95": result.interval,
        "cost": result.cost,
        "most_confused": result.most_confused(),
        "confusion": result.confusion.tolist(),
        "calibration_error": result.calibration_error if calibrated(result) else None,
        **_members(result),
    }


def _members(result: Evaluation) -> dict[str, Any]:
    if not result.member_accuracies:
        return {}
    return {
        "member_accuracies": result.member_accuracies,
        "disagreement": result.disagreement,
    }
