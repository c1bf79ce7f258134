"""What a network learns from: ``load("digits")`` and the ``Dataset`` it returns.

Importing this loads NumPy only; scikit-learn and the download libraries wait until they are used.
"""

import difflib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from deltarule.data.dataset import Dataset, Splits
from deltarule.data.digits import load_digits
from deltarule.data.idx import read_idx
from deltarule.data.mnist import FASHION_MNIST, MNIST, load_folder, load_published
from deltarule.data.pictures import read_images
from deltarule.data.tables import Columns, read_rows, read_table
from deltarule.errors import DataError

__all__ = [
    "Columns",
    "Dataset",
    "Splits",
    "load",
    "load_inputs",
    "read_images",
    "read_rows",
    "read_table",
]

_NAMED: dict[str, Callable[[float | None], Splits]] = {
    "digits": load_digits,
    "mnist": partial(load_published, MNIST),
    "fashion-mnist": partial(load_published, FASHION_MNIST),
}


def load(source: str | os.PathLike[str], *, validation: float | None = None) -> Splits:
    """Return the training, validation and test parts of ``source``.

    ``source``: "digits" (comes with scikit-learn), "mnist" or "fashion-mnist" (from
    DELTARULE_DATA, else from the cache, else downloaded), or a folder with four IDX files.
    ``validation``: how many training examples to hold out, as a number (int) or a share in [0, 1)
    (float); 0 for none. By default 10 000 of the 60 000 of MNIST, as in Nielsen's book, one sixth
    of a folder, and 180 digits. Which examples go where never depends on the seed of a run.

    Raises ``DataError`` for an unknown name or bad files, ``DownloadError`` if no mirror answers.

    >>> splits = load("digits")
    >>> splits.test
    Dataset('digits': 360 examples of shape (8, 8), uint8, 10 classes)
    """
    if isinstance(source, str) and source in _NAMED:
        return _NAMED[source](validation)
    try:
        path = Path(source)
        os.stat(path)
    except FileNotFoundError:
        raise _unknown(source) from None
    except (OSError, TypeError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"source {source!r} cannot be read: {reason}; check the path.") from error
    if not path.is_dir():
        raise DataError(
            f"source {str(source)!r} must be a folder with four IDX files or one of "
            f"{', '.join(_NAMED)}; this is not a folder."
        )
    return load_folder(path, validation)


def load_inputs(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Return the images of one IDX file, plain or gzipped, as uint8 [n, height, width].

    For prediction, where there are no labels. Raises ``DataError`` as ``load`` does.
    """
    return read_idx(path, expect="images")


def _unknown(source: str | os.PathLike[str]) -> DataError:
    close = difflib.get_close_matches(str(source).lower(), _NAMED, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return DataError(
        f"source {str(source)!r} is neither a known set nor a folder{hint}; "
        f"the sets are {', '.join(_NAMED)}."
    )
