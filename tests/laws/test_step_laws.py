"""One step of training, whole: its gradient for every activation, cost, penalty, depth and dropout.

With sgd and a learning rate of 1 the parameters before less those after are the gradient. It is
held against central differences of a cost that is worked out in NumPy from ``formulas.py`` and
shares no line with the engine. Then the check is checked: mistakes are planted in the engine, and
each must be seen.
"""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from formulas import ACTIVATIONS as FORMULAS
from formulas import SMOOTH, largest_error
from formulas import cost as formula

from deltarule.learning import measure, optimizers, penalties, step
from deltarule.learning.costs import COSTS
from deltarule.learning.optimizers import Rates
from deltarule.learning.program import Examples, Hyper, Program
from deltarule.network import ACTIVATIONS, Activation, Dense, Dropout, Network, kernels

INPUTS, HIDDEN, OUTPUTS, BATCH = 3, 4, 3, 5
OUTPUT_COSTS = [
    ("cross_entropy", "softmax"),
    ("cross_entropy", "sigmoid"),
    ("quadratic", "sigmoid"),
    ("quadratic", "softmax"),
    ("quadratic", "identity"),
]
PENALTIES = {"none": (0.0, 0.0), "L1 and L2": (0.02, 0.1)}
FAR = 1e-3  # a hundred times the epsilon of the differences: how far to stay from a kink
KEY = jax.random.key(9)
PLAIN_RATES = Rates(1.0, 0.9, 0.9, 0.999, 1e-8, 0.0, 0.0)

X = np.random.default_rng(20).standard_normal((BATCH, INPUTS))
Y = np.random.default_rng(21).dirichlet(np.ones(OUTPUTS), size=BATCH)
WEIGHT = np.array([0.5, 2.0, 0.0, 1.0, 1.5])


def hidden_layers(depth, activation, dropout):
    one = [Dense(HIDDEN), Activation(activation)] + [Dropout(dropout)] * (dropout > 0)
    return one * depth


def make_network(depth, activation, output, dropout):
    last = Dense(OUTPUTS), Activation(output)
    return Network(*hidden_layers(depth, activation, dropout), *last, shape=(INPUTS,))


def forward(network, params, masks):
    """Return the last z, and all the others, in NumPy."""
    a, zs, masks = X, [], iter(masks)
    for layer, p in zip(network.layers[:-1], params, strict=False):
        if isinstance(layer, Dense):
            a = a @ p["w"].T + p["b"]
            zs.append(a)
        elif isinstance(layer, Activation):
            a = FORMULAS[layer.name].value(a)
        else:
            a = a * next(masks)
    return a, zs[:-1]


@cache
def dropout_masks(depth, dropout):
    """Return what each Dropout multiplies by: it is asked alone, in its place in the network."""
    masks = []
    for position, layer in enumerate(hidden_layers(depth, "identity", dropout)):
        if isinstance(layer, Dropout):
            alone = Network(*[Activation("identity")] * position, layer)
            nothing = ({},) * (position + 1)
            ones = jnp.ones((BATCH, HIDDEN))
            kept, _ = alone.apply(nothing, nothing, ones, key=KEY, train=True)
            masks.append((np.asarray(kept) != 0) / (1 - dropout))
    return masks


def draw_params(network, masks, seed):
    """Draw parameters of order 1, none near a kink of a penalty or of an activation."""
    shapes, _ = network.init(None)
    for attempt in range(1000):
        normal = np.random.default_rng([seed, attempt]).standard_normal
        params = tuple({name: normal(a.shape) for name, a in layer.items()} for layer in shapes)
        _, zs = forward(network, params, masks)
        weights = [layer["w"] for layer in params if layer]
        if min(np.abs(each).min() for each in zs + weights) > FAR:
            return params
    raise AssertionError("no draw stays far from every kink")


def reference(network, cost_name, penalty, masks, weight):
    """Return the cost that training makes small, as a function of a list of arrays."""
    l1, l2 = penalty

    def total(arrays):
        arrays = iter(arrays)
        params = [
            {"w": next(arrays), "b": next(arrays)} if isinstance(layer, Dense) else {}
            for layer in network.layers
        ]
        z, _ = forward(network, params, masks)
        costs = weight * formula(cost_name, network.output, z, Y)
        w = np.concatenate([p["w"].ravel() for p in params if p])
        return costs.mean() + l1 * np.abs(w).sum() + l2 / 2 * w @ w

    return total


def last_gradient(network, cost_name, penalty, params, weight, steps):
    """Return the gradient of the last of some steps on one batch, each taken from ``params``.

    What the steps before it left behind must not matter.
    """
    program = Program(network, cost_name, "sgd", False, BATCH, OUTPUTS, "float64")
    hyper = Hyper(PLAIN_RATES, *penalty, 0.0)
    weight = None if weight is None else jnp.asarray(weight)
    batch = Examples(jnp.asarray(X), jnp.asarray(Y), weight, 1.0)
    before = jax.tree.map(jnp.asarray, params)
    learner = step.start(program, hyper, before, ({},) * len(params))
    for _ in range(steps):
        learner = step.step(program, learner._replace(params=before), batch, hyper, KEY)
    return jax.tree.map(lambda p, q: np.asarray(p) - np.asarray(q), before, learner.params)


