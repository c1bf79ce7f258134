"""Steps of training a small dense network by the companion: names it knows, and whole epochs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network.companion.loading import array

# The places of names in these tables are the numbers of native/cpp/vector/small.hpp.
HIDDEN = ("identity", "sigmoid", "tanh", "relu")
OUTPUT = (*HIDDEN, "softmax")
COSTS = ("quadratic", "cross_entropy", "log_loss")
METHODS = {"sgd": 0, "momentum": 1, "nesterov": 2, "adam": 3, "adamw": 3}
MOST_LAYERS = 16  # what it has room for


class Adam(NamedTuple):
    """The decays of Adam's means and what is left of 1 beside each, and epsilon."""

    beta1: Any
    beta2: Any
    rest1: Any
    rest2: Any
    epsilon: Any


class Course(NamedTuple):
    """How long to train: counts [4] of int32, numbers [3].

    counts: examples, epochs, epochs without progress so far and at most.
    numbers: alpha, the lowest cost so far, and how far below it progress begins.
    """

    counts: Any
    numbers: Any


def functions(names: tuple[str, ...]) -> np.ndarray:
    """Return activations, one a layer, as the companion has them."""
    return np.array([OUTPUT.index(name) for name in names], np.int32)


def adam_epochs(
    names: tuple[str, ...],
    cost: str,
    batch: int,
    x: jax.Array,
    y: jax.Array,
    orders: jax.Array,
    rates: jax.Array,
    adam: Adam,
    course: Course,
    learned: Any,
) -> tuple[jax.Array, jax.Array, Any]:
    """Return the cost of each epoch, how many there were, and ``learned`` afterwards.

    Args:
        names: the activation of each layer: of ``HIDDEN``, and of the last of ``OUTPUT``.
        cost: "quadratic" or "log_loss", cross-entropy of probabilities kept inside (0, 1).
        batch: examples a step; the last step of an epoch takes what is left.
        x: [n, inputs] float32 or float64; all numbers are of this type.
        y: [n] classes, int32, or [n, outputs].
        orders: [epochs, n or more] which examples when.
        rates: [epochs, steps] learning rates, with the corrections for the start of Adam's means.
        adam, course: see there. The penalty of m examples is alpha / (2 m) sum of w^2.
        learned: layers (b [outputs], w [outputs, inputs]), as often as Adam needs: the parameters,
            the means of the gradients and of their squares.
    """
    numbers = (1, 0, 0, adam.beta1, adam.beta2, adam.epsilon, 0, 0, 0, adam.rest1, adam.rest2)
    settings = jnp.stack([jnp.asarray(number, x.dtype) for number in numbers])
    sums = jnp.zeros((), x.dtype), jnp.zeros((), jnp.int32)  # what single steps add up
    leaves, structure = jax.tree.flatten((sums, learned))
    call = jax.ffi.ffi_call(
        "deltarule_small_epochs",
        [
            array((len(orders),), x.dtype), array((), jnp.int32),
            *(array(each.shape, each.dtype) for each in leaves),
        ],
        input_output_aliases={7 + i: 2 + i for i in range(len(leaves))},
        vmap_method="sequential",
    )  # fmt: skip
    losses, ran, *after = call(
        x, y, orders, rates, settings, course.counts, course.numbers, *leaves,
        functions=functions(names), cost=np.int32(COSTS.index(cost)), batch=np.int64(batch),
    )  # fmt: skip
    return losses, ran, jax.tree.unflatten(structure, after)[1]
