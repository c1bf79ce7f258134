"""Hard numbers: rates that are too large, inputs that are, constants that are too small."""

import math

import jax
import numpy as np
import pytest
from fits import BATCH, NETWORK, blobs, host, weights

from deltarule.data import Dataset
from deltarule.errors import DivergedError
from deltarule.learning import Callback, Recipe, fit
from deltarule.network import Dense, Network

LINE = Network(Dense(1, "zeros", "zeros"), shape=(1,))
POINT = Dataset(np.ones((1, 1)), np.ones((1, 1)))
RELU = Network([4, 5, 3], activation="relu", output="softmax")
DATA, HELD_OUT = blobs(), blobs(17, seed=1)
FEW = Recipe(epochs=5, batch_size=BATCH)


def steep(**options):
    """a = w + b, C = 1/2 (a - 1)^2, rate 1e6: each step multiplies a - 1 by 1 - 2e6.

    epoch   cost before the step   w after it
    1       1/2                    1e6
    2       2e12                   2e12
    3       8e24                   4e18
    4       3.2e37                 8e24, whose square is beyond float32
    """
    return Recipe(cost="quadratic", learning_rate=1e6, batch_size=1, epochs=20, **options)


def test_the_error_names_epoch_last_cost_and_remedy():
    message = (
        r"training diverged in epoch 4: the cost is not finite \(the last finite cost was 8e\+24, "
        r"of epoch 3\); choose a learning_rate below 1e\+06, or scale the inputs"
    )
    with pytest.raises(DivergedError, match=message):
        fit(LINE, POINT, recipe=steep())


def test_it_stops_at_once_and_no_callback_sees_the_broken_state_advance():
    class Watch(Callback):
        advances, ends = 0, 0

        def advanced(self, run):
            self.advances += 1
            assert np.isfinite(weights(run)).all()

        def ended(self, run):
            self.ends += 1

    watch = Watch()
    with pytest.raises(DivergedError):
        fit(LINE, POINT, recipe=steep(), callbacks=[watch])
    assert (watch.advances, watch.ends) == (3, 0)


def test_several_epochs_a_call_are_judged_one_by_one():
    """Without a callback all 20 epochs run in one call; the message is the same."""
    with pytest.raises(DivergedError, match=r"in epoch 4: .* was 8e\+24, of epoch 3"):
        fit(LINE, POINT, recipe=steep(), callbacks=[])


def test_with_early_stopping_the_best_weights_come_back():
    class First(Callback):
        def epoch_ended(self, run):
            if len(run.history) == 1:
                self.params = host(run.state.learner.params)

    first = First()
    recipe = steep(early_stopping=10)
    run = fit(LINE, POINT, POINT, recipe, callbacks=[first])
    assert run.stopped == "the cost of epoch 4 is not finite"
    last = run.history[-1]
    assert type(last["validation_cost"]) is float
    assert not math.isfinite(last["validation_cost"] + last["penalty"])
    restored = jax.tree.map(np.array_equal, host(run.model.params), first.params)
    assert all(jax.tree.leaves(restored))


@pytest.mark.parametrize("options", [{}, {"early_stopping": 5}])
def test_no_finite_epoch_at_all_is_an_error_also_with_early_stopping(options):
    """Broken weights answer some class, and are right for a third of these examples."""
    recipe = Recipe(learning_rate=1e38, epochs=5, batch_size=BATCH, **options)
    with pytest.raises(DivergedError, match=r"in epoch 1: .*\(no epoch had a finite cost\)"):
        fit(RELU, DATA, HELD_OUT, recipe)


def huge(size):
    """Every input is +size or -size."""
    return Dataset(np.sign(DATA.x).astype(type(size)) * size, DATA.y)


@pytest.mark.parametrize("size", [np.float32(3e38), np.float64(1e308)])
def test_huge_inputs_that_overflow_say_what_to_do(size):
    with pytest.raises(DivergedError, match="scale the inputs, which may hold large values"):
        fit(RELU, huge(size), recipe=Recipe(epochs=2, batch_size=BATCH, precision=size.dtype.name))


def test_huge_inputs_that_saturate_train():
    """A tanh is 1 or -1 whatever comes: numbers as large as they get, and no warning."""
    run = fit(NETWORK, huge(np.float32(3e38)), recipe=Recipe(epochs=2, batch_size=BATCH))
    assert np.isfinite([record["train_cost"] for record in run.history]).all()


def test_numbers_beyond_float32_are_refused_before_anything_runs():
    data = Dataset(np.array([[1e-300, 1e300], [1.0, 1.0]]), np.array([0, 1]))
    network = Network([2, 2], output="softmax")
    with pytest.raises(ValueError, match=r"x holds numbers beyond the range of float32, 3.4e\+38"):
        fit(network, data, recipe=Recipe(epochs=1, batch_size=2))
    wide = Recipe(epochs=1, batch_size=2, precision="float64")
    assert np.isfinite(weights(fit(network, data, recipe=wide))).all()


