"""``python -m deltarule.papers FILE ...``: redraw the results tables in Markdown files."""

import sys
from pathlib import Path

from deltarule.papers import RESULTS, STUDIES
from deltarule.papers.results import of_study
from deltarule.papers.table import markdown, update


def redraw(text: str, results: Path = RESULTS) -> str:
    """Return ``text`` with the table of every study that it has markers for."""
    for study in STUDIES.values():
        if f"<!-- results:{study.name} -->" in text:
            text = update(text, study.name, markdown(study, of_study(results, study)))
    return text


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(redraw(path.read_text()))
