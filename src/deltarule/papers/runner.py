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
from deltarule.papers.experiment import Either, Measured, Study, Vote, run_folder


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
    """Run the experiments of ``study``, store each result as it comes, and yield it.

    Args:
        study: one of ``STUDIES``.
        folder: where results are kept. An experiment is not run again while its result there is
            of the same setup and of at least as many seeds, so a study goes on where it stopped.
            Each run has a folder in ``folder/runs`` and goes on from its last checkpoint.
        seeds: how many seeds, from 0.
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
    found = {each.name: results.stored(folder, study, each, seeds) for each in wanted}
    missing = [each for each in wanted if found[each.name] is None]
    runs = sum(len(each.seeds(seeds)) for each in missing)
    watcher.planned(len(wanted), runs, len(wanted) - len(missing))
    stop, lock = threading.Event(), threading.Lock()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            splits = data.load(study.data) if missing else None
            links = {each.name: _Link(each, watcher, lock, stop, folder) for each in missing}
            # a vote waits for those who vote: their runs are done before it is reached below
            votes = {each.name for each in missing if isinstance(each, Vote)}
            pending = {
                name: links[name].submit(pool, splits, seeds) for name in links if name not in votes
            }
            for each in wanted:
                result = found[each.name]
                if result is None:
                    if each.name in votes:
                        pending[each.name] = links[each.name].submit(pool, splits, seeds)
                    measured = [future.result() for future in pending[each.name]]
                    result = results.document(study, each, measured)
                results.store(folder, result)
                yield result
        except BaseException:  # Ctrl-C too: end the runs under way at their next call
            stop.set()
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


class _Link(Callback):
    """Passes news of a run on to the watcher, and the wish to stop to the run."""

    every_epoch = False

    def __init__(
        self,
        experiment: Either,
        watcher: Watcher,
        lock: threading.Lock,
        stop: threading.Event,
        folder: Path,
    ) -> None:
        self.experiment, self.watcher, self.lock, self.stop = experiment, watcher, lock, stop
        self.runs = folder / "runs"

    def advanced(self, run: Run) -> None:
        if self.stop.is_set():
            run.stop("interrupted")
        with self.lock:
            self.watcher.advanced(self.experiment, run)

    def submit(
        self, pool: ThreadPoolExecutor, splits: Splits | None, seeds: int
    ) -> list[Future[Measured]]:
        """Put the runs of the experiment in the queue; return what will come of them."""
        assert splits is not None
        return [pool.submit(self.measure, splits, seed) for seed in self.experiment.seeds(seeds)]

    def measure(self, splits: Splits, seed: int) -> Measured:
        folder = run_folder(self.runs, self.experiment, seed)
        measured = self.experiment.measure(splits, seed, [self], folder)
        with self.lock:
            self.watcher.measured(self.experiment, measured)
        return measured
