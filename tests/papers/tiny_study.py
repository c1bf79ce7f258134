"""A study small enough for tests: scikit-learn's 8x8 digits, networks that learn in a second."""

from typing import Any

from deltarule import Network, Recipe, Splits
from deltarule.papers import Baseline, Experiment, Study, Vote


def experiment(name: str = "tiny-final", **changes: Any) -> Experiment:
    usual: dict[str, Any] = {
        "name": name,
        "title": "64-10-10",
        "source": "page 1",
        "network": Network([64, 10, 10], output="softmax"),
        "recipe": Recipe(epochs=3, learning_rate=0.5),
        "claimed": 80.0,
        "report": "final",
    }
    return Experiment(**usual | changes)


def best_on_validation(name: str = "tiny-test") -> Experiment:
    recipe = Recipe(epochs=4, learning_rate=0.5, early_stopping=4, monitor="validation_accuracy")
    return experiment(name, recipe=recipe, report="test", watched="validation", claimed=100.0)


def most_frequent(splits: Splits) -> float:
    return float((splits.test.y == 3).mean())


BASELINE = Baseline(
    name="tiny-base",
    title="always three",
    source="page 2",
    claimed=10.0,
    accuracy=most_frequent,
    method="always three",
)
VOTE = Vote(
    name="tiny-vote",
    title="three of them",
    source="page 3",
    claimed=90.0,
    of=best_on_validation(),
    members=3,
)
HIDDEN = experiment("tiny-opt-in", opt_in=True)

STUDY = Study(
    name="tiny",
    citation="A. N. Author, A Small Book, 2000",
    experiments=(experiment(), best_on_validation(), BASELINE, HIDDEN),
    data="digits",
)
