"""Work spread over processes, answered in order, never far ahead of who asks.

The processes are started afresh (spawn), since a fork of a process with threads, JAX's for one, may
hang. They end with the process that started them, however that ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TypeVar

from deltarule.errors import DataError

Task = TypeVar("Task")
Answer = TypeVar("Answer")

AHEAD = 2  # tasks under way or answered, for each process
MOST = 8
PAYS = 2.0  # seconds of work; a process takes a quarter of one to start
PIXELS_A_SECOND = 40e6
SECONDS_A_FILE = 2e-4


def workers_for(files: int, pixels: int, workers: int | None) -> int:
    """Return how many processes decode so much: ``workers``, or 1 if more would not pay.

    >>> workers_for(1797, 1797 * 64, None)
    1
    """
    if workers is not None:
        if not isinstance(workers, int) or not 1 <= workers <= 256:
            raise DataError(f"workers must be a number of processes from 1, got {workers!r}.")
        return workers
    seconds = files * SECONDS_A_FILE + pixels / PIXELS_A_SECOND
    return min(_cores(), MOST) if seconds > PAYS else 1


def in_order(
    work: Callable[[Task], Answer], tasks: Iterable[Task], workers: int
) -> Generator[Answer, None, None]:
    """Yield ``work(task)`` for each task, in the order of the tasks; close it to stop early.

    With one worker the work is done here. With more, at most ``AHEAD`` tasks a process are under
    way or waiting to be taken, so memory stays bounded whatever the number of tasks.

    Raises ``DataError`` if a process ends before its time.
    """
    if workers == 1:
        yield from map(work, tasks)
        return
    waiting: deque[Future[Answer]] = deque()
    executor = ProcessPoolExecutor(workers, mp_context=_Afresh(), initializer=_begin)
    try:
        for task in tasks:
            waiting.append(executor.submit(work, task))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a process that decodes pictures ended before its time, perhaps for want of memory; "
            "give fewer workers."
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Process(SpawnProcess):
    def start(self) -> None:
        """Start without the caller's script, which would run again unless it is guarded."""
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with _ctrl_c_held():
                super().start()
        finally:
            sys.modules["__main__"] = main


class _Afresh(SpawnContext):
    Process = _Process


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back; a process started meanwhile never gets it, not even while it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
