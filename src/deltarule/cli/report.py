"""How results are said on a terminal."""

import json
from typing import Any

from deltarule.learning import Evaluation
from deltarule.storage import encoded, printable


def score_line(result: Evaluation) -> str:
    """Return the accuracy, its interval and the counts behind it."""
    low, high = result.interval
    return (
        f"{result.accuracy:.2%} (95 % interval {100 * low:.2f} to {100 * high:.2f} %; "
        f"{result.correct:,} of {result.n:,})"
    )


def confusion_lines(result: Evaluation, most: int = 3) -> list[str]:
    """Return the most frequent mistakes in words."""
    return [
        f"{printable(true)} taken for {printable(said)}, {count} time{'s' if count > 1 else ''}"
        for true, said, count in result.most_confused(most)
    ]


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
    }
