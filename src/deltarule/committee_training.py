"""Training a committee: a run and a folder for each member, several of them side by side.

JAX lets go of Python's lock while a compiled call runs, so on a CPU threads keep as many cores
busy as there are members under way. ``train`` does the training; nothing that a member learns
depends on the others.
"""

import json
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import jax

from deltarule.choices import choose
from deltarule.committee import COMBINE, MOST_MEMBERS, ORIGINAL, Committee
from deltarule.data import Dataset
from deltarule.data.views import view, viewed
from deltarule.errors import CheckpointError
from deltarule.files import load_model, save_model
from deltarule.learning import Callback, Recipe, Run
from deltarule.learning.setup import check_data
from deltarule.network import Model, Network
from deltarule.runs import CONFIG, DATA, ENVIRONMENT, MODEL, RunFolder
from deltarule.storage import printable
from deltarule.training import environment, train

Callbacks = Sequence[Callback] | Callable[[int], Sequence[Callback]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class MemberRun:
    """What became of one member's run.

    Args:
        number: 1 for the first member.
        folder: of the run.
        history: a record for each epoch.
        stopped: why the run ended before its last epoch, or None.
        resumed_at: how many epochs were done when it began.
        finished: False if it was interrupted, and a resumed run would go on with it.
    """

    number: int
    folder: Path
    history: list[dict[str, Any]]
    stopped: str | None
    resumed_at: int
    finished: bool


@dataclass(frozen=True, eq=False)
class CommitteeRun:
    """What ``train_committee`` returns.

    Args:
        committee: the trained committee; None if training was stopped before all members were
            trained.
        members: the runs that were begun, in the order of the members.
        stopped: why training was stopped, or None.
    """

    committee: Committee | None
    members: tuple[MemberRun, ...]
    stopped: str | None


def train_committee(
    networks: Network | Sequence[Network],
    training: Dataset,
    validation: Dataset | None,
    recipes: Recipe | Sequence[Recipe],
    folder: Path | str,
    *,
    members: int = 5,
    views: str | Sequence[str] = ORIGINAL,
    combine: str = COMBINE[0],
    source: str = "data",
    options: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    every_epochs: int | None = None,
    every_seconds: float = 30.0,
    callbacks: Callbacks = (),
    jobs: int | None = None,
) -> CommitteeRun:
    """Train a committee and keep it in ``folder``: every member a run in ``folder/member-1`` ...

    Args:
        networks, recipes, views: one for all members, or one a member. Of one recipe the members
            take the seeds ``seed``, ``seed + 1``, ...; several recipes are taken as they are.
        training, validation, source, options, record, every_epochs, every_seconds: as for
            ``train``; each member sees its view of the data.
        folder: gets the committee, in one file, when all its members are trained.
        members: how many.
        combine: as for ``Committee``.
        resume: go on with the members that are not finished, each from its newest checkpoint; bit
            for bit the uninterrupted training. Members that are finished stay as they are.
        force: as for ``train``, of each member.
        callbacks: told of every member's run, one thing at a time but in any thread; or a function
            that returns those of member 1, 2, ... If one of them stops its run, all runs stop
            after the call under way, with a checkpoint each.
        jobs: how many members to train at a time; by default as many as there are cores on a CPU,
            and one after another elsewhere.

    A kill costs the work since the last checkpoint of each member under way, and no more. Each
    member equals, bit for bit, what ``train`` makes of the same network, data and recipe.
    Ctrl-C stops all members after the call under way, with a warning.

    Raises what ``train`` raises, when one member does; the others are stopped, with a checkpoint.
    ``CheckpointError`` also if the committee to resume is another one; ``ValueError`` if the
    networks, recipes and views do not make ``members`` different members.

    >>> import tempfile
    >>> xor = Dataset([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    >>> network = Network([2, 8, 2], activation="tanh", output="softmax")
    >>> recipe = Recipe(epochs=200, learning_rate=0.5, batch_size=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = train_committee(network, xor, None, recipe, folder, members=3)
    >>> run.committee.predict(xor.x).tolist()
    [0, 1, 1, 0]
    """
    wanted = _wanted(networks, recipes, views, members)
    choose("combine", combine, dict.fromkeys(COMBINE))
    _check_together(wanted, training, combine)
    jobs = _jobs(jobs, members)
    each_view = tuple(member.view for member in wanted)
    facts = {"members": members, "views": list(each_view), "combine": combine}
    keep = {
        "source": source, "options": options, "force": force,
        "every_epochs": every_epochs, "every_seconds": every_seconds,
    }  # fmt: skip
    with RunFolder(Path(folder)) as home:
        if resume:
            _check_same(home, facts)
        asked = {"source": source, "options": dict(options or {}), "committee": facts}
        if not resume:
            home.write_json(CONFIG, asked)
        if record is not None and not resume:
            home.write_json(DATA, record)
        team = _Team(home.path, training, validation, callbacks, resume, keep)
        runs = team.train(wanted, jobs)
        home.write_json(CONFIG, asked)  # of a resumed one only now: the members have accepted it
        home.write_json(ENVIRONMENT, environment())
        committee = None
        if len(runs) == members and all(run.finished for run in runs):
            # what is kept of each, with where it comes from
            models = tuple(_stored(run.folder / MODEL) for run in runs)
            committee = Committee(models, each_view, combine, training.shape)
            save_model(committee, home.path / MODEL)
    return CommitteeRun(committee, runs, None if committee else team.stopped)


def side_by_side(members: int, jobs: int | None = None) -> str:
    """Return in words how many of so many members would be trained at a time, and why.

    >>> side_by_side(3, jobs=2)
    '3 members, 2 at a time: a thread each, which share the cores'
    """
    at_once = _jobs(jobs, members)
    if at_once > 1:
        return f"{members} members, {at_once} at a time: a thread each, which share the cores"
    return f"{members} members, one after another" if members > 1 else "1 member"


@dataclass(frozen=True)
class _Member:
    """What one member is to become."""

    network: Network
    recipe: Recipe
    view: str


class _Team:
    """The members' runs while they go on."""

    def __init__(
        self,
        folder: Path,
        training: Dataset,
        validation: Dataset | None,
        callbacks: Callbacks,
        resume: bool,
        keep: dict[str, Any],
    ) -> None:
        self.folder, self.resume, self.keep = folder, resume, keep
        self.training, self.validation = training, validation
        self.callbacks = callbacks
        self.lock = threading.Lock()
        self.stopped: str | None = None

    def train(self, members: Sequence[_Member], jobs: int) -> tuple[MemberRun, ...]:
        """Train ``jobs`` members at a time; return the runs that were begun."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = []
            try:
                for number, member in enumerate(members, 1):
                    futures.append(pool.submit(self._run, number, member))
                wait(futures)
            except KeyboardInterrupt:
                self.stop("interrupted")
                warnings.warn("Training interrupted by user.", stacklevel=3)
                wait(futures)
        return tuple(run for future in futures if (run := future.result()) is not None)

    def stop(self, reason: str) -> None:
        """End every run after its call under way."""
        self.stopped = self.stopped or reason

    def _run(self, number: int, member: _Member) -> MemberRun | None:
        if self.stopped:
            return None
        try:
            folder = self.folder / f"member-{number}"
            given = self.callbacks(number) if callable(self.callbacks) else self.callbacks
            link = _Link(self, given)
            training = viewed(self.training, member.view)
            validation = viewed(self.validation, member.view) if self.validation else None
            run = train(
                member.network, training, validation, member.recipe, folder,
                resume=self.resume and (folder / CONFIG).exists(), callbacks=[link], **self.keep,
            )  # fmt: skip
        except BaseException as error:
            error.add_note(f"(while training member {number} of the committee)")
            self.stop(f"member {number} failed")
            raise
        finished = run.state.epoch == member.recipe.epochs or not link.interrupted
        return MemberRun(number, folder, run.history, run.stopped, run.resumed_at, finished)


class _Link(Callback):
    """Passes news of one run on to the callbacks, and a wish to stop to and from the others."""

    def __init__(self, team: _Team, callbacks: Sequence[Callback]) -> None:
        self.team, self.callbacks = team, callbacks
        self.every_epoch = any(callback.every_epoch for callback in callbacks)
        self.interrupted = False

    def started(self, run: Run) -> None:
        self._pass_on("started", run)

    def advanced(self, run: Run) -> None:
        self._pass_on("advanced", run)

    def epoch_ended(self, run: Run) -> None:
        self._pass_on("epoch_ended", run)

    def ended(self, run: Run) -> None:
        self._pass_on("ended", run)

    def _pass_on(self, event: str, run: Run) -> None:
        before = run.stopped  # of its own accord: it found its best epoch
        with self.team.lock:
            for callback in self.callbacks:
                getattr(callback, event)(run)
        if run.stopped and not before:
            self.team.stop(run.stopped)
        elif self.team.stopped:
            run.stop(self.team.stopped)
        self.interrupted = self.interrupted or (run.stopped is not None and not before)


def _wanted(
    networks: Network | Sequence[Network],
    recipes: Recipe | Sequence[Recipe],
    views: str | Sequence[str],
    members: int,
) -> list[_Member]:
    """Return what each member is to become."""
    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise ValueError(f"members must be a whole number of at least 1, got {members!r}.")
    if members > MOST_MEMBERS:
        raise ValueError(f"members must be at most {MOST_MEMBERS:,}, got {members:,}.")
    each_recipe = _each("recipes", recipes, Recipe, members)
    if isinstance(recipes, Recipe):
        each_recipe = [replace(recipes, seed=recipes.seed + i) for i in range(members)]
    each_network = _each("networks", networks, Network, members)
    wanted = list(map(_Member, each_network, each_recipe, _each("views", views, str, members)))
    for position, member in enumerate(wanted):
        view(member.view)
        if member in wanted[:position]:
            raise ValueError(
                f"members {wanted.index(member) + 1} and {position + 1} have the same network, "
                "recipe and view, so they would be equal; give their recipes different seeds."
            )
    return wanted


def _check_together(wanted: Sequence[_Member], training: Dataset, combine: str) -> None:
    """Refuse, before any of them is trained, members that could not be or answer together."""
    if combine == "vote" and not training.classes:
        raise ValueError("combine 'vote' needs classes; choose 'mean' for regression.")
    for member in dict.fromkeys(wanted):
        shown = viewed(training[:1], member.view)
        check_data(member.network, shown, None, member.recipe)
        ours, first = member.network.output, wanted[0].network.output
        if ours != first:
            raise ValueError(
                f"members must all have the same output activation; the first has {first!r}, "
                f"another {ours!r}: end their networks alike."
            )


def _each(name: str, value: T | Sequence[T], kind: type[T], members: int) -> list[T]:
    if isinstance(value, kind):
        return [value] * members
    found: list[T] = list(value)  # type: ignore[arg-type]
    if len(found) != members:
        raise ValueError(
            f"{name} must be one for all members or one each for {members}, got {len(found)}; "
            f"pass members={len(found)}, or as many {name} as members."
        )
    return found


def _jobs(jobs: int | None, members: int) -> int:
    if jobs is None:
        # An accelerator works on one program at a time: threads would only take turns on it.
        jobs = os.cpu_count() or 1 if jax.default_backend() == "cpu" else 1
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    return min(jobs, members)


def _check_same(home: RunFolder, facts: dict[str, Any]) -> None:
    """Refuse to resume another committee; each member's run is compared by ``train``."""
    try:
        stored = json.loads((home.path / CONFIG).read_text())["committee"]
        different = [name for name in facts if stored[name] != facts[name]]
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{printable(home.path)} holds no committee to resume; start it without resume."
        ) from None
    if different:
        listed = "; ".join(f"{n}: it was {stored[n]!r}, now {facts[n]!r}" for n in different)
        raise CheckpointError(
            f"the committee in {printable(home.path)} was another one ({listed}); resume it as it "
            "was, or choose another folder."
        )


def _stored(path: Path) -> Model:
    model = load_model(path)
    assert isinstance(model, Model)  # it was written as one
    return model
