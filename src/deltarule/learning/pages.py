"""Examples that memory may not hold, on their way into a run. Read ``examples.py`` first.

A page is as many examples as are on the device at once: those of some steps in a row, in the order
in which the steps take them. While the device works on one, the next is read. The compiled program
is the one for examples in memory; it finds the i-th example of an epoch at place i modulo the size
of a page. So the numbers are those of a run in memory, bit for bit, whatever the size.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.data.unread import HELD, Unread, unread
from deltarule.learning.examples import answers_of, to_device
from deltarule.learning.measure import Sums, added, chunk, each_cost, zero_sums
from deltarule.learning.program import Examples, Learner, Program
from deltarule.network import kernels
from deltarule.network.model import narrowed
from deltarule.network.network import Params

PAGE = 16 << 20  # bytes of inputs


@dataclass(frozen=True)
class Pages:
    """Examples on the disk, brought to the device ``size`` at a time.

    Args:
        data: what they belong to.
        x: its inputs.
        weight: of each example, or None.
        precision: of the run.
        size: examples of a page.
    """

    data: Dataset
    x: Unread
    weight: np.ndarray | None
    precision: str
    size: int

    def __len__(self) -> int:
        return len(self.x)

    def sized(self, multiple: int) -> "Pages":
        """Return the same in pages of a ``multiple`` of examples."""
        return replace(self, size=page_size(self.data, multiple))

    def scan(
        self, order: np.ndarray | None = None, *, filled: bool = False
    ) -> Generator[Examples, None, None]:
        """Yield page after page of the examples in ``order``; close it to stop early.

        The last may be smaller, unless it is to be ``filled`` up with zeros.
        """
        order = np.arange(len(self)) if order is None else order
        parts = [order[first : first + self.size] for first in range(0, len(order), self.size)]
        # The thread reads the next page while the caller works on this one; it has ended when
        # the source is closed.
        with closing(self.x.read(parts)) as reading, ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(next, reading)
            for part in parts[:-1]:
                page = self._page(ahead.result(), part)
                ahead = thread.submit(next, reading)
                yield page
                del page  # not held while the next is awaited
            last = ahead.result()
        yield self._page(last, parts[-1], self.size if filled else 0)

    def at(self, indices: np.ndarray) -> Examples:
        """Return the examples at ``indices`` on the device."""
        return self._page(self.x[indices], indices)

    def _page(self, x: np.ndarray, part: np.ndarray, size: int = 0) -> Examples:
        """Return inputs ``x`` with the answers and weights of ``part``, ``size`` at least."""

        def filled(rows: np.ndarray) -> jax.Array:
            missing = np.zeros((max(0, size - len(rows)), *rows.shape[1:]), rows.dtype)
            return jnp.asarray(np.concatenate([rows, missing]) if len(missing) else rows)

        data = self.data
        x = narrowed("x", x, self.precision)
        y = answers_of(data, self.precision, part)
        weight = None if self.weight is None else filled(self.weight[part])
        return Examples(filled(x), filled(y), weight, data.scale)


def page_size(data: Dataset, multiple: int, least: int = 0) -> int:
    """Return the examples of a page: a ``multiple``, about ``PAGE`` bytes, ``least`` at least."""
    each = data.x.nbytes // len(data)
    return multiple * max(1, PAGE // (each * multiple), -(-least // multiple))


def provided(
    data: Dataset, weight: np.ndarray | None, precision: str, multiple: int, least: int = 0
) -> Examples | Pages:
    """Return ``data`` on the device; as pages if memory may not hold it and one is not enough."""
    source, size = unread(data.x), page_size(data, multiple, least)
    if source is None or len(data) <= size:
        return to_device(data, weight, precision)
    return Pages(data, source, weight, precision, size)


class Feed:
    """What the steps of a run learn from: all examples, or the page that they have come to.

    Of pages, the next of the epoch is being read meanwhile.
    """

    def __init__(self, examples: Examples | Pages, batch_size: int) -> None:
        self.examples = examples
        self._at = -1, 0  # epoch, number of the page
        self._page: Examples | None = None
        self._reading: Generator[Examples, None, None] | None = None
        if isinstance(examples, Pages):
            self._steps = examples.size // batch_size
            places = np.arange(len(examples), dtype=np.int32) % examples.size
            self._places = jnp.asarray(places[None])

    @property
    def paged(self) -> bool:
        """Whether they are not all on the device."""
        return isinstance(self.examples, Pages)

    def last(self, first: int, last: int) -> int:
        """Return before which step a call from step ``first`` has to end, at most ``last``."""
        return min(last, (first // self._steps + 1) * self._steps) if self.paged else last

    def given(
        self, epoch: int, step: int, orders: Callable[[], np.ndarray]
    ) -> tuple[Examples, np.ndarray | jax.Array]:
        """Return the examples for steps from ``step`` on, and the orders [epochs, n] among them.

        Pages serve one epoch, whose order is ``orders()[0]``; it is asked for when one is begun.
        """
        if not isinstance(self.examples, Pages):
            return self.examples, orders()
        at = epoch, step // self._steps
        if self._page is None or at != self._at:
            self._page = None  # not held while the next is awaited
            if self._reading is None or at != (self._at[0], self._at[1] + 1):
                self.close()
                rest = orders()[0, at[1] * self.examples.size :]
                self._reading = self.examples.scan(rest, filled=True)
            self._page, self._at = next(self._reading), at
        return self._page, self._places

    def close(self) -> None:
        """Let go of the page, and end what reads ahead."""
        self._page = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None


def few(examples: Examples | Pages, order: np.ndarray) -> tuple[Examples, np.ndarray]:
    """Return examples on the device among which are those in ``order``, and the order among them.

    Raises ``ValueError`` if they are on the disk and too large to be looked at together.
    """
    if isinstance(examples, Examples):
        return examples, order
    indices, places = np.unique(order, return_inverse=True)
    size = examples.x.nbytes // len(examples) * len(indices)
    if size > HELD:
        raise ValueError(
            f"the learning rate cannot be measured on these examples, which stay on the disk: "
            f"{len(indices):,} are looked at together, and {size / 1e6:,.0f} MB are more than is "
            "taken into memory at once; give learning_rate a number, or make the inputs smaller."
        )
    return examples.at(indices), places.reshape(order.shape).astype(np.int32)


def each_cost_of(
    program: Program, params: Params, state: Params, examples: Examples | Pages
) -> np.ndarray:
    """Return the cost of each of ``examples`` [n], as ``each_cost``."""
    if isinstance(examples, Examples):
        return np.asarray(each_cost(program, params, state, examples))
    pages = examples.sized(chunk(program, examples.x.shape))
    return np.concatenate([each_cost(program, params, state, page) for page in pages.scan()])


def total_of(program: Program, learner: Learner, pages: Pages) -> Sums:
    """Return the sum of the costs and the number of right answers, as ``total``."""
    sums = zero_sums(program)
    for page in pages.scan():
        sums = _added(program, learner.answer, page, sums)
    return sums


@partial(jax.jit, static_argnums=0)
def _added(program: Program, answer: tuple[Params, Params], page: Examples, sums: Sums) -> Sums:
    with kernels.using(program.kernels):
        return added(program, answer, page, sums)
