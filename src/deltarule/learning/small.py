"""A step of training of a small dense network as one call of the companion.

Read ``step.py`` first. In networks such as [784, 30, 10] the compiler's program spends more time
on handing over from one small product to the next than on arithmetic, and reads and writes every
weight several times. The companion does the whole step, from taking the examples to the update:
what ``step`` does, up to rounding. What it cannot do, or not faster, ``fits`` says.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deltarule.network.companion import dense_steps
from deltarule.network.companion.dense_steps import COSTS, HIDDEN, METHODS, MOST_LAYERS, OUTPUT
from deltarule.network.companion.loading import array
from deltarule.network.kernels import Kernels
from deltarule.network.layers.dense import Activation, Dense, Dropout, Flatten
from deltarule.network.network import Network, Params

if TYPE_CHECKING:
    from deltarule.learning.program import Examples, Hyper, Learner, Program

# One thread does it all. On two cores with 1 MiB of second cache each, beside the plain path on
# both, medians of three pairs: 1.2 times as fast at 0.02 million products (784-30-10, batch 1),
# 2.4 at 0.24 million (batch 10), 2.2 at 0.89 million (784-100-100-10, batch 10), 1.7 at 2.0 million
# (784-256-10, batch 10), 1.9 at 3.3 million and 0.9 at 6.5 million (784-128-10, batch 32 and 64).
MOST_PRODUCTS = 1 << 22  # of a weight and an input, forward
MOST_WEIGHTS = 1 << 18  # as many as the cache holds


class Order(NamedTuple):
    """Which examples a step takes: ``length`` from place step * batch size of an epoch on."""

    orders: jax.Array  # [epochs, n] a permutation of the examples for each epoch
    epoch: jax.Array | int
    step: jax.Array | int
    length: int


def fits(program: "Program", params: Params, examples: "Examples") -> bool:
    """Whether the companion does a step of ``program`` on ``examples``, and faster."""
    weights = [layer["w"].size for layer in params if "w" in layer]
    return (
        worth(program.network, weights, program.batch_size, program.kernels)
        and program.precision == "float32"
        and program.optimizer in METHODS
        and not program.clip
        and (program.part is None or program.part >= program.batch_size)
        and _can_be_read(examples)
    )


def worth(network: Network, weights: Sequence[int], batch_size: int, chosen: Kernels) -> bool:
    """Whether the companion takes the steps of a network with so many ``weights`` a layer faster.

    >>> there = Kernels("patches", "plain", companion=True)
    >>> worth(Network([784, 30, 10]), [23520, 300], 10, there)
    True
    """
    return (
        chosen.companion
        and chosen.product == "plain"
        and functions(network) is not None
        and len(weights) <= MOST_LAYERS
        and sum(weights) <= MOST_WEIGHTS
        and batch_size * sum(weights) <= MOST_PRODUCTS
    )


def functions(network: Network) -> tuple[str, ...] | None:
    """Return the activations of a network of Dense and Activation in turn; None for any other.

    >>> functions(Network([784, 30, 10], output="softmax"))
    ('sigmoid', 'softmax')
    >>> functions(Network([784, 30, 10], dropout=0.5)) is None
    True
    """
    first = 1 if isinstance(network.layers[0], Flatten) else 0
    layers = [layer for layer in network.layers[first:] if layer != Dropout(0)]
    if len(layers) % 2 == 1:
        layers.append(Activation("identity"))
    names = [layer.name for layer in layers[1::2] if isinstance(layer, Activation)]
    alternate = all(isinstance(layer, Dense) for layer in layers[::2]) and len(names) > 0
    if not alternate or 2 * len(names) != len(layers):
        return None
    known = set(names[:-1]) <= set(HIDDEN) and names[-1] in OUTPUT
    return tuple(names) if known else None


def _can_be_read(examples: "Examples") -> bool:
    x, y = examples.x, examples.y
    targets = (1, jnp.int32), (2, jnp.float32)  # classes, or numbers
    known = x.dtype in (jnp.uint8, jnp.float32) and (y.ndim, y.dtype) in targets
    return examples.weight is None and known


def step(
    program: "Program",
    learner: "Learner",
    train: "Examples",
    order: Order,
    hyper: "Hyper",
    key: jax.Array,
) -> "Learner":
    """Return the learner after one step on the examples that ``order`` says; not the average.

    Where ``fits`` holds. The companion takes the examples from ``train`` itself, and so can ask
    the memory for those of the next step while it works on this one.
    """
    if program.augment is not None:
        train, order = _augmented(program, train, order, key)
    learned = learner.cost, learner.correct, learner.params, learner.opt_state
    arrays, structure = jax.tree.flatten(learned)
    operands = (
        train.x.reshape(len(train.x), -1), train.y, order.orders,
        jnp.asarray(order.epoch, jnp.int32), jnp.asarray(order.step, jnp.int32),
        jnp.asarray(hyper.rates.learning_rate, jnp.float32), _rates(program, train, hyper),
    )  # fmt: skip
    call = jax.ffi.ffi_call(
        "deltarule_small_step",
        [array(each.shape, each.dtype) for each in arrays],
        input_output_aliases={len(operands) + i: i for i in range(len(arrays))},
        vmap_method="sequential",
    )
    after = call(*operands, *arrays, **_attributes(program, order))
    cost, correct, params, opt_state = jax.tree.unflatten(structure, after)
    return learner._replace(cost=cost, correct=correct, params=params, opt_state=opt_state)


def _rates(program: "Program", train: "Examples", hyper: "Hyper") -> jax.Array:
    """Return the numbers that no step changes, in the order of native/cpp/vector/small.hpp."""
    rates = hyper.rates
    decay = rates.weight_decay if program.optimizer == "adamw" else 0.0
    numbers = (
        train.scale, hyper.smoothing, rates.momentum, rates.beta1, rates.beta2, rates.epsilon,
        decay, hyper.l1, hyper.l2,
    )  # fmt: skip
    found = [jnp.asarray(number, jnp.float32) for number in numbers]
    return jnp.stack([*found, 1 - found[3], 1 - found[4]])


def _attributes(program: "Program", order: Order) -> dict[str, Any]:
    names = functions(program.network) or ()
    return {
        "functions": dense_steps.functions(names),
        "cost": np.int32(COSTS.index(program.cost)),
        "method": np.int32(METHODS[program.optimizer]),
        "stride": np.int64(program.batch_size),
        "batch": np.int64(order.length),
    }


def _augmented(
    program: "Program", train: "Examples", order: Order, key: jax.Array
) -> tuple["Examples", Order]:
    """Return the examples of a step, changed as ``_measure`` changes them, and their order."""
    start = order.epoch, order.step * program.batch_size
    index = jax.lax.dynamic_slice(order.orders, start, (1, order.length))[0]
    batch = train.take(index)
    _, chance = jax.random.split(key)
    changed = program.augment.apply(chance, batch.x) if program.augment else batch.x
    in_turn = jnp.arange(order.length, dtype=jnp.int32)[None]
    return batch._replace(x=changed), Order(in_turn, 0, 0, order.length)
