"""How a run is executed: with which kernels, how many examples at once, how long a call lasts.

A call should last long enough that Python does not count, and short enough that a progress bar
moves, Ctrl-C answers and a checkpoint is never far. How a run is cut into calls does not change
its result; kernels and the size of the parts of a batch change it by rounding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from deltarule.learning import small
from deltarule.learning.measure import part_size
from deltarule.network import (
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    MaxPool,
    Network,
    companion,
    kernels,
)
from deltarule.network.kernels import Kernels
from deltarule.network.layers.blocks import walk
from deltarule.network.layers.contract import Layer, Shape, is_weight
from deltarule.network.network import images_at_once

CALL_SECONDS = 0.5  # what one call should take
ALONE = set(companion.ALONE) - set(companion.WITH_PRODUCTS)  # the others go along, or are fast
EPOCHS_PER_CALL = 32  # of tiny data, where one epoch takes less than a call from Python costs
_OPERATIONS_A_SECOND = 2e10  # a cautious guess for one small matrix product after another
_STEP_SECONDS = 3e-6  # the least a step takes
OPERATIONS: dict[type[Layer], str] = {
    Conv: "convolution", Dense: "dense", BatchNorm: "batch_norm", MaxPool: "pooling",
    AvgPool: "pooling", Activation: "activation",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The shape of the calls of a run, and what does its work.

    Args:
        steps: steps of an epoch.
        epochs_per_call: more than 1 only where a whole epoch is very short.
        steps_per_call: a first guess; it follows what is measured.
        kernels: how convolutions and products are worked out.
        part: the most examples of a batch to work on together; None for all.
        at_once: the same where costs are only measured.
        room: about how many bytes of the processor's memory a call works in; 0 elsewhere.
        reasons: a sentence for each choice but the calls, and why; see ``explain``.
    """

    steps: int
    epochs_per_call: int
    steps_per_call: int
    kernels: Kernels = field(default_factory=kernels.usual)
    part: int | None = None
    at_once: int | None = None
    room: int = 0
    reasons: tuple[str, ...] = ()

    def after(self, steps: int, seconds: float) -> int:
        """Return how many steps the next call should run, now that ``steps`` took ``seconds``."""
        measured = steps * CALL_SECONDS / max(seconds, 1e-9)
        return max(1, min(self.steps, int(measured), 4 * max(steps, self.steps_per_call)))

    def explain(self) -> list[str]:
        """Return a sentence for each thing that was chosen, and why."""
        several = f"calls: {self.epochs_per_call} epochs each"
        some = (
            f"calls: about {CALL_SECONDS:g} s each, at first {self.steps_per_call:,} of "
            f"{self.steps:,} steps"
        )
        return [*self.reasons, several if self.epochs_per_call > 1 else some]


