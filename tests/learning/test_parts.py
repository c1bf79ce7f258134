"""What came with images: batches in parts, a running average, augmentation, 16 bits, batch norm."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fits import digest, weights

from deltarule.data import Dataset
from deltarule.data.augment import Augment
from deltarule.files import load_model, save_model
from deltarule.learning import Recipe, fit
from deltarule.learning.measure import part_size
from deltarule.learning.plan import make_plan
from deltarule.learning.program import Average, Examples, Program
from deltarule.learning.recipe import PRECISIONS
from deltarule.learning.setup import hyper_of
from deltarule.learning.step import _averaged as averaged
from deltarule.learning.step import start, step
from deltarule.network import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    companion,
)

KEY = jax.random.key(3)


def images(n=40, seed=0):
    """Return 6x6 images with a bright bar, upright or lying, somewhere."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 60, (n, 6, 6)), rng.integers(0, 2, n)
    for image, lying, at in zip(x, y, rng.integers(0, 6, n), strict=True):
        image[(at, slice(None)) if lying else (slice(None), at)] = 250
    return Dataset(x.astype(np.uint8), y, scale=1 / 255)


def conv(*extra, shape=(6, 6, 1)):
    relu = Activation("relu")
    return Network(
        Conv(4, 3, weight_init="he_normal"), *extra, MaxPool(2), relu, Flatten(),
        Dense(2), Activation("softmax"), shape=shape,
    )  # fmt: skip


DATA, HELD_OUT = images(), images(15, seed=1)
RECIPE = Recipe(batch_size=8, epochs=4, learning_rate=0.2)


