"""Committees whose members answer what a test says, for the tests of committees."""

from typing import Any

import numpy as np

from deltarule.committee import Committee
from deltarule.network import Activation, Dense, Model, Network

INPUTS = 2


def constant(z: Any, output: str = "softmax", **fields: Any) -> Model:
    """A model that gives the weighted inputs ``z`` [outputs] whatever it is asked."""
    z = np.asarray(z, np.float64)
    network = Network(Dense(len(z)), Activation(output), shape=(INPUTS,))
    params = ({"w": np.zeros((len(z), INPUTS)), "b": z}, {})
    fields = {"classes": tuple("abcdefghij"[: len(z)]), **fields}
    return Model(network, params, ({}, {}), (INPUTS,), **fields)


def sure(*probabilities: float) -> Model:
    """A model that gives these ``probabilities`` whatever it is asked."""
    return constant(np.log(probabilities))


def linear(rng: np.random.Generator, output: str = "softmax", classes: int = 3) -> Model:
    """A model of one layer with weights drawn from ``rng``."""
    network = Network([INPUTS, classes], output=output)
    drawn, state = network.init(rng)
    params = tuple({k: 3 * a.astype(np.float32) for k, a in layer.items()} for layer in drawn)
    return Model(network, params, state, (INPUTS,), tuple("abc"[:classes]))


def panel(*members: Model, **fields: Any) -> Committee:
    return Committee(members, **fields)


def inputs(n: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, INPUTS))
