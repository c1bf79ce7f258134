"""The usual illnesses of a training run, each with numbers and a remedy.

Read ``case.py`` first, then a family of illnesses: ``data.py``, ``layers.py``, ``progress.py``,
``answers.py``. Every threshold is a constant at the head of its file, with its reason.
"""

import numpy as np

from deltarule.data import Dataset
from deltarule.learning.health import answers, data, layers, progress
from deltarule.learning.health.case import ILL, NOT_JUDGED, SUSPICIOUS, Case, Finding, History
from deltarule.learning.health.progress import diverged
from deltarule.learning.recipe import Recipe
from deltarule.network.model import Model

__all__ = ["ILL", "ILLNESSES", "NOT_JUDGED", "SUSPICIOUS", "Finding", "diverged", "examine"]

ILLNESSES = (
    data.INPUTS, data.SHARING, layers.SATURATED, layers.DEAD, layers.VANISHING, layers.EXPLODING,
    progress.DIVERGED, progress.TOO_HIGH, progress.TOO_LOW, progress.OVERFITTING, answers.NEVER,
    answers.MAJORITY, answers.LINEAR,
)  # fmt: skip


def examine(
    model: Model | None,
    train: Dataset,
    validation: Dataset | None = None,
    test: Dataset | None = None,
    history: History = (),
    recipe: Recipe | None = None,
) -> list[Finding]:
    """Return what ails a run: a finding for each illness, and for each that cannot be judged.

    Args:
        model: what was learned; None if the run left nothing, as one that diverged does.
        train, validation: what it learned from, and was measured on.
        test: compared with the others for shared examples; never shown to the model.
        history: a record an epoch, as ``Run.history``.
        recipe: how it was trained; by default the usual one.

    Nothing is trained but a linear model for comparison. Raises ``ValueError`` if model and data do
    not fit together. See docs/doctor.md.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(300, 5, (50, 3))  # degrees above absolute zero
    >>> [(each.name, each.severity) for each in examine(None, Dataset(x, [0, 1] * 25))]
    [('inputs not scaled', 'ill')]
    """
    parts = {"training": train, "validation": validation, "test": test}
    found = data.shared({name: part for name, part in parts.items() if part is not None})
    found += diverged(history)
    if model is None:
        return [*data.inputs(np.asarray(train.x) * train.scale, len(train.shape) > 1), *found]
    case = Case(model, train, validation or None, history, recipe or Recipe())
    found = data.inputs(layers.reaching(model, case.few), len(model.shape) > 1) + found
    found += layers.units(model, case.few)
    found += layers.gradients(case)
    found += progress.learning_rate(case)
    found += progress.overfitting(case)
    if train.classes:
        found += answers.never_predicted(case)
        found += answers.no_gain(case)
    return found
