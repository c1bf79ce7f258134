"""What the recipes of the two studies say, without training them on MNIST."""

import dataclasses
import json
import os
from typing import Any

import jax
import numpy as np
import pytest
from tiny_study import experiment

from deltarule import Dataset, Dropout, Network, Splits, data, fit, textbook
from deltarule.learning.schedules import learning_rates
from deltarule.papers import STUDIES, Baseline, Experiment, chapter6, nielsen
from deltarule.papers.experiment import Study

FIGURES = {"first", "best", "best_epoch", "final", "train_accuracy", "train_cost"}

ALL = [(study, each) for study in STUDIES.values() for each in study.experiments]
TALK = {each.name: each for each in STUDIES["talk"].experiments}
NIELSEN = {each.name: each for each in STUDIES["nielsen"].experiments}


@pytest.mark.parametrize(("study", "each"), ALL, ids=[each.name for _, each in ALL])
def test_law_of_every_experiment(study: Study, each: Experiment | Baseline) -> None:
    assert each.name.startswith(f"{study.name}-"), "names are those of files in one folder"
    assert 0 < each.claimed <= 100
    assert each.protocol.endswith(".")
    assert set(each.claimed_detail) <= FIGURES
    assert json.loads(json.dumps(each.setup()))
    if isinstance(each, Experiment):
        assert each.network.output_shape((28, 28)) == (10,)
        assert "seed" not in each.setup()["recipe"]
        assert each.recipe.batch_size in (1, 10)
        assert each.claimed_detail.get("best_epoch", 1) <= each.recipe.epochs
        best = each.claimed_detail.get("best", each.claimed)
        assert each.claimed_detail.get("first", 0) <= best + 0.5  # a failure may stay level
        if each.report == "best":
            assert each.claimed_detail.get("final", 0) <= each.claimed


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_names_and_sources_are_told_apart(study: Study) -> None:
    names = [each.name for each in study.experiments]
    titles = [(each.source, each.title) for each in study.experiments]
    assert len(set(names)) == len(names)
    assert len(set(titles)) == len(titles)


def test_all_cells_of_the_talk_are_there() -> None:
    cells = [7, 11, 14, 18, 24, 27, 30, 34]
    assert [each.source for each in TALK.values()] == [f"cell {cell}" for cell in cells]
    assert all(each.recipe.decay or each.recipe.schedule == "constant" for each in TALK.values())


@pytest.mark.parametrize(("name", "batch", "lmbda"), [
    ("talk-07", 1, 0.0), ("talk-11", 1, 0.0), ("talk-14", 1, 5.0), ("talk-18", 10, 5.0),
    ("talk-24", 10, 5.0), ("talk-27", 10, 5.0), ("talk-30", 10, 5.0),
])  # fmt: skip
def test_a_step_of_the_talk(name: str, batch: int, lmbda: float) -> None:
    """One batch, stepped as the talk prints it and as ``fit`` does with our recipe.

    w <- (1 - 0.05 lambda / 50 000) w - 0.05 * (sum of the gradients of the batch)
    """
    each = TALK[name]
    rng = np.random.default_rng(5)
    sizes = [layer.units for layer in each.network.layers if hasattr(layer, "units")]
    x, y = rng.random((batch, 784)), np.arange(batch)
    cost = {"quadratic": textbook.QuadraticCost, "cross_entropy": textbook.CrossEntropyCost}
    book = textbook.Network([784, *sizes], cost=cost[each.recipe.cost], rng=rng)
    nabla_b, nabla_w = book.backprop(x.T, np.eye(10)[y].T)  # means over the batch
    decay = 1 - 0.05 * lmbda / 50_000
    weights = [decay * w - 0.05 * batch * g for w, g in zip(book.weights, nabla_w, strict=True)]
    biases = [b - 0.05 * batch * g for b, g in zip(book.biases, nabla_b, strict=True)]

    start = tuple(
        part
        for w, b in zip(book.weights, book.biases, strict=True)
        for part in ({"w": w, "b": b[:, 0]}, {})
    )
    recipe = dataclasses.replace(each.recipe, epochs=1, precision="float64")
    digits = Dataset(x, y, classes=tuple("0123456789"))
    run = fit(each.network, digits, recipe=recipe, params=start)
    learned = [layer for layer in run.model.params if layer]
    for layer, w, b in zip(learned, weights, biases, strict=True):
        np.testing.assert_allclose(layer["w"], w, rtol=0, atol=1e-12)
        np.testing.assert_allclose(layer["b"], b[:, 0], rtol=0, atol=1e-12)


