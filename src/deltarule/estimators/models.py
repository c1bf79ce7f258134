"""A fitted estimator's network by itself: as a ``Model``, and with all it takes to explain a step.

However it was trained, it is a ``Network`` with its parameters; only Poisson's regression, whose
output is exp(z), has no counterpart among the engine's outputs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import issparse

from deltarule.committee import Committee
from deltarule.estimators.asked import NAMES, exclusive, usual_cost
from deltarule.learning.costs import TARGETS, cost_function, targets
from deltarule.network import Activation, Dense, Model, Network
from deltarule.network.activations import activation
from deltarule.network.layers import Layer
from deltarule.network.layers.contract import is_weight
from deltarule.network.network import HostParams

Function = Callable[[jax.Array], jax.Array]


class Explained(NamedTuple):
    """A network, its output f(z), its cost C(z, y) an example, and its penalties alpha and l1."""

    model: Model
    output: Function
    cost: Callable[[jax.Array, np.ndarray], jax.Array]
    alpha: float
    l1: float


def explained(owner: Any) -> Explained:
    """Return what ``explain`` needs to know of a fitted estimator."""
    found = owner._model if hasattr(owner, "_model") else _plain(owner)
    model: Model = found.members[0] if isinstance(found, Committee) else found
    numbers = owner.alpha, owner.l1
    if owner.loss == "poisson":  # as in scikit-learn: the deviance but for what is constant
        return Explained(model, jnp.exp, lambda z, y: (jnp.exp(z) - y * z).sum(-1), *numbers)
    output = model.network.output
    cost = cost_function(owner.cost or usual_cost(owner), output)

    def of_targets(z: jax.Array, y: np.ndarray) -> jax.Array:
        if z.shape[1] > y.shape[1]:  # two outputs for two classes
            y = np.hstack([~y.astype(bool), y])
        rows: Any = y.argmax(1) if model.classes else y
        return cost(z, targets(jnp.asarray(rows), z.shape[1], 0.0, z.dtype, output))

    return Explained(model, activation(output), of_targets, *numbers)


def cost_of_each(model: Model, cost: str, data: Any) -> np.ndarray:
    """Return the cost of each example [n] of a data set."""
    with jax.enable_x64(model.dtype == np.float64):
        z, output = jnp.asarray(model.logits(data.x)), model.network.output
        y = targets(jnp.asarray(data.y), z.shape[1], 0.0, z.dtype, output)
        return np.asarray(cost_function(cost, output)(z, y))


def model_of(owner: Any) -> Model | Committee:
    """Return a fitted estimator's network, with the names of its classes."""
    if owner.loss == "poisson":
        raise ValueError(
            "a model has no output exp(z), which loss='poisson' asks for; keep the estimator "
            "itself, with pickle or joblib."
        )
    if not hasattr(owner, "_model"):
        return _with_classes(owner, _plain(owner))
    if isinstance(owner._model, Committee):
        members = tuple(_with_classes(owner, member) for member in owner._model.members)
        return replace(owner._model, members=members)
    return _with_classes(owner, owner._model)


def _plain(owner: Any) -> Model:
    """Return the network that scikit-learn's arrays describe."""
    layers: list[Layer] = []
    params: list[dict[str, np.ndarray]] = []
    for coef, intercept in zip(owner.coefs_, owner.intercepts_, strict=True):
        layers += [Dense(len(intercept)), Activation(NAMES.get(owner.activation, owner.activation))]
        params += [{"w": np.array(coef.T), "b": np.array(intercept)}, {}]
    output = NAMES.get(owner.out_activation_, owner.out_activation_)
    layers[-1] = Activation("identity" if output == "exp" else output)
    network = Network(*layers, shape=(owner.n_features_in_,))
    return Model(network, tuple(params), ({},) * len(layers), (owner.n_features_in_,))


def _with_classes(owner: Any, model: Model) -> Model:
    """Return ``model`` with classes; one sigmoid output becomes a softmax of two, 0 and z."""
    if not exclusive(owner) or model.classes:
        return model
    classes = tuple(map(str, owner.classes_))
    network, params = model.network, list(model.params)
    if network.output == "softmax":
        return replace(model, classes=classes)
    dense, end = network.layers[-2:]
    if len(classes) != 2 or not isinstance(dense, Dense) or end != Activation("sigmoid"):
        raise ValueError(
            "a model of classes has an output for each, and this network has one for "
            f"{len(classes)}; give layers that end in Dense({len(classes)}), "
            "Activation('softmax')."
        )
    params[-2] = {name: np.concatenate([0 * array, array]) for name, array in params[-2].items()}
    layers = (*network.layers[:-2], replace(dense, units=2), Activation("softmax"))
    wider = Network(*layers, shape=network.shape)
    return replace(model, network=wider, params=tuple(params), classes=classes)


def weights_and_biases(model: Model) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return scikit-learn's coefs_ and intercepts_: dense weights [in, out], others as they are."""
    params: HostParams = model.params
    named = [(name, np.array(array)) for layer in params for name, array in layer.items()]
    coefs = [
        array.T.copy() if array.ndim == 2 else array for name, array in named if is_weight(name)
    ]
    return coefs, [array for name, array in named if not is_weight(name)]


def shares(outputs: np.ndarray, output: str) -> np.ndarray:
    """Return outputs [n, k] as probabilities: moved to 0 and 1, and of several a sum of 1."""
    if output == "softmax":
        return outputs
    wrong, right = TARGETS.get(output, (0.0, 1.0))
    found = np.clip((outputs - wrong) / (right - wrong), 0, 1)
    if found.shape[1] == 1:
        return found
    total = found.sum(axis=1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1), 1 / found.shape[1])


def dense_array(x: Any) -> np.ndarray:
    """Return inputs as an array, also sparse ones."""
    found: np.ndarray = x.toarray() if issparse(x) else x
    return found
