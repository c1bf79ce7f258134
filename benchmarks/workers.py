"""A process of its own for every peer, kept warm, and asked in turns.

Libraries disturb each other in one process (thread pools, allocators), and a machine is not the
same from one minute to the next. So each peer lives in its own process and waits there, and a
round times one block of every peer, one after the other; ratios are taken within a round.
"""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import peers
from task import Task, Weights, Workload, load_examples

PAUSE = 0.05  # seconds between blocks: the waiting threads of the last peer go to sleep


class Trainer(Protocol):
    """What a round needs of a peer."""

    name: str

    def seconds_a_step(self) -> float: ...


class Worker:
    """A peer in its own process; every method waits for its answer."""

    def __init__(self, name: str) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, theirs), daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is noticed here

    def learned(self, workload: Workload, steps: int) -> Weights:
        """Return the weights after ``steps`` steps in the order of the task."""
        weights: Weights = self._ask("learned", workload, steps)
        return weights

    def prepare(self, workload: Workload, steps: int | None) -> None:
        """Set up ``workload`` and train once, untimed: what compiles, compiles now."""
        self._ask("prepare", workload, steps)

    def seconds_a_step(self) -> float:
        """Train one block and return the seconds of a step."""
        time.sleep(PAUSE)
        seconds: float = self._ask("time")
        return seconds

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()

    def _ask(self, *request: Any) -> Any:
        self._pipe.send(request)
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError(
                f"the process of {self.name} has ended; see what it wrote."
            ) from None
        if isinstance(answer, Exception):
            raise RuntimeError(f"{self.name} failed at {request[0]!r}: {answer!r}") from answer
        return answer


def _serve(name: str, pipe: Connection) -> None:
    """Answer requests until the pipe is closed."""
    examples, peer, task = load_examples(), None, None
    while True:
        try:
            request, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer = None
            if request == "time":
                answer = peer.train() / task.steps
            else:
                workload, steps = arguments
                task = Task(workload, examples).take(steps)
                peer = peers.load(name)(task)
                peer.train(task.order() if request == "learned" else None)
                if request == "learned":
                    answer = peer.weights()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side must hear of it
            answer = error
        pipe.send(answer)


def interleaved(trainers: Sequence[Trainer], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a step of every trainer in every round, taken in turns.

    Each round starts one trainer further on, so that none always follows the same other.
    """
    seconds: dict[str, list[float]] = {trainer.name: [] for trainer in trainers}
    for number in range(rounds):
        first = number % len(trainers)
        for trainer in [*trainers[first:], *trainers[:first]]:
            seconds[trainer.name].append(trainer.seconds_a_step())
    return seconds


def disagreement(ours: Weights, theirs: Weights) -> float:
    """Return the largest difference between two sets of weights and biases."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max()) for a, b in pairs)
