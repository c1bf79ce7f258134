"""Schedules: how the learning rate changes over a run.

    constant      eta
    step          eta decay^floor(epoch / every)
    exponential   eta decay^epoch
    inverse       eta / (1 + decay epoch)        1/(0.5 epoch + 10) is eta 0.1, decay 0.05
    cosine        eta (1 + cos(pi t)) / 2        Loshchilov and Hutter 2017; t from 0 to 1
    one_cycle     eta/25 to eta to eta/250 000   Smith and Topin 2018: up along a cosine for 30 %
                                                 of the steps, then down along another

Epochs count from 0. The first four change between epochs, the last two at every step. A schedule
is worked out on the host, one row of rates an epoch: the compiled program only reads them. (The
schedules of optax are made for the inside of a program; from outside they take longer than an
epoch of small data. The tests hold these against them.)
"""

from collections.abc import Callable

import numpy as np

from deltarule.choices import choose

USUAL_DECAY = {"step": 0.1, "exponential": 0.95, "inverse": 0.05}


def _per_epoch(factor: Callable[[int, float, int], float]):  # type: ignore[no-untyped-def]
    def rates(
        rate: float, epoch: int, epochs: int, steps: int, decay: float, every: int
    ) -> np.ndarray:
        return np.full(steps, rate * factor(epoch, decay, every))

    return rates


def _per_step(shape: Callable[[np.ndarray], np.ndarray]):  # type: ignore[no-untyped-def]
    def rates(
        rate: float, epoch: int, epochs: int, steps: int, decay: float, every: int
    ) -> np.ndarray:
        t = np.arange(epoch * steps, (epoch + 1) * steps) / (epochs * steps)
        return rate * shape(t)

    return rates


def _fall(t: np.ndarray) -> np.ndarray:
    """Fall from 1 to 0 along half a cosine, t from 0 to 1."""
    return (1 + np.cos(np.pi * t)) / 2


def _one_cycle(
    t: np.ndarray, top: float = 0.3, low: float = 1 / 25, last: float = 4e-6
) -> np.ndarray:
    up = 1 - (1 - low) * _fall(t / top)
    down = last + (1 - last) * _fall((t - top) / (1 - top))
    return np.where(t < top, up, down)


SCHEDULES: dict[str, Callable[[float, int, int, int, float, int], np.ndarray]] = {
    "constant": _per_epoch(lambda epoch, decay, every: 1.0),
    "step": _per_epoch(lambda epoch, decay, every: decay ** (epoch // every)),
    "exponential": _per_epoch(lambda epoch, decay, every: decay**epoch),
    "inverse": _per_epoch(lambda epoch, decay, every: 1 / (1 + decay * epoch)),
    "cosine": _per_step(_fall),
    "one_cycle": _per_step(_one_cycle),
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
