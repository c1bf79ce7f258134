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
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from deltarule.interrupt import CtrlC
from deltarule.learning import Callback, Recipe, Run
from deltarule.learning.together import Alone, Meeting, Seat, seated
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
        jobs: how many members to train at a time; by default as many as there are cores on a CPU,
            and one after another elsewhere; where they are ``mapped``, as many as memory should
            hold, but at most 32.
        mapped: whether members that differ in nothing but their seeds learn in one program,
            mapped over them; by default on an accelerator, and not on a CPU, where it is slower.
            Those that cannot learn so are trained as if it were False.

    A kill costs the work since the last checkpoint of each member under way, and no more. Each
    member equals, bit for bit, what ``train`` makes of the same network, data and recipe; where
    members are mapped, up to rounding, which another number of them in one program changes too.
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
    validation = validation if validation else None  # an empty one is none
    groups = _groups(wanted, training, validation, jobs, mapped)
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
        runs = team.train(groups)
        home.write_json(CONFIG, asked)  # of a resumed one only now: the members have accepted it
        home.write_json(ENVIRONMENT, environment())
        committee = None
        if len(runs) == members and all(run.finished for run in runs):
            # what is kept of each, with where it comes from
            models = tuple(_stored(run.folder / MODEL) for run in runs)
            committee = Committee(models, each_view, combine, training.shape)
            save_model(committee, home.path / MODEL)
    return CommitteeRun(committee, runs, None if committee else team.stopped)


class _Group(NamedTuple):
    """Members that are trained ``at_once`` at a time, or in one program."""

    members: Sequence[Numbered]
    at_once: int
    mapped: bool

    def describe(self) -> str:
        """Say so in words."""
        if self.mapped:
            numbers = ", ".join(str(number) for number, _ in self.members)
            return f"{numbers} in one program, mapped over them"
        if self.at_once > 1:
            return f"{self.at_once} at a time: a thread each, which share the cores"
        return "one after another"


def side_by_side(
    networks: Network | Sequence[Network],
    training: Dataset,
    validation: Dataset | None,
    recipes: Recipe | Sequence[Recipe],
    *,
    members: int,
    views: str | Sequence[str] = ORIGINAL,
    jobs: int | None = None,
    mapped: bool | None = None,
) -> str:
    """Return in words how the members would be trained that ``train_committee`` is asked for.

    >>> xor = Dataset([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0])
    >>> asked = Network([2, 8, 2]), xor, None, Recipe()
    >>> side_by_side(*asked, members=3, jobs=2, mapped=False)
    '3 members, 2 at a time: a thread each, which share the cores'
    >>> side_by_side(*asked, members=3, mapped=True)
    '3 members, 1, 2, 3 in one program, mapped over them'
    """
    wanted = wanted_members(networks, recipes, views, members)
    if members == 1:
        return "1 member"
    groups = _groups(wanted, training, validation if validation else None, jobs, mapped)
    return f"{members} members, {'; '.join(group.describe() for group in groups)}"


def _groups(
    members: Sequence[Member],
    training: Dataset,
    validation: Dataset | None,
    jobs: int | None,
    mapped: bool | None,
) -> list[_Group]:
    """Return who is trained with whom; the groups come one after another."""
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    on_cpu = kernels.current_backend() == "cpu"
    alone, groups = list(enumerate(members, 1)), []
    if mapped or (mapped is None and not on_cpu):
        found = in_one_program(alone, jobs, training, validation)
        groups = [_Group(group, len(group), mapped=True) for group in found if len(group) > 1]
        alone = [group[0] for group in found if len(group) == 1]
    # An accelerator works on one program at a time: threads would only take turns on it.
    at_once = min(len(alone), jobs or (os.cpu_count() or 1 if on_cpu else 1))
    return [*groups, *([_Group(alone, at_once, mapped=False)] if alone else [])]


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

    def train(self, groups: Sequence[_Group]) -> tuple[MemberRun, ...]:
        """Train one group after another; return the runs that were begun."""
        runs = [run for group in groups for run in self._train_group(group)]
        return tuple(sorted(runs, key=lambda run: run.number))

    def _train_group(self, group: _Group) -> list[MemberRun]:
        meeting = Meeting(len(group.members))
        links = [_Link(self, self._given(number)) for number, _ in group.members]
        if group.mapped:  # or their calls would not be alike
            every_epoch = any(link.every_epoch for link in links)
            for link in links:
                link.every_epoch = every_epoch
        futures: list[Future[MemberRun | None]] = []
        ctrl_c = CtrlC(lambda: self.stop("interrupted"))
        with ThreadPoolExecutor(group.at_once) as pool, ctrl_c:
            try:
                for seat, (numbered, link) in enumerate(zip(group.members, links, strict=True)):
                    place = seated(Seat(meeting, seat)) if group.mapped else nullcontext(Alone())
                    futures.append(pool.submit(self._run, *numbered, link, place))
                wait(futures)
            except BaseException:  # the pool waits for all that it has begun
                self.stop("not all members could be trained")
                raise
            finally:
                for seat in range(len(futures), len(group.members)):
                    meeting.leave(seat)  # the others would wait for whom nobody starts
        if ctrl_c.pressed:
            warnings.warn("Training interrupted by user.", stacklevel=5)
        return [run for future in futures if (run := future.result()) is not None]

    def _given(self, number: int) -> Sequence[Callback]:
        return self.callbacks(number) if callable(self.callbacks) else self.callbacks

    def stop(self, reason: str) -> None:
        """End every run after its call under way."""
        self.stopped = self.stopped or reason

    def _run(
        self,
        number: int,
        member: Member,
        link: "_Link",
        place: AbstractContextManager[Seat | Alone],
    ) -> MemberRun | None:
        with place as here:  # to be left in any case: the others wait for it
            if self.stopped:
                return None
            try:
                return self._trained(number, member, link, here)
            except BaseException as error:
                error.add_note(f"(while training member {number} of the committee)")
                self.stop(f"member {number} failed")
                raise

    def _trained(self, number: int, member: Member, link: "_Link", here: Seat | Alone) -> MemberRun:
        def shown(data: Dataset) -> Dataset:
            return here.provided("view", data, lambda: viewed(data, member.view))

        folder = self.folder / f"member-{number}"
        run = train(
            member.network, shown(self.training), self.validation and shown(self.validation),
            member.recipe, folder,
            resume=self.resume and (folder / CONFIG).exists(), callbacks=[link], **self.keep,
        )  # fmt: skip
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
