"""Examples and their answers: two arrays, checked once when they meet and trusted afterwards.

A ``Dataset`` keeps its inputs as they came (bytes stay bytes); the network multiplies them by
``scale`` as it reads them, so 60 000 images take 47 MB instead of 188.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deltarule.data.unread import Array, Indices, Unread, in_parts, unread
from deltarule.errors import DataError

MAX_CLASSES = 100_000  # a larger label is an identifier that was taken for a class
CHECKED = 16 << 20  # bytes at once


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Inputs ``x`` and answers ``y`` of n examples; a network sees ``x * scale``.

    ``x``: [n, ...], numbers of any type, at least one axis after the first, all finite; an array,
    or inputs that are read as they are asked for (``Unread``), which are used as an array is.
    ``y``: [n] integers 0..k-1, the class of each example, or [n, k] finite floats (regression).
    ``classes``: the k names; when they are left out, classes are called "0" to str(max(y)).
    ``scale``: a factor, 1/255 for bytes that shall become numbers in [0, 1].
    ``preparation``: what made ``x`` of raw rows or files, to go along with a model (``Columns`` of
    a table, ``Pictures`` of a folder); None if nothing did.

    Raises ``DataError`` if the arrays contradict each other or this description.

    >>> data = Dataset(x=[[0, 0], [0, 1], [1, 0], [1, 1]], y=[0, 1, 1, 0], name="xor")
    >>> data
    Dataset('xor': 4 examples of shape (2,), int64, 2 classes)
    >>> data[1:3].y
    array([1, 1])
    """

    x: Array
    y: Array
    classes: tuple[str, ...] = ()
    scale: float = 1.0
    name: str = "data"
    preparation: Any = None

    def __post_init__(self) -> None:
        x, y = _checked_inputs(self.x), _checked_answers(self.y)
        if len(x) != len(y):
            raise DataError(
                f"x and y must hold the same number of examples, got {len(x)} inputs and "
                f"{len(y)} answers; drop the ones without a partner."
            )
        classes, scale = _checked_classes(self.classes, y), _checked_scale(self.scale)
        checked = {"x": x, "y": y, "classes": classes, "scale": scale}
        for field, value in checked.items():
            object.__setattr__(self, field, value)  # the one moment a frozen value may be set

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        answers = (
            f"{len(self.classes)} classes" if self.y.ndim == 1 else f"{self.y.shape[1]} targets"
        )
        return (
            f"Dataset({self.name!r}: {len(self)} examples of shape {self.shape}, "
            f"{self.x.dtype}, {answers})"
        )

    def __getitem__(self, indices: Indices) -> "Dataset":
        return self.subset(indices)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: that of ``x`` without the axis of examples."""
        return self.x.shape[1:]

    def subset(self, indices: Indices) -> "Dataset":
        """Return the examples at ``indices``: a slice, a list or a mask; also ``data[indices]``.

        Raises ``DataError`` for a single number and ``IndexError`` for one that is out of range.
        """
        if not isinstance(indices, slice):
            indices = np.asarray(indices)
            if indices.ndim != 1:
                raise DataError(
                    "indices must be a slice, a list of indices or a mask, got "
                    f"{indices.ndim} axes; one example is the set data[3:4]."
                )
            if not indices.size:
                indices = indices.astype(np.intp)  # NumPy makes an empty list a list of floats
        # A slice of a mapped file is mapped; chosen rows would all be read.
        stays = isinstance(indices, slice) and not isinstance(self.x, Unread)
        source = None if stays else unread(self.x)
        x: Any = self.x[indices] if source is None else source.at(indices)
        return replace(self, x=x, y=self.y[indices])

    def take(self, n: int) -> "Dataset":
        """Return the first ``n`` examples.

        Raises ``DataError`` if there are fewer than ``n``.
        """
        if not 0 <= n <= len(self):
            raise DataError(
                f"n must lie between 0 and the {len(self)} examples there are, got {n}."
            )
        return self.subset(slice(n))

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that differ as soon as inputs, answers or classes do.

        The start of a SHA-256 over everything but the name. A run that resumes compares it.

        >>> data = Dataset(x=[[0.0], [1.0]], y=[0, 1])
        >>> data.fingerprint() == Dataset(x=[[0.0], [1.0]], y=[1, 0]).fingerprint()
        False
        """
        digest = hashlib.sha256(repr((self.classes, self.scale)).encode())
        for array in (self.x, self.y):
            digest.update(repr((array.dtype.str, array.shape)).encode())
            for part in in_parts(array):
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Splits:
    """The three parts of a source: ``train``, ``validation`` (may be empty) and ``test``.

    Raises ``DataError`` if the parts differ in shape, classes or scale, or if ``train`` or
    ``test`` is empty.
    """

    train: Dataset
    validation: Dataset
    test: Dataset

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            if not len(getattr(self, part)):
                raise DataError(f"{part} holds no examples; only validation may be empty.")
        for part in ("validation", "test"):
            for trait in ("shape", "classes", "scale"):
                ours, theirs = getattr(getattr(self, part), trait), getattr(self.train, trait)
                if ours != theirs:
                    raise DataError(
                        f"{part} must have the {trait} of train, {theirs}, got {ours}; "
                        "take both from the same source."
                    )


