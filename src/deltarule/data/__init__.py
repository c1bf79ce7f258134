"""What a network learns from: ``load("digits")`` and the ``Dataset`` it returns.

Importing this loads NumPy only; scikit-learn and the download libraries wait until they are used.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from deltarule.data.arrays import load_array
from deltarule.data.dataset import Dataset, Splits
from deltarule.data.idx import read_idx
from deltarule.data.pictures import read_images
from deltarule.data.sources import ARRAYS, Reading, Source, open_source
from deltarule.data.tables import Columns, read_rows, read_table

__all__ = [
    "Columns",
    "Dataset",
    "Reading",
    "Source",
    "Splits",
    "load",
    "load_inputs",
    "open_source",
    "read_images",
    "read_rows",
    "read_table",
]


def load(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    validation: float | None = None,
) -> Splits:
    """Return the training, validation and test parts of ``source``.

    ``source``: "digits" (comes with scikit-learn), "mnist" or "fashion-mnist" (from
    DELTARULE_DATA, else from the cache, else downloaded); a folder with four IDX files, or with a
    folder of pictures for each class (``read_images``); an .npz file of arrays, or two
    .npy files, inputs and answers.
    A table needs a target: ``read_table``.
    ``validation``: how many training examples to hold out, as a number (int) or a share in [0, 1)
    (float); 0 for none. By default 10 000 of the 60 000 of MNIST, as in Nielsen's book, one sixth
    of a folder of IDX files, 180 digits, and about a tenth of anything else. Which examples go
    where never depends on the seed of a run.

    Raises ``DataError`` for an unknown name or bad files, ``DownloadError`` if no mirror answers.

    >>> splits = load("digits")
    >>> splits.test
    Dataset('digits': 360 examples of shape (8, 8), uint8, 10 classes)
    """
    return open_source(source, validation=validation).splits


def load_inputs(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Return the inputs in a file without answers: an .npy or .npz file, or IDX images.

    Of an .npz file the array ``x``, or the only one. Raises ``DataError`` as ``load`` does.
    """
    if Path(path).suffix.lower() in ARRAYS:
        return load_array(path)
    return read_idx(path, expect="images")
