"""Choosing hyper-parameters: random search and successive halving, on validation data alone.

Read ``space.py`` (what is drawn), ``trials.py`` (what is compared), ``team.py`` (how they
are run), then ``search.py``.
"""

from deltarule.tuning.search import tune
from deltarule.tuning.space import Choices, Range, Space, parsed, usual_space
from deltarule.tuning.team import Tuning
from deltarule.tuning.trials import Trial, stages

__all__ = [
    "Choices",
    "Range",
    "Space",
    "Trial",
    "Tuning",
    "parsed",
    "stages",
    "tune",
    "usual_space",
]
