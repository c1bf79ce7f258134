"""Arrays in NumPy's files: inputs and answers in one ``.npz``, or in two ``.npy``.

Nothing is unpickled, and a file is asked how much it holds before it is read.
"""

import hashlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deltarule.data.dataset import Dataset, Splits, validation_size
from deltarule.errors import DataError

Array = npt.NDArray[Any]

PARTS = ("train", "validation", "test")
TEST, VALIDATION = 1 / 5, 1 / 8  # of all examples, and of the rest, where the file has no such part
SPLIT = 0  # chooses the examples of each part; not the seed of a run, so the parts stay the same
MOST_BYTES = 32 << 30
KEYS = "x and y, or x_train, y_train, x_test and y_test"


def load_arrays(
    paths: Sequence[str | os.PathLike[str]], validation: float | None = None
) -> tuple[Splits, dict[str, list[int]]]:
    """Return the three parts of one .npz, or of two .npy (inputs, answers), and their rows.

    An .npz holds ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test``, ``y_test`` and perhaps
    ``x_validation``, ``y_validation``. What is not there is drawn: a fifth for the test, an eighth
    of the rest for validation, classes in their proportions. Answers are classes if they are
    whole numbers, text or truth values, and quantities if they are floats. Bytes of images count
    as numbers from 0 to 1; everything else is taken as it is.

    Raises ``DataError`` for a file that is none, or arrays that do not go together.
    """
    arrays = _named(paths)
    name = Path(paths[0]).stem
    given = {part: f"_{part}" for part in PARTS if f"x_{part}" in arrays}
    if "x" in arrays and not given:
        given = {"train": ""}
    if "train" not in given:
        raise DataError(f"{Path(paths[0]).name} must hold {KEYS}; it holds {_listed(arrays)}.")
    answers = _answers({part: _take(arrays, f"y{tail}") for part, tail in given.items()})
    classes, y = answers
    whole = {
        part: Dataset(arrays[f"x{tail}"], y[part], classes, _scale(arrays[f"x{tail}"]), name)
        for part, tail in given.items()
    }
    rows = _divided(whole, validation)
    parts = {part: whole.get(part, whole["train"])[rows[part]] for part in PARTS}
    return Splits(**parts), {part: each.tolist() for part, each in rows.items()}


def load_array(path: str | os.PathLike[str], key: str = "x") -> Array:
    """Return the array in an .npy file, or ``key`` (or else the only one) of an .npz file."""
    if Path(path).suffix.lower() == ".npy":
        return np.asarray(_read(path))
    arrays = _named([path])
    names = [key] if key in arrays else ["x"] if "x" in arrays else list(arrays)
    if len(names) != 1:
        raise DataError(
            f"{Path(path).name} must hold the inputs as {key}; it holds {_listed(arrays)}."
        )
    return arrays[names[0]]


def digest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return name, size and SHA-256 of a file, for the record of a run."""
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": Path(path).name, "bytes": os.path.getsize(path), "sha256": sha256}


# ---- files


def _named(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Array]:
    if [Path(path).suffix.lower() for path in paths] == [".npy", ".npy"]:
        return {"x": _read(paths[0]), "y": _read(paths[1])}
    if len(paths) != 1 or Path(paths[0]).suffix.lower() != ".npz":
        raise DataError(
            "arrays come in one .npz file, or in two .npy files, inputs and answers; got "
            f"{', '.join(Path(path).name for path in paths)}."
        )
    arrays = _read(paths[0])
    return {name.lower(): array for name, array in arrays.items()}


def _read(path: str | os.PathLike[str]) -> Any:
    """Return what is in a file: one array, or a dictionary of arrays."""
    name = Path(path).name
    try:
        if zipfile.is_zipfile(path):
            return _unpacked(path)
        if os.path.getsize(path) > MOST_BYTES:
            raise DataError(f"{name} is longer than the most, {MOST_BYTES >> 30} GiB.")
        with open(path, "rb") as file:
            return np.load(file, allow_pickle=False)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{name} cannot be read as arrays of numbers: {reason}; write it with numpy.savez."
        ) from None


def _unpacked(path: str | os.PathLike[str]) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > MOST_BYTES:
        raise DataError(
            f"{Path(path).name} unpacks to {size:,} bytes, the most is {MOST_BYTES >> 30} GiB."
        )
    with np.load(path, allow_pickle=False) as arrays:
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


def _divided(whole: Mapping[str, Dataset], validation: float | None) -> dict[str, Array]:
    """Return the rows of each part: those a file has as they are, others cut from its train."""
    labels, rest = whole["train"].y, np.arange(len(whole["train"]))
    rows = {part: np.arange(len(data)) for part, data in whole.items()}
    for part, asked, share in (("test", None, TEST), ("validation", validation, VALIDATION)):
        if part in whole:
            if asked is not None:
                raise DataError(f"{part} is in the file already; leave the number out.")
            continue
        k = len(whole["train"].classes)
        size = validation_size(asked, len(rest), default=max(k, round(share * len(rest))))
        rest, rows[part] = _cut(rest, size, labels if k else None, part)
    return {**rows, "train": rest}


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
