"""Examples on their way into a run: cut, weighed, and put on the device as they came."""

import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.learning.program import Examples
from deltarule.network.model import narrowed
from deltarule.seeds import generator


def to_device(data: Dataset, weight: np.ndarray | None, precision: str) -> Examples:
    """Return ``data`` on the device: bytes stay bytes, scaled only inside the compiled step."""
    x = narrowed("x", np.asarray(data.x), precision)
    y = answers_of(data, precision)
    weights = None if weight is None else jnp.asarray(weight)
    return Examples(jnp.asarray(x), jnp.asarray(y), weights, data.scale)


def answers_of(data: Dataset, precision: str, part: np.ndarray | None = None) -> np.ndarray:
    """Return the answers of ``data``, all or a ``part``, as a run of ``precision`` takes them."""
    y = data.y if part is None else data.y[part]
    return y.astype(np.int32) if data.classes else narrowed("y", y, precision)


def cut(data: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Cut a ``share`` of ``data`` off at random, keeping the proportions of the classes.

    Returns (the rest, the share). Raises ``ValueError`` if either has fewer examples than there
    are classes, or a class has a single example.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"validation must be a Dataset or a share of train between 0 and 1, got {share!r}."
        )
    from sklearn.model_selection import train_test_split

    random_state = int(generator(seed, "validation").integers(2**31))
    try:
        rest, held = train_test_split(
            np.arange(len(data)), test_size=share, random_state=random_state,
            stratify=data.y if data.classes else None,
        )  # fmt: skip
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"validation cannot be a share of {share:g} of these {len(data)} examples: {reason}; "
            "give another share, or validation as a Dataset."
        ) from None
    return data[rest], data[held]


def example_weights(
    data: Dataset,
    class_weight: str | tuple[float, ...] | None,
    sample_weight: np.ndarray | None,
) -> np.ndarray | None:
    """Return the weight of each example [n], of mean 1; None if all weigh alike.

    An example of weight 2 counts like two, one of weight 0 not at all. "balanced" gives a class
    of n_c examples the weight n / (k n_c).
    """
    if class_weight is None and sample_weight is None:
        return None
    weight = np.ones(len(data))
    if sample_weight is not None:
        weight = np.asarray(sample_weight, dtype=float)
        if weight.shape != (len(data),):
            raise ValueError(
                f"sample_weight must hold one number for each of the {len(data)} examples, got "
                f"an array of shape {weight.shape}."
            )
        if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
            raise ValueError("sample_weight must be finite, not negative, and not all zero.")
    if class_weight is not None:
        weight = weight * _of_classes(data, class_weight)[data.y]
    if not weight.any():
        raise ValueError("class_weight leaves no example that counts; give a class of train more.")
    normalised: np.ndarray = weight / weight.mean()
    return normalised


def _of_classes(data: Dataset, class_weight: str | tuple[float, ...]) -> np.ndarray:
    if not data.classes:
        raise ValueError("class_weight is for classification; the targets are not classes.")
    if class_weight == "balanced":
        counts = np.bincount(data.y, minlength=len(data.classes))
        return len(data) / (len(counts) * np.maximum(counts, 1))
    weights = np.asarray(class_weight, dtype=float)
    if weights.shape != (len(data.classes),) or not ((weights >= 0) & (weights < np.inf)).all():
        raise ValueError(
            f"class_weight must hold one finite number of at least 0 for each of the "
            f"{len(data.classes)} classes, got {class_weight}."
        )
    return weights