def test_the_schedule_of_cell_34() -> None:
    """The talk's eta = 1 / (0.5 epoch + 10) is per example: ten times that on the mean of ten."""
    recipe = TALK["talk-34"].recipe
    for epoch, eta in ((0, 1 / 10), (1, 1 / 10.5), (20, 1 / 20), (199, 1 / 109.5)):
        rates = learning_rates(recipe.schedule, recipe.rate, epoch, 300, 1, recipe.decay)
        np.testing.assert_allclose(rates, 10 * eta)
    assert (recipe.early_stopping, recipe.l2) == (50, 5 / 50_000 / 10)


def test_the_talk_prints_its_cost_with_the_whole_lambda() -> None:
    """23 820 weights from N(0, 1) add about 23 820 * 5 / 100 000 = 1.19 to the first cost."""
    for name in ("talk-14", "talk-18", "talk-24", "talk-27", "talk-30", "talk-34"):
        assert TALK[name].printed_l2 == 5 / 50_000
        assert TALK[name].recipe.l2 == pytest.approx(
            TALK[name].printed_l2 / TALK[name].recipe.batch_size
        )
    assert 784 * 30 + 30 * 10 == 23_820


@pytest.mark.parametrize(("name", "rate", "lmbda"), [
    ("nielsen-1-30", 3.0, 0), ("nielsen-1-slow", 0.001, 0), ("nielsen-1-fast", 100.0, 0),
    ("nielsen-3-30", 0.5, 0), ("nielsen-3-l2", 0.5, 0.1), ("nielsen-3-30-l2", 0.5, 5),
    ("nielsen-3-100-l2-60", 0.1, 5), ("nielsen-3-100-large", 0.1, 5), ("nielsen-5-4", 0.1, 5),
    ("nielsen-6-softmax", 0.1, 0),
])  # fmt: skip
def test_recipes_of_the_book(name: str, rate: float, lmbda: float) -> None:
    each = NIELSEN[name]
    assert each.recipe.rate == rate
    assert each.recipe.l2 == pytest.approx(lmbda / (each.training or 50_000))


@pytest.mark.parametrize("n", nielsen.SIZES)
def test_every_training_size_sees_as_many_examples(n: int) -> None:
    each = NIELSEN[f"nielsen-3-n{n}"]
    assert each.training == n
    assert each.recipe.epochs * n == 1_500_000
    assert each.recipe.l2 == pytest.approx(1e-4)  # lambda = n * 1e-4, over n
    assert not each.every_epoch


def _images(*pixels: int) -> np.ndarray:
    """Return an image of 2 x 2 pixels for each number, all four of that brightness."""
    return np.repeat(np.array(pixels, np.uint8), 4).reshape(-1, 2, 2)


def test_average_darkness_by_hand() -> None:
    # class 0: 10 and 30, mean 20; class 1: 100; class 2: 200, 250, 240, mean 230
    train = Dataset(_images(10, 30, 100, 200, 250, 240), np.array([0, 0, 1, 2, 2, 2]))
    # 59 is nearer to 20 (39) than to 100 (41); 61 is not; 165 is half-way: the first class wins
    test = Dataset(_images(59, 61, 165, 255), np.array([0, 1, 2, 2]))
    assert nielsen.darkness(Splits(train, train[:0], test)) == 3 / 4


def test_support_vectors_use_the_old_default_width() -> None:
    """gamma = 1/64 for 64 inputs, where today's default also divides by their variance."""
    from sklearn.svm import SVC

    splits = data.load("digits")
    x, x_asked = (each.x.reshape(-1, 64) / 16 for each in (splits.train[:200], splits.validation))
    expected = SVC(gamma=1 / 64).fit(x, splits.train.y[:200]).score(x_asked, splits.validation.y)
    assert nielsen.support_vectors(splits, 200, "validation") == expected
    assert SVC().fit(x, splits.train.y[:200]).score(x_asked, splits.validation.y) != expected


