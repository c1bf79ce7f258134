"""Inputs that memory may not hold: rows that are read from the disk as they are asked for."""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Indices = slice | Sequence[int] | npt.NDArray[Any]

HELD = 256 << 20  # bytes of a mapped file that are simply taken into memory; of more, a part
PART = 4 << 20  # bytes read at once where all rows are gone through


class Unread(ABC):
    """Inputs [n, ...] that stay where they are until they are asked for.

    To index it reads: ``x[3]``, ``x[:10]`` and ``x[[5, 2]]`` are arrays in memory, and
    ``np.asarray(x)`` is all of it. ``at(indices)`` are some of the same inputs, still unread.

    Attributes:
        dtype: the type of the numbers.
        shape: [n, ...].
    """

    def __init__(self, dtype: Any, shape: tuple[int, ...]) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape = shape
        self._rows = np.arange(shape[0])

    @abstractmethod
    def _read(self, parts: Sequence[Array]) -> Generator[Array, None, None]:
        """Yield the source's rows at each of ``parts``, in an array of its own."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes they would take in memory."""
        return self.size * self.dtype.itemsize

    def at(self, indices: Indices) -> Self:
        """Return the rows at ``indices``, a slice, a list or a mask, without reading them."""
        chosen = copy(self)
        chosen._rows = self._rows[indices]
        chosen.shape = (len(chosen._rows), *self.shape[1:])
        return chosen

    def read(self, parts: Sequence[Indices]) -> Generator[Array, None, None]:
        """Yield the rows at each of ``parts``, where it can be reading ahead; close it to stop."""
        return self._read([self._rows[part] for part in parts])

    def __getitem__(self, indices: int | Indices) -> Array:
        if isinstance(indices, int | np.integer):
            row: Array = self[[int(indices)]][0]
            return row
        with closing(self.read([indices])) as reading:
            return next(reading)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        everything: Array = np.asarray(self[:], dtype)
        return everything


class Mapped(Unread):
    """Rows of an array that is mapped from a file, in an order of their own."""

    def __init__(self, x: Array) -> None:
        super().__init__(x.dtype, x.shape)
        self._x = x

    def _read(self, parts: Sequence[Array]) -> Generator[Array, None, None]:
        return (self._x[part] for part in parts)


def unread(x: Any) -> Unread | None:
    """Return ``x`` as unread inputs if memory may not hold it; None if it is in memory, or small.

    >>> unread(np.zeros((3, 2))) is None
    True
    """
    if isinstance(x, Unread):
        return x
    return Mapped(x) if x.nbytes > HELD and _is_mapped(x) else None


def in_parts(x: Array | Unread) -> Iterator[Array]:
    """Yield the rows of ``x`` in turn, in arrays in memory: of an array, all at once."""
    if not isinstance(x, Unread):
        return iter((x,))
    some = max(1, PART * len(x) // max(x.nbytes, 1))
    return x.read([slice(first, first + some) for first in range(0, len(x), some)])


def _is_mapped(x: Any) -> bool:
    while x is not None and not isinstance(x, np.memmap):
        x = getattr(x, "base", None)
    return x is not None
