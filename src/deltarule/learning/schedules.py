"""Schedules: how the learning rate changes over a run.

    constant      eta
    step          eta decay^floor(epoch / every)
    exponential   eta decay^epoch
    inverse       eta / (1 + decay epoch)        1/(0.5 epoch + 10) is eta 0.1, decay 0.05
    cosine        eta (1 + cos(pi t)) / 2        Loshchilov and Hutter 2017; t from 0 to 1
    one_cycle     up to eta, then far below it   Smith and Topin 2018, along cosines

Epochs count from 0. The first four change between epochs, the last two at every step. A schedule
is worked out on the host, one row of rates an epoch: the compiled program only reads them.
"""

from collections.abc import Callable

import numpy as np
import optax

from deltarule.choices import choose

USUAL_DECAY = {"step": 0.1, "exponential": 0.95, "inverse": 0.05}


def _per_epoch(factor: Callable[[int, float, int], float]):  # type: ignore[no-untyped-def]
    def rates(
        rate: float, epoch: int, epochs: int, steps: int, decay: float, every: int
    ) -> np.ndarray:
        return np.full(steps, rate * factor(epoch, decay, every))

    return rates


def _per_step(make: Callable[[float, int], optax.Schedule]):  # type: ignore[no-untyped-def]
    def rates(
        rate: float, epoch: int, epochs: int, steps: int, decay: float, every: int
    ) -> np.ndarray:
        schedule = make(rate, epochs * steps)
        return np.asarray(schedule(np.arange(epoch * steps, (epoch + 1) * steps)), np.float64)

    return rates


SCHEDULES: dict[str, Callable[[float, int, int, int, float, int], np.ndarray]] = {
    "constant": _per_epoch(lambda epoch, decay, every: 1.0),
    "step": _per_epoch(lambda epoch, decay, every: decay ** (epoch // every)),
    "exponential": _per_epoch(lambda epoch, decay, every: decay**epoch),
    "inverse": _per_epoch(lambda epoch, decay, every: 1 / (1 + decay * epoch)),
    "cosine": _per_step(optax.cosine_decay_schedule),
    "one_cycle": _per_step(lambda rate, steps: optax.cosine_onecycle_schedule(steps, rate)),
}


def learning_rates(
    schedule: str,
    rate: float,
    epoch: int,
    epochs: int,
    steps: int,
    decay: float | None = None,
    every: int = 10,
) -> np.ndarray:
    """Return the learning rates [steps] of ``epoch`` (from 0) in a run of ``epochs``.

    >>> learning_rates("step", 0.5, epoch=25, epochs=30, steps=2, decay=0.1, every=10)
    array([0.005, 0.005])
    """
    rates = choose("schedule", schedule, SCHEDULES)
    if decay is None:
        decay = USUAL_DECAY.get(schedule, 1.0)
    return rates(rate, epoch, epochs, steps, decay, every)
