"""Layers that prepare the inputs: Standardize and Decorrelate. Read ``contract.py`` first.

Both stand before all other layers and learn nothing step by step: their state is measured once on
the training inputs, before the first step (``measured``), and stays. It is stored with the model,
so that raw inputs are prepared alike at prediction. (LeCun, Bottou, Orr and Müller 1998, section
4.3; docs/preparation.md.)
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.choices import choose
from deltarule.network.layers.contract import (
    Arrays,
    HostArrays,
    Layer,
    Rng,
    Shape,
    image,
    positive,
)

Keep = int | str  # a number of components, or "all"

PER = ("input", "channel")
ALL = "all"
CONSTANT = 1e-12  # what is left of the values of a constant input when their mean is rounded off
FLOOR = 1e-6  # of the largest variance: directions with less are hardly more than rounding
MOST_INPUTS = 1 << 13  # their covariance matrix takes half a gigabyte
CHUNK_BYTES = 1 << 23  # of inputs in float64, while they are measured


@dataclass(frozen=True)
class Standardize:
    """y = (x - mean) scale: every input gets mean 0 and mean square 1 over the training set.

    mean = 1/P sum_p x^p and scale = 1 / sqrt(C) with C = 1/P sum_p (x^p - mean)^2 (LeCun et al.
    1998, equation 13). An input that never changes is only moved to 0: its scale stays 1.
    ``per="channel"`` takes one mean and one C for all pixels of a channel, so that the pixels of
    an image keep their proportions. x is [batch, ...]; mean and scale have the shape of one input,
    or are [channels].

    Raises ``ValueError`` for another ``per``, and per channel for inputs that are no images.

    >>> Standardize().measure([np.array([[1.0, 10], [3, 10]])])["scale"].tolist()
    [1.0, 1.0]
    """

    per: str = "input"

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        choose("per", self.per, dict.fromkeys(PER))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Start as the identity: mean 0, scale 1; the shape stays."""
        if self.per == "channel":
            image("Standardize per channel", shape)
        each = shape[-1:] if self.per == "channel" else shape
        return {}, {"mean": _filled(rng, 0.0, each), "scale": _filled(rng, 1.0, each)}, shape

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return y, of the shape of x; the state stays as it was measured."""
        return (x - state["mean"]) * state["scale"], state

    def measure(self, x: Iterable[np.ndarray]) -> HostArrays:
        """Return mean and scale of the examples in ``x``: arrays [n, ...], gone through twice."""
        mean = _mean(map(self._rows, x))
        deviation = np.sqrt(_mean((self._rows(each) - mean) ** 2 for each in x))
        constant = deviation <= CONSTANT * np.abs(mean)
        return {"mean": mean, "scale": 1 / np.where(constant, 1.0, deviation)}

    def _rows(self, x: np.ndarray) -> np.ndarray:
        """Return ``x`` with all that shares a mean along the first axis."""
        return x.reshape(-1, x.shape[-1]) if self.per == "channel" else x


@dataclass(frozen=True)
class Decorrelate:
    """y = V (x - mean): the principal components of the inputs, each with mean square 1.

    The rows of V are the eigenvectors of the covariance matrix 1/P sum_p (x^p - mean)(x^p - mean)'
    of the training set, the largest eigenvalue first, each divided by the square root of its
    eigenvalue: over the training set the y are uncorrelated (LeCun et al. 1998, figure 3).
    Eigenvalues below 1e-6 of the largest count as so much, and their components stay smaller.
    ``keep`` is how many components to keep, or "all". x is [batch, ...], its axes laid in one row;
    mean is [inputs], V ("matrix") [keep, inputs].

    Raises ``ValueError`` if ``keep`` is no such number or larger than the number of inputs, and
    for more than 8,192 inputs, whose matrix would not be worked out in reasonable time.

    >>> x = np.array([[2.0, 1], [-2, -1], [1, 2], [-1, -2]])  # along the diagonal most of all
    >>> V = Decorrelate().measure([x])["matrix"]
    >>> np.round(x @ V.T, 6).tolist()
    [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]
    """

    keep: Keep = ALL

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        if isinstance(self.keep, str) and self.keep == ALL:
            return
        if isinstance(self.keep, str):
            raise ValueError(f"keep must be a number of components or 'all', got {self.keep!r}.")
        object.__setattr__(self, "keep", positive("keep", self.keep))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Start as the identity: mean 0, V with ones on its diagonal; the axes become one."""
        inputs = math.prod(shape)
        if inputs > MOST_INPUTS:
            raise ValueError(
                f"Decorrelate works on at most {MOST_INPUTS:,} inputs, got {inputs:,}; take "
                "Standardize, or make the images smaller."
            )
        kept = self._kept(inputs)
        matrix = _filled(rng, 0.0, (kept, inputs)) if rng is None else np.eye(kept, inputs)
        return {}, {"mean": _filled(rng, 0.0, (inputs,)), "matrix": matrix}, (kept,)

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return y [batch, keep]; the state stays as it was measured."""
        centred = x.reshape(len(x), -1) - state["mean"]
        # Differences of large numbers: in the full precision of the run whatever the products of
        # the layers after it are worked out in.
        return jnp.matmul(centred, state["matrix"].T, precision="highest"), state

    def measure(self, x: Iterable[np.ndarray]) -> HostArrays:
        """Return mean and V of the examples in ``x``: arrays [n, ...], gone through twice."""
        mean = _mean(each.reshape(len(each), -1) for each in x)
        products = np.zeros((mean.size, mean.size))
        n = 0
        for each in x:
            centred = each.reshape(len(each), -1) - mean
            products += centred.T @ centred
            n += len(each)
        variances, vectors = np.linalg.eigh(products / n)
        variances, rows = variances[::-1], vectors.T[::-1]  # the largest first
        # An eigenvector has two directions: its first large entry is positive on every machine.
        large = np.abs(rows) > np.abs(rows).max(axis=1, keepdims=True) / 2
        first = large.argmax(axis=1)[:, None]
        rows = rows * np.sign(np.take_along_axis(rows, first, axis=1))
        deviations = np.sqrt(np.maximum(variances, FLOOR * variances[0]))
        if not deviations[0] > CONSTANT * np.abs(mean).max():
            deviations = np.ones_like(deviations)  # every example is the same
        return {"mean": mean, "matrix": (rows / deviations[:, None])[: self._kept(mean.size)]}

    def _kept(self, inputs: int) -> int:
        if isinstance(self.keep, str):
            return inputs
        if self.keep > inputs:
            raise ValueError(
                f"keep must be at most the {inputs} inputs there are, got {self.keep}; leave it "
                "out to keep all components."
            )
        return self.keep


class InputLayer(Layer, Protocol):
    """A layer that is measured on the training inputs before the first step."""

    def measure(self, x: Iterable[np.ndarray]) -> HostArrays:
        """Return the state for training inputs ``x``, as they reach the layer, in float64."""


INPUTS: dict[str, type[InputLayer]] = {"standardize": Standardize, "decorrelate": Decorrelate}


def is_input_layer(layer: Layer) -> TypeGuard[InputLayer]:
    """Say whether ``layer`` is measured on the training inputs."""
    return type(layer) in INPUTS.values()


def front(layers: Sequence[Layer]) -> tuple[InputLayer, ...]:
    """Return the layers that are measured: those in front of all that learn.

    >>> front((Standardize(), Decorrelate(5)))
    (Standardize(per='input'), Decorrelate(keep=5))
    """
    leading: list[InputLayer] = []
    for layer in layers:
        if not is_input_layer(layer):
            break
        leading.append(layer)
    return tuple(leading)


def measured(layers: Sequence[InputLayer], x: np.ndarray, scale: float) -> tuple[HostArrays, ...]:
    """Return the state of each of ``layers`` for raw training inputs x [n, ...], in float64.

    Each is measured on what the ones before it make of ``x * scale``, a chunk at a time.

    >>> x = np.array([[0], [200]], np.uint8)
    >>> [float(state["mean"][0]) for state in measured((Standardize(), Standardize()), x, 0.5)]
    [50.0, 0.0]
    """
    states: list[HostArrays] = []
    for layer in layers:
        before = list(zip(layers, states, strict=False))
        states.append(layer.measure(_Chunks(x, scale, before)))
    return tuple(states)


@dataclass(frozen=True)
class _Chunks:
    """What reaches a layer behind those in ``before``, as often as it is asked for."""

    x: np.ndarray
    scale: float
    before: Sequence[tuple[Layer, HostArrays]]

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = max(1, CHUNK_BYTES // (8 * self.x[0].size))
        for first in range(0, len(self.x), rows):
            seen = self.x[first : first + rows].astype(np.float64) * self.scale
            for layer, state in self.before:
                seen = _applied(layer, state, seen)
            yield seen


def _applied(layer: Layer, state: HostArrays, x: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        on_device = {name: jnp.asarray(array) for name, array in state.items()}
        key = jax.random.key(0)  # drawn from by no one
        y, _ = layer.apply({}, on_device, jnp.asarray(x), key=key, train=False)
        return np.asarray(y)


def _mean(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean over the first axis of all parts [n, ...] together."""
    total, n = np.zeros(()), 0
    for part in parts:
        total = total + part.sum(axis=0)
        n += len(part)
    return total / n


def _filled(rng: Rng, value: float, shape: Shape) -> np.ndarray:
    return np.broadcast_to(value, shape) if rng is None else np.full(shape, value)
