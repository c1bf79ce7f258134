"""Training a committee: a run and a folder for each member, several of them side by side.

JAX lets go of Python's lock while a compiled call runs, so on a CPU threads keep as many cores
busy as there are members under way. An accelerator works on one program at a time: there the
members that differ in nothing but their seeds learn in one, mapped over them
(``learning/together.py``). ``train`` does the training; nothing that a member learns depends on
the others.
"""

import json
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltarule.choices import choose
from deltarule.committee import COMBINE, ORIGINAL, Committee
from deltarule.committee_members import (
    Member,
    Numbered,
    check_together,
    in_one_program,
    wanted_members,
)
from deltarule.data import Dataset
from deltarule.data.views import viewed
from deltarule.errors import CheckpointError
from deltarule.files import load_model, save_model
from deltarule.learning import Callback, Recipe, Run
from deltarule.learning.together import Meeting, provided_once, seated
from deltarule.network import Model, Network, kernels
from deltarule.runs import CONFIG, DATA, ENVIRONMENT, MODEL, RunFolder
from deltarule.storage import printable
from deltarule.training import environment, train

Callbacks = Sequence[Callback] | Callable[[int], Sequence[Callback]]


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
    mapped: bool | None = None,
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
        jobs: how many members to train at a time; by default all where they are ``mapped``, else
            as many as there are cores on a CPU, and one after another elsewhere.
        mapped: whether members that differ in nothing but their seeds learn in one program,
            mapped over them; by default on an accelerator, and not on a CPU, where it is slower.
            Members that cannot learn so are trained one after another.

    A kill costs the work since the last checkpoint of each member under way, and no more. Each
    member equals, bit for bit, what ``train`` makes of the same network, data and recipe; where
    members are mapped, up to rounding, which ``jobs`` may change too.
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
    wanted = wanted_members(networks, recipes, views, members)
    choose("combine", combine, dict.fromkeys(COMBINE))
    check_together(wanted, training, combine)
    mapped = _usually_mapped() if mapped is None else mapped
    jobs = _jobs(jobs, members, mapped)
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
        runs = team.train(wanted, jobs, mapped)
        home.write_json(CONFIG, asked)  # of a resumed one only now: the members have accepted it
        home.write_json(ENVIRONMENT, environment())
        committee = None
        if len(runs) == members and all(run.finished for run in runs):
            # what is kept of each, with where it comes from
            models = tuple(_stored(run.folder / MODEL) for run in runs)
            committee = Committee(models, each_view, combine, training.shape)
            save_model(committee, home.path / MODEL)
    return CommitteeRun(committee, runs, None if committee else team.stopped)


def side_by_side(members: int, jobs: int | None = None, mapped: bool | None = None) -> str:
    """Return in words how many of so many members would be trained at a time, and why.

    >>> side_by_side(3, jobs=2, mapped=False)
    '3 members, 2 at a time: a thread each, which share the cores'
    >>> side_by_side(3, mapped=True)
    '3 members, 3 at a time: one program mapped over those that differ in their seeds alone'
    """
    mapped = _usually_mapped() if mapped is None else mapped
    at_once = _jobs(jobs, members, mapped)
    how = (
        "one program mapped over those that differ in their seeds alone" if mapped
        else "a thread each, which share the cores"
    )  # fmt: skip
    if at_once > 1:
        return f"{members} members, {at_once} at a time: {how}"
    return f"{members} members, one after another" if members > 1 else "1 member"


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

    def train(self, members: Sequence[Member], jobs: int, mapped: bool) -> tuple[MemberRun, ...]:
        """Train ``jobs`` members at a time; return the runs that were begun."""
        numbered = list(enumerate(members, 1))
        groups = (
            in_one_program(numbered, jobs, self.training, self.validation) if mapped
            else [numbered]
        )  # fmt: skip
        runs: list[MemberRun] = []
        for group in groups:
            runs += self._train_group(group, len(group) if mapped else jobs, mapped)
        return tuple(sorted(runs, key=lambda run: run.number))

    def _train_group(self, group: Sequence[Numbered], jobs: int, mapped: bool) -> list[MemberRun]:
        meeting = Meeting(len(group))
        with ThreadPoolExecutor(jobs) as pool:
            futures = []
            try:
                for seat, (number, member) in enumerate(group):
                    place = seated(meeting, seat) if mapped and len(group) > 1 else nullcontext()
                    futures.append(pool.submit(self._run, number, member, place))
                wait(futures)
            except KeyboardInterrupt:
                self.stop("interrupted")
                warnings.warn("Training interrupted by user.", stacklevel=4)
                wait(futures)
        return [run for future in futures if (run := future.result()) is not None]

    def stop(self, reason: str) -> None:
        """End every run after its call under way."""
        self.stopped = self.stopped or reason

    def _run(
        self, number: int, member: Member, place: AbstractContextManager[None]
    ) -> MemberRun | None:
        with place:  # to be left in any case: the others wait for it
            if self.stopped:
                return None
            try:
                return self._trained(number, member)
            except BaseException as error:
                error.add_note(f"(while training member {number} of the committee)")
                self.stop(f"member {number} failed")
                raise

    def _trained(self, number: int, member: Member) -> MemberRun:
        folder = self.folder / f"member-{number}"
        given = self.callbacks(number) if callable(self.callbacks) else self.callbacks
        link = _Link(self, given)
        run = train(
            member.network, self._shown(self.training, member.view),
            self.validation and self._shown(self.validation, member.view), member.recipe, folder,
            resume=self.resume and (folder / CONFIG).exists(), callbacks=[link], **self.keep,
        )  # fmt: skip
        finished = run.state.epoch == member.recipe.epochs or not link.interrupted
        return MemberRun(number, folder, run.history, run.stopped, run.resumed_at, finished)

    def _shown(self, data: Dataset, name: str) -> Dataset:
        return provided_once("view", data, lambda: viewed(data, name))


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


def _usually_mapped() -> bool:
    return kernels.current_backend() != "cpu"


def _jobs(jobs: int | None, members: int, mapped: bool) -> int:
    if jobs is None:
        # An accelerator works on one program at a time: threads would only take turns on it.
        threads = os.cpu_count() or 1 if kernels.current_backend() == "cpu" else 1
        jobs = members if mapped else threads
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
