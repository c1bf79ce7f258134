"""Every optimizer obeys every law: the steps of its paper, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from deltarule.learning.optimizers import OPTIMIZERS, Rates, optimizer

ETA, MU, BETA1, BETA2, EPSILON, DECAY, CLIP = 0.1, 0.8, 0.7, 0.9, 1e-3, 0.05, 0.5
RATES = Rates(ETA, MU, BETA1, BETA2, EPSILON, DECAY, CLIP)

# w after the gradients gs. Only adamw asks whether w is a weight or a bias.


def sgd(w, gs, is_weight):
    for g in gs:
        w = w - ETA * g
    return w


def momentum(w, gs, is_weight):
    v = 0
    for g in gs:
        v = MU * v + g
        w = w - ETA * v
    return w


def nesterov(w, gs, is_weight):
    v = 0
    for g in gs:
        v = MU * v + g
        w = w - ETA * (g + MU * v)
    return w


def rmsprop(w, gs, is_weight):
    square = 0
    for g in gs:
        square = 0.9 * square + 0.1 * g**2
        w = w - ETA * g / np.sqrt(square + EPSILON)
    return w


def adam(w, gs, is_weight, decay=0.0):
    m = v = 0
    for t, g in enumerate(gs, start=1):
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g**2
        step = (m / (1 - BETA1**t)) / (np.sqrt(v / (1 - BETA2**t)) + EPSILON)
        w = w - ETA * (step + decay * w * is_weight)
    return w


def adamw(w, gs, is_weight):
    return adam(w, gs, is_weight, DECAY)


ROWS = {f.__name__: f for f in (sgd, momentum, nesterov, rmsprop, adam, adamw)}

every_row = pytest.mark.parametrize("name", ROWS)


def layers(seed):
    """Two layers around one without parameters."""
    draw = np.random.default_rng(seed).standard_normal
    return ({"w": draw((3, 2)), "b": draw(3)}, {}, {"w": draw((1, 3)), "b": draw(1)})


def run(name, params, gradients, rates=RATES, clip=False):
    """Return the parameters after each of the gradients in turn."""
    params, gradients = jax.tree.map(jnp.asarray, (params, gradients))
    method = optimizer(name, rates, clip=clip)
    state = method.init(params)
    for g in gradients:
        updates, state = method.update(g, state, params)
        params = optax.apply_updates(params, updates)
    return params


def entries(params):
    return [(i, name) for i, layer in enumerate(params) for name in layer]


def assert_follows(name, after, before, gradients):
    for i, kind in entries(before):
        by_hand = ROWS[name](before[i][kind], [g[i][kind] for g in gradients], kind == "w")
        np.testing.assert_allclose(after[i][kind], by_hand, rtol=1e-12)


def test_the_table_is_complete():
    others = {name for name, row in OPTIMIZERS.items() if row.all_data or row.diagonal}
    assert set(ROWS) == set(OPTIMIZERS) - others - {"adaptive_rate"}  # tests/second_order


@every_row
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_those_of_the_paper(name, steps):
    before, gradients = layers(0), [layers(seed) for seed in range(1, steps + 1)]
    assert_follows(name, run(name, before, gradients), before, gradients)


@every_row
def test_a_learning_rate_of_zero_changes_nothing(name):
    before = layers(0)
    after = run(name, before, [layers(1), layers(2)], RATES._replace(learning_rate=0.0))
    assert all(np.array_equal(after[i][kind], before[i][kind]) for i, kind in entries(before))


@every_row
def test_without_a_gradient_only_adamw_moves_and_only_weights(name):
    before = layers(0)
    nothing = jax.tree.map(np.zeros_like, before)
    after = run(name, before, [nothing, nothing])
    for i, kind in entries(before):
        decayed = name == "adamw" and kind == "w"
        factor = (1 - ETA * DECAY) ** 2 if decayed else 1
        np.testing.assert_allclose(after[i][kind], factor * before[i][kind], rtol=1e-14)


@every_row
def test_the_first_step_goes_down(name):
    before, gradient = layers(0), layers(1)
    after = run(name, before, [gradient], RATES._replace(weight_decay=0.0))
    for i, kind in entries(before):
        moved = np.asarray(after[i][kind]) - before[i][kind]
        assert (np.sign(moved) == -np.sign(gradient[i][kind])).all()


@every_row
def test_a_long_gradient_is_shortened_and_a_short_one_is_not(name):
    before, long = layers(0), layers(1)
    length = np.sqrt(sum((long[i][kind] ** 2).sum() for i, kind in entries(long)))
    assert length > CLIP
    shortened = jax.tree.map(lambda g: g * CLIP / length, long)
    short = jax.tree.map(lambda g: g * CLIP / 2 / length, long)
    assert_follows(name, run(name, before, [long, short], clip=True), before, [shortened, short])


@every_row
def test_rates_are_traced_and_single_precision_stays_single(name):
    compilations = []

    @jax.jit
    def step(params, gradient, rates):
        compilations.append(name)
        return run(name, params, [gradient], rates, clip=True)

    params, gradient = jax.tree.map(lambda a: jnp.asarray(a, "float32"), (layers(0), layers(1)))
    with jax.disable_jit(False), jax.enable_x64(False):
        first = step(params, gradient, RATES)
        second = step(params, gradient, Rates(*(rate / 2 for rate in RATES)))
    assert len(compilations) == 1
    assert {leaf.dtype for leaf in jax.tree.leaves(first)} == {np.dtype("float32")}
    assert not np.array_equal(first[0]["w"], second[0]["w"])


@every_row
@pytest.mark.parametrize(
    "rates",
    [
        RATES._replace(momentum=1.0),
        RATES._replace(momentum=0.0, beta1=0.0, beta2=0.0),
        RATES._replace(beta1=0.999999, beta2=0.999999),
        RATES._replace(epsilon=1e-30),
    ],
    ids=["momentum 1", "no memory", "long memory", "tiny epsilon"],
)
def test_constants_at_their_limits_give_finite_steps(name, rates):
    after = run(name, layers(0), [layers(1), layers(2), layers(3)], rates)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))


def test_momentum_by_hand():
    # v = 1, w = 0 - 0.1; then v = 0.8 + 1 = 1.8, w = -0.1 - 0.18
    ones = ({"w": np.ones((1, 1))},)
    zero = ({"w": np.zeros((1, 1))},)
    assert float(run("momentum", zero, [ones, ones])[0]["w"][0, 0]) == pytest.approx(-0.28)
    # Nesterov looks ahead: 1 + 0.8 * 1 = 1.8, then 1 + 0.8 * 1.8 = 2.44
    assert float(run("nesterov", zero, [ones, ones])[0]["w"][0, 0]) == pytest.approx(-0.424)


def test_the_first_step_of_adam_is_the_learning_rate():
    # m / (1 - beta1) = g and v / (1 - beta2) = g^2, so the step is eta g / |g|
    one = ({"w": np.array([[5.0, -0.2]])},)
    after = run("adam", one, [one], RATES._replace(epsilon=0.0))
    np.testing.assert_allclose(after[0]["w"], [[5.0 - ETA, -0.2 + ETA]])


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(ValueError, match=r"optimizer must be one of .*did you mean 'nesterov'"):
        optimizer("nestrov", RATES)
