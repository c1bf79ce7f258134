"""Initial weights: one table, a formula and a source each.

An initializer draws a weight matrix [fan_out, fan_in], a row per neuron, in float64 on the host.
So one seed gives the same weights on every backend and in every precision. n is the fan-in, the
number of inputs of a neuron; m the fan-out. A variance of about 1/n keeps the weighted inputs z
of the next layer near variance 1, where a sigmoid is not yet flat.
"""

import math
from collections.abc import Callable

import numpy as np

from deltarule.choices import choose

Initializer = Callable[[np.random.Generator, int, int], np.ndarray]


def standard_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw N(0, 1): the start of Nielsen's first chapters, too large for many inputs."""
    return rng.standard_normal((fan_out, fan_in))


def scaled_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw N(0, 1/n): LeCun et al. 1998, equation 16, and Nielsen's third chapter."""
    return rng.standard_normal((fan_out, fan_in)) * math.sqrt(1 / fan_in)


def lecun_uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw from [-sqrt(3/n), sqrt(3/n)], of variance 1/n (LeCun et al. 1998, equation 16)."""
    return _uniform(rng, fan_out, fan_in, 1 / fan_in)


def glorot_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw N(0, 2/(n + m)) (Glorot and Bengio 2010, equation 12)."""
    return rng.standard_normal((fan_out, fan_in)) * math.sqrt(2 / (fan_in + fan_out))


def glorot_uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw from +-sqrt(6/(n + m)), of variance 2/(n + m) (Glorot and Bengio 2010, eq. 16)."""
    return _uniform(rng, fan_out, fan_in, 2 / (fan_in + fan_out))


def he_normal(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw N(0, 2/n), for relu, which lets half the variance through (He et al. 2015, eq. 10)."""
    return rng.standard_normal((fan_out, fan_in)) * math.sqrt(2 / fan_in)


def he_uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw from [-sqrt(6/n), sqrt(6/n)], of variance 2/n (He et al. 2015, equation 10)."""
    return _uniform(rng, fan_out, fan_in, 2 / fan_in)


def orthogonal(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw a random matrix whose rows, or columns if fewer, are orthonormal (Saxe et al. 2013)."""
    tall = rng.standard_normal((max(fan_out, fan_in), min(fan_out, fan_in)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # without this sign the distribution is not uniform
    return q if fan_out >= fan_in else np.ascontiguousarray(q.T)


def small_uniform(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Draw from [-0.05, 0.05], whatever the fan-in (Cireşan et al. 2010, 2012)."""
    return rng.uniform(-0.05, 0.05, (fan_out, fan_in))


def zeros(rng: np.random.Generator, fan_out: int, fan_in: int) -> np.ndarray:
    """Return zeros: for biases and output layers; hidden neurons would all stay alike."""
    return np.zeros((fan_out, fan_in))


def _uniform(rng: np.random.Generator, fan_out: int, fan_in: int, variance: float) -> np.ndarray:
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, (fan_out, fan_in))


INITIALIZERS: dict[str, Initializer] = {
    "standard_normal": standard_normal,
    "scaled_normal": scaled_normal,
    "lecun_normal": scaled_normal,  # one formula, known under both names
    "lecun_uniform": lecun_uniform,
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "orthogonal": orthogonal,
    "small_uniform": small_uniform,
    "zeros": zeros,
}


def initializer(name: str) -> Initializer:
    """Return the initializer called ``name``; a ``ValueError`` lists the names there are.

    >>> initializer("zeros")(np.random.default_rng(0), 1, 2)
    array([[0., 0.]])
    """
    return choose("init", name, INITIALIZERS)
