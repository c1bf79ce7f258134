"""Illnesses of layers: units at their limits, units that never answer, gradients out of balance."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.learning.examples import to_device
from deltarule.learning.health.case import ILL, SUSPICIOUS, Case, Finding, percent
from deltarule.learning.measure import measure
from deltarule.learning.program import Examples, Program
from deltarule.network import kernels
from deltarule.network.layers.blocks import Concat, Residual, inside
from deltarule.network.layers.chain import Layers
from deltarule.network.layers.contract import Arrays, Layer, is_weight
from deltarule.network.layers.dense import Activation
from deltarule.network.model import Model, narrowed, scaled
from deltarule.network.network import Params, images_at_once

SATURATED, DEAD = "saturated units", "dead ReLUs"
VANISHING, EXPLODING = "vanishing gradients", "exploding gradients"

LIMITS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "lecun_tanh": (-1.7159, 1.7159)}
MARGIN = 0.01  # of the range: nearer to a limit the slope is below 4 % of its largest
SATURATED_SHARES = 0.5, 0.8  # of the outputs of a layer: suspicious, ill
DEAD_SHARES = 0.2, 0.5  # of the units of a layer: suspicious, ill; a few die in healthy networks
RATIOS = 1e2, 1e3  # between gradients of layers: suspicious, ill; one rate cannot serve both
LARGEST_GRADIENT = 100.0  # lengths of the weights: at a rate of 0.01 a step replaces them
CHUNK = 500  # examples passed through together, fewer images
BATCHES, BATCH = 20, 10  # gradients of small batches: that of all data vanishes at a minimum


def reaching(model: Model, data: Dataset) -> np.ndarray:
    """Return what of ``data`` reaches the first layer with weights [n, ...]."""
    first = next((i for i, layer in enumerate(model.params) if any(map(is_weight, layer))), 0)
    before, parts = model.network.layers[:first], []
    with jax.enable_x64(model.dtype == np.float64):
        for x in _chunks(model, data):
            for _, _, given in _walk(before, *_arrays(model), x):
                x = given
            parts.append(np.asarray(x))
    return np.concatenate(parts)


def units(model: Model, data: Dataset) -> list[Finding]:
    """Find hidden layers whose units are at their limits, or never above zero, for ``data``."""
    at_limit: dict[str, float] = {}
    alive: dict[str, np.ndarray] = {}
    hidden = model.network.layers
    if isinstance(hidden[-1], Activation):
        hidden = hidden[:-1]  # outputs may be as sure as they like
    with jax.enable_x64(model.dtype == np.float64):
        for x in _chunks(model, data):
            for path, layer, y in _walk(hidden, *_arrays(model), x):
                if not isinstance(layer, Activation):
                    continue
                place, flat = f"layer {path} ({layer.name})", y.reshape(-1, y.shape[-1])
                if layer.name in LIMITS:
                    share = _share_at_limits(flat, *LIMITS[layer.name])
                    at_limit[place] = at_limit.get(place, 0.0) + share * len(x) / len(data)
                if layer.name == "relu":
                    lives = np.asarray((flat > 0).any(axis=0))
                    alive[place] = alive.get(place, np.zeros_like(lives)) | lives
    return [*_saturated(at_limit, len(data)), *_dead(alive, len(data))]


def _share_at_limits(outputs: jax.Array, low: float, high: float) -> float:
    margin = MARGIN * (high - low)
    return float(((outputs < low + margin) | (outputs > high - margin)).mean())


def _saturated(shares: dict[str, float], n: int) -> Iterator[Finding]:
    place = max(shares, key=lambda each: shares[each], default="")
    if not place or shares[place] < SATURATED_SHARES[0]:
        return
    yield Finding(
        SATURATED,
        ILL if shares[place] >= SATURATED_SHARES[1] else SUSPICIOUS,
        f"In {place} {percent(shares[place])} of the outputs for {n:,} training examples lie "
        f"within {percent(MARGIN)} of the range from a limit, where nearly no gradient passes.",
        "Start with smaller weights (scaled_normal), scale the inputs, lower the learning rate, "
        "or take relu.",
    )


def _dead(alive: dict[str, np.ndarray], n: int) -> Iterator[Finding]:
    place = min(alive, key=lambda each: alive[each].mean(), default="")
    if not place or (share := 1 - alive[place].mean()) < DEAD_SHARES[0]:
        return
    dead = int((~alive[place]).sum())
    yield Finding(
        DEAD,
        ILL if share >= DEAD_SHARES[1] else SUSPICIOUS,
        f"In {place} {dead} of {alive[place].size} units are 0 for every one of {n:,} training "
        "examples.",
        "Lower the learning rate, start with he_normal weights and biases of zero, or take "
        "leaky_relu.",
    )


def gradients(case: Case) -> list[Finding]:
    """Compare the lengths of the layers' gradients, each relative to that of its weights."""
    found = relative_gradients(case)
    if len(found) == 0 or not max(found.values()) > 0:
        return []
    places, values = list(found), np.array(list(found.values()))
    low, high = int(values.argmin()), int(values.argmax())
    ratio = float(values[high] / values[low]) if values[low] > 0 else np.inf
    huge = values[high] > LARGEST_GRADIENT
    if ratio < RATIOS[0] and not huge:
        return []
    name = VANISHING if low < high and not huge else EXPLODING
    apart = f"that is {ratio:.2g} times" if np.isfinite(ratio) else "there is none"
    sentence = (
        f"Relative to its weights the gradient of layer {places[high]} is {values[high]:.2g}, "
        f"{apart} that of layer {places[low]}."
    )
    remedies = {
        VANISHING: "Take relu with he_normal weights, batch norm or residual layers, or fewer "
        "layers.",
        EXPLODING: "Clip the gradients (clip=1), start with smaller weights, or take batch norm.",
    }
    severity = ILL if huge or ratio >= RATIOS[1] else SUSPICIOUS
    return [Finding(name, severity, sentence, remedies[name])]


