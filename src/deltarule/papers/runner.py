"""Running a study: every experiment with several seeds, a few at a time, none of them twice.

JAX lets go of Python's lock while a compiled call runs, so threads keep as many cores busy as
there are runs under way.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from deltarule import Callback, Run, Splits, data
from deltarule.choices import choose
from deltarule.papers import results
from deltarule.papers.experiment import (
    Baseline,
    Either,
    Experiment,
    Measured,
    Study,
    Vote,
    run_folder,
)


class Watcher:
    """Told what happens, one thing at a time but in any thread; override what you need."""

    def planned(self, experiments: int, runs: int, kept: int) -> None:
        """So many experiments are wanted: ``kept`` are stored already, the rest take ``runs``."""

    def advanced(self, experiment: Either, run: Run) -> None:
        """A run of ``experiment`` has come further."""

    def measured(self, experiment: Either, measured: Measured) -> None:
        """A run of ``experiment`` is over."""


def reproduce(
    study: Study,
    folder: Path = results.RESULTS,
    *,
    seeds: int = 3,
    jobs: int = 2,
    only: Sequence[str] = (),
    watcher: Watcher | None = None,
) -> Iterator[results.Result]:
    """Run the experiments of ``study``, store each run's outcome as it comes, yield the results.

    Args:
        study: one of ``STUDIES``.
        folder: where results are kept. A seed whose outcome of the same setup is there already is
            not run again, so a study goes on where it stopped, and more seeds join those before.
            Each run has a folder in ``folder/runs`` and goes on from its last checkpoint.
        seeds: how many seeds, from 0. A vote takes as many of its experiment as it has members.
        jobs: how many runs at a time.
        only: names of experiments; without any, all but those that are opt-in.
        watcher: told about progress.

    Raises:
        ValueError: no such experiment, or ``seeds`` or ``jobs`` below 1.
        DataError, DownloadError: the data cannot be had.
        OSError: a result cannot be stored.
    """
    for name, number in (("seeds", seeds), ("jobs", jobs)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}.")
    watcher = watcher or Watcher()
    wanted = selected(study, only)
    runs = _Runs(study, folder, watcher, wanted, seeds)
    watcher.planned(len(wanted), runs.count, sum(map(runs.is_kept, wanted)))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            pending = runs.submit(pool)
            for each in wanted:
                for run in pending[_who_runs(each).name]:
                    run.result()
                yield runs.result(each)
        except BaseException:  # Ctrl-C too: end the runs under way at their next call
            runs.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def selected(study: Study, only: Sequence[str] = ()) -> list[Either]:
    """Return the experiments called ``only``, or all but the opt-in ones, in the study's order."""
    table = {each.name: each for each in study.experiments}
    for name in only:
        choose("only", name, table)
    if only:
        return [each for each in study.experiments if each.name in only]
    return [each for each in study.experiments if not each.opt_in]


def _who_runs(experiment: Either) -> Experiment | Baseline:
    """Return the experiment whose runs are the runs of this one."""
    return experiment.of if isinstance(experiment, Vote) else experiment


class _Runs:
    """The runs that are still to be done, and the results of all."""

    def __init__(
        self, study: Study, folder: Path, watcher: Watcher, wanted: Sequence[Either], seeds: int
    ) -> None:
        self.study, self.folder, self.watcher = study, folder, watcher
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.experiments = {_who_runs(each).name: _who_runs(each) for each in wanted}
        self.missing: dict[str, list[int]] = {name: [] for name in self.experiments}
        for each in wanted:
            self._ask_for(each, seeds)

    def _ask_for(self, experiment: Either, seeds: int) -> None:
        """Add the seeds that ``experiment`` needs and that have no outcome yet."""
        who, voting = _who_runs(experiment), isinstance(experiment, Vote)
        kept = results.stored(self.folder, self.study, who)
        known = {
            each["seed"]
            for each in (kept["reached"] if kept else [])
            if "wrong" in each or not voting  # results once lacked the answers
        }
        needed = who.seeds(experiment.members if isinstance(experiment, Vote) else seeds)
        missing = self.missing[who.name]
        missing += [seed for seed in needed if seed not in known and seed not in missing]

    @property
    def count(self) -> int:
        """How many runs there are to do."""
        return sum(map(len, self.missing.values()))

    def is_kept(self, experiment: Either) -> bool:
        """Say whether nothing has to be run for ``experiment``."""
        return not self.missing[_who_runs(experiment).name]

    def submit(self, pool: ThreadPoolExecutor) -> dict[str, list[Future[None]]]:
        """Put the runs in the queue; return them by the names of their experiments."""
        splits = data.load(self.study.data) if self.count else None
        return {
            name: [pool.submit(self._run, self.experiments[name], seed, splits) for seed in seeds]
            for name, seeds in self.missing.items()
        }

    def _run(self, experiment: Experiment | Baseline, seed: int, splits: Splits | None) -> None:
        """Do one run and store its outcome with those of the other seeds."""
        assert splits is not None
        home = run_folder(self.folder / "runs", experiment, seed)
        measured = experiment.measure(splits, seed, [_Link(self, experiment)], home)
        with self.lock:
            results.add(self.folder, self.study, experiment, measured)
            self.watcher.measured(experiment, measured)

    def result(self, experiment: Either) -> results.Result:
        """Return the result of ``experiment``, whose runs are done, and store it as it is now."""
        with self.lock:
            result = results.stored(self.folder, self.study, _who_runs(experiment))
            assert result is not None
            if isinstance(experiment, Vote):
                counted = experiment.count(result["reached"])
                result = results.document(self.study, experiment, [counted])
            results.store(self.folder, result)
        return result


class _Link(Callback):
    """Passes news of a run on to the watcher, and the wish to stop to the run."""

    every_epoch = False

    def __init__(self, runs: _Runs, experiment: Experiment | Baseline) -> None:
        self.runs, self.experiment = runs, experiment

    def advanced(self, run: Run) -> None:
        if self.runs.stop.is_set():
            run.stop("interrupted")
        with self.runs.lock:
            self.runs.watcher.advanced(self.experiment, run)
