"""Arrays in NumPy's files: inputs and answers in one ``.npz``, or in two ``.npy``.

Nothing is unpickled, and a file is asked how much it holds before it is read.
"""

import io
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.data.dataset import Dataset, validation_size
from deltarule.data.regular import file_record, whole_file
from deltarule.data.unread import Array
from deltarule.data.whole import PARTS, Rows, Whole
from deltarule.errors import DataError

TEST, VALIDATION = 1 / 5, 1 / 8  # of all examples, and of the rest, where the file has no such part
SPLIT = 0  # chooses the examples of each part; not the seed of a run, so the parts stay the same
MOST_BYTES = 32 << 30
KEYS = "x and y, or x_train, y_train, x_test and y_test"
DAMAGED = (
    OSError, EOFError, ValueError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip  # what NumPy and zipfile raise for bytes that are no arrays


def read_arrays(paths: Sequence[str | os.PathLike[str]]) -> Whole:
    """Return what one .npz holds, or two .npy: inputs, answers.

    An .npz holds ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test`` and perhaps
    ``x_validation``, ``y_validation``. Answers are classes if they are whole numbers, text or truth
    values, and quantities if they are floats. Bytes of images count as numbers from 0 to 1;
    everything else is taken as it is.

    Raises ``DataError`` for a file that is none, or arrays that do not go together.
    """
    arrays, files = _named(paths)
    name = Path(paths[0]).stem
    given = {part: f"_{part}" for part in PARTS if f"x_{part}" in arrays}
    if "x" in arrays and not given:
        given = {"train": ""}
    if "train" not in given:
        raise DataError(f"{Path(paths[0]).name} must hold {KEYS}; it holds {_listed(arrays)}.")
    classes, y = _answers({part: _take(arrays, f"y{tail}") for part, tail in given.items()})
    own = {
        part: Dataset(arrays[f"x{tail}"], y[part], classes, _scale(arrays[f"x{tail}"]), name)
        for part, tail in given.items()
    }
    return Whole(own, files)


def divide_arrays(whole: Whole, validation: float | None) -> dict[str, Rows]:
    """Return the rows of each part: those a file has as they are, others cut from its train.

    What is not there is drawn: a fifth for the test, an eighth of the rest for validation, classes
    in their proportions. Raises ``DataError`` if there are not examples enough.
    """
    full = whole.own["train"]
    labels, rest = full.y, np.arange(len(full))
    rows: dict[str, Rows] = {part: range(len(data)) for part, data in whole.own.items()}
    for part, asked, share in (("test", None, TEST), ("validation", validation, VALIDATION)):
        if part in whole.own:
            if asked is not None:
                raise DataError(f"{part} is in the file already; leave the number out.")
            continue
        k = len(full.classes)
        size = validation_size(asked, len(rest), default=max(k, round(share * len(rest))))
        rest, rows[part] = _cut(rest, size, labels if k else None, part)
    return {**rows, "train": rest}


def load_array(path: str | os.PathLike[str], key: str = "x") -> Array:
    """Return the array in an .npy file, or ``key`` (or else the only one) of an .npz file."""
    if Path(path).suffix.lower() == ".npy":
        return np.asarray(_read(path)[0])
    arrays, _ = _named([path])
    names = [key] if key in arrays else ["x"] if "x" in arrays else list(arrays)
    if len(names) != 1:
        raise DataError(
            f"{Path(path).name} must hold the inputs as {key}; it holds {_listed(arrays)}."
        )
    return arrays[names[0]]


# ---- files


def _named(
    paths: Sequence[str | os.PathLike[str]],
) -> tuple[dict[str, Array], tuple[dict[str, Any], ...]]:
    """Return the arrays in the files by name, and the record of each file."""
    if [Path(path).suffix.lower() for path in paths] == [".npy", ".npy"]:
        (x, of_x), (y, of_y) = (_read(path) for path in paths)
        return {"x": x, "y": y}, (of_x, of_y)
    if len(paths) != 1 or Path(paths[0]).suffix.lower() != ".npz":
        raise DataError(
            "arrays come in one .npz file, or in two .npy files, inputs and answers; got "
            f"{', '.join(Path(path).name for path in paths)}."
        )
    arrays, file = _read(paths[0])
    if not isinstance(arrays, dict):
        raise DataError(f"{Path(paths[0]).name} holds one array without a name; call it .npy.")
    return {name.lower(): array for name, array in arrays.items()}, (file,)


def _read(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Return what is in a file, one array or a dictionary of arrays, and the record of the file.

    The arrays are made of the very bytes that were hashed.
    """
    raw, sha256 = whole_file(path, "a file .npz or .npy", MOST_BYTES)
    name = Path(path).name
    try:
        content = _unpacked(raw, name) if zipfile.is_zipfile(io.BytesIO(raw)) else _array(raw)
    except DataError:
        raise
    except DAMAGED as error:
        raise DataError(
            f"{name} cannot be read as arrays of numbers: {error or type(error).__name__}; write "
            "it with numpy.savez."
        ) from None
    return content, file_record(path, len(raw), sha256)


def _array(raw: bytes) -> Array:
    array: Array = np.load(io.BytesIO(raw), allow_pickle=False)
    return array


def _unpacked(raw: bytes, name: str) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > MOST_BYTES:
        raise DataError(f"{name} unpacks to {size:,} bytes, the most is {MOST_BYTES >> 30} GiB.")
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        return dict(arrays)


def _take(arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays:
        raise DataError(f"the arrays lack {name}; a file holds {KEYS}, not {_listed(arrays)}.")
    return np.asarray(arrays[name])


def _listed(arrays: Mapping[str, Array]) -> str:
    return ", ".join(sorted(arrays)) or "nothing"


# ---- answers and parts


def _answers(raw: dict[str, Array]) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Return the names of the classes, none for regression, and the answers of each part."""
    y = {part: each[:, 0] if each.shape[1:] == (1,) else each for part, each in raw.items()}
    if all(each.dtype.kind == "f" for each in y.values()):
        return (), {part: each.reshape(len(each), -1) for part, each in y.items()}
    if any(each.ndim != 1 or each.dtype.kind not in "biuU" for each in y.values()):
        kinds = ", ".join(f"{each.dtype} {each.shape}" for each in y.values())
        raise DataError(
            f"y must be a class an example (whole numbers or text) or floats, got {kinds}."
        )
    names = np.unique(y["train"])
    for part, each in y.items():
        if (unknown := np.setdiff1d(each, names)).size:
            raise DataError(f"y_{part} holds {unknown[0]}, a class that training never sees.")
    return (
        tuple(map(str, names.tolist())),
        {part: np.searchsorted(names, each).astype(np.int32) for part, each in y.items()},
    )


def _scale(x: Array) -> float:
    return 1 / 255 if x.dtype == np.uint8 and x.ndim > 2 else 1.0


def _cut(rest: Array, size: int, labels: Array | None, part: str) -> tuple[Array, Array]:
    if not size:
        return rest, rest[:0]
    from sklearn.model_selection import train_test_split

    try:
        kept, cut = train_test_split(
            rest, test_size=size, random_state=SPLIT,
            stratify=None if labels is None else labels[rest],
        )  # fmt: skip
    except ValueError as error:
        raise DataError(
            f"{part} cannot take {size} of {len(rest)} examples ({error}); give more examples, or "
            f"x_{part} and y_{part}."
        ) from None
    return np.sort(kept), np.sort(cut)
