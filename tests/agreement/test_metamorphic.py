"""What must not matter does not, and what must matter does: laws of whole runs.

Each says how the result changes when the question does, so none needs to know the result. All
learn from a full batch in float64, and most share one compiled program.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule.data import Dataset
from deltarule.learning import Recipe, evaluate, fit
from deltarule.learning.optimizers import Rates
from deltarule.learning.program import Examples, Hyper, Program
from deltarule.learning.step import start, step
from deltarule.network import Dense, Model, Network
from deltarule.seeds import generator

N, FEATURES, HIDDEN, CLASSES = 12, 5, 6, 3
NAMES = ("a", "b", "c")
NETWORK = Network([FEATURES, HIDDEN, CLASSES], activation="tanh", output="softmax")
START, STATE = NETWORK.init(np.random.default_rng(1))
X = np.random.default_rng(2).standard_normal((N, FEATURES))
Y = np.arange(N) % CLASSES
DATA = Dataset(X, Y, NAMES)


def learn(data=DATA, params=START, network=NETWORK, sample_weight=None, **choices):
    """Return the parameters of each layer that has some, after three epochs of full batches."""
    usual = {"learning_rate": 0.4, "epochs": 3, "batch_size": len(data), "precision": "float64"}
    recipe = Recipe(**usual | choices)
    run = fit(network, data, recipe=recipe, params=params, sample_weight=sample_weight)
    return [layer for layer in run.model.params if layer]


def asked(params, x=X, network=NETWORK, scale=1.0):
    """Return the outputs of the network with these parameters."""
    return Model(network, tuple(params), STATE, x.shape[1:], NAMES, scale).outputs(x)


def assert_same(one, other, atol=1e-10):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=0), one, other)


def put_together(hidden, output):
    """Return two dense layers as parameters of ``NETWORK``."""
    return hidden, {}, output, {}


def taken(hidden=slice(None), features=slice(None), outputs=slice(None), params=START):
    """Return ``params`` with hidden units, features and outputs in another order."""
    first, second = (layer for layer in params if layer)
    return put_together(
        {"w": first["w"][hidden][:, features], "b": first["b"][hidden]},
        {"w": second["w"][outputs][:, hidden], "b": second["b"][outputs]},
    )


def dense_only(params):
    return [layer for layer in params if layer]


def test_learning_changes_something():
    assert np.abs(learn()[0]["w"] - START[0]["w"]).max() > 0.01


# What must not matter.


def test_order_of_examples():
    order = np.random.default_rng(3).permutation(N)
    assert_same(learn(DATA[order]), learn())


def test_order_of_features():
    order = [3, 0, 4, 1, 2]
    permuted = learn(Dataset(X[:, order], Y, NAMES), taken(features=order))
    assert_same(permuted, dense_only(taken(features=order, params=learn())))


def test_order_of_hidden_units():
    order = [5, 2, 0, 1, 4, 3]
    assert_same(learn(params=taken(hidden=order)), dense_only(taken(hidden=order, params=learn())))


def test_order_of_classes():
    order = [2, 0, 1]  # class c is now called where(order == c)
    renamed = learn(Dataset(X, np.argsort(order)[Y], ("c", "a", "b")), taken(outputs=order))
    assert_same(renamed, dense_only(taken(outputs=order, params=learn())))


def test_sign_of_a_tanh_unit():
    sign = np.array([1, -1, 1, 1, -1, -1])

    def flipped(params):
        first, second = dense_only(params)
        return put_together(
            {"w": sign[:, None] * first["w"], "b": sign * first["b"]},
            {"w": second["w"] * sign, "b": second["b"]},
        )

    assert_same(learn(params=flipped(START)), dense_only(flipped(learn())))


def test_a_constant_added_to_all_logits():
    first, second = dense_only(START)
    lifted = put_together(first, {"w": second["w"], "b": second["b"] + 50})
    assert_same(asked(lifted), asked(START))
    after, before = learn(params=lifted), learn()
    assert_same(after[0], before[0])
    assert_same(after[1]["b"] - 50, before[1]["b"])


def test_units_of_the_inputs():
    first, second = dense_only(START)
    rescaled = put_together({"w": first["w"] * 1000, "b": first["b"]}, second)
    assert_same(asked(rescaled, X / 1000), asked(START), atol=1e-12)
    assert_same(asked(rescaled, X, scale=1 / 1000), asked(START), atol=1e-12)


def test_what_one_relu_layer_gains_and_the_next_loses():
    network = Network([FEATURES, HIDDEN, CLASSES], activation="relu", output="softmax")
    first, second = dense_only(START)
    moved = put_together(
        {"w": 7 * first["w"], "b": 7 * first["b"]}, {"w": second["w"] / 7, "b": second["b"]}
    )
    assert_same(asked(moved, network=network), asked(START, network=network), atol=1e-13)


def test_every_example_twice():
    assert_same(learn(DATA[[0, 1, 2, 3, 4, 5] * 2]), learn(DATA[:6]))


# What counts twice, or not at all.


def test_equal_weights_are_none():
    assert_same(learn(sample_weight=np.full(N, 7.0)), learn())


def test_an_example_of_weight_two_is_two_and_one_of_weight_zero_is_none():
    weight = np.array([2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    in_their_place = DATA[[0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert_same(learn(sample_weight=3 * weight), learn(in_their_place))


def test_class_weights_are_weights_of_examples():
    uneven = Dataset(X, np.array([0] * 6 + [1] * 4 + [2] * 2), NAMES)
    by_class = learn(uneven, class_weight=(1.0, 3.0, 0.5))
    assert_same(by_class, learn(uneven, sample_weight=np.array([1.0, 3.0, 0.5])[uneven.y]))
    # "balanced": n / (k n_c) = 12 / (3 * 6), 12 / (3 * 4), 12 / (3 * 2)
    balanced = learn(uneven, class_weight="balanced")
    assert_same(balanced, learn(uneven, sample_weight=np.array([2 / 3, 1, 2])[uneven.y]))


# Steps.


def one_step(weight=None, learning_rate=0.4):
    """Return the parameters after one step, taken operation by operation."""
    program = Program(NETWORK, "cross_entropy", "sgd", False, N, CLASSES, "float64")
    hyper = Hyper(Rates(learning_rate, 0.9, 0.9, 0.999, 1e-8, 0.0, 0.0), 0.0, 0.0, 0.0)
    with jax.enable_x64(True), jax.disable_jit():
        params = jax.tree.map(jnp.asarray, START)
        weight = None if weight is None else jnp.asarray(weight)
        batch = Examples(jnp.asarray(X), jnp.asarray(Y), weight, 1.0)
        learner = start(program, hyper, params, STATE)
        after = step(program, learner, batch, hyper, jax.random.key(0))
        return dense_only(jax.tree.map(np.asarray, after.params))


def test_a_compiled_epoch_of_one_step_is_the_step():
    assert_same(learn(epochs=1), one_step(), atol=1e-14)


def test_the_step_of_a_batch_is_the_mean_of_those_of_its_parts():
    parts = [learn(DATA[first : first + 4], epochs=1) for first in range(0, N, 4)]
    mean = jax.tree.map(lambda *each: np.mean(each, axis=0), *parts)
    assert_same(learn(epochs=1), mean, atol=1e-14)


def test_a_cost_ten_times_dearer_at_a_tenth_of_the_rate():
    assert_same(one_step(weight=np.full(N, 10.0), learning_rate=0.04), one_step(), atol=1e-14)


def test_a_learning_rate_of_zero_leaves_every_bit():
    after = learn(learning_rate=0.0, l1=0.1, l2=0.1)
    for now, before in zip(after, dense_only(START), strict=True):
        assert np.array_equal(now["w"], before["w"])
        assert np.array_equal(now["b"], before["b"])


@pytest.mark.parametrize("seed", range(5))
def test_a_small_step_lowers_the_cost(seed):
    params, _ = NETWORK.init(np.random.default_rng(seed))
    after = put_together(*learn(params=params, epochs=1, learning_rate=0.01))

    def cost(params):
        return evaluate(Model(NETWORK, params, STATE, (FEATURES,), NAMES), DATA).cost

    assert cost(after) < cost(params)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_higher_penalty_makes_smaller_weights(name):
    sizes = [
        sum(np.abs(layer["w"]).sum() for layer in learn(epochs=30, **{name: penalty}))
        for penalty in (0.0, 0.01, 0.03, 0.1)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.8 * sizes[0]


def test_the_solution_of_ridge_regression_stays_where_it_is():
    # Identity outputs, quadratic cost: C = |XW' + b - T|^2 / 2n + l2/2 |W|^2 has its minimum at
    # (X_c' X_c / n + l2) W' = X_c' T_c / n and b = mean T - W mean X, _c meaning less the mean.
    l2, T = 0.3, np.random.default_rng(4).standard_normal((N, 2))
    centred, targets = X - X.mean(axis=0), T - T.mean(axis=0)
    W = np.linalg.solve(centred.T @ centred / N + l2 * np.eye(FEATURES), centred.T @ targets / N).T
    solution = ({"w": W, "b": T.mean(axis=0) - W @ X.mean(axis=0)},)
    run = {"network": Network(Dense(2), shape=(FEATURES,)), "cost": "quadratic", "l2": l2}
    assert_same(learn(Dataset(X, T), solution, **run), list(solution), atol=1e-13)
    elsewhere = ({"w": W + 1, "b": solution[0]["b"]},)
    reached = learn(Dataset(X, T), elsewhere, epochs=2000, **run)
    assert_same(reached, list(solution), atol=1e-9)


# Predictions.


def test_an_example_is_predicted_alone_as_among_others():
    x = np.random.default_rng(5).standard_normal((130, FEATURES))
    together = asked(START, x)
    for i in (0, 63, 129):
        assert_same(asked(START, x[i : i + 1]), together[i : i + 1], atol=1e-14)
    assert_same(asked(START, x[:7]), together[:7], atol=1e-14)


def test_probabilities_are_probabilities_and_the_largest_is_the_prediction():
    x = 100 * np.random.default_rng(6).standard_normal((50, FEATURES))
    model = Model(NETWORK, START, STATE, (FEATURES,), NAMES)
    a = model.outputs(x)
    np.testing.assert_allclose(a.sum(axis=1), 1, atol=1e-12)
    assert (a >= 0).all()
    assert (a <= 1).all()
    assert np.array_equal(a.argmax(axis=1), model.predict(x))


# Learning.


@pytest.mark.parametrize(
    ("cost", "output"), [("cross_entropy", "softmax"), ("quadratic", "sigmoid")]
)
def test_ten_examples_are_learned_by_heart(cost, output):
    data = Dataset(X[:10], np.random.default_rng(7).integers(CLASSES, size=10), NAMES)
    network = Network([FEATURES, 20, CLASSES], activation="tanh", output=output)
    recipe = Recipe(cost=cost, learning_rate=0.5, batch_size=3, epochs=400)
    run = fit(network, data, recipe=recipe)
    assert evaluate(run.model, data, cost).correct == 10
    assert run.history[-1]["train_accuracy"] == 1


def test_random_labels_teach_nothing_about_new_examples():
    rng = np.random.default_rng(8)
    data = Dataset(rng.standard_normal((1300, 8)), rng.integers(2, size=1300), NAMES[:2])
    train, new = data[:300], data[300:]
    network = Network([8, 30, 2], activation="relu", output="softmax")
    recipe = Recipe(learning_rate=0.2, epochs=60)
    run = fit(network, train, recipe=recipe)
    assert evaluate(run.model, train).accuracy > 0.8  # it has tried
    # 1000 tosses of a coin, four standard deviations
    assert abs(evaluate(run.model, new).accuracy - 0.5) < 4 * np.sqrt(0.25 / 1000)


def test_one_seed_one_result_and_another_another():
    results = [learn(params=None, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(results[0][0]["w"], results[1][0]["w"])
    assert not np.array_equal(results[0][0]["w"], results[2][0]["w"])


def test_one_seed_draws_the_same_weights_whatever_is_learned():
    drawn, _ = NETWORK.init(generator(5, "weights"))
    assert_same(learn(params=None, seed=5, learning_rate=0.0), dense_only(drawn), atol=0)


def test_dropout_matters_while_training_and_not_after():
    dropping = Network(
        [FEATURES, HIDDEN, CLASSES], activation="tanh", output="softmax", dropout=0.5
    )
    params, state = dropping.init(np.random.default_rng(1))
    assert_same(dense_only(params), dense_only(START), atol=0)
    model = Model(dropping, params, state, (FEATURES,), NAMES)
    assert_same(model.outputs(X), asked(START), atol=1e-14)
    apart = np.abs(learn(network=dropping, params=params)[0]["w"] - learn()[0]["w"])
    assert apart.max() > 0.01
