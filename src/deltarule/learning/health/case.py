"""What the examinations share: the case before them, and the form of what they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from deltarule.data import Dataset
from deltarule.learning.curvature import sample
from deltarule.learning.evaluate import Evaluation, evaluate
from deltarule.learning.recipe import Recipe
from deltarule.network.model import Model

History = Sequence[Mapping[str, Any]]

ILL, SUSPICIOUS, NOT_JUDGED = "ill", "suspicious", "not judged"
LOOKED_AT = 5000  # training examples: a share of them is known to a percent or two


class Finding(NamedTuple):
    """What an examination has to say.

    Args:
        name: of the illness, such as "dead ReLUs".
        severity: "ill", "suspicious", or "not judged" where something is missing to tell.
        sentence: what was found, with its numbers.
        remedy: what to do.
    """

    name: str
    severity: str
    sentence: str
    remedy: str


@dataclass(frozen=True, eq=False)
class Case:
    """A model with everything that is known about its training."""

    model: Model
    train: Dataset
    validation: Dataset | None
    history: History
    recipe: Recipe

    @cached_property
    def few(self) -> Dataset:
        """The training examples that are looked at."""
        return sample(self.train, LOOKED_AT)

    @cached_property
    def seen(self) -> Evaluation:
        """How the model does on these."""
        return evaluate(self.model, self.few, self.recipe.cost)

    @cached_property
    def held_out(self) -> Evaluation | None:
        """How it does on the validation data, if there are any."""
        if self.validation is None:
            return None
        return evaluate(self.model, self.validation, self.recipe.cost)


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.1234), percent(1.0)
    ('12.3 %', '100 %')
    """
    return f"{100 * share:.3g} %"
