"""Normalisation: layers that hold the numbers of others in range. Read ``contract.py`` first."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network import kernels
from deltarule.network.layers.contract import (
    Arrays,
    HostArrays,
    Rng,
    Shape,
    image,
    positive,
    small,
)


@dataclass(frozen=True)
class BatchNorm:
    """y = scale (x - mean) / sqrt(variance + epsilon) + shift, a channel at a time.

    While training, mean and variance are those of the batch, over all examples and pixels; at
    prediction they are running averages: r <- momentum r + (1 - momentum) r_batch, the variance
    with n - 1 in its denominator (Ioffe and Szegedy 2015, algorithms 1 and 2).
    x is [batch, ..., channels]; scale, shift, mean and variance are [channels].
    """

    takes_activation: ClassVar[bool] = True

    momentum: float = 0.9
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        object.__setattr__(self, "momentum", small("momentum", self.momentum, below=1))
        object.__setattr__(self, "epsilon", small("epsilon", self.epsilon))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Start as the identity: scale 1, shift 0; the running mean is 0, the variance 1."""
        return *_scale_and_shift(rng, shape, running=True), shape

    def apply(
        self,
        params: Arrays,
        state: Arrays,
        x: jax.Array,
        *,
        key: jax.Array,
        train: bool,
        activation: str = "identity",
    ) -> tuple[jax.Array, Arrays]:
        """Return f(y); while training also the running averages after this batch."""
        scale, shift, epsilon = params["scale"], params["shift"], self.epsilon
        if not train:
            mean, variance = state["mean"], state["variance"]
            y = kernels.normalize(x, mean, variance, scale, shift, epsilon, activation)
            return y, state
        y, mean, variance = kernels.batch_norm(x, scale, shift, epsilon, activation)
        n, m = math.prod(x.shape[:-1]), self.momentum
        after = {
            "mean": m * state["mean"] + (1 - m) * mean,
            "variance": m * state["variance"] + (1 - m) * variance * (n / max(n - 1, 1)),
        }
        return y, jax.lax.stop_gradient(after)


@dataclass(frozen=True)
class LayerNorm:
    """y = scale (x - mean) / sqrt(variance + epsilon) + shift, an example at a time.

    Mean and variance are taken over the last axis, the channels: they need no other example, and
    training and prediction are alike (Ba, Kiros and Hinton 2016). scale and shift are [channels].
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        object.__setattr__(self, "epsilon", small("epsilon", self.epsilon))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Start with scale 1 and shift 0."""
        return *_scale_and_shift(rng, shape, running=False), shape

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return y, of the shape of x."""
        x = kernels.wide(x)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(variance + self.epsilon)
        return normal * params["scale"] + params["shift"], state


@dataclass(frozen=True)
class LocalResponseNorm:
    """y_c = x_c / (k + alpha sum over the ``size`` channels around c of x^2)^beta.

    (Krizhevsky, Sutskever and Hinton 2012, section 3.3, whose constants are the defaults.) Some
    libraries divide alpha by ``size``; the paper does not.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        object.__setattr__(self, "size", positive("size", self.size))
        for name in ("alpha", "beta", "k"):
            object.__setattr__(self, name, small(name, getattr(self, name)))

    def init(self, rng: Rng, shape: Shape) -> tuple[HostArrays, HostArrays, Shape]:
        """Nothing to draw; the shape stays."""
        image("LocalResponseNorm", shape)
        return {}, {}, shape

    def apply(
        self, params: Arrays, state: Arrays, x: jax.Array, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Arrays]:
        """Return y, of the shape of x."""
        x = kernels.wide(x)
        channels, before = x.shape[-1], self.size // 2
        square = jnp.square(x)
        around = ((0, 0),) * (x.ndim - 1) + ((before, self.size - 1 - before),)
        square = jnp.pad(square, around)
        total = sum(
            (square[..., i : i + channels] for i in range(self.size)), start=jnp.zeros_like(x)
        )
        return x * (self.k + self.alpha * total) ** -self.beta, state


def _scale_and_shift(rng: Rng, shape: Shape, *, running: bool) -> tuple[HostArrays, HostArrays]:
    """Return scale 1 and shift 0, and as running averages a mean of 0 and a variance of 1."""

    def filled(value: float) -> np.ndarray:
        channels = shape[-1:]
        return np.broadcast_to(value, channels) if rng is None else np.full(channels, value)

    state = {"mean": filled(0.0), "variance": filled(1.0)} if running else {}
    return {"scale": filled(1.0), "shift": filled(0.0)}, state