def test_whole_numbers_of_64_bits_are_not_cut_in_half():
    """2^33 + 5 would be 5 if its upper half were dropped."""
    whole = Dataset(np.full((4, 1), 2**33 + 5), np.zeros((4, 1)), scale=2.0**-33)
    real = Dataset(whole.x.astype(np.float64), whole.y, scale=2.0**-33)
    network = Network(Dense(1), shape=(1,))
    recipe = Recipe(cost="quadratic", epochs=2, batch_size=2)
    runs = [fit(network, data, recipe=recipe) for data in (whole, real)]
    assert np.array_equal(weights(runs[0]), weights(runs[1]))
    assert runs[0].model.predict(whole.x) == pytest.approx(runs[1].model.predict(real.x))


@pytest.mark.parametrize("dtype", [">f4", "f2", "?", "u1", "i8", "longdouble"])
def test_inputs_of_any_type(dtype):
    data = Dataset((DATA.x > 0).astype(dtype), DATA.y)
    reference = Dataset(data.x.astype(np.float32), data.y)
    runs = [fit(NETWORK, each, recipe=FEW) for each in (data, reference)]
    # What the companion cannot read the compiler does, with sums in another order.
    assert weights(runs[0]) == pytest.approx(weights(runs[1]), abs=1e-6)


DEGENERATE = {
    "all zero": (np.zeros((43, 4)), DATA.y),
    "no variance in one feature": (DATA.x * [1, 0, 1, 1], DATA.y),
    "the same feature four times": (np.repeat(DATA.x[:, :1], 4, axis=1), DATA.y),
    "the same example always": (np.ones((43, 4)), np.full(43, 2)),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_data_trains(name):
    x, y = DEGENERATE[name]
    run = fit(NETWORK, Dataset(x, y, classes=("a", "b", "c")), recipe=FEW)
    assert np.isfinite(weights(run)).all()
    assert run.history[-1]["train_cost"] < run.history[0]["train_cost"] + 0.01


def test_separable_data_stays_finite_for_ever():
    data = Dataset(np.array([[-1.0], [1.0]] * 5), np.array([0, 1] * 5))
    recipe = Recipe(epochs=2000, learning_rate=10.0)
    run = fit(Network([1, 2], output="softmax"), data, recipe=recipe)
    assert run.history[-1]["train_accuracy"] == 1.0
    assert 0 <= run.history[-1]["train_cost"] < 1e-4
    assert np.isfinite(weights(run)).all()


def test_contradictory_labels_end_at_a_coin_toss():
    data = Dataset(np.ones((10, 1)), np.array([0, 1] * 5))
    recipe = Recipe(epochs=300, learning_rate=0.5)
    run = fit(Network([1, 2], output="softmax"), data, recipe=recipe)
    assert run.history[-1]["train_cost"] == pytest.approx(math.log(2), rel=1e-5)


CONSTANTS = {
    "epsilon 0": {"optimizer": "adam", "epsilon": 0},
    "epsilon 1e-300": {"optimizer": "adam", "epsilon": 1e-300},
    "epsilon 1e-300, rmsprop": {"optimizer": "rmsprop", "epsilon": 1e-300},
    "beta1 almost 1": {"optimizer": "adam", "beta1": 0.999999},
    "beta2 almost 1": {"optimizer": "adamw", "beta2": 0.999999},
    "betas 0": {"optimizer": "adam", "beta1": 0, "beta2": 0},
    "momentum 1": {"optimizer": "momentum", "momentum": 1},
    "momentum 1, nesterov": {"optimizer": "nesterov", "momentum": 1},
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_extreme_constants_stay_finite(name):
    """One input is always 0, so its weights never see a gradient: 0/0 for a careless adam."""
    data = Dataset(DATA.x * [1, 1, 1, 0], DATA.y)
    run = fit(NETWORK, data, recipe=Recipe(epochs=3, batch_size=BATCH, **CONSTANTS[name]))
    assert np.isfinite(weights(run)).all()
    assert run.history[-1]["train_cost"] < run.history[0]["train_cost"]


def test_clipping_tames_a_rate_that_diverges():
    run = fit(LINE, POINT, recipe=Recipe(
        cost="quadratic", learning_rate=1e6, batch_size=1, epochs=20, clip=1e-7,
    ))  # fmt: skip
    # the gradient (-1, -1) is shortened to length 1e-7: both parameters grow by 1e6 1e-7/sqrt(2)
    assert run.history[-1]["train_cost"] < 0.5
    one = fit(LINE, POINT, recipe=Recipe(
        cost="quadratic", learning_rate=1e6, batch_size=1, epochs=1, clip=1e-7,
    ))  # fmt: skip
    np.testing.assert_allclose(weights(one), 0.1 / math.sqrt(2), rtol=1e-5)


def test_float32_and_float64_follow_the_same_gradient():
    """One step of rate 1 on the whole set: the change of the weights is the gradient."""
    start = NETWORK.init(np.random.default_rng(0))[0]
    before = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(start)])
    gradients = {}
    for precision in ("float32", "float64"):
        recipe = Recipe(batch_size=43, epochs=1, learning_rate=1, l2=0.01, precision=precision)
        run = fit(NETWORK, DATA, recipe=recipe, params=start)
        assert weights(run).dtype == precision
        gradients[precision] = before - weights(run)
    error = np.linalg.norm(gradients["float32"] - gradients["float64"])
    assert 0 < error < 1e-5 * np.linalg.norm(gradients["float64"])
