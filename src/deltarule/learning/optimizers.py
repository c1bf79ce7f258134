"""Optimizers: names -> methods, under the names and constants of their papers.

    sgd        w <- w - eta g                          online with a batch of one, else mini-batch
    momentum   v <- mu v + g;  w <- w - eta v          Polyak 1964
    nesterov   the same with g + mu v for v            Nesterov 1983; Sutskever et al. 2013
    rmsprop    w <- w - eta g / sqrt(mean of g^2)      Tieleman and Hinton 2012
    adam       means of g and g^2, bias-corrected      Kingma and Ba 2015
    adamw      adam, with weights decayed on their own Loshchilov and Hutter 2019

the first of ``second_order/``, on batches too:

    diagonal_lm    w_k <- w_k - eta g_k / (h_k + mu)   LeCun, Bottou, Orr and Mueller 1998
    adaptive_rate  w <- w - eta g; eta follows |r|     the same; r is a mean of g

and, each in its file of ``second_order/``, on all the examples at once:

    conjugate_gradient  along p = -g + beta p          Polak and Ribiere 1969
    fletcher_reeves     the same with another beta     Fletcher and Reeves 1964
    bfgs                p = -M g, M nearly H^-1        Broyden, Fletcher, Goldfarb and Shanno 1970
    lbfgs               the same from the last steps   Nocedal 1980
    newton              (|H| + mu I) s = -g            for tiny networks
    levenberg_marquardt (J'J / n + mu I) s = -g        Levenberg 1944; Marquardt 1963

The rates are traced numbers: an optimizer is put together inside the compiled step, so changing
a rate never compiles again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from deltarule.choices import choose
from deltarule.learning.second_order import bfgs, newton
from deltarule.learning.second_order import levenberg_marquardt as marquardt
from deltarule.learning.second_order.adaptive_rate import adaptive_rate
from deltarule.learning.second_order.conjugate_gradient import conjugate_gradient
from deltarule.learning.second_order.diagonal_lm import diagonal_lm
from deltarule.learning.second_order.lbfgs import lbfgs
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
    damping: Rate = 0.0


class Method(NamedTuple):
    """An optimizer, and what it asks of a run.

    Args:
        build: puts it together from its rates; a method that is given all the data is called
            with ``value`` and ``objective`` (``objective.py``) too.
        learning_rate: the usual one; None if the method finds the length of its steps itself.
        all_data: every step sees all examples; else batches, of usually 10.
        counts: its state holds ``evaluations``, for it asks for more than a gradient a step.
        damping: the usual one; None if it has none.
        curvature: it differentiates the gradient once more.
        diagonal: its state holds second derivatives, measured before each epoch
            (``second_order/second_derivatives.py``).
        auto: its learning rate may be measured (``rates.py``).
        momentum: it has momentum, with which a step goes 1/(1 - mu) times as far in the end.
        adapts: it changes the learning rate itself, so that no schedule can.
        quadratic: it needs the quadratic cost.
        most_parameters: more take too much memory or time; None sets no limit.
        instead: which method to choose beyond that limit.
    """

    build: Callable[[Rates], optax.GradientTransformationExtraArgs]
    learning_rate: float | None = None
    all_data: bool = False
    counts: bool = False
    damping: float | None = None
    curvature: bool = False
    diagonal: bool = False
    auto: bool = False
    momentum: bool = False
    adapts: bool = False
    quadratic: bool = False
    most_parameters: int | None = None
    instead: str = "lbfgs"


def _weights_only(params: Params) -> tuple[dict[str, bool], ...]:
    return tuple({name: is_weight(name) for name in layer} for layer in params)


def _by_batches(
    learning_rate: float, build: Callable[[Rates], optax.GradientTransformation], **asks: Any
) -> Method:
    return Method(lambda rates: optax.with_extra_args_support(build(rates)), learning_rate, **asks)


OPTIMIZERS: dict[str, Method] = {
    "sgd": _by_batches(0.1, lambda r: optax.sgd(r.learning_rate), auto=True),
    "momentum": _by_batches(
        0.01, lambda r: optax.sgd(r.learning_rate, r.momentum), auto=True, momentum=True
    ),
    "nesterov": _by_batches(
        0.01, lambda r: optax.sgd(r.learning_rate, r.momentum, nesterov=True),
        auto=True, momentum=True,
    ),
    "rmsprop": _by_batches(0.001, lambda r: optax.rmsprop(r.learning_rate, eps=r.epsilon)),
    "adam": _by_batches(0.001, lambda r: optax.adam(r.learning_rate, r.beta1, r.beta2, r.epsilon)),
    "adamw": _by_batches(
        0.001,
        lambda r: optax.adamw(
            r.learning_rate, r.beta1, r.beta2, r.epsilon,
            weight_decay=r.weight_decay, mask=_weights_only,
        ),
    ),
    "diagonal_lm": _by_batches(
        0.01, lambda r: diagonal_lm(r.learning_rate, r.damping),
        damping=0.02, counts=True, diagonal=True,
    ),
    "adaptive_rate": _by_batches(0.1, lambda r: adaptive_rate(r.learning_rate), adapts=True),
    "conjugate_gradient": Method(lambda r: conjugate_gradient(), all_data=True, counts=True),
    "fletcher_reeves": Method(
        lambda r: conjugate_gradient(fletcher_reeves=True), all_data=True, counts=True
    ),
    "bfgs": Method(
        lambda r: bfgs.bfgs(), all_data=True, counts=True, most_parameters=bfgs.MOST_PARAMETERS
    ),
    "lbfgs": Method(lambda r: lbfgs(), all_data=True, counts=True),
    "newton": Method(
        lambda r: newton.newton(r.damping), all_data=True, counts=True, curvature=True,
        damping=newton.DAMPING, most_parameters=newton.MOST_PARAMETERS,
    ),
    "levenberg_marquardt": Method(
        lambda r: marquardt.levenberg_marquardt(r.damping), all_data=True, counts=True,
        curvature=True, quadratic=True, damping=marquardt.DAMPING,
        most_parameters=marquardt.MOST_PARAMETERS,
    ),
}  # fmt: skip


def optimizer(
    name: str, rates: Rates, *, clip: bool = False
) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer called ``name``.

    With ``clip`` gradients longer than ``rates.clip``, all parameters taken together, are first
    shortened to it (Pascanu, Mikolov and Bengio 2013).
    """
    update = choose("optimizer", name, OPTIMIZERS).build(rates)
    if clip:
        return optax.chain(optax.clip_by_global_norm(rates.clip), update)
    return update
