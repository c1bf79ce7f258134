"""An experiment: a published accuracy and the recipe that is said to reach it, as data.

Accuracies here are percentages, as the sources print them.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deltarule import (
    Callback,
    Dataset,
    Model,
    Network,
    Recipe,
    Run,
    Splits,
    evaluate,
    fit,
    train,
)
from deltarule.data.views import shifted_copies
from deltarule.network.layers.contract import is_weight
from deltarule.runs import CONFIG

Measured = dict[str, Any]

_PROTOCOLS = {
    ("test", "final"): "The source watched the test set after every epoch, and so does this run; "
    "nothing is chosen by it.",
    ("test", "best"): "The source watched the test set after every epoch and named the best of "
    "them, and so does this run: an epoch chosen on the set it is judged by flatters, so the "
    "accuracy after the last epoch stands beside it.",
    ("validation", "final"): "Measured on the validation set after every epoch; nothing is chosen "
    "by it.",
    ("validation", "best"): "The best epoch on the validation set, which therefore flatters; the "
    "accuracy after the last epoch stands beside it.",
    ("validation", "test"): "The epoch is chosen on the validation set; the test set is then asked "
    "once, with the weights of that epoch.",
}


@dataclass(frozen=True)
class Experiment:
    """A network, a recipe and the accuracy that its source claims for them.

    Args:
        name: of its result file.
        title: what was trained, for a table.
        source: where in the study the claim stands.
        network, recipe: as for ``fit``; the seed of the recipe is replaced.
        claimed: accuracy in %.
        report: what the claim is: the accuracy of the "final" epoch, of the "best" one, or on the
            "test" set after the epoch that was best on the validation set.
        watched: the set that is measured, "test" or "validation".
        every_epoch: measure after each epoch; otherwise only after the last.
        training: how many of the training examples are used, from the first; None for all.
        shifted: train on each image and on its four copies moved by one pixel.
        claimed_detail: more claims, under the names that ``measure`` gives to its figures.
        printed_l2: the l2 in the training cost that the source prints, where it is not the one it
            trains with.
        notes: where the source is vague, or this run departs from it.
        opt_in: run only when asked for by name.

    Raises ``ValueError`` if ``report`` and ``watched`` do not go together.
    """

    name: str
    title: str
    source: str
    network: Network
    recipe: Recipe
    claimed: float
    report: Literal["final", "best", "test"] = "best"
    watched: Literal["test", "validation"] = "test"
    every_epoch: bool = True
    training: int | None = None
    shifted: bool = False
    claimed_detail: Mapping[str, float] = field(default_factory=dict)
    printed_l2: float | None = None
    notes: str = ""
    opt_in: bool = False

    def __post_init__(self) -> None:
        """Refuse what would be measured otherwise than it says."""
        keeps_best = self.recipe.early_stopping is not None
        known = (self.watched, self.report) in _PROTOCOLS
        if not known or keeps_best != (self.report == "test"):
            raise ValueError(
                f"report {self.report!r} does not fit watched={self.watched!r} and "
                f"early_stopping={self.recipe.early_stopping!r}: 'test' needs watched='validation' "
                "and early stopping, which keeps the best weights; the others need none."
            )
        if not self.every_epoch and self.report != "final":
            raise ValueError(f"report {self.report!r} needs every_epoch, so that there is a best.")

    @property
    def protocol(self) -> str:
        """How the reported accuracy is measured, in a sentence."""
        if not self.every_epoch:
            return f"Measured once, on the {self.watched} set after the last epoch."
        return _PROTOCOLS[self.watched, self.report]

    @property
    def measures(self) -> str:
        """The same in a few words, for a table."""
        if self.report == "test":
            return "test, at the best validation epoch"
        return f"{self.watched}, {'last' if self.report == 'final' else 'best'} epoch"

    def setup(self) -> dict[str, Any]:
        """Return all that decides the outcome but the seed and the data, as plain data."""
        recipe = self.recipe.describe()
        del recipe["seed"]
        return {
            "network": {"layers": self.network.describe(), "shape": self.network.shape},
            "recipe": recipe,
            "training": self.training,
            "shifted": self.shifted,
            "watched": self.watched,
            "every_epoch": self.every_epoch,
            "report": self.report,
            "printed_l2": self.printed_l2,
        }

    def seeds(self, count: int) -> list[int]:
        """Return the seeds of ``count`` runs."""
        return list(range(count))

    def measure(
        self,
        splits: Splits,
        seed: int,
        callbacks: Sequence[Callback] = (),
        folder: Path | None = None,
    ) -> Measured:
        """Train once and return what came out.

        Keys: seed, accuracy (the one to hold against the claim), epochs, seconds (of training);
        train_accuracy, train_cost (of the trained model, penalty included); and if every epoch
        was measured first, best, best_epoch and final (accuracies on the watched set). If the
        test set was asked at the end: asked (how many images), wrong (the answer to each image
        that was not recognised, by its index), for a ``Vote`` to count.

        With ``folder`` the run is kept there, and goes on from its last checkpoint if there is one.
        Raises ``KeyboardInterrupt`` if a callback stopped the run: half a run is no result.
        """
        run = self.run(splits, seed, callbacks, folder)
        figures = _epochs(run) if self.every_epoch else {}
        watched: Dataset = getattr(splits, self.watched)
        if self.report == "test":
            figures |= _answers(run.model, splits.test)
        elif self.every_epoch:
            figures["accuracy"] = figures[self.report]
        else:
            figures["accuracy"] = _percent(evaluate(run.model, watched, self.recipe.cost).accuracy)
        return {
            "seed": seed,
            "epochs": len(run.history),
            "seconds": round(sum(record["seconds"] for record in run.history), 2),
            **figures,
            **self._on_training(run.model, self._training(splits)),
        }

    def run(
        self,
        splits: Splits,
        seed: int,
        callbacks: Sequence[Callback] = (),
        folder: Path | None = None,
    ) -> Run:
        """Train once; see ``measure``."""
        training, recipe = self._training(splits), replace(self.recipe, seed=seed)
        # ``validation`` is what fit measures between epochs and never learns from.
        validation = getattr(splits, self.watched) if self.every_epoch else None
        if folder is None:
            run = fit(self.network, training, validation, recipe, callbacks=callbacks)
        else:
            run = train(
                self.network, training, validation, recipe, folder, source=self.name,
                resume=(folder / CONFIG).exists(), callbacks=callbacks,
            )  # fmt: skip
        if run.stopped == "interrupted":
            raise KeyboardInterrupt
        return run

    def _training(self, splits: Splits) -> Dataset:
        training = splits.train if self.training is None else splits.train.take(self.training)
        return shifted_copies(training) if self.shifted else training

    def _on_training(self, model: Model, training: Dataset) -> Measured:
        result = evaluate(model, training, self.recipe.cost)
        l2 = self.recipe.l2 if self.printed_l2 is None else self.printed_l2
        cost = result.cost + l2 / 2 * _sum_of_squared_weights(model)
        return {"train_accuracy": _percent(result.accuracy), "train_cost": round(cost, 6)}


@dataclass(frozen=True)
class Baseline:
    """A published accuracy of something that is no network and takes no chance.

    Args:
        accuracy: works it out, as a share of 1.
        method: what ``accuracy`` does, to the last setting: a stored result is of this method.

    The others are those of ``Experiment``.
    """

    name: str
    title: str
    source: str
    claimed: float
    accuracy: Callable[[Splits], float]
    method: str
    watched: Literal["test", "validation"] = "test"
    claimed_detail: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    opt_in: bool = False

    @property
    def protocol(self) -> str:
        """How the reported accuracy is measured, in a sentence."""
        return f"Measured once, on the {self.watched} set."

    @property
    def measures(self) -> str:
        """The same in a few words, for a table."""
        return self.watched

    def setup(self) -> dict[str, Any]:
        """Return all that decides the outcome but the data, as plain data."""
        return {"method": self.method, "watched": self.watched}

    def seeds(self, count: int) -> list[int]:
        """Return a single seed, which nobody reads."""
        return [0]

    def measure(
        self,
        splits: Splits,
        seed: int,
        callbacks: Sequence[Callback] = (),
        folder: Path | None = None,
    ) -> Measured:
        """Work it out; keys: seed, accuracy, seconds."""
        before = time.monotonic()
        accuracy = _percent(self.accuracy(splits))
        seconds = round(time.monotonic() - before, 2)
        return {"seed": seed, "accuracy": accuracy, "seconds": seconds}


@dataclass(frozen=True)
class Vote:
    """A published accuracy of several networks of one experiment that vote.

    It trains nothing: the answers of its members stand in their results, which may have been
    measured one after another, on different days or machines.

    Args:
        of: the experiment whose runs vote; it reports the "test" set.
        members: how many, of the seeds 0, 1, ...

    The others are those of ``Experiment``.
    """

    name: str
    title: str
    source: str
    claimed: float
    of: Experiment
    members: int = 5
    claimed_detail: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    opt_in: bool = False

    @property
    def protocol(self) -> str:
        """How the reported accuracy is measured, in a sentence."""
        return (
            "Each member is as chosen on the validation set; their answers on the test set, which "
            "each was asked for once, are counted. A tie is an error."
        )

    @property
    def measures(self) -> str:
        """The same in a few words, for a table."""
        return f"test, vote of {self.members}"

    def setup(self) -> dict[str, Any]:
        """Return all that decides the outcome but the data, as plain data."""
        return {"members": self.members, "of": self.of.setup()}

    def count(self, measured: Sequence[Measured]) -> Measured:
        """Return what the members reach together, from what was measured of each.

        An image is recognised if more members name its digit than name any single other one.
        Keys: seed (of the first member), accuracy, members (the accuracy of each), unanimous (the
        share of images that all members recognise), seconds (of training, all together).
        """
        members = sorted(measured, key=lambda each: each["seed"])[: self.members]
        missed = {image for each in members for image in each["wrong"]}
        errors = sum(self._is_missed(image, members) for image in missed)
        asked = members[0]["asked"]
        return {
            "seed": members[0]["seed"],
            "accuracy": _percent(1 - errors / asked),
            "members": [each["accuracy"] for each in members],
            "unanimous": _percent(1 - len(missed) / asked),
            "seconds": round(sum(each["seconds"] for each in members), 2),
        }

    @staticmethod
    def _is_missed(image: str, members: Sequence[Measured]) -> bool:
        wrong = Counter(each["wrong"][image] for each in members if image in each["wrong"])
        right = len(members) - wrong.total()
        return right <= max(wrong.values())


Either = Experiment | Baseline | Vote


def run_folder(home: Path, experiment: Experiment | Baseline, seed: int) -> Path:
    """Return the folder in ``home`` of a run: another setup never goes on from it."""
    setup = hashlib.sha256(json.dumps(experiment.setup(), sort_keys=True).encode()).hexdigest()
    return home / f"{experiment.name}-{setup[:8]}-seed{seed}"


@dataclass(frozen=True)
class Study:
    """The experiments of one source, in its order, on one set of data."""

    name: str
    citation: str
    experiments: tuple[Either, ...]
    data: str = "mnist"


def _epochs(run: Run) -> Measured:
    """Return first, best and final accuracy over the epochs of ``run``; the first best counts."""
    accuracies = [_percent(record["validation_accuracy"]) for record in run.history]
    best = max(accuracies)
    return {
        "first": accuracies[0],
        "best": best,
        "best_epoch": accuracies.index(best) + 1,
        "final": accuracies[-1],
    }


def _answers(model: Model, test: Dataset) -> Measured:
    """Return the accuracy on ``test`` and every wrong answer; keys are text, as JSON has them."""
    answers = model.predict(test.x)
    wrong = {str(image): int(answers[image]) for image in np.flatnonzero(answers != test.y)}
    return {"accuracy": _percent(1 - len(wrong) / len(test)), "asked": len(test), "wrong": wrong}


def _percent(share: float) -> float:
    return round(100 * share, 4)


def _sum_of_squared_weights(model: Model) -> float:
    weights = [a for layer in model.params for name, a in layer.items() if is_weight(name)]
    return float(sum(np.square(w, dtype=np.float64).sum() for w in weights))
