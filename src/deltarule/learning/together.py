"""Runs that advance together: one compiled program, mapped over what each of them has learned.

Read ``step.py`` first. An accelerator is fast where much is asked of it at once, and one small
network asks little. Runs that differ in nothing but their seeds therefore meet before each call,
and it advances all of them. Each stays a run of its own, in a thread of its own, with its history,
callbacks and checkpoints. On a CPU the mapped program is the slower one (docs/decisions/, 9).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.learning import step
from deltarule.learning.program import Examples, Hyper, Learner, Program, Report
from deltarule.learning.step import advance

T = TypeVar("T")


class Call(NamedTuple):
    """What a run asks for: the arguments of ``step.advance``."""

    program: Program
    learner: Learner
    train: Examples
    validation: Examples | None
    orders: np.ndarray | jax.Array
    rates: np.ndarray
    hyper: Hyper
    seed: np.uint32
    first_epoch: int
    epochs: int
    first_step: int
    last_step: int


class Done(NamedTuple):
    """What became of a call, which may have ended at an earlier epoch and step than asked for.

    ``report`` is None if nothing was done, since the call of another run failed; ``waited`` are
    the seconds in which others had the floor.
    """

    learner: Learner
    report: Report | None
    epochs: int
    last_step: int
    waited: float = 0.0


class Alone:
    """The place of a run that advances by itself."""

    def advance(self, call: Call) -> Done:
        """Make ``call``."""
        after: tuple[Learner, Report] = advance(*call)
        jax.block_until_ready(after)  # type: ignore[no-untyped-call]
        return Done(*after, call.epochs, call.last_step)

    def provided(self, what: str, data: Dataset, provide: Callable[[], T]) -> T:
        """Return what ``provide`` makes of ``data``."""
        return provide()


@dataclass(frozen=True)
class Seat:
    """The place of a run in a meeting."""

    meeting: "Meeting"
    number: int

    def advance(self, call: Call) -> Done:
        """Make ``call`` together with the others."""
        return self.meeting.advance(self.number, call)

    def provided(self, what: str, data: Dataset, provide: Callable[[], T]) -> T:
        """Return what ``provide`` makes of ``data``, made once for all who ask for ``what``."""
        return self.meeting.provided(what, data, provide)


class Meeting:
    """Where ``seats`` runs meet, which differ in their seeds alone.

    A call is made as soon as everybody is waiting who has not left: for those who are furthest
    behind in their epochs, and no further than to where the next one waits. Seats that are empty
    in a call are filled by a copy, so that all calls are of one program; and so what a run learns
    does not depend on how long the others stay.

    If a call fails, one run hears of it by its exception. The others do nothing any more, from
    the moment on when that run has left, so that whoever looks after them can stop them.
    """

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._present = set(range(seats))
        self._waiting: dict[int, Call] = {}
        self._done: dict[int, Done | BaseException] = {}
        self._failed: int | None = None  # the seat that hears of it
        self._seconds = 0.0  # that the last call took
        self._provided: dict[tuple[str, Dataset], object] = {}
        self._changed = threading.Condition()

    def advance(self, seat: int, call: Call) -> Done:
        """Make ``call`` together with the others."""
        began = time.monotonic()
        with self._changed:
            if self._failed is None:
                self._waiting[seat] = call
                self._go_on()
                self._changed.wait_for(lambda: seat in self._done)
            done = self._done.pop(seat, _nothing(call))
            if isinstance(done, BaseException):
                raise done
            if done.report is None:
                self._changed.wait_for(lambda: self._failed not in self._present)
            return done._replace(waited=time.monotonic() - began - self._seconds)

    def leave(self, seat: int) -> None:
        """Wait for the run in this seat no longer."""
        with self._changed:
            self._present.discard(seat)
            self._go_on()
            self._changed.notify_all()

    def provided(self, what: str, data: Dataset, provide: Callable[[], T]) -> T:
        """Return what ``provide`` makes of ``data``, made once for all who ask for ``what``."""
        with self._changed:
            if (what, data) not in self._provided:
                self._provided[what, data] = provide()
            found: T = self._provided[what, data]  # type: ignore[assignment]
            return found

    def _go_on(self) -> None:
        """Make the next call, if nobody is missing; answer those who took part."""
        if not self._waiting or not self._present <= self._waiting.keys():
            return
        first = min(call.first_step for call in self._waiting.values())
        group = {s: call for s, call in self._waiting.items() if call.first_step == first}
        ahead = [call.first_step for call in self._waiting.values() if call.first_step > first]
        answers: dict[int, Done | BaseException]
        try:
            answers = {**self._make(group, ahead)}
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            self._failed = min(group)
            answers = {seat: _nothing(call) for seat, call in self._waiting.items()}
            answers[self._failed] = error
        for seat in answers:
            del self._waiting[seat]
        self._done |= answers
        self._changed.notify_all()

    def _make(self, group: dict[int, Call], ahead: list[int]) -> dict[int, Done]:
        """Make the calls of ``group`` as one; ``ahead`` are the steps where others wait."""
        calls = list(group.values())
        wanted = min(call.last_step for call in calls)
        last = min([wanted, *ahead])
        epochs = min(call.epochs for call in calls) if last == wanted else 1
        seats = [group.get(seat, calls[0]) for seat in range(self._seats)]
        own = [
            np.stack([np.asarray(call[field]) for call in seats])
            for field in map(Call._fields.index, ("orders", "rates", "seed", "first_epoch"))
        ]
        program, _, train, validation, *_ = calls[0]
        began = time.monotonic()
        with jax.enable_x64(program.precision == "float64"):  # who leaves is in no run any more
            try:
                after = _advance_all(
                    program, [call.learner for call in seats], train, validation, own,
                    calls[0].hyper, epochs, calls[0].first_step, last,
                )  # fmt: skip
                jax.block_until_ready(after)  # type: ignore[no-untyped-call]
            except jax.errors.JaxRuntimeError as error:
                raise _explained(error, self._seats) from error
        self._seconds = time.monotonic() - began
        return {seat: Done(after[seat][0], after[seat][1], epochs, last) for seat in group}


def _nothing(call: Call) -> Done:
    return Done(call.learner, None, 1, call.first_step)


def _explained(error: Exception, seats: int) -> Exception:
    if "RESOURCE_EXHAUSTED" not in str(error):
        return error
    return MemoryError(
        f"the memory of the device does not hold {seats} members that learn in one program; train "
        "fewer at a time (jobs, --jobs)."
    )


@partial(jax.jit, static_argnums=0)
def _advance_all(
    program: Program,
    learners: list[Learner],
    train: Examples,
    validation: Examples | None,
    own: list[jax.Array],  # orders, rates, seeds and first epochs, [runs, ...] each
    hyper: Hyper,
    epochs: jax.Array,
    first_step: jax.Array,
    last_step: jax.Array,
) -> list[tuple[Learner, Report]]:
    """Return what ``advance`` makes of each learner."""
    stacked = jax.tree.map(lambda *arrays: jnp.stack(arrays), *learners)

    def one(
        learner: Learner, orders: jax.Array, rates: jax.Array, seed: jax.Array, epoch: jax.Array
    ) -> tuple[Learner, Report]:
        found: tuple[Learner, Report] = advance(
            program, learner, train, validation, orders, rates, hyper, seed, epoch, epochs,
            first_step, last_step,
        )  # fmt: skip
        return found

    after = jax.vmap(one)(stacked, *own)
    return [jax.tree.map(lambda array: array[run], after) for run in range(len(learners))]  # noqa: B023


def make_room() -> None:
    """Forget the compiled programs when there are many, as after a search over batch sizes."""
    step.make_room(step.advance, _advance_all)


_free: ContextVar[Seat | None] = ContextVar("free", default=None)


@contextmanager
def seated(seat: Seat) -> Iterator[Seat]:
    """Let the first run that this thread begins inside the block advance from ``seat``."""
    token = _free.set(seat)
    try:
        yield seat
    finally:
        _free.reset(token)
        seat.meeting.leave(seat.number)


def place() -> Seat | Alone:
    """Return the place of a run that begins: the seat kept for it, or a place by itself.

    A seat is given once: a run that a callback of this run begins is by itself.
    """
    seat = _free.get()
    _free.set(None)
    return seat or Alone()
