"""From an estimator's parameters to a network, a data set and a recipe of the engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from deltarule.choices import choose
from deltarule.data import Dataset
from deltarule.data.augment import Augment
from deltarule.estimators.asked import HIDDEN, NAMES, beyond_scikit_learn, exclusive, usual_cost
from deltarule.estimators.trainer import batch_size
from deltarule.learning import Callback, Recipe
from deltarule.learning.optimizers import OPTIMIZERS
from deltarule.network import Activation, Dense, Dropout, Model, Network
from deltarule.network.architectures import architecture
from deltarule.network.layers import Layer, Shape

SIZES = {"hidden_layer_sizes": (100,), "activation": "relu", "dropout": 0.0}
MAX_FUN = 15_000  # scikit-learn's, as it comes


def check(owner: Any, incremental: bool) -> None:
    """Refuse what could not be carried over, naming both sides of the contradiction."""
    asked = beyond_scikit_learn(owner)[0]
    refused = {
        "loss='poisson'": getattr(owner, "loss", None) == "poisson",
        "shuffle=False": not owner.shuffle and not _on_all_data(owner),
        f"max_fun={owner.max_fun}": (
            owner.max_fun != MAX_FUN and (owner.optimizer or owner.solver) == "lbfgs"
        ),
        f"learning_rate={owner.learning_rate!r}": (
            owner.optimizer is None and owner.solver == "sgd" and owner.learning_rate != "constant"
        ),
    }
    for name, there in refused.items():
        if there:
            raise ValueError(
                f"{name} is for networks that scikit-learn could train too, and {asked} asks for "
                "another; leave one of them out."
            )
    if owner.committee is not None and (incremental or owner.warm_start):
        how = "partial_fit" if incremental else "warm_start"
        raise ValueError(
            f"{how} goes on with one network, and committee={owner.committee} has several; leave "
            "one of them out."
        )
    known = getattr(owner, "_model", None)
    if owner.warm_start and isinstance(known, Model) and known.network.mixes_examples:
        raise ValueError(
            "warm_start keeps weights, and batch norm has running statistics besides; go on with "
            "partial_fit, or give max_iter more."
        )
    _check_kinds(owner)


def _on_all_data(owner: Any) -> bool:
    """Return whether every step sees all examples, so that nothing is shuffled."""
    return choose("optimizer", owner.optimizer or _optimizer(owner), OPTIMIZERS).all_data


def _check_kinds(owner: Any) -> None:
    if owner.augment is not None and not isinstance(owner.augment, Augment):
        raise ValueError(f"augment must be a deltarule.Augment or None, got {owner.augment!r}.")
    for callback in owner.callbacks:
        if not isinstance(callback, Callback):
            raise ValueError(f"callbacks must be of class deltarule.Callback, got {callback!r}.")


def network_of(owner: Any, features: int) -> Network:
    """Return the network: that of ``layers``, or one of the sizes."""
    if owner.layers is None:
        return _dense(owner, features)
    network = _whole(owner, features)
    if network.output == "softmax" and not exclusive(owner):
        what = "several labels" if is_classifier(owner) else "quantities"
        raise ValueError(
            f"the layers end in softmax, whose outputs are shares of 1, and y holds {what}; end "
            "them in Dense(outputs) and, for labels, Activation('sigmoid')."
        )
    return network


def _whole(owner: Any, features: int) -> Network:
    for name, usual in SIZES.items():
        if getattr(owner, name) != usual:
            raise ValueError(
                f"layers say the whole network, {name} a part of it; leave one of them out."
            )
    shape: Shape = getattr(owner, "_image_shape", None) or (features,)
    with_channels = (*shape, 1) if len(shape) == 2 else shape
    if isinstance(owner.layers, Network):
        return owner.layers
    if isinstance(owner.layers, str):
        classes = len(owner.classes_) if is_classifier(owner) else owner.n_outputs_
        return architecture(owner.layers, classes=classes, shape=with_channels)
    if not isinstance(owner.layers, list | tuple):
        raise ValueError(
            "layers must be a Network, a list of layers, or the name of an architecture, got "
            f"{type(owner.layers).__name__}."
        )
    return Network(*owner.layers, shape=with_channels)


def _dense(owner: Any, features: int) -> Network:
    sizes = [int(size) for size in np.atleast_1d(owner.hidden_layer_sizes)]
    names = _activations(owner.activation, len(sizes))
    layers: list[Layer] = []
    for size, name in zip(sizes, names, strict=True):
        layers += [Dense(size), Activation(name)]
        if owner.dropout:
            layers.append(Dropout(float(owner.dropout)))
    layers.append(Dense(owner.n_outputs_))
    if is_classifier(owner):
        alike = owner._label_binarizer.y_type_ == "multiclass"
        layers.append(Activation("softmax" if alike else "sigmoid"))
    return Network(*layers, shape=(features,))


def _activations(asked: str | Sequence[str], layers: int) -> list[str]:
    names = [asked] * layers if isinstance(asked, str) else list(asked)
    if len(names) != layers:
        raise ValueError(
            f"activation names {len(names)} layers, hidden_layer_sizes {layers}; give one name "
            "for all, or one for each hidden layer."
        )
    for name in names:
        choose("activation", name, HIDDEN)
    return [NAMES.get(name, name) for name in names]


def dataset(owner: Any, network: Network, x: np.ndarray, y: np.ndarray) -> Dataset:
    """Return inputs and encoded answers [n, outputs] as the network takes them."""
    images = getattr(owner, "_image_shape", None)
    if images:
        x = x.reshape(len(x), *images)
    k = len(owner.classes_) if exclusive(owner) else 0
    if k > 1 and network.output_shape(x.shape[1:])[-1] == k:
        indices = y.argmax(1) if y.shape[1] > 1 else y[:, 0].astype(np.int64)
        return Dataset(x, indices, tuple(map(str, owner.classes_)))
    return Dataset(x, y.astype(x.dtype))


def recipe_of(owner: Any, examples: int, weight: np.ndarray | None, dtype: Any) -> Recipe:
    """Return how to train on so many: scikit-learn's parameters, in the engine's terms."""
    optimizer = owner.optimizer or _optimizer(owner)
    method = choose("optimizer", optimizer, OPTIMIZERS)
    batch = examples if method.all_data else batch_size(owner.batch_size, examples)
    weighs = batch if weight is None else batch * _mean_weight(weight)
    seed = int(owner._random_state.randint(2**31 - 1))
    if owner.warm_start:
        seed = (seed + owner.t_) % 2**31  # other shuffles and masks than in the fit before
    return Recipe(
        cost=owner.cost or usual_cost(owner), optimizer=optimizer, seed=seed, epochs=owner.max_iter,
        learning_rate=owner.learning_rate_init if method.learning_rate else None,
        batch_size=None if method.all_data else batch,
        l1=owner.l1 / weighs, l2=owner.alpha / weighs,
        momentum=owner.momentum, beta1=owner.beta_1, beta2=owner.beta_2, epsilon=owner.epsilon,
        augment=owner.augment,
        precision="bfloat16" if owner.precision == "bfloat16" else np.dtype(dtype).name,
    )  # fmt: skip


def _mean_weight(weight: np.ndarray) -> float:
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError(
            "sample_weight times class_weight must be finite, at least 0 and not 0 everywhere."
        )
    return float(np.mean(weight))


def _optimizer(owner: Any) -> str:
    if owner.solver != "sgd":
        return str(owner.solver)
    return "nesterov" if owner.nesterovs_momentum and owner.momentum else "momentum"
