"""MNIST, Fashion-MNIST, and any folder with four IDX files named as theirs.

Sources: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86 (1998); H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST",
arXiv:1708.07747 (2017).
"""

import hashlib
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deltarule.data.dataset import Dataset, validation_size
from deltarule.data.download import Collection, RemoteFile, fetch
from deltarule.data.idx import read_recorded
from deltarule.data.whole import Rows, Whole
from deltarule.errors import DataError

STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
ENDINGS = ("idx3-ubyte", "idx1-ubyte")  # of images, of labels
VALIDATION_SHARE = 6  # one in six: the book's 10 000 of 60 000


@dataclass(frozen=True)
class Published:
    """A set that is the same for everyone: where it is, its classes, the content of its files."""

    collection: Collection
    classes: tuple[str, ...]
    md5: tuple[str, ...] = ()  # of the four unpacked files in the order of STEMS, if published
    bare: bool = False  # also looked for in DELTARULE_DATA itself, not only in its folder there


MNIST = Published(
    collection=Collection(
        name="mnist",
        licence="Creative Commons Attribution-ShareAlike 3.0 (Y. LeCun and C. Cortes)",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        files=(
            RemoteFile(
                "train-images-idx3-ubyte.gz",
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            RemoteFile(
                "train-labels-idx1-ubyte.gz",
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            RemoteFile(
                "t10k-images-idx3-ubyte.gz",
                1648877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            RemoteFile(
                "t10k-labels-idx1-ubyte.gz",
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    classes=tuple("0123456789"),
    md5=(
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    bare=True,
)

FASHION_MNIST = Published(
    collection=Collection(
        name="fashion-mnist",
        licence="MIT (Zalando SE)",
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        files=(
            RemoteFile(
                "train-images-idx3-ubyte.gz",
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            RemoteFile(
                "train-labels-idx1-ubyte.gz",
                29515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            RemoteFile(
                "t10k-images-idx3-ubyte.gz",
                4422102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            RemoteFile(
                "t10k-labels-idx1-ubyte.gz",
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
    ),
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


def read_published(source: Published) -> Whole:
    """Return a published set, downloaded to the cache unless DELTARULE_DATA holds it.

    Raises ``DataError`` if the files found are not the published ones, ``DownloadError`` if none
    are found and no mirror gives them.
    """
    name = source.collection.name
    folder = _given_folder(name, bare=source.bare) or fetch(source.collection)
    paths = _four_files(folder)
    arrays, files = _read(paths)
    for path, array, expected in zip(paths, arrays, source.md5, strict=False):
        if (found := _content_md5(array)) != expected:
            raise DataError(
                f"{path} is not the file published as {name}: the MD5 of its content is {found}, "
                f"expected {expected}; to use other data, give the path of its folder."
            )
    return _whole(arrays, files, source.classes, name)


def read_folder(folder: Path) -> Whole:
    """Return the set of the four IDX files in ``folder``, plain or gzipped.

    The names are those of MNIST, with "-idx3-ubyte" or ".idx3-ubyte". Classes are those of the
    training labels, called by their numbers.

    Raises ``DataError`` if a file is missing or bad, or if the files contradict each other.
    """
    arrays, files = _read(_four_files(folder))
    classes = tuple(str(label) for label in range(int(arrays[1].max()) + 1))
    return _whole(arrays, files, classes, folder.absolute().name)


def divide_images(whole: Whole, validation: float | None) -> dict[str, Rows]:
    """Return the rows of each part: validation is the end of the training set, as in the book.

    Raises ``DataError`` if that end holds all of a class.
    """
    full, test = whole.own["train"], whole.own["test"]
    n = len(full) - validation_size(validation, len(full), default=len(full) // VALIDATION_SHARE)
    if unseen := sorted({*full.y[n:].tolist()} - {*full.y[:n].tolist()}):
        raise DataError(
            f"validation takes the last {len(full) - n} training examples of {full.name}, and with "
            f"them all of class {full.classes[unseen[0]]!r}; shuffle the files or pass "
            "validation=0."
        )
    return {"train": range(n), "validation": range(n, len(full)), "test": range(len(test))}


def has_idx_files(folder: Path) -> bool:
    """Say whether ``folder`` holds any of the four files."""
    return any(_find(folder))


def _given_folder(name: str, *, bare: bool) -> Path | None:
    """Return the folder under DELTARULE_DATA with files of the set ``name``, if there is one."""
    data = os.environ.get("DELTARULE_DATA")
    if not data:
        return None
    candidates = [Path(data, name), Path(data)] if bare else [Path(data, name)]
    return next((each for each in candidates if os.path.isdir(each) and any(_find(each))), None)


def _find(folder: Path) -> list[Path | None]:
    """Return the file for each of STEMS, None where there is none."""
    try:
        present = set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}; check the folder.") from error
    found: list[Path | None] = []
    for stem, ending in zip(STEMS, ENDINGS * 2, strict=True):
        names = [f"{stem}{dot}{ending}{packed}" for dot in "-." for packed in (".gz", "")]
        paths = [folder / name for name in names if name in present]
        found.append(next((path for path in paths if not path.is_dir()), None))
    return found


def _four_files(folder: Path) -> list[Path]:
    paths = _find(folder)
    missing = [
        f"{stem}-{ending}.gz"
        for stem, ending, path in zip(STEMS, ENDINGS * 2, paths, strict=True)
        if path is None
    ]
    if missing:
        raise DataError(
            f"{folder} must hold four IDX files, plain or gzipped, but it lacks "
            f"{', '.join(missing)}; add what is missing or give another folder."
        )
    return [path for path in paths if path is not None]


def _read(paths: Sequence[Path]) -> tuple[list[npt.NDArray[Any]], tuple[dict[str, Any], ...]]:
    """Return training images and labels, test images and labels; and the record of each file."""
    arrays, files = [], []
    for images, labels in (paths[:2], paths[2:]):
        (x, of_x), (y, of_y) = read_recorded(images, "images"), read_recorded(labels, "labels")
        if len(x) != len(y):
            raise DataError(
                f"{images} holds {len(x)} images, but {labels} {len(y)} labels; "
                "the two must come from the same set."
            )
        arrays += [x, y]
        files += [of_x, of_y]
    return arrays, tuple(files)


def _content_md5(array: npt.NDArray[np.uint8]) -> str:
    """Return the MD5 of the unpacked IDX file that ``array`` came from, however it was packed."""
    header = bytes((0, 0, 0x08, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    digest = hashlib.md5(header, usedforsecurity=False)
    digest.update(array.data)
    return digest.hexdigest()


def _whole(
    arrays: Sequence[npt.NDArray[Any]],
    files: tuple[dict[str, Any], ...],
    classes: tuple[str, ...],
    name: str,
) -> Whole:
    train, test = (
        Dataset(x, y.astype(np.int32), classes, scale=1 / 255, name=name)
        for x, y in (arrays[:2], arrays[2:])
    )
    return Whole({"train": train, "test": test}, files)
