"""Claimed beside reached, as Markdown, and its place in a document."""

import re
from collections.abc import Sequence

from deltarule.papers.experiment import Study
from deltarule.papers.results import Result, is_reached

RULE = (
    "Accuracies in %. Reached: mean of the seeds, in brackets the lowest and the highest. A claim "
    "is the figure of one run, or of the best of several, so it counts as reached if the best "
    'seed is at least the claim. "Best epoch" is chosen on the set it is measured on, as the '
    "source did, and flatters claim and result alike."
)


def markdown(study: Study, results: Sequence[Result]) -> str:
    """Return the table of ``results``, its rule under it."""
    rows = [
        "| source | experiment | measured on | claimed | reached | |",
        "|---|---|---|---:|---:|---|",
    ]
    for result in results:
        cells = (
            result["source"], result["title"], result["measures"], f"{result['claimed']:.2f}",
            figures(result), verdict(result),
        )  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    counts = sorted({len(result["seeds"]) for result in results if len(result["reached"]) > 1})
    runs = f" With brackets: {' or '.join(map(str, counts))} seeds; without: one run."
    seeds = runs if counts else ""
    return "\n".join([*rows, "", f"{RULE}{seeds} Source: {study.citation}."])


def figures(result: Result) -> str:
    """Return what was reached: "95.10 (94.98–95.22)", without brackets for a single run."""
    mean = f"{result['mean']:.2f}"
    if len(result["seeds"]) == 1:
        return mean
    return f"{mean} ({result['lowest']:.2f}–{result['highest']:.2f})"


def verdict(result: Result) -> str:
    """Return "reached" or "not reached"."""
    return "reached" if is_reached(result) else "not reached"


def update(text: str, study: str, table: str) -> str:
    """Return ``text`` with ``table`` between the markers of ``study``.

    The markers are ``<!-- results:talk -->`` and ``<!-- /results:talk -->``, each on its own line.
    Raises ``ValueError`` unless ``text`` has them once.

    >>> update("<!-- results:talk -->\\n<!-- /results:talk -->", "talk", "a table").split("\\n")
    ['<!-- results:talk -->', 'a table', '<!-- /results:talk -->']
    """
    first, last = f"<!-- results:{study} -->", f"<!-- /results:{study} -->"
    block = re.compile(f"^{re.escape(first)}\n.*?^{re.escape(last)}$", re.MULTILINE | re.DOTALL)
    if len(block.findall(text)) != 1:
        raise ValueError(
            f"text must hold the markers {first} and {last} once, each on its own line; add them."
        )
    return block.sub(lambda _: f"{first}\n{table}\n{last}", text)
