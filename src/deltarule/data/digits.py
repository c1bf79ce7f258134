"""The 1797 handwritten digits, 8 by 8 pixels, that come with scikit-learn: no download.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998 (its test part).
"""

from importlib.metadata import version

import numpy as np

from deltarule.data.dataset import Dataset, validation_size
from deltarule.data.whole import Rows, Whole
from deltarule.errors import DataError

TEST = 360  # a fifth of 1797
VALIDATION = 180  # a tenth
SPLIT = 0  # chooses the images of each part; not the seed of a run, so the test is everyone's


def read_digits() -> Whole:
    """Return the digits as ``x`` [1797, 8, 8] uint8 in 0..16, in scikit-learn's order."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    data = Dataset(
        x=digits.images.astype(np.uint8),
        y=digits.target.astype(np.int32),
        classes=tuple(str(name) for name in digits.target_names),
        scale=1 / 16,
        name="digits",
    )
    return Whole({"train": data}, versions={"scikit-learn": version("scikit-learn")})


def divide_digits(whole: Whole, validation: float | None) -> dict[str, Rows]:
    """Return the rows of each part, 1257 / 180 / 360 by default.

    Each part has the classes in the proportions of the whole. ``validation`` changes only how
    the 1437 images outside the test set are divided.

    Raises ``DataError`` if ``validation`` leaves less than one image of each class on a side.
    """
    from sklearn.model_selection import train_test_split

    data = whole.own["train"]

    def divide(indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        rest, cut = train_test_split(
            indices, test_size=size, random_state=SPLIT, stratify=data.y[indices]
        )
        return rest, cut

    rest, test = divide(np.arange(len(data)), TEST)
    size, k = validation_size(validation, len(rest), default=VALIDATION), len(data.classes)
    if 0 < size < k or len(rest) - size < k:
        raise DataError(
            f"validation must be 0 or leave an image of each of the {k} classes on both sides "
            f"({k} to {len(rest) - k} images), got {validation}."
        )
    train, held_out = divide(rest, size) if size else (rest, rest[:0])
    return {"train": train, "validation": held_out, "test": test}
