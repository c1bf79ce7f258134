"""The search: what is asked for, checked before the first trial, and the record of it."""

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax

from deltarule.choices import choose
from deltarule.data import Dataset
from deltarule.errors import CheckpointError
from deltarule.learning import Callback, Recipe
from deltarule.learning.setup import check_data
from deltarule.network import Network
from deltarule.runs import CONFIG, ENVIRONMENT, RunFolder
from deltarule.storage import printable
from deltarule.training import environment
from deltarule.tuning.space import (
    OF_NETWORK,
    Choices,
    Space,
    configurations,
    describe,
    layers_of,
    usual_space,
)
from deltarule.tuning.team import Candidate, Team, Tuning, Watcher
from deltarule.tuning.trials import METRICS, SEARCHES, stages

_SAME_FOR_ALL = ("epochs", "seed", "cost", "schedule", "early_stopping", "monitor", "precision")
_FIELDS = [field.name for field in fields(Recipe)]
_CHOSEN = [*OF_NETWORK, *(name for name in _FIELDS if name not in _SAME_FOR_ALL)]
_OF_ALL_EPOCHS = ("cosine", "one_cycle")

Builder = Callable[[Mapping[str, Any]], Network]
Planner = Callable[[list[tuple[int, int]]], None]


def tune(
    training: Dataset,
    validation: Dataset,
    folder: Path | str,
    *,
    network: Builder | None = None,
    space: Space | None = None,
    recipe: Recipe | None = None,
    search: str = "halving",
    trials: int = 27,
    epochs: int = 27,
    metric: str = "validation_accuracy",
    jobs: int | None = None,
    source: str = "data",
    options: Mapping[str, Any] | None = None,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    plan: Planner = lambda stages: None,
    watch: Watcher = lambda trial: None,
) -> Tuning:
    """Try hyper-parameters, and train a network with the best on all of the data.

    Args:
        training, validation: what trials learn from, and what they are compared on.
        folder: gets a run folder for each trial, and ``best``, that of the network at the end.
        network: returns the network for the hyper-parameters of a trial; by default dense layers
            of "hidden" units with "dropout", ending in softmax.
        space: a ``Range`` or ``Choices`` for "hidden", "dropout" and fields of ``Recipe``; by
            default ``usual_space``. What ``network`` is to be given may have other names.
        recipe: all that is not searched, and the seed, which is the same for every trial.
        search: "halving" (``stages``) or "random".
        trials: how many to draw; fewer run if the space has fewer.
        epochs: of the longest trials. Each is judged by its best epoch, and the best trial's is
            how long the last network is trained.
        metric: "validation_accuracy" or "validation_cost".
        jobs: how many trials to run at a time; by default as many as there are cores on a CPU,
            and one elsewhere.
        source, options: for the record.
        resume: go on with the search in ``folder``, to the outcome it would have had.
        callbacks: told of every run, one thing at a time but in any thread; if one of them stops
            its run, the search stops, with a checkpoint of each run under way.
        plan: called once, before the first trial, with how many run to which epoch, by stages.
        watch: called with a trial when it moves on, in the same way.

    Raises:
        ValueError: the arguments contradict each other, or ``folder`` holds a search already.
        CheckpointError: there is no search to resume, or it was another one.
        DivergedError: all trials diverged. One that does is a result like any other.
        RunBusyError, OSError: as for ``train``.

    >>> import tempfile
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 2))
    >>> data = Dataset(x, (x[:, 0] > 0).astype(int))
    >>> space = {"hidden": Choices(("4",)), "learning_rate": Choices((1e-6, 1.0))}
    >>> with tempfile.TemporaryDirectory() as home:
    ...     tuning = tune(data[:40], data[40:], home, space=space, epochs=5, jobs=1)
    >>> tuning.best.values["learning_rate"], len(tuning.run.train)
    (1.0, 60)
    """
    recipe, jobs = recipe or Recipe(), _jobs(jobs)
    _check(training, validation, recipe, search, trials, epochs, metric)
    space = dict(usual_space(recipe, len(training)) if space is None else space)
    _check_space(space, len(training), known=network is None)
    build = network or _dense(training)
    candidates = [
        _candidate(number, values, build, recipe)
        for number, values in enumerate(configurations(space, recipe.seed, trials), 1)
    ]
    for candidate in candidates:
        check_data(candidate.network, training, validation, candidate.recipe)
    facts = {
        "space": describe(space), "search": search, "trials": trials, "epochs": epochs,
        "metric": metric, "recipe": recipe.describe(),
        "training_data": training.fingerprint(), "validation_data": validation.fingerprint(),
    }  # fmt: skip
    keep = {"source": source, "options": dict(options or {})}
    with RunFolder(Path(folder)) as home:
        _open(home, {**keep, "tuning": facts}, resume)
        team = Team(home, training, validation, metric, keep, callbacks, watch, jobs)
        going = stages(search, len(candidates), epochs)
        plan(going)
        return team.search(candidates, going)


