"""The formulas the engine is held against, in NumPy and SciPy, written without looking at it.

``ACTIVATIONS`` is the table of activations that the laws inherit by; ``cost`` holds the costs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
from scipy import special

from deltarule.textbook import gradcheck

SMOOTH, PIECEWISE_LINEAR = 1e-7, 1e-6  # largest relative error of a gradient


@dataclass(frozen=True)
class Formula:
    """An activation: its value, its range, and where central differences mean little."""

    value: Callable[[np.ndarray], np.ndarray]
    low: float = -inf
    high: float = inf
    rises: bool = True  # nowhere falls
    kink: bool = False  # at 0, in the slope or in the slope's slope
    tolerance: float = SMOOTH


def _relu(z: np.ndarray) -> np.ndarray:
    return np.where(z > 0, z, 0.0)


ACTIVATIONS = {
    "sigmoid": Formula(special.expit, 0, 1),
    "tanh": Formula(lambda z: 1 - 2 * special.expit(-2 * z), -1, 1),
    "lecun_tanh": Formula(lambda z: 1.7159 * np.tanh(2 * z / 3), -1.7159, 1.7159),
    "relu": Formula(_relu, 0, kink=True, tolerance=PIECEWISE_LINEAR),
    "leaky_relu": Formula(
        lambda z: np.where(z > 0, z, z / 100), kink=True, tolerance=PIECEWISE_LINEAR
    ),
    "elu": Formula(lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), -1, kink=True),
    "gelu": Formula(lambda z: z * special.ndtr(z), -0.17, rises=False),
    "softplus": Formula(lambda z: np.logaddexp(0, z), 0),
    "softmax": Formula(lambda z: special.softmax(z, axis=-1), 0, 1, rises=False),
    "identity": Formula(lambda z: z),
}


def cost(name: str, output: str, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cost of each example, as the book writes it: from the outputs a."""
    a = ACTIVATIONS[output].value(z)
    if name == "quadratic":
        return np.sum((a - y) ** 2, axis=-1) / 2
    if output == "sigmoid":
        not_a = special.expit(-z)  # 1 - a would round
        return -np.sum(y * np.log(a) + (1 - y) * np.log(not_a), axis=-1)
    return -np.sum(y * np.log(a), axis=-1)


def off_the_kink(z: np.ndarray, distance: float = 0.05) -> np.ndarray:
    """Return ``z`` with every number near 0 pushed away from it."""
    return z + distance * np.where(z < 0, -1, 1)


def largest_error(f: Callable, parameters: list, gradients: list) -> float:
    """Return the largest relative error of ``gradients`` against central differences of ``f``."""
    return gradcheck(f, parameters, gradients).error
