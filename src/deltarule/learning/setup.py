"""What a run is made of, worked out and checked before its first step. Read ``fit.py`` first."""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.data.unread import unread
from deltarule.learning import pages
from deltarule.learning.callbacks import Callback, EarlyStopping
from deltarule.learning.optimizers import Rates
from deltarule.learning.plan import Plan
from deltarule.learning.program import Hyper, Program
from deltarule.learning.recipe import Recipe
from deltarule.learning.second_order.second_derivatives import check_layers
from deltarule.network.layers.contract import Shape
from deltarule.network.layers.dense import Dropout
from deltarule.network.layers.inputs import front, measured
from deltarule.network.model import narrowed
from deltarule.network.network import HostParams, Network, Params
from deltarule.seeds import generator

USUAL_BATCH_SIZE = 10
LEAST_EPSILON = 1e-30  # less vanishes in float32, and adam divides 0 by 0 where no gradient flows


def check_data(
    network: Network, train: Dataset, validation: Dataset | None, recipe: Recipe
) -> None:
    """Raise ``ValueError`` if the network, the data and the recipe do not fit together."""
    if len(train) == 0:
        raise ValueError("train must hold at least one example, got none.")
    outputs = network.output_shape(train.shape)
    wanted = (len(train.classes),) if train.classes else train.y.shape[1:]
    if outputs != wanted:
        what = "classes" if train.classes else "target values"
        raise ValueError(
            f"the network has outputs of shape {outputs}, but train has {wanted[0]} "
            f"{what}; give the last layer {wanted[0]} units."
        )
    _check_method(network, train, recipe)
    _check_order(train, recipe)
    if recipe.augment is not None and len(train.shape) not in (2, 3):
        raise ValueError(
            "augment moves and bends images, [height, width] or [height, width, channels], but "
            f"the examples of train have the shape {train.shape}; leave it out."
        )
    if validation is not None:
        ours = train.shape, train.classes, train.y.shape[1:]
        theirs = validation.shape, validation.classes, validation.y.shape[1:]
        if ours != theirs:
            raise ValueError(
                "validation must have the inputs and answers of train, (shape, classes, shape "
                f"of an answer) = {ours}, got {theirs}; take both from the same source."
            )


def _check_method(network: Network, train: Dataset, recipe: Recipe) -> None:
    """Refuse a network that the optimizer cannot train."""
    most = recipe.method.most_parameters
    if most is not None and (count := network.count(train.shape)) > most:
        raise ValueError(
            f"optimizer {recipe.optimizer} is for networks of at most {most:,} parameters, got "
            f"{count:,}; choose {recipe.method.instead}."
        )
    if recipe.method.curvature and recipe.precision == "bfloat16":
        raise ValueError(
            f"optimizer {recipe.optimizer} asks for second derivatives, which are not worked out "
            "from products of 16 bits; choose precision float32 or float64."
        )
    if recipe.method.quadratic and network.mixes_examples:
        raise ValueError(
            f"{recipe.optimizer} needs the errors of each example by itself, and batch norm mixes "
            "them; leave batch norm out, or choose lbfgs."
        )
    if recipe.method.diagonal:
        check_layers(network, train.shape)
    if recipe.method.all_data and unread(train.x) is not None and train.x.nbytes > pages.PAGE:
        raise ValueError(
            f"optimizer {recipe.optimizer} works on all {len(train):,} examples at every step, and "
            f"they stay on the disk, {train.x.nbytes / 1e6:,.0f} MB; choose an optimizer that "
            "works on batches, such as adam, or give it what memory holds, as train.take(1000)."
        )
    if recipe.method.all_data and any(
        isinstance(layer, Dropout) and layer.rate for layer in network.every_layer()
    ):
        raise ValueError(
            f"dropout changes what {recipe.optimizer} compares from step to step; leave it out, "
            "or choose an optimizer that works on batches, such as adam."
        )


