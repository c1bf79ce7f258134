"""What no memory would hold is refused before it is made."""

import os
from typing import Any

import numpy as np

IN_TRAINING = 4  # of each weight: itself, its gradient and up to two moments


def memory() -> int:
    """Return the bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_weights(what: str, weights: int, dtype: Any, remedy: str) -> None:
    """Raise ``ValueError`` if so many weights are too many to train."""
    size = weights * np.dtype(dtype).itemsize * IN_TRAINING
    if size > memory():
        raise ValueError(
            f"{what} have {weights:,} weights, which take {size / 2**30:,.0f} GiB in training, and "
            f"this machine has {memory() / 2**30:,.0f}; {remedy}."
        )


def check_classes(y: Any) -> None:
    """Refuse labels whose table, a column of 8 bytes a class, no memory would hold."""
    n = len(y) if isinstance(y, list | tuple) or getattr(y, "ndim", 0) == 1 else 0
    if 8 * n * n <= memory():  # however many classes there are
        return
    k = len(set(np.asarray(y).tolist()))
    if 8 * n * k > memory():
        raise ValueError(
            f"y holds {k:,} different labels, whose table for {n:,} samples takes "
            f"{8 * n * k / 2**30:,.0f} GiB, and this machine has {memory() / 2**30:,.0f}; are "
            "they quantities, for MLPRegressor?"
        )