def in_order(params):
    return [layer[name] for layer in params if layer for name in ("w", "b")]


def error_of(depth, activation, cost, penalty, dropout, weight=None, steps=1):
    """Return the largest relative error of the gradient of a step."""
    cost_name, output = cost
    network = make_network(depth, activation, output, dropout)
    masks = dropout_masks(depth, dropout)
    params = draw_params(network, masks, seed=depth)
    gradient = last_gradient(network, cost_name, penalty, params, weight, steps)
    total = reference(network, cost_name, penalty, masks, 1.0 if weight is None else weight)
    return largest_error(total, in_order(params), in_order(gradient))


def test_the_costs_are_complete():
    assert {name for name, _ in OUTPUT_COSTS} == set(COSTS)


def combinations():
    """Return each activation with each cost, in two of eight settings that differ in all.

    So each activation and each cost meets all eight.
    """
    settings = list(product(PENALTIES, (0.0, 0.3), (1, 2)))
    return [
        (activation, cost, *settings[chosen])
        for i, activation in enumerate(FORMULAS)
        for j, cost in enumerate(OUTPUT_COSTS)
        for chosen in ((i + j) % 4, 7 - (i + j) % 4)
    ]


def test_the_combinations_are_complete():
    rows = combinations()
    assert len({(activation, *rest) for activation, _, *rest in rows}) == 8 * len(FORMULAS)
    assert len({(cost, *rest) for _, cost, *rest in rows}) == 8 * len(OUTPUT_COSTS)