# Parts.


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_in_parts_makes_the_step_of_the_whole(weighted):
    with jax.enable_x64(True):
        network = conv()
        params, state = jax.tree.map(jnp.asarray, network.init(np.random.default_rng(0)))
        weight = jnp.linspace(0.5, 1.5, 24) if weighted else None
        batch = Examples(jnp.asarray(DATA.x[:24]), jnp.asarray(DATA.y[:24]), weight, 1 / 255)
        whole = Program(network, "cross_entropy", "momentum", False, 24, 2, "float64")
        found = []
        for program in (whole, replace(whole, part=8), replace(whole, part=5)):
            hyper = hyper_of(RECIPE)
            learner = start(program, hyper, params, state)
            found.append(step(program, learner, batch, hyper, KEY))
    for other in found[1:]:
        for a, b in zip(*map(jax.tree.leaves, (found[0], other)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_parts_draw_apart():
    network = Network(Dropout(0.5), Dense(1, "zeros"), shape=(100,))
    program = Program(network, "quadratic", "sgd", False, 4, 1, "float32", part=2)
    params, state = jax.tree.map(jnp.float32, network.init(np.random.default_rng(0)))
    batch = Examples(jnp.ones((4, 100)), jnp.ones((4, 1)), None, 1.0)
    after = step(program, start(program, hyper_of(RECIPE), params, state), batch,
                 hyper_of(RECIPE), KEY)  # fmt: skip
    # Of each input two parts of two examples keep 0 to 4. Were the parts' masks one, the count
    # would be even.
    kept = np.asarray(after.params[1]["w"]) / np.asarray(after.params[1]["b"]) * 2
    assert (np.round(kept) % 2 == 1).any()


def test_a_part_divides_the_batch():
    for n in (1, 2, 63, 64, 65, 97, 100, 512):
        size = part_size(n, 64)
        assert n % size == 0
        assert size == n or 32 <= size <= 64
    assert part_size(97, 64) == 97  # a prime: whole
    assert part_size(20, 7) == 5


@pytest.fixture
def without_companion(monkeypatch):
    monkeypatch.setenv("DELTARULE_NATIVE", "0")


@pytest.mark.skipif(not companion.is_there(), reason="deltarule-native is not installed")
def test_the_companion_makes_no_patches_and_needs_no_parts():
    plan = make_plan(conv(), (6, 6), 1000, 512, backend="cpu")
    assert plan.kernels.companion
    assert plan.part is None
    assert "batch: worked on whole" in plan.explain()


@pytest.mark.usefixtures("without_companion")
def test_batch_norm_sees_the_whole_batch():
    plain, normed = (
        make_plan(n, (6, 6), 1000, 512, backend="cpu") for n in (conv(), conv(BatchNorm()))
    )
    assert plain.part == plain.at_once == 64
    assert (normed.part, normed.at_once) == (None, 64)
    assert make_plan(conv(), (6, 6), 1000, 64, backend="cpu").part is None  # it is one part
    assert make_plan(conv(), (6, 6), 1000, 512, backend="gpu").part is None
    assert make_plan(Network([36, 2]), (6, 6), 1000, 512, backend="cpu").at_once is None


# The running average.


def test_the_average_by_hand():
    # Steps 1, 2, 3 with weights 1, 3, 8, decay 0.5. The share of a new weight is the larger of
    # 1 - 0.5 and 1 / step: 1, 1/2, 1/2. So the average is 1, then 2, then 5.
    average = Average(({"w": jnp.zeros(1)},), (), jnp.zeros((), jnp.int32))
    for w, expected in ((1.0, 1), (3.0, 2), (8.0, 5)):
        average = averaged(average, ({"w": jnp.full(1, w)},), (), 0.5)
        assert average.params[0]["w"] == expected
    assert average.steps == 3


def test_with_a_high_decay_the_average_begins_as_the_mean():
    average = Average(({"w": jnp.zeros(1)},), (), jnp.zeros((), jnp.int32))
    for w in (1.0, 2.0, 6.0):
        average = averaged(average, ({"w": jnp.full(1, w)},), (), 0.999)
    np.testing.assert_allclose(average.params[0]["w"], 3, rtol=1e-6)


def test_the_average_is_what_is_measured_and_kept():
    run = fit(conv(BatchNorm()), DATA, HELD_OUT, replace(RECIPE, average=0.9))
    learner = run.state.learner
    assert not np.array_equal(learner.params[0]["w"], learner.average.params[0]["w"])
    assert np.array_equal(run.model.params[0]["w"], learner.average.params[0]["w"])
    assert np.array_equal(run.model.state[1]["mean"], learner.average.state[1]["mean"])
    from deltarule.learning import evaluate

    result = evaluate(run.model, HELD_OUT)
    assert run.history[-1]["validation_accuracy"] == result.accuracy
    assert run.history[-1]["validation_cost"] == pytest.approx(result.cost, rel=1e-5)


def test_the_average_changes_no_step():
    plain, kept = (fit(conv(), DATA, None, replace(RECIPE, average=a)) for a in (0.0, 0.9))
    for a, b in zip(*(jax.tree.leaves(r.state.learner.params) for r in (plain, kept)), strict=True):
        assert np.array_equal(a, b)


# Augmentation.


def test_augmentation_of_nothing_is_none():
    plain, still = (fit(conv(), DATA, None, replace(RECIPE, augment=a)) for a in (None, Augment()))
    np.testing.assert_allclose(weights(plain), weights(still), rtol=1e-5, atol=1e-6)


def test_augmentation_depends_on_the_seed_and_spares_validation():
    recipe = replace(RECIPE, augment=Augment(shift=1, rotation=20))
    runs = [fit(conv(), DATA, HELD_OUT, replace(recipe, seed=s)) for s in (0, 0, 1)]
    assert len({digest(run.state) for run in runs[:2]}) == 1
    assert digest(runs[0].state) != digest(runs[2].state)
    plain = fit(conv(), DATA, HELD_OUT, RECIPE)
    assert not np.array_equal(plain.model.params[0]["w"], runs[0].model.params[0]["w"])
    # a rate of 0: what is measured on validation data is that of the images as they are
    still = [fit(conv(), DATA, HELD_OUT, replace(r, learning_rate=0.0)) for r in (RECIPE, recipe)]
    assert still[0].history[-1]["validation_cost"] == still[1].history[-1]["validation_cost"]
    assert still[0].history[-1]["train_cost"] != still[1].history[-1]["train_cost"]


def test_every_epoch_draws_anew():
    recipe = replace(RECIPE, augment=Augment(shift=2), learning_rate=0.0, epochs=3)
    costs = [record["train_cost"] for record in fit(conv(), DATA, None, recipe).history]
    assert len(set(costs)) == 3


def test_a_dense_network_takes_augmented_images():
    network = Network([36, 8, 2], activation="relu", output="softmax")
    run = fit(network, DATA, HELD_OUT, replace(RECIPE, augment=Augment(shift=1)))
    assert np.isfinite(run.history[-1]["train_cost"])


def test_augmentation_needs_images():
    rows = Dataset(DATA.x.reshape(len(DATA), -1), DATA.y)
    with pytest.raises(ValueError, match=r"augment moves and bends images.*shape \(36,\)"):
        fit(Network([36, 2]), rows, None, replace(RECIPE, augment=Augment(shift=1)))


def test_a_recipe_with_augmentation_is_plain_data():
    recipe = Recipe(augment=Augment(rotation=15, scale=0.1), average=0.99)
    assert Recipe.from_description(recipe.describe()) == recipe
    with pytest.raises(ValueError, match="augment must be an Augment or None, got 'shift'"):
        Recipe(augment="shift")
    with pytest.raises(ValueError, match="average must be a number of at least 0"):
        Recipe(average=1.0)


# Precision, state, files, resuming.


def test_sixteen_bits_in_products_and_nowhere_else():
    runs = {p: fit(conv(), DATA, HELD_OUT, replace(RECIPE, precision=p)) for p in PRECISIONS}
    dtypes = {p: str(weights(run).dtype) for p, run in runs.items()}
    assert dtypes == {"float32": "float32", "bfloat16": "float32", "float64": "float64"}
    exact, rounded = (weights(runs[p]) for p in ("float32", "bfloat16"))
    error = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.02  # 8 bits of mantissa: 0.4 % a product


@pytest.mark.parametrize("name", ["plain", "batch norm", "everything"])
def test_a_convolutional_run_resumes_bit_for_bit(name):
    network = conv(*([] if name == "plain" else [BatchNorm()]))
    recipe = replace(RECIPE, seed=7)
    if name == "everything":
        recipe = replace(recipe, augment=Augment(shift=1, elastic_alpha=5, elastic_sigma=2),
                         average=0.9, optimizer="adam", early_stopping=9)  # fmt: skip
    whole = fit(network, DATA, HELD_OUT, recipe)
    half = fit(network, DATA, HELD_OUT, replace(recipe, epochs=2))
    state = half.state.restored(half.state.arrays(), half.state.header())
    resumed = fit(network, DATA, HELD_OUT, recipe, resume=state)
    assert digest(resumed.state) == digest(whole.state)


def test_a_convolutional_model_comes_back_from_its_file(tmp_path):
    run = fit(conv(BatchNorm()), DATA, None, RECIPE)
    save_model(run.model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.network == run.network
    assert np.array_equal(loaded.outputs(HELD_OUT.x), run.model.outputs(HELD_OUT.x))
    for n in (1, 7):
        np.testing.assert_allclose(
            loaded.outputs(HELD_OUT.x[:n]), loaded.outputs(HELD_OUT.x)[:n], rtol=1e-5, atol=1e-7
        )


def test_it_learns_bars():
    run = fit(conv(), images(200), images(100, seed=5), replace(RECIPE, epochs=20))
    assert run.history[-1]["validation_accuracy"] > 0.95
