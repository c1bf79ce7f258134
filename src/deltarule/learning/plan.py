"""How a run is executed: with which kernels, how many examples at once, how long a call lasts.

A call should last long enough that Python does not count, and short enough that a progress bar
moves, Ctrl-C answers and a checkpoint is never far. How a run is cut into calls does not change
its result; kernels and the size of the parts of a batch change it by rounding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from deltarule.learning import small
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
        backend: "cpu" or "gpu".
        layers: a sentence for each layer that can be worked out in two ways.
    """

    steps: int
    epochs_per_call: int
    steps_per_call: int
    kernels: Kernels = field(default_factory=kernels.usual)
    part: int | None = None
    at_once: int | None = None
    backend: str = "cpu"
    layers: tuple[str, ...] = ()

    def after(self, steps: int, seconds: float) -> int:
        """Return how many steps the next call should run, now that ``steps`` took ``seconds``."""
        measured = steps * CALL_SECONDS / max(seconds, 1e-9)
        return max(1, min(self.steps, int(measured), 4 * max(steps, self.steps_per_call)))

    def explain(self) -> list[str]:
        """Return a sentence for each thing that was chosen, and why."""
        backend = self.kernels.convolution == "backend"
        return [
            f"device: {self.backend}",
            "convolution: the backend's own operator, which is fast there" if backend else
            "convolution: patches and one matrix product, where the companion does not do it; the "
            "CPU backend's own operator is many times slower",
            f"companion: {companion.describe()}" if self.kernels.companion or backend is False
            else "companion: not in use: it is for CPUs, and for 32 bits or 16",
            *self.layers,
            "products: operands of 16 bits, sums of 32; weights stay in 32"
            if self.kernels.product == "bfloat16" else "products: in the precision of the weights",
            "batch: worked on whole" if self.part is None else
            f"batch: in parts of at most {self.part} examples, where it divides into equal ones; "
            "their gradients are added, and their patches stay in the cache",
            f"calls: {self.epochs_per_call} epochs each" if self.epochs_per_call > 1 else
            f"calls: about {CALL_SECONDS:g} s each, at first {self.steps_per_call:,} of "
            f"{self.steps:,} steps",
        ]  # fmt: skip


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
    return Plan(
        steps=steps,
        epochs_per_call=1 if every_epoch or not short else EPOCHS_PER_CALL,
        steps_per_call=max(1, min(steps, int(CALL_SECONDS / seconds_a_step))),
        kernels=chosen,
        part=None if whole else at_once,
        at_once=at_once,
        backend=backend,
        layers=tuple(_explained(network, shape, batch_size, chosen)),
    )


def _explained(network: Network, shape: Shape, batch_size: int, chosen: Kernels) -> Iterator[str]:
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
        who = "companion" if chosen.pays(operation, size) else "compiler"
        unit = "multiplications" if weights else "numbers"
        images = " x ".join(str(n) for n in takes)
        yield f"  {type(layer).__name__} of {images}: {who} ({size / 1e6:.3g} million {unit})"