def make_plan(
    network: Network,
    shape: Shape,
    examples: int,
    batch_size: int,
    *,
    precision: str = "float32",
    every_epoch: bool = False,
    twice_differentiable: bool = False,
    backend: str | None = None,
) -> Plan:
    """Plan a run of ``network`` on ``examples`` examples of ``shape``.

    ``every_epoch`` says that something must happen in Python after each epoch, such as a decision
    to stop early; ``twice_differentiable``, that second derivatives are asked for, which only the
    backend's own operators have. ``backend`` is JAX's unless given.

    >>> plan = make_plan(Network([4, 10, 3]), (4,), 150, 10, backend="cpu")
    >>> plan.steps, plan.epochs_per_call, plan.part
    (15, 32, None)
    """
    backend = backend or kernels.current_backend()
    steps = -(-examples // batch_size)
    # forward, backward to the inputs and to the weights: a multiply and an add each
    operations = 6 * network.multiplications(shape) * batch_size
    seconds_a_step = _STEP_SECONDS + operations / _OPERATIONS_A_SECOND
    short = steps * seconds_a_step * EPOCHS_PER_CALL < CALL_SECONDS / 2
    chosen = kernels.usual(precision, backend)
    if twice_differentiable:
        chosen = Kernels("backend", "plain")
    at_once = images_at_once(network, shape) if backend == "cpu" else None
    # Only patches need room; the companion makes none.
    unfolds = at_once is not None and not chosen.pays("convolution", 0)
    whole = network.mixes_examples or not unfolds or batch_size <= (at_once or 0)
    part = None if whole else at_once
    return Plan(
        steps=steps,
        epochs_per_call=1 if every_epoch or not short else EPOCHS_PER_CALL,
        steps_per_call=max(1, min(steps, int(CALL_SECONDS / seconds_a_step))),
        kernels=chosen,
        part=part,
        at_once=at_once,
        room=room_of(network, shape, part or batch_size, precision) if backend == "cpu" else 0,
        reasons=(
            f"device: {backend}",
            *_of_convolution(network, chosen, backend),
            f"companion: {_of_companion(chosen, backend, precision, twice_differentiable)}",
            *_of_layers(network, shape, batch_size, chosen),
            "products: operands of 16 bits, sums of 32; weights stay in 32"
            if chosen.product == "bfloat16" else "products: in the precision of the weights",
            f"batch: {_of_batch(batch_size, examples % batch_size, part)}",
        ),
    )  # fmt: skip


def room_of(network: Network, shape: Shape, examples: int, precision: str) -> int:
    """Return the bytes of a gradient and of all that the layers hand on."""
    outputs = sum(math.prod(gives) for _, _, gives in walk(network.layers, network.shape or shape))
    numbers = network.count(shape) + examples * outputs
    return numbers * (8 if precision == "float64" else 4)


# Why, in words.


def _of_convolution(network: Network, chosen: Kernels, backend: str) -> Iterator[str]:
    """Yield who convolves, if anything does."""
    if not any(isinstance(layer, Conv) for layer in network.every_layer()):
        return
    if chosen.pays("convolution", 0):
        yield "convolution: the companion's, which unfolds no patches"
    elif chosen.convolution == "patches":
        yield (
            "convolution: patches and one matrix product; the CPU backend's own operator is many "
            "times slower"
        )
    elif backend == "cpu":
        yield (
            "convolution: the backend's own operator, slow on a CPU, but only it has the second "
            "derivatives that the optimizer asks for"
        )
    else:
        yield "convolution: the backend's own operator, which is fast there"


def _of_companion(chosen: Kernels, backend: str, precision: str, twice: bool) -> str:
    """Return what the companion is made of, or why it is not in use."""
    if chosen.companion or (backend == "cpu" and not companion.is_there()):
        return companion.describe()
    if backend != "cpu":
        return "not in use: it is for CPUs"
    if twice:
        return "not in use: it has no second derivatives, which the optimizer asks for"
    if precision == "float64":
        return "not in use: it is for 32 bits or 16"
    return "not in use: it has no products of 16 bits on this processor"


def _of_batch(batch_size: int, rest: int, part: int | None) -> str:
    """Return into which parts batches are cut, and the last of an epoch, of ``rest``, if any."""
    if part is None:
        return "worked on whole"
    said = [_cut(batch_size, part), *([f"the last {_cut(rest, part)}"] if rest else [])]
    if any(part_size(n, part) < n for n in (batch_size, rest)):
        said.append("gradients of parts are added, and their patches stay in the cache")
    return "; ".join(said)


def _cut(n: int, part: int) -> str:
    size = part_size(n, part)
    if size < n:
        return f"{n} in {n // size} parts of {size}"
    return (
        f"{n} whole" if n <= part else f"{n} whole: nothing from {part // 2} to {part} divides it"
    )


def _of_layers(network: Network, shape: Shape, batch_size: int, chosen: Kernels) -> Iterator[str]:
    """Yield a sentence for each layer that the companion could do, or one for all of them."""
    drawn, _ = network.init(None, shape)
    sizes = [layer["w"].size for layer in drawn if "w" in layer]
    if small.worth(network, sizes, batch_size, chosen):
        yield "  a whole step: companion, for SGD, momentum and Adam without clipping"
        return
    for layer, takes, gives in walk(network.layers, network.shape or shape):
        params, _, _ = layer.init(None, takes)
        weights = sum(array.size for name, array in params.items() if is_weight(name))
        alone = not isinstance(layer, Activation) or layer.name in ALONE
        if (operation := OPERATIONS.get(type(layer))) is None or not alone:
            continue
        size = batch_size * (weights * math.prod(gives[:-1]) if weights else math.prod(takes))
        wide = isinstance(layer, MaxPool) and np.prod(layer.window) > companion.MOST_PLACES
        who = "companion" if chosen.pays(operation, size) and not wide else "compiler"
        unit = "multiplications" if weights else "numbers"
        images = " x ".join(str(n) for n in takes)
        yield f"  {type(layer).__name__} of {images}: {who} ({size / 1e6:.3g} million {unit})"
