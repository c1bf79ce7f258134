"""Running trials: each in a run folder, several side by side, nothing lost to a kill.

What a trial learns depends on its number and the seed, never on the others; which trials go on is
decided when a stage is over. So neither threads nor a kill can change the outcome.
"""

import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.data import Dataset
from deltarule.errors import DivergedError
from deltarule.interrupt import CtrlC
from deltarule.learning import Callback, Recipe, Run
from deltarule.network import Network
from deltarule.runs import CONFIG, RunFolder
from deltarule.training import train
from deltarule.tuning.trials import Trial, promoted, ranked

TRIALS = "trials.jsonl"  # a line for each trial and stage that is over
BEST = "best"

Watcher = Callable[[Trial], None]


@dataclass(frozen=True, eq=False)
class Tuning:
    """What ``tune`` returns.

    Args:
        folder: of the search.
        trials: where each stands, the best first.
        best: the first of them; None if the search was stopped before its end.
        run: of the best one's hyper-parameters on training and validation data together.
        stopped: why the search was stopped, or None.
    """

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial | None
    run: Run | None
    stopped: str | None


@dataclass(frozen=True)
class Candidate:
    """A trial that is to be: its hyper-parameters, as values and as what they make."""

    number: int
    values: dict[str, Any]
    network: Network
    recipe: Recipe


class Team:
    """The trials of a search while it goes on."""

    def __init__(
        self,
        home: RunFolder,
        training: Dataset,
        validation: Dataset,
        metric: str,
        keep: dict[str, Any],
        callbacks: Sequence[Callback],
        watch: Watcher,
        jobs: int,
    ) -> None:
        self.home, self.keep, self.metric, self.jobs = home, keep, metric, jobs
        self.training, self.validation = training, validation
        self.callbacks, self.watch = callbacks, watch
        self.lock = threading.Lock()
        self.stopped: str | None = None
        stored = (Trial(**record) for record in home.read_lines(TRIALS))
        self.over = {(trial.number, trial.of): trial for trial in stored}

    def search(self, candidates: Sequence[Candidate], stages: list[tuple[int, int]]) -> Tuning:
        """Run stage after stage, then train the best on all of the data."""
        standing: dict[int, Trial] = {}
        going = candidates
        for count, epochs in stages:
            if standing:
                best = {trial.number for trial in promoted(standing.values(), self.metric, count)}
                going = [each for each in going if each.number in best]
            standing |= {trial.number: trial for trial in self._stage(going, epochs)}
            if self.stopped:
                break
        trials = tuple(ranked(standing.values(), self.metric))
        if self.stopped:
            return Tuning(self.home.path, trials, None, None, self.stopped)
        if trials[0].best_epoch is None or trials[0].diverged is not None:
            raise DivergedError(
                f"all {len(trials)} trials diverged; search smaller learning rates, or scale the "
                f"inputs. Trial {trials[0].number}: {trials[0].diverged}"
            )
        run = self._retrain(candidates[trials[0].number - 1], trials[0])
        best_trial = None if self.stopped else trials[0]
        return Tuning(self.home.path, trials, best_trial, run, self.stopped)

    def stop(self, reason: str) -> None:
        """End every run after its call under way."""
        self.stopped = self.stopped or reason

    def _stage(self, candidates: Sequence[Candidate], epochs: int) -> list[Trial]:
        """Train the candidates up to ``epochs``; return those that got there."""
        ctrl_c = CtrlC(lambda: self.stop("interrupted"))
        with ThreadPoolExecutor(self.jobs) as pool, ctrl_c:
            try:
                futures = [pool.submit(self._trial, each, epochs) for each in _together(candidates)]
                wait(futures)
            except BaseException:  # the pool waits for all that it has begun
                self.stop("not all trials could be run")
                raise
        if ctrl_c.pressed:
            warnings.warn("The search was interrupted by user.", stacklevel=4)
        return [trial for future in futures if (trial := future.result()) is not None]

    def _trial(self, candidate: Candidate, epochs: int) -> Trial | None:
        """Train a candidate on, up to ``epochs``; None if it did not get there."""
        trial = self.over.get((candidate.number, epochs))
        if trial is None and not self.stopped:
            begun = Trial(candidate.number, candidate.values, of=epochs)
            trial = self._trained(begun, candidate, epochs)
            if trial is not None:
                with self.lock:
                    self.home.append_line(TRIALS, trial.describe())
        if trial is not None:
            with self.lock:
                self.watch(trial)
        return trial

    def _trained(self, begun: Trial, candidate: Candidate, epochs: int) -> Trial | None:
        link, diverged = _Link(self, begun), None
        folder = self.home.path / f"trial-{candidate.number:03d}"
        try:
            self._train(candidate, self.training, self.validation, epochs, folder, link)
        except DivergedError as error:
            diverged = str(error)
        except BaseException as error:
            error.add_note(f"(in trial {candidate.number})")
            self.stop(f"trial {candidate.number} failed")
            raise
        trial = begun.after(link.run.history, self.metric, diverged)
        return replace(trial, over=True) if trial.epochs == epochs or diverged else None

    def _retrain(self, candidate: Candidate, trial: Trial) -> Run:
        """Train the best on training and validation data, for as many epochs as were best."""
        assert trial.best_epoch is not None
        everything = replace(
            self.training,
            x=np.concatenate([self.training.x, self.validation.x]),
            y=np.concatenate([self.training.y, self.validation.y]),
        )
        link, folder = _Link(self, None), self.home.path / BEST
        return self._train(candidate, everything, None, trial.best_epoch, folder, link)

    def _train(
        self,
        candidate: Candidate,
        training: Dataset,
        validation: Dataset | None,
        epochs: int,
        folder: Path,
        link: "_Link",
    ) -> Run:
        # ``force``: the number of epochs is another one at each stage
        return train(
            candidate.network, training, validation, replace(candidate.recipe, epochs=epochs),
            folder, resume=(folder / CONFIG).exists(), force=True, callbacks=[link],
            source=self.keep["source"], options=candidate.values,
        )  # fmt: skip


class _Link(Callback):
    """Passes news of one run on, and a wish to stop to and from the others."""

    def __init__(self, team: Team, trial: Trial | None) -> None:
        self.team, self.trial = team, trial
        self.every_epoch = any(callback.every_epoch for callback in team.callbacks)

    def started(self, run: Run) -> None:
        self.run = run  # it may end in an error
        self._pass_on("started", run)

    def advanced(self, run: Run) -> None:
        self._pass_on("advanced", run)

    def epoch_ended(self, run: Run) -> None:
        self._pass_on("epoch_ended", run)

    def ended(self, run: Run) -> None:
        self._pass_on("ended", run)

    def _pass_on(self, event: str, run: Run) -> None:
        team = self.team
        with team.lock:
            for callback in team.callbacks:
                getattr(callback, event)(run)
            if self.trial is not None and event in ("started", "advanced"):
                team.watch(self.trial.after(run.history, team.metric))
        if run.stopped:
            team.stop(run.stopped)
        elif team.stopped:
            run.stop(team.stopped)


def _together(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with those of one compiled program one after another.

    Only some programs are kept (``step.KEPT_PROGRAMS``): each is compiled once, used, forgotten.
    """
    first: dict[Any, int] = {}
    for each in candidates:
        first.setdefault((each.network, each.recipe.batch_size), each.number)
    return sorted(
        candidates,
        key=lambda each: (first[each.network, each.recipe.batch_size], each.number),
    )
