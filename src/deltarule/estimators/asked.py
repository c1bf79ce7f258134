"""What was asked for: whether scikit-learn has it too, and on which device to compute it."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import jax
from sklearn.base import is_classifier

from deltarule.network.activations import ACTIVATIONS

Part = tuple[Any, Any, Any]  # inputs, targets, weights or None

SCIKIT_LEARN = ("identity", "logistic", "tanh", "relu")  # its activations
NAMES = {"logistic": "sigmoid"}  # scikit-learn's, where ours are others
HIDDEN = ACTIVATIONS | {theirs: ACTIVATIONS[ours] for theirs, ours in NAMES.items()}
OURS = ("dropout", "l1", "cost", "optimizer", "committee", "callbacks")  # None, 0 or () by default
INSIDE = ("sklearn", "deltarule")  # whose lines tell a user nothing
WHOLE = ("layers", "augment")

_computed_in: list[int] = []  # the process in which JAX was asked first, if it was


def beyond_scikit_learn(net: Any) -> list[str]:
    """Return the names of the parameters that ask for something scikit-learn does not have."""
    names = [name for name in OURS if getattr(net, name)]
    names += [name for name in WHOLE if getattr(net, name) is not None]
    if net.activation not in SCIKIT_LEARN:
        names.append("activation")
    if net.precision == "bfloat16":
        names.append("precision")
    return names


def usual_cost(net: Any) -> str:
    """Return the cost that scikit-learn takes, by our name for it."""
    return "cross_entropy" if is_classifier(net) else "quadratic"


def exclusive(net: Any) -> bool:
    """Return whether a sample is of one class: not for several labels, nor for quantities."""
    return is_classifier(net) and not net._label_binarizer.y_type_.startswith("multilabel")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line that called us, through however many layers of scikit-learn."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_globals["__name__"].split(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)


@contextlib.contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Compute on the device called ``name``, "cpu", "gpu" ...; on JAX's usual one if None.

    Raises ``ValueError`` if there is none of that name, and ``RuntimeError`` in a process that was
    forked off one in which an estimator had computed: JAX would wait for ever there.
    """
    _refuse_forked()
    if name is None:
        yield
        return
    try:
        device = jax.devices(name)[0]
    except RuntimeError:
        there = ", ".join(sorted({each.platform for each in jax.local_devices()}))
        raise ValueError(
            f"device must be one that JAX finds here, {there}; got {name!r}."
        ) from None
    with jax.default_device(device):
        yield


def _refuse_forked() -> None:
    if not _computed_in:
        _computed_in.append(os.getpid())
    if _computed_in[0] != os.getpid():
        raise RuntimeError(
            "this process was forked off one in which JAX had computed, and has none of its "
            "threads; start processes by multiprocessing's 'spawn' or 'forkserver', or by joblib's "
            "loky."
        )