def test_the_networks_of_the_book_start_as_it_says() -> None:
    large, scaled = NIELSEN["nielsen-3-30-large"], NIELSEN["nielsen-3-30-scaled"]
    for each, sd in ((large, 1.0), (scaled, 1 / 28)):  # 28 = sqrt(784)
        params, _ = each.network.init(np.random.default_rng(0))
        assert np.std(params[0]["w"]) == pytest.approx(sd, rel=0.02)
        assert np.std(params[0]["b"]) == pytest.approx(1.0, rel=0.4)
    assert NIELSEN["nielsen-5-4"].network == Network([784, 30, 30, 30, 30, 10])


needs_mnist = pytest.mark.skipif(
    "DELTARULE_DATA" not in os.environ, reason="DELTARULE_DATA does not name a folder with MNIST"
)


@needs_mnist
def test_average_darkness_of_mnist_is_the_published_one() -> None:
    assert nielsen.darkness(data.load("mnist")) == 0.2225


@needs_mnist
def test_one_epoch_of_the_talk_on_mnist() -> None:
    """Cell 24 printed 94.25 % after its first epoch."""
    each = TALK["talk-24"]
    short = dataclasses.replace(each, recipe=dataclasses.replace(each.recipe, epochs=1))
    measured = short.measure(data.load("mnist"), seed=0)
    assert 92.5 < measured["first"] < 95.5
    assert measured["accuracy"] == measured["first"] == measured["final"]


def test_the_helper_is_not_a_claim() -> None:
    assert experiment().name not in {**TALK, **NIELSEN}


def test_a_step_with_dropout_as_the_book_takes_it() -> None:
    """Twice our weights, half of what we hand on, four times our rate: the same step.

    His program drops inputs and scales at prediction alone, ours scales while training.
    """
    each = next(each for each in chapter6.STUDY.experiments if each.name == "nielsen-ch6-dropout")
    assert isinstance(each, Experiment)
    rate, dropout = each.recipe.learning_rate, Dropout(1 - chapter6.KEPT)
    rng, key = np.random.default_rng(0), jax.random.key(1)
    x, y = rng.random((10, 6)), rng.normal(size=(10, 4))
    ours = rng.normal(size=(4, 6))
    kept, _ = dropout.apply({}, {}, np.ones_like(x), key=key, train=True)
    assert 0 < np.count_nonzero(kept) < kept.size, "no case for this test"

    def cost(weights: Any, seen: Any) -> Any:
        return ((jax.nn.relu(seen @ weights.T) - y) ** 2).mean()

    his = 2 * ours
    his = his - 0.03 * jax.grad(cost)(his, x * (kept != 0))
    ours = ours - rate * jax.grad(cost)(ours, dropout.apply({}, {}, x, key=key, train=True)[0])
    np.testing.assert_allclose(his / 2, ours, rtol=1e-5)
    np.testing.assert_allclose(x / 2 @ his.T, x @ ours.T, rtol=1e-5, atol=1e-6)  # at prediction


def test_kernels_and_biases_learn_at_a_quarter_of_the_books_pace() -> None:
    """What lies below dropout, and biases, have the same gradients in both programs."""
    dropout, key = Dropout(1 - chapter6.KEPT), jax.random.key(1)
    rng = np.random.default_rng(0)
    x, y = rng.random((10, 6)), rng.normal(size=(10, 4))
    ours, below, b = rng.normal(size=(4, 6)), rng.random(6) + 0.1, rng.random(4)

    def cost(below: Any, b: Any, weights: Any, scale: float) -> Any:
        seen, _ = dropout.apply({}, {}, jax.nn.relu(x * below), key=key, train=True)
        return ((jax.nn.relu(scale * seen @ weights.T + b) - y) ** 2).mean()

    gradients = [
        jax.grad(cost, (0, 1))(below, b, weights, scale)
        for weights, scale in ((2 * ours, chapter6.KEPT), (ours, 1.0))  # the book's, then ours
    ]
    for his, mine in zip(*gradients, strict=True):
        assert np.abs(mine).min() > 0, "no case for this test"
        np.testing.assert_allclose(his, mine, rtol=1e-5)
