"""Optimizers: names -> optax chains, under the names and constants of their papers.

    sgd        w <- w - eta g                          online with a batch of one, else mini-batch
    momentum   v <- mu v + g;  w <- w - eta v          Polyak 1964
    nesterov   the same with g + mu v for v            Nesterov 1983; Sutskever et al. 2013
    rmsprop    w <- w - eta g / sqrt(mean of g^2)      Tieleman and Hinton 2012
    adam       means of g and g^2, bias-corrected      Kingma and Ba 2015
    adamw      adam, with weights decayed on their own Loshchilov and Hutter 2019

The rates are traced numbers: an optimizer is put together inside the compiled step, so changing
a rate never compiles again.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from deltarule.choices import choose
from deltarule.network.layers.contract import is_weight
from deltarule.network.network import Params

Rate = jax.Array | float


class Rates(NamedTuple):
    """The numbers an optimizer works with, each in the units of its paper."""

    learning_rate: Rate
    momentum: Rate
    beta1: Rate
    beta2: Rate
    epsilon: Rate
    weight_decay: Rate
    clip: Rate


def _weights_only(params: Params) -> tuple[dict[str, bool], ...]:
    return tuple({name: is_weight(name) for name in layer} for layer in params)


OPTIMIZERS: dict[str, Callable[[Rates], optax.GradientTransformation]] = {
    "sgd": lambda r: optax.sgd(r.learning_rate),
    "momentum": lambda r: optax.sgd(r.learning_rate, r.momentum),
    "nesterov": lambda r: optax.sgd(r.learning_rate, r.momentum, nesterov=True),
    "rmsprop": lambda r: optax.rmsprop(r.learning_rate, eps=r.epsilon),
    "adam": lambda r: optax.adam(r.learning_rate, r.beta1, r.beta2, r.epsilon),
    "adamw": lambda r: optax.adamw(
        r.learning_rate, r.beta1, r.beta2, r.epsilon,
        weight_decay=r.weight_decay, mask=_weights_only,
    ),
}  # fmt: skip

USUAL_LEARNING_RATE = {
    "sgd": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "rmsprop": 0.001,
    "adam": 0.001,
    "adamw": 0.001,
}


def optimizer(name: str, rates: Rates, *, clip: bool = False) -> optax.GradientTransformation:
    """Return the optimizer called ``name``.

    With ``clip`` gradients longer than ``rates.clip``, all parameters taken together, are first
    shortened to it (Pascanu, Mikolov and Bengio 2013).
    """
    update = choose("optimizer", name, OPTIMIZERS)(rates)
    if clip:
        return optax.chain(optax.clip_by_global_norm(rates.clip), update)
    return update
