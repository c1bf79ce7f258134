"""Runs that advance together: one compiled program, mapped over what each of them has learned.

Read ``step.py`` first. An accelerator is fast where much is asked of it at once, and one small
network asks little. Runs that differ in nothing but their seeds therefore meet before each call,
and it advances all of them. Each stays a run of its own, in a thread of its own, with its history,
callbacks and checkpoints. On a CPU the mapped program is the slower one (docs/decisions/, 9).
"""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
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
    """What became of it; among others it may end before the epoch and the step it asked for."""

    learner: Learner
    report: Report
    epochs: int
    last_step: int


class Meeting:
    """Where ``seats`` runs meet, which differ in their seeds alone. ``seated`` gives them seats.

    A call is made as soon as everybody is waiting who has not left: for those who are furthest
    behind in their epochs, and no further than to where the next one waits. Seats that are empty
    in a call are filled by a copy, so that all calls are of one program; and so what a run learns
    does not depend on how long the others stay.
    """

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._present = set(range(seats))
        self._waiting: dict[int, Call] = {}
        self._done: dict[int, Done | Exception] = {}
        self._provided: dict[tuple[str, int], tuple[Dataset, object]] = {}
        self._changed = threading.Condition()

    def advance(self, seat: int, call: Call) -> Done:
        """Make ``call`` together with the others; raise what it raises, in all who took part."""
        with self._changed:
            self._waiting[seat] = call
            self._go_on()
            self._changed.wait_for(lambda: seat in self._done)
            done = self._done.pop(seat)
        if isinstance(done, Exception):
            raise copy.copy(done) from done  # each its own, for notes are added to it
        return done

    def leave(self, seat: int) -> None:
        """Wait for the run in this seat no longer."""
        with self._changed:
            self._present.discard(seat)
            self._go_on()

    def provided(self, what: str, data: Dataset, provide: Callable[[], T]) -> T:
        """Return what ``provide`` makes of ``data``, made once for all who ask for ``what``."""
        key = what, id(data)
        with self._changed:
            if key not in self._provided:
                self._provided[key] = data, provide()  # with data, so that no other has its id
            found: T = self._provided[key][1]  # type: ignore[assignment]
            return found

    def _go_on(self) -> None:
        """Make the next call, if nobody is missing."""
        if not self._waiting or set(self._waiting) != self._present:
            return
        behind = min(self._waiting.values(), key=lambda call: call.first_step)
        group = {
            seat: call for seat, call in sorted(self._waiting.items())
            if (call.first_step, call.orders.shape) == (behind.first_step, behind.orders.shape)
        }  # fmt: skip
        ahead = [call.first_step for call in self._waiting.values()]
        try:
            self._done |= self._make(group, [step for step in ahead if step > behind.first_step])
        except Exception as error:  # noqa: BLE001 - whatever it is, each run must hear of it
            self._done |= dict.fromkeys(group, error)
        for seat in group:
            del self._waiting[seat]
        self._changed.notify_all()

    def _make(self, group: dict[int, Call], ahead: list[int]) -> dict[int, Done]:
        """Make the calls of ``group`` as one; ``ahead`` are the steps where others wait."""
        calls = list(group.values())
        wanted = min(call.last_step for call in calls)
        last = min([wanted, *ahead])
        epochs = min(call.epochs for call in calls) if last == wanted else 1
        seats = [group.get(seat, calls[0]) for seat in range(self._seats)]
        own = [np.stack([np.asarray(value) for value in values])
               for values in zip(*((c.orders, c.rates, c.seed, c.first_epoch) for c in seats),
                                 strict=True)]  # fmt: skip
        program, _, train, validation, *_ = calls[0]
        with jax.enable_x64(program.precision == "float64"):  # who leaves is in no run any more
            after = _advance_all(
                program, [call.learner for call in seats], train, validation, own,
                calls[0].hyper, epochs, calls[0].first_step, last,
            )  # fmt: skip
            jax.block_until_ready(after)  # type: ignore[no-untyped-call]
        return {seat: Done(after[seat][0], after[seat][1], epochs, last) for seat in group}


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


_seat: ContextVar[tuple[Meeting, int] | None] = ContextVar("seat", default=None)


@contextmanager
def seated(meeting: Meeting, seat: int) -> Iterator[None]:
    """Let the run in this thread, inside the block, advance with the others of ``meeting``."""
    token = _seat.set((meeting, seat))
    try:
        yield
    finally:
        _seat.reset(token)
        meeting.leave(seat)


def advanced(call: Call) -> Done:
    """Return what became of a run's call, made alone or with the others of its meeting."""
    here = _seat.get()
    if here is not None:
        return here[0].advance(here[1], call)
    after: tuple[Learner, Report] = advance(*call)
    jax.block_until_ready(after)  # type: ignore[no-untyped-call]
    return Done(*after, call.epochs, call.last_step)


def provided_once(what: str, data: Dataset, provide: Callable[[], T]) -> T:
    """Return what ``provide`` makes of ``data``; in a meeting it is made once for all."""
    here = _seat.get()
    return provide() if here is None else here[0].provided(what, data, provide)