def _check_order(train: Dataset, recipe: Recipe) -> None:
    if recipe.order == "alternate" and not train.classes:
        raise ValueError(
            "order alternate shows examples of different classes in turn, and the targets are not "
            "classes; choose shuffle or emphasize."
        )


def batch_size(recipe: Recipe, examples: int) -> int:
    """Return the examples of a step: what the recipe asks for, of as many as there are."""
    wanted = recipe.batch_size
    if recipe.method.all_data:
        if wanted is not None and wanted < examples:
            raise ValueError(
                f"optimizer {recipe.optimizer} works on all {examples} examples at every step, "
                f"got a batch_size of {wanted}; leave it out, or choose an optimizer that works "
                "on batches, such as adam."
            )
        return examples
    if wanted is None:
        return min(USUAL_BATCH_SIZE, examples)
    if wanted > examples:
        warnings.warn(
            f"batch_size {wanted} is larger than the {examples} training examples; {examples} is "
            "used.",
            stacklevel=4,
        )
    return min(wanted, examples)


def early_stopping(recipe: Recipe, train: Dataset, validation: Dataset | None) -> list[Callback]:
    """Return the callback that stops early, if the recipe asks for one."""
    if recipe.early_stopping is None:
        return []
    source = "validation" if validation is not None else "train"
    monitor = recipe.monitor or f"{source}_{'accuracy' if train.classes else 'cost'}"
    if monitor.endswith("accuracy") and not train.classes:
        raise ValueError(f"monitor {monitor!r} needs classes; choose a cost for regression.")
    if monitor.startswith("validation") and validation is None:
        raise ValueError(f"monitor {monitor!r} needs validation data, got none.")
    return [EarlyStopping(recipe.early_stopping, monitor)]


def program_of(
    network: Network, train: Dataset, recipe: Recipe, plan: Plan, batch_size: int
) -> Program:
    """Return what the compiled program of a run depends on."""
    return Program(
        network, recipe.cost, recipe.optimizer, recipe.clip is not None, batch_size,
        network.output_shape(train.shape)[-1], recipe.dtype, plan.kernels, plan.part,
        plan.at_once, recipe.augment, recipe.average > 0,
    )  # fmt: skip


def hyper_of(recipe: Recipe) -> Hyper:
    """Return the traced numbers of a run."""
    rates = Rates(
        recipe.rate, recipe.momentum, recipe.beta1, recipe.beta2,
        max(recipe.epsilon, LEAST_EPSILON), recipe.weight_decay, recipe.clip or 0.0,
        recipe.mu,
    )  # fmt: skip
    return Hyper(rates, recipe.l1, recipe.l2, recipe.label_smoothing, recipe.average)


@dataclass(frozen=True)
class _Seen:
    """Raw inputs as the network takes them, in memory or not."""

    x: Any
    shape: Shape
    dtype: str

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> np.ndarray:
        x = narrowed("x", self.x[rows], self.dtype)
        return x.reshape(-1, *self.shape)


def first_parameters(
    network: Network, train: Dataset, recipe: Recipe, params: HostParams | None
) -> tuple[Params, Params]:
    """Return parameters and state to start from, on the device; ``params`` if they are given.

    Layers that prepare the inputs are measured here, on all of ``train``.
    """
    drawn, state = network.init(generator(recipe.seed, "weights"), train.shape)
    if leading := front(network.layers):
        seen: Any = _Seen(train.x, network.shape or train.shape, recipe.dtype)
        state = measured(leading, seen, train.scale) + state[len(leading) :]
    if params is None:
        params = drawn
    elif jax.tree.map(np.shape, params) != jax.tree.map(np.shape, drawn):
        raise ValueError(
            f"params must have the structure and shapes of network.init, "
            f"{jax.tree.map(np.shape, drawn)}, got {jax.tree.map(np.shape, params)}."
        )
    first: tuple[Params, Params] = jax.tree.map(
        lambda array: jnp.array(array, recipe.dtype), (params, state)
    )
    return first
