"""Learning rates that are measured: against exact curvature, and where they lead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fits import NETWORK, PutBack, Snapshots, blobs, cut_into, digest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.data import Dataset
from deltarule.errors import DivergedError
from deltarule.learning import Recipe, fit
from deltarule.learning.rates import (
    CAUTION,
    EXPLODED,
    SMOOTHING,
    _judged,
    _smoothed,
    automatic_rate,
    range_test,
)
from deltarule.network import BatchNorm, Dense, Network

BOWL = Network([3, 1], output="identity")


def bowl(n=300):
    """Inputs with one direction ten times as long as the others: a long valley."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3)) * [10**0.5, 1.0, 1.0]
    return Dataset(x, x @ [[1.0], [-1.0], [0.5]])


def quadratic(**options):
    return Recipe(**({"cost": "quadratic", "precision": "float64", "batch_size": 10} | options))


def exact_eigenvalue(network, data, recipe):
    """Return the largest eigenvalue of the Hessian of the mean cost at the initial weights."""
    with jax.enable_x64(True):
        from jax.flatten_util import ravel_pytree

        from deltarule.learning.costs import COSTS
        from deltarule.seeds import generator

        params, state = network.init(generator(recipe.seed, "weights"), data.shape)
        flat, back = ravel_pytree(jax.tree.map(jnp.asarray, params))
        y = np.eye(len(data.classes))[data.y] if data.classes else data.y
        value, _ = COSTS[recipe.cost](network.output)

        def cost(flat):
            z, _ = network.logits(back(flat), state, jnp.asarray(data.x))
            return value(z, jnp.asarray(y)).mean() + recipe.l2 / 2 * sum(
                jnp.square(layer["w"]).sum() for layer in back(flat) if layer
            )

        return float(jnp.linalg.eigvalsh(jax.jit(jax.hessian(cost))(flat))[-1])


@pytest.mark.parametrize(
    ("network", "data", "options"),
    [
        (BOWL, bowl(40), {"cost": "quadratic"}),  # fewer examples than it looks at
        (NETWORK, blobs(150), {}),
        (NETWORK, blobs(150), {"l2": 2.0}),
    ],
    ids=["few examples", "network", "penalty"],
)
def test_it_is_one_over_the_largest_eigenvalue(network, data, options):
    for seed in (0, 1):
        recipe = Recipe(precision="float64", seed=seed, **options)
        rate = automatic_rate(network, data, recipe)
        assert rate * exact_eigenvalue(network, data, recipe) == pytest.approx(1, rel=0.25)