def _dense(training: Dataset) -> Builder:
    """Return what builds a dense network for ``training`` from "hidden" and "dropout"."""
    inputs, outputs = training.x[0].size, len(training.classes) or training.y.shape[-1]
    last = "softmax" if training.classes else "identity"

    def build(values: Mapping[str, Any]) -> Network:
        sizes = [inputs, *layers_of(values.get("hidden", "30")), outputs]
        return Network(sizes, output=last, dropout=values.get("dropout", 0.0))

    return build


def _candidate(number: int, values: dict[str, Any], build: Builder, recipe: Recipe) -> Candidate:
    of_recipe = {name: value for name, value in values.items() if name in _FIELDS}
    return Candidate(number, values, build(values), replace(recipe, **of_recipe))


def _check(
    training: Dataset,
    validation: Dataset,
    recipe: Recipe,
    search: str,
    trials: int,
    epochs: int,
    metric: str,
) -> None:
    choose("search", search, dict.fromkeys(SEARCHES))
    choose("metric", metric, dict.fromkeys(METRICS))
    for name, number in (("trials", trials), ("epochs", epochs)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {number!r}.")
    if not len(validation):
        raise ValueError(
            "trials are compared on validation data, got none; hold some of the training data out."
        )
    if metric == "validation_accuracy" and not training.classes:
        raise ValueError("metric validation_accuracy needs classes; choose validation_cost.")
    if recipe.early_stopping is not None:
        raise ValueError(
            "early_stopping would end a trial before it is compared, and the best epoch of each is "
            "found anyway; leave it out."
        )
    if recipe.schedule in _OF_ALL_EPOCHS:
        raise ValueError(
            f"schedule {recipe.schedule} depends on the number of epochs, so a trial could not go "
            "on with more; choose constant, step, exponential or inverse."
        )


def _check_space(space: Space, examples: int, *, known: bool) -> None:
    """Refuse what a search cannot choose, and batches that cannot be filled."""
    for name in space:
        if name in _SAME_FOR_ALL:
            raise ValueError(f"space must not hold {name}, which is the same for all trials.")
        if known:
            choose("a name in space", name, dict.fromkeys(_CHOSEN))
    sizes = space.get("batch_size")
    if isinstance(sizes, Choices) and max(sizes.values) > examples:
        raise ValueError(
            f"batch_size must be at most the {examples} training examples, got "
            f"{max(sizes.values)}; choose smaller ones."
        )


def _open(home: RunFolder, asked: dict[str, Any], resume: bool) -> None:
    """Write down what is asked for, or compare it with what was."""
    path = home.path / CONFIG
    if not resume:
        if path.exists():
            raise ValueError(
                f"{printable(home.path)} holds a run or a search already; resume it, or choose "
                "another folder."
            )
        home.write_json(ENVIRONMENT, environment())
        home.write_json(CONFIG, asked)
        return
    try:
        stored = json.loads(path.read_text())["tuning"]
        before = json.loads((home.path / ENVIRONMENT).read_text())
        now = json.loads(json.dumps(asked["tuning"]))
        different = [name for name in now if stored[name] != now[name]]
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{printable(home.path)} holds no search to resume; start it without resume."
        ) from None
    if different:
        name = different[0]
        raise CheckpointError(
            f"the search in {printable(home.path)} was another one ({name}: it was "
            f"{stored[name]!r}, now {now[name]!r}); resume it as it was, or choose another folder."
        )
    here = environment()
    if changed := [name for name in here if before.get(name, here[name]) != here[name]]:
        warnings.warn(
            f"the trials so far ran with another {', '.join(changed)}; the outcome may differ from "
            "that of an uninterrupted search.",
            stacklevel=3,
        )


def _jobs(jobs: int | None) -> int:
    if jobs is None:
        # An accelerator works on one program at a time: threads would only take turns on it.
        return os.cpu_count() or 1 if jax.default_backend() == "cpu" else 1
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    return jobs
