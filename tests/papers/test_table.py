"""Claimed beside reached in Markdown, and the documents that show it."""

from pathlib import Path
from typing import Any

import pytest
from tiny_study import BASELINE, STUDY, experiment

from deltarule.papers import STUDIES
from deltarule.papers.__main__ import redraw
from deltarule.papers.results import document, of_study
from deltarule.papers.table import RULE, markdown, update

ROOT = Path(__file__).parents[2]


def result(claimed: float, *accuracies: float) -> dict[str, Any]:
    measured = [{"seed": i, "accuracy": a} for i, a in enumerate(accuracies)]
    return document(STUDY, experiment(claimed=claimed), measured)


def test_a_table_by_hand() -> None:
    baseline = document(STUDY, BASELINE, [{"seed": 0, "accuracy": 10.276}])
    # mean of 95.0 and 96.0: 95.50; the best, 96.0, is below 96.01
    table = markdown(STUDY, [result(96.01, 95.0, 96.0), result(96.0, 95.0, 96.0), baseline])
    assert table.splitlines()[2:] == [
        "| page 1 | 64-10-10 | test, last epoch | 96.01 | 95.50 (95.00–96.00) | not reached |",
        "| page 1 | 64-10-10 | test, last epoch | 96.00 | 95.50 (95.00–96.00) | reached |",
        "| page 2 | always three | test | 10.00 | 10.28 | reached |",
        "",
        f"{RULE} With brackets: 2 seeds; without: one run. Source: {STUDY.citation}.",
    ]


def test_only_the_block_of_the_study_changes() -> None:
    text = "a\n<!-- results:talk -->\nold | table\n<!-- /results:talk -->\nb\n"
    new = update(text, "talk", "new \\1 table")  # a backslash is no group
    assert new == "a\n<!-- results:talk -->\nnew \\1 table\n<!-- /results:talk -->\nb\n"
    assert update(new, "talk", "old | table") == text


@pytest.mark.parametrize("text", [
    "", "<!-- results:talk -->", "<!-- /results:talk -->\n<!-- results:talk -->",
    "<!-- results:nielsen -->\n<!-- /results:nielsen -->",
    "<!-- results:talk -->\n<!-- /results:talk -->\n" * 2,
])  # fmt: skip
def test_missing_or_double_markers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must hold the markers"):
        update(text, "talk", "table")


def test_redraw_leaves_a_text_without_markers_alone(tmp_path: Path) -> None:
    assert redraw("# nothing here\n", tmp_path) == "# nothing here\n"
    drawn = redraw("<!-- results:talk -->\n<!-- /results:talk -->\n", tmp_path)
    assert RULE in drawn


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_documents_show_the_stored_results(study: Any) -> None:
    """The talk's table stands in README.md, every other one there or in docs/results.md."""
    results = of_study(ROOT / "papers" / "results", study)
    if not results:
        pytest.skip(f"papers/results holds nothing of {study.name} yet")
    names = ["README.md"] if study.name == "talk" else ["README.md", "docs/results.md"]
    texts = [path.read_text() for path in map(ROOT.joinpath, names) if path.exists()]
    shown = [text for text in texts if f"<!-- results:{study.name} -->" in text]
    assert shown, f"put the markers of results:{study.name} into {' or '.join(names)}"
    for text in shown:
        drawn = update(text, study.name, markdown(study, results))
        assert drawn == text, "redraw it: python -m deltarule.papers README.md docs/results.md"


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_stored_results_are_those_of_the_recipes(study: Any) -> None:
    """A recipe that changes takes its result with it."""
    from deltarule.papers.results import stored

    folder = ROOT / "papers" / "results"
    for each in study.experiments:
        if (folder / f"{each.name}.json").exists():
            assert stored(folder, study, each), f"run {each.name} again"