def validation_size(validation: float | None, n: int, *, default: int) -> int:
    """Return how many of ``n`` training examples to hold out.

    ``validation`` is a number of examples (int), a share in [0, 1) (float), or None for
    ``default``. Raises ``DataError`` unless at least one example is left for training.
    """
    if validation is None:
        validation = default
    size = -1
    if isinstance(validation, int | np.integer) and not isinstance(validation, bool):
        size = int(validation)
    elif isinstance(validation, float | np.floating) and 0 <= validation < 1:
        size = round(float(validation) * n)
    if not 0 <= size < n:
        raise DataError(
            f"validation must be a number of examples below {n} or a share in [0, 1), "
            f"got {validation!r}; pass 0 for none."
        )
    return size


def _array(argument: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{argument} must be one array of numbers: {error}") from None


def _first_not_finite(array: Array) -> int | None:
    if array.dtype.kind != "f":
        return None
    some = max(1, CHECKED // max(array[:1].nbytes, 1))  # of a mapped file: not all at once
    for first in range(0, len(array), some):
        finite = np.isfinite(array[first : first + some])
        if not finite.all():
            return first + int(np.argwhere(~finite)[0, 0])
    return None


def _checked_inputs(value: Any) -> Any:
    if isinstance(value, Unread):
        return value
    x = _array("x", value)
    if x.dtype.kind not in "buif":
        raise DataError(f"x must hold real numbers, got {x.dtype}; convert it first.")
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise DataError(
            f"x must have a row for each example, [n, ...], got the shape {x.shape}; "
            "one number an example is x.reshape(-1, 1)."
        )
    if (row := _first_not_finite(x)) is not None:
        raise DataError(
            f"x must be finite, but example {row} holds NaN or infinity; drop or repair it."
        )
    return x


def _checked_answers(value: Any) -> Array:
    y = _array("y", value)
    if y.shape == (0,) and y.dtype.kind == "f":
        y = y.astype(np.int64)  # an empty list has no type of its own
    classification = y.ndim == 1 and y.dtype.kind in "ui"
    regression = y.ndim == 2 and y.dtype.kind == "f" and y.shape[1] > 0
    if not classification and not regression:
        raise DataError(
            "y must be [n] integers (the class of each example) or [n, k] floats (regression), "
            f"got {y.dtype} of shape {y.shape}; see y.astype and y.reshape(-1, 1)."
        )
    if (row := _first_not_finite(y)) is not None:
        raise DataError(
            f"y must be finite, but answer {row} holds NaN or infinity; drop or repair it."
        )
    return y


def _checked_scale(scale: Any) -> float:
    number = isinstance(scale, int | float | np.integer | np.floating)
    if number and math.isfinite(scale) and scale > 0:
        return float(scale)
    raise DataError(f"scale must be a finite number above 0, got {scale!r}; bytes use 1 / 255.")


def _checked_classes(classes: Any, y: Array) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise DataError(f"classes must be a sequence of names, got the single text {classes!r}.")
    names = tuple(str(name) for name in classes)
    if y.ndim == 2:
        if names:
            raise DataError(f"classes must be left out for regression, got {len(names)} names.")
        return ()
    if len(set(names)) < len(names):
        raise DataError(f"classes must have {len(names)} different names, got {names}.")
    count = len(names) or MAX_CLASSES
    outside = np.flatnonzero((y < 0) | (y >= count))
    if outside.size:
        raise DataError(
            f"y must hold class indices from 0 to {count - 1}, but y[{outside[0]}] is "
            f"{y[outside[0]]}; numpy.unique(y, return_inverse=True) numbers any labels."
        )
    return names or tuple(str(index) for index in range(int(y.max(initial=-1)) + 1))