@pytest.mark.parametrize(
    ("activation", "cost", "penalty", "dropout", "depth"), combinations(),
    ids=lambda value: " of ".join(value) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_the_gradient_of_a_step(activation, cost, penalty, dropout, depth):
    error = error_of(depth, activation, cost, PENALTIES[penalty], dropout)
    assert error < FORMULAS[activation].tolerance


@pytest.mark.parametrize("cost", OUTPUT_COSTS, ids=" of ".join)
def test_the_gradient_of_weighted_examples(cost):
    assert error_of(1, "tanh", cost, PENALTIES["none"], 0.0, WEIGHT, steps=2) < SMOOTH


# The check is checked.

SHOWN = 1e-5  # what counts as seen: a hundred times what a right gradient is off


def wrong_slope(f, factor):
    """Return ``f`` with a derivative that is ``factor`` times too steep."""
    wrong = jax.custom_jvp(f)

    @wrong.defjvp
    def _(primals, tangents):
        a, da = jax.jvp(f, primals, tangents)
        return a, factor * da

    return wrong


def wrong_delta(cost, change):
    """Return the cost with its delta put through ``change(delta, z, y)``."""

    def changed(output):
        value, delta = cost(output)
        return value, lambda z, y: change(delta(z, y), z, y)

    return changed


@pytest.mark.parametrize("factor", [1.0005, 0.9995])
@pytest.mark.parametrize("activation", FORMULAS)
def test_a_slope_wrong_by_half_a_thousandth_is_seen(monkeypatch, activation, factor):
    wrong = wrong_slope(ACTIVATIONS[activation], factor)
    monkeypatch.setitem(ACTIVATIONS, activation, wrong)
    assert error_of(2, activation, OUTPUT_COSTS[0], PENALTIES["none"], 0.0) > SHOWN


@pytest.mark.parametrize("factor", [1.0005, 0.9995])
@pytest.mark.parametrize("cost", OUTPUT_COSTS, ids=" of ".join)
def test_an_output_error_wrong_by_half_a_thousandth_is_seen(monkeypatch, cost, factor):
    wrong = wrong_delta(COSTS[cost[0]], lambda delta, z, y: factor * delta)
    monkeypatch.setitem(COSTS, cost[0], wrong)
    assert error_of(1, "tanh", cost, PENALTIES["none"], 0.0) > SHOWN


def penalty_with(change):
    """Plant an ``add_gradient`` whose arguments go through ``change(params, l1, l2)``."""
    right = penalties.add_gradient
    return penalties, "add_gradient", lambda p, g, l1, l2: right(*change(p, g, l1, l2))


def measure_with(change_batch=lambda batch: batch, change_cost=lambda cost: cost):
    right = measure.measure

    def wrong(program, params, state, batch, *rest, **options):
        cost, *others = right(program, params, state, change_batch(batch), *rest, **options)
        return change_cost(cost), *others

    return measure, "measure", wrong


def dense_with(compute):
    def wrong(x, w, b, activation="identity"):
        return kernels.activate(compute({"w": w, "b": b}, x), activation)

    return kernels, "dense", wrong


def dropout_with(compute):
    def wrong(self, p, s, x, *, key, train):
        return compute(x, self.rate, jax.random.bernoulli(key, 1 - self.rate, x.shape)), s

    return Dropout, "apply", wrong


def cost_with(change):
    return COSTS, "cross_entropy", wrong_delta(COSTS["cross_entropy"], change)


def rate_with(factor):
    return planted_sgd(lambda r: optimizers.optax.sgd(factor * r.learning_rate))


def planted_sgd(build):
    """Plant ``build`` in the place of sgd."""
    wrong = lambda rates: optimizers.optax.with_extra_args_support(build(rates))  # noqa: E731
    return optimizers.OPTIMIZERS, "sgd", optimizers.OPTIMIZERS["sgd"]._replace(build=wrong)


def all_as_weights(params, gradients, l1, l2):
    """Let the penalty see biases where it looks for weights."""
    rename = lambda tree: tuple({"w": layer["b"]} for layer in tree if layer)  # noqa: E731
    return rename(params), rename(gradients), l1, l2


def penalised_biases():
    right = penalties.add_gradient

    def wrong(params, gradients, l1, l2):
        biases = right(*all_as_weights(params, gradients, l1, l2))
        weights, biases = right(params, gradients, l1, l2), iter(biases)
        return tuple({**layer, "b": next(biases)["w"]} if layer else {} for layer in weights)

    return penalties, "add_gradient", wrong


MISTAKES = {
    "output error with the wrong sign": lambda: cost_with(lambda d, z, y: -d),
    "output error half as long": lambda: cost_with(lambda d, z, y: d / 2),
    "slope kept where it cancels": lambda: cost_with(lambda d, z, y: d * (d + y) * (1 - d - y)),
    "output error without the target": lambda: cost_with(lambda d, z, y: d + y),
    "output error of the neighbour": lambda: cost_with(lambda d, z, y: jnp.roll(d, 1, axis=1)),
    "output errors shuffled": lambda: cost_with(lambda d, z, y: jnp.roll(d, 1, axis=0)),
    "cost summed, not averaged": lambda: measure_with(change_cost=lambda c: BATCH * c),
    "cost averaged twice": lambda: measure_with(change_cost=lambda c: c / BATCH),
    "weights of the examples forgotten": lambda: measure_with(lambda b: b._replace(weight=None)),
    "inputs shuffled without targets": lambda: measure_with(lambda b: b._replace(x=b.x[::-1])),
    "inputs scaled": lambda: measure_with(lambda b: b._replace(scale=1.0005)),
    "bias forgotten": lambda: dense_with(lambda p, x: x @ p["w"].T),
    "bias twice": lambda: dense_with(lambda p, x: x @ p["w"].T + 2 * p["b"]),
    "weights not learned": lambda: dense_with(
        lambda p, x: x @ jax.lax.stop_gradient(p["w"]).T + p["b"]
    ),
    "errors stopped on their way back": lambda: dense_with(
        lambda p, x: jax.lax.stop_gradient(x) @ p["w"].T + p["b"]
    ),
    "dropout without growth": lambda: dropout_with(lambda x, rate, kept: x * kept),
    "dropout's rate kept, not dropped": lambda: dropout_with(
        lambda x, rate, kept: jnp.where(kept, 0, x / rate)
    ),
    "dropout forgotten": lambda: dropout_with(lambda x, rate, kept: x),
    "dropout forward only": lambda: dropout_with(
        lambda x, rate, kept: x + jax.lax.stop_gradient(jnp.where(kept, x / (1 - rate), 0) - x)
    ),
    "penalties forgotten": lambda: penalty_with(lambda p, g, l1, l2: (p, g, 0.0, 0.0)),
    "L1 forgotten": lambda: penalty_with(lambda p, g, l1, l2: (p, g, 0.0, l2)),
    "L1 0.05 % too dear": lambda: penalty_with(lambda p, g, l1, l2: (p, g, 1.0005 * l1, l2)),
    "L2 0.05 % too dear": lambda: penalty_with(lambda p, g, l1, l2: (p, g, l1, 1.0005 * l2)),
    "L2 without its half": lambda: penalty_with(lambda p, g, l1, l2: (p, g, l1, 2 * l2)),
    "penalties make weights grow": lambda: penalty_with(lambda p, g, l1, l2: (p, g, -l1, -l2)),
    "penalties of the gradient": lambda: penalty_with(lambda p, g, l1, l2: (g, g, l1, l2)),
    "penalties on biases": penalised_biases,
    "steps 0.05 % too long": lambda: rate_with(1.0005),
    "steps uphill": lambda: rate_with(-1),
    "stale slopes left over": lambda: planted_sgd(
        lambda r: optimizers.optax.sgd(r.learning_rate, 0.1)
    ),
}  # fmt: skip


def error_with_everything_on():
    return error_of(2, "tanh", ("cross_entropy", "sigmoid"), (0.02, 0.1), 0.3, WEIGHT, steps=2)


def test_the_engine_as_it_is_passes():
    assert error_with_everything_on() < SMOOTH


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_every_mistake_is_seen(monkeypatch, mistake):
    target, name, wrong = mistake()
    plant = monkeypatch.setitem if isinstance(target, dict) else monkeypatch.setattr
    plant(target, name, wrong)
    assert error_with_everything_on() > SHOWN


def test_there_are_enough_mistakes():
    assert len(MISTAKES) >= 20
