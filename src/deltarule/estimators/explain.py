"""One step of gradient descent, layer by layer: the quantities of the four equations.

    delta of the output    f'(z) dC/da            delta below    W' delta f'(z)
    gradient of a bias     the mean of delta      of a weight    the mean of inputs x delta

They hold for dense layers (``textbook/network.py`` writes them out); here every layer's delta and
gradients come from one backward pass of JAX, so that any architecture can be explained.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.estimators.models import Explained
from deltarule.network import Activation, Dense, kernels
from deltarule.network.layers.contract import is_weight


@dataclass(frozen=True, eq=False)
class LayerStep:
    """What one step works out in a layer, for n examples.

    Args:
        layer: the layer, with the activation after it: "Dense(30), sigmoid".
        inputs: [n, ...] the a of the layer below.
        z: [n, ...] what the layer makes of them, for a dense layer the weighted inputs.
        a: [n, ...] its activations f(z).
        delta: [n, ...] dC/dz, C the cost of each example by itself.
        gradients: by name of the layer's arrays, of the mean cost with its penalties; those of
            dense weights "w" are [inputs, units], as in ``coefs_``. Empty where nothing is learned.
    """

    layer: str
    inputs: np.ndarray
    z: np.ndarray
    a: np.ndarray
    delta: np.ndarray
    gradients: dict[str, np.ndarray]


def explain(it: Explained, x: np.ndarray, y: np.ndarray) -> list[LayerStep]:
    """Return the steps of the layers for inputs x [n, ...] and targets y [n, outputs]."""
    with jax.enable_x64(it.model.dtype == np.float64):
        inputs = jnp.asarray(x.reshape(len(x), *(it.model.network.shape or it.model.shape)))
        inputs = inputs.astype(it.model.dtype) * it.model.scale
        params = jax.tree.map(jnp.asarray, it.model.params)
        outputs = _outputs(it, params, inputs, None)
        still = [jnp.zeros_like(z) for z in outputs]

        def cost(params: Any, moved: list[jax.Array]) -> jax.Array:
            return it.cost(_outputs(it, params, inputs, moved)[-1], y).sum()

        by_params, deltas = jax.grad(cost, argnums=(0, 1))(params, still)
        return _steps(it, inputs, outputs, deltas, by_params)


def _layers(it: Explained) -> list[Any]:
    layers = it.model.network.layers
    return list(layers[:-1] if isinstance(layers[-1], Activation) else layers)


def _outputs(
    it: Explained, params: Any, x: jax.Array, moved: list[jax.Array] | None
) -> list[jax.Array]:
    """Return what each layer makes of the one before, each moved by so much."""
    found, key = [], jax.random.key(0)
    with kernels.using(kernels.Kernels("backend", "plain")):
        for at, layer in enumerate(_layers(it)):
            x, _ = layer.apply(params[at], it.model.state[at], x, key=key, train=False)
            x = x if moved is None else x + moved[at]
            found.append(x)
    return found


def _steps(
    it: Explained, inputs: jax.Array, outputs: list[jax.Array], deltas: Any, by_params: Any
) -> list[LayerStep]:
    layers, n, steps = _layers(it), len(inputs), []
    for at, layer in enumerate(layers):
        if isinstance(layer, Activation) and at and not isinstance(layers[at - 1], Activation):
            continue  # told with the layer before
        name, a = _described(layer), outputs[at]
        if at == len(layers) - 1:
            name, a = _joined(name, it.model.network.output), it.output(a)
        elif isinstance(layers[at + 1], Activation) and not isinstance(layer, Activation):
            name, a = _joined(name, layers[at + 1].name), outputs[at + 1]
        below = inputs if at == 0 else outputs[at - 1]
        gradients = {
            key: _gradient(it, layer, key, by_params[at][key], it.model.params[at][key], n)
            for key in by_params[at]
        }
        four = [np.asarray(each) for each in (below, outputs[at], a, deltas[at])]
        steps.append(LayerStep(name, four[0], four[1], four[2], four[3], gradients))
    return steps


def _gradient(
    it: Explained, layer: Any, name: str, total: jax.Array, value: np.ndarray, n: int
) -> np.ndarray:
    gradient = np.asarray(total)
    if is_weight(name):
        gradient = gradient + it.alpha * value + it.l1 * np.sign(value)
    gradient = gradient / n
    return gradient.T if isinstance(layer, Dense) and gradient.ndim == 2 else gradient


def _described(layer: Any) -> str:
    return f"Dense({layer.units})" if isinstance(layer, Dense) else repr(layer)


def _joined(name: str, output: str) -> str:
    return name if output == "identity" else f"{name}, {output}"