def relative_gradients(case: Case) -> dict[str, float]:
    """Return |dC/dw| / |w| of each layer: the root mean square over small batches.

    Times the learning rate it is the share of their length by which a step changes the weights.
    """
    model, recipe = case.model, case.recipe
    program = Program(
        model.network, recipe.cost, "sgd", clip=False, batch_size=BATCH,
        outputs=model.network.output_shape(case.train.shape)[-1], precision=model.dtype.name,
    )  # fmt: skip
    data = case.few[: BATCHES * BATCH]
    with jax.enable_x64(model.dtype == np.float64):
        params, state = jax.tree.map(jnp.asarray, (model.params, model.state))
        examples = to_device(data, None, model.dtype.name)
        squares = _squares(program, params, state, examples, min(BATCH, len(data)))
    lengths = {place: float(np.square(w).sum()) for place, w in _weights(model.params).items()}
    return {
        place: math.sqrt(float(squares[place]) / length)
        for place, length in lengths.items()
        if length > 0
    }


@partial(jax.jit, static_argnums=(0, 4))
def _squares(
    program: Program, params: Params, state: Params, examples: Examples, size: int
) -> dict[str, jax.Array]:
    """Return the mean square of each weight array's gradient over batches of ``size``."""

    def of_batch(first: jax.Array) -> dict[str, jax.Array]:
        batch = examples.take(first + jnp.arange(size))
        slopes = jax.grad(lambda p: measure(program, p, state, batch, 0.0)[0] / size)(params)
        return {place: jnp.square(slope).sum() for place, slope in _weights(slopes).items()}

    every = jax.lax.map(of_batch, jnp.arange(len(examples.x) // size) * size)
    return {place: each.mean() for place, each in every.items()}


def _weights(params: Any) -> dict[str, Any]:
    """Return the arrays of weights by the place of their layer, in order."""
    return {
        f"{number}.{name}".removesuffix(".w"): array
        for number, layer in enumerate(params, 1)
        for name, array in layer.items()
        if is_weight(name)
    }


def _chunks(model: Model, data: Dataset) -> Iterator[jax.Array]:
    """Yield ``data`` as the network takes it, some examples at a time."""
    most = images_at_once(model.network, model.shape) or CHUNK
    shape = model.network.shape or model.shape
    for first in range(0, len(data), most):
        x = narrowed("x", data.x[first : first + most], model.dtype)
        yield scaled(jnp.asarray(x.reshape(len(x), *shape)), data.scale, model.dtype)


def _arrays(model: Model) -> tuple[Arrays, Arrays]:
    """Return params and state, each in one dictionary by path: "0.w" of the first layer."""
    params, state = (
        {
            f"{position}.{name}": jnp.asarray(array)
            for position, arrays in enumerate(layers)
            for name, array in arrays.items()
        }
        for layers in (model.params, model.state)
    )
    return params, state


def _walk(
    layers: Layers, params: Arrays, state: Arrays, x: jax.Array, prefix: str = "", path: str = ""
) -> Iterator[tuple[str, Layer, jax.Array]]:
    """Yield the place of each layer, those inside others too, the layer, and its outputs for x."""
    key = jax.random.key(0)  # drawn from by no one
    for position, layer in enumerate(layers):
        below = f"{prefix}{position}."
        mine, remembered = _below(params, below), _below(state, below)
        place = f"{path}{position + 1}"
        for inner, chain in zip(_prefixes(layer), inside(layer), strict=False):
            yield from _walk(chain, mine, remembered, x, inner, f"{place}.{inner}")
        x, _ = layer.apply(mine, remembered, x, key=key, train=False)
        x = kernels.wide(x)
        yield place, layer, x


def _prefixes(layer: Layer) -> tuple[str, ...]:
    """Return where in its dictionary the arrays of each chain ``inside`` a layer begin."""
    if isinstance(layer, Concat):
        return tuple(f"{number}." for number in range(len(layer.branches)))
    return ("", "shortcut.") if isinstance(layer, Residual) else ("",)


def _below(arrays: Arrays, path: str) -> Arrays:
    return {name[len(path) :]: array for name, array in arrays.items() if name.startswith(path)}
