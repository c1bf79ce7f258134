"""Published results run again: the claim, the recipe, and what several seeds reach.

A study (``talk.py``, ``nielsen.py``, ``chapter6.py``) lists experiments as data. ``runner.py`` runs
them, ``results.py`` stores each as one JSON file, ``table.py`` sets claimed beside reached.
Everything here could be written outside the library: it trains and measures by public names.
"""

from deltarule.papers import chapter6, nielsen, talk
from deltarule.papers.experiment import Baseline, Experiment, Study, Vote
from deltarule.papers.results import RESULTS
from deltarule.papers.runner import Watcher, reproduce

STUDIES: dict[str, Study] = {
    study.name: study for study in (talk.STUDY, nielsen.STUDY, chapter6.STUDY)
}

__all__ = ["RESULTS", "STUDIES", "Baseline", "Experiment", "Study", "Vote", "Watcher", "reproduce"]