def test_with_momentum_it_is_smaller_by_what_momentum_multiplies():
    rates = [
        automatic_rate(NETWORK, blobs(), Recipe(optimizer=name, momentum=0.8))
        for name in ("sgd", "nesterov")
    ]
    assert rates[1] == pytest.approx(0.2 * rates[0], rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_a_run_at_this_rate_learns(optimizer):
    run = fit(NETWORK, blobs(), recipe=Recipe(optimizer=optimizer, learning_rate="auto", epochs=6))
    costs = [record["train_cost"] for record in run.history]
    assert costs[-1] < 0.5 * costs[0]
    assert {record["learning_rate"] for record in run.history} == {run.rate}
    assert run.rate == automatic_rate(NETWORK, blobs(), Recipe(optimizer=optimizer))


def test_beyond_twice_this_rate_gradient_descent_diverges():
    data = bowl(200)
    all_at_once = quadratic(batch_size=200, epochs=200)
    curvature = exact_eigenvalue(BOWL, data, all_at_once)
    assert fit(BOWL, data, recipe=quadratic(batch_size=200, epochs=200, learning_rate="auto"),
               ).history[-1]["train_cost"] < 1e-3  # fmt: skip
    with pytest.raises(DivergedError):
        fit(BOWL, data, recipe=quadratic(
            batch_size=200, epochs=400, learning_rate=4 * 2 / curvature
        ))  # fmt: skip


def test_a_schedule_begins_at_the_measured_rate():
    recipe = Recipe(learning_rate="auto", schedule="exponential", decay=0.5, epochs=3)
    run = fit(NETWORK, blobs(), recipe=recipe)
    rates = [record["learning_rate"] for record in run.history]
    assert rates == pytest.approx([run.rate, run.rate / 2, run.rate / 4])


def test_a_resumed_run_measures_the_same_rate(monkeypatch):
    cut_into(monkeypatch, 4)
    recipe = Recipe(learning_rate="auto", batch_size=5, epochs=3)
    stored = Snapshots()
    whole = fit(NETWORK, blobs(), recipe=recipe, callbacks=[stored])
    for place in (0, 2, 5):
        put_back = PutBack(stored.arrays[place], stored.headers[place])
        run = fit(NETWORK, blobs(), recipe=recipe, callbacks=[put_back])
        assert run.rate == whole.rate
        assert digest(run.state) == digest(whole.state)


def test_layers_that_mix_examples_are_shown_batches():
    """Of a batch of one batch norm leaves nothing; other networks are shown single examples."""
    mixing = Network(Dense(4), BatchNorm(), Dense(3), shape=(4,))
    for network, alike in ((mixing, False), (NETWORK, True)):
        rates = [
            automatic_rate(network, blobs(), Recipe(cost="quadratic", batch_size=size))
            for size in (1, 20)
        ]
        assert (rates[0] == pytest.approx(rates[1], rel=1e-3)) == alike


@pytest.mark.parametrize("name", ["adam", "rmsprop", "diagonal_lm", "adaptive_rate"])
def test_other_optimizers_refuse_it(name):
    with pytest.raises(ValueError, match="is measured for sgd, momentum, nesterov alone; leave it"):
        Recipe(optimizer=name, learning_rate="auto")


def test_a_cost_that_is_flat_has_no_rate():
    sizes = ((5, 4), (3, 5))
    dead = tuple({"w": np.zeros(size), "b": np.full(size[0], -1.0)} for size in sizes)
    dead = (dead[0], {}, dead[1], {})
    network = Network([4, 5, 3], activation="relu", output="relu")
    with pytest.raises(ValueError, match=r"its largest curvature is 0\.0; scale the inputs"):
        fit(network, blobs(), params=dead, recipe=Recipe(cost="quadratic", learning_rate="auto"))


# The range test.


def test_on_a_bowl_the_cost_explodes_beyond_the_largest_rate():
    data = bowl(200)
    found = range_test(BOWL, data, quadratic(batch_size=50), lowest=1e-4, highest=100.0)
    limit = 2 / exact_eigenvalue(BOWL, data, quadratic())
    assert found.exploded
    assert limit / 2 < found.rates[-1] < 10 * limit
    assert found.suggestion < limit
    assert found.suggestion == pytest.approx(found.rates[found.costs.argmin()] / CAUTION)
    assert found.costs.min() < 0.1 * found.costs[0]


def test_diagonal_lm_measures_its_curvatures_first():
    """Divided by h + mu the bowl bears rates near 1; by mu = 0.02 alone, near 0.004."""
    recipe = quadratic(batch_size=50, optimizer="diagonal_lm")
    assert range_test(BOWL, bowl(200), recipe, lowest=1e-4, highest=100.0).rates[-1] > 0.3


def test_it_is_plain_descent_at_growing_rates():
    """Its raw costs are those of NumPy's steps, in the order of the run's first epochs."""
    from deltarule.seeds import generator

    data = bowl(30)
    found = range_test(BOWL, data, quadratic(), lowest=1e-3, highest=0.05, steps=20)
    rng = generator(0, "weights")
    params, _ = BOWL.init(rng)
    w, b, costs = params[0]["w"][0], params[0]["b"], []
    orders = np.concatenate([generator(0, "shuffle", e).permutation(30) for e in range(7)])
    for s, rate in enumerate(np.geomspace(1e-3, 0.05, 20)):
        batch = orders[10 * s : 10 * s + 10]
        error = data.x[batch] @ w + b - data.y[batch, 0]
        costs.append((error**2).mean() / 2)
        w = w - rate * (error[:, None] * data.x[batch]).mean(axis=0)
        b = b - rate * error.mean()
    np.testing.assert_allclose(found.costs, _smoothed(np.array(costs))[: len(found.costs)],
                               rtol=1e-10)  # fmt: skip
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 0.05, 20)[: len(found.rates)])


@pytest.mark.parametrize("optimizer", ["adam", "diagonal_lm"])
def test_the_suggestion_trains(optimizer):
    recipe = Recipe(optimizer=optimizer, batch_size=5)
    found = range_test(NETWORK, blobs(), recipe)
    run = fit(NETWORK, blobs(), recipe=Recipe(
        optimizer=optimizer, batch_size=5, learning_rate=found.suggestion, epochs=8
    ))  # fmt: skip
    assert run.history[-1]["train_cost"] < 0.6 * run.history[0]["train_cost"]


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40))
def test_the_running_mean_weighs_the_past(costs):
    found = _smoothed(np.array(costs))
    weights = SMOOTHING ** np.arange(len(costs))[::-1]
    assert found[-1] == pytest.approx((weights * costs).sum() / weights.sum())
    assert found[0] == pytest.approx(costs[0])


def test_what_comes_after_the_explosion_does_not_count():
    """After a cost that is no number, later costs, however low, say nothing."""
    costs = np.array([1.0, 0.8, 0.6, np.nan, 0.1, 0.1])
    rates = np.geomspace(1e-3, 1e2, 6)
    found = _judged(rates, costs)
    assert found.exploded
    assert found.rates.tolist() == rates[:3].tolist()
    assert found.suggestion == pytest.approx(rates[2] / CAUTION)
    steep = _judged(rates, np.array([1.0, 0.9, 100 * EXPLODED, 0.1, 0.1, 0.1]))
    assert len(steep.rates) == 2
    assert not _judged(rates, np.ones(6)).exploded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "must be rates that grow, got 1.0 and 0.1"),
        ({"lowest": 0.0}, "must be rates that grow"),
        ({"steps": 5}, "steps must be at least 20, got 5"),
    ],
)
def test_what_is_no_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        range_test(NETWORK, blobs(), **options)


@pytest.mark.parametrize("name", ["conjugate_gradient", "adaptive_rate"])
def test_optimizers_without_a_rate_are_refused(name):
    with pytest.raises(ValueError, match=f"means nothing to {name}; choose an optimizer such as"):
        range_test(NETWORK, blobs(), Recipe(optimizer=name))


def test_a_cost_that_is_infinite_from_the_start_is_said():
    huge = Dataset(np.full((20, 3), 1e30), np.ones((20, 1)))
    with pytest.raises(ValueError, match="not finite before the first step; scale the inputs"):
        range_test(BOWL, huge, Recipe(cost="quadratic"))
