"""What a run is made of, worked out and checked before its first step. Read ``fit.py`` first."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.data import Dataset
from deltarule.learning.callbacks import Callback, EarlyStopping
from deltarule.learning.optimizers import Rates
from deltarule.learning.plan import Plan
from deltarule.learning.recipe import Recipe
from deltarule.learning.step import Hyper, Program
from deltarule.network.network import HostParams, Network, Params
from deltarule.seeds import generator

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


def batch_size(recipe: Recipe, train: Dataset) -> int:
    """Return the batch size of the recipe, or the number of examples if that is smaller."""
    if recipe.batch_size > len(train):
        warnings.warn(
            f"batch_size {recipe.batch_size} is larger than the {len(train)} "
            f"training examples; {len(train)} is used.",
            stacklevel=4,
        )
    return min(recipe.batch_size, len(train))


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
    )  # fmt: skip
    return Hyper(rates, recipe.l1, recipe.l2, recipe.label_smoothing, recipe.average)


def first_parameters(
    network: Network, train: Dataset, recipe: Recipe, params: HostParams | None
) -> tuple[Params, Params]:
    """Return parameters and state to start from, on the device; ``params`` if they are given."""
    drawn, state = network.init(generator(recipe.seed, "weights"), train.shape)
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
