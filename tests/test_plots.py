"""Pictures hold the data they were given, can be read, and leave nothing behind.

Every picture is a row of `PICTURES` and inherits every law; what is particular to one follows.
"""

import itertools
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from deltarule import plots

RNG = np.random.default_rng(0)
DIGITS = [str(digit) for digit in range(10)]
CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker"]
CLOTHES += ["Bag", "Ankle boot"]
CAPITALS = ["NORTHWESTERN", "SOUTHEASTERN", "WEST", "EASTERN", "MIDWESTERN"]
NASTY = ["$a$b$", "$\\frac{$", "two\nlines", "", "a very long name of a class indeed", "_x", "%s"]


def a_history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "train_cost": 2 / epoch,
            "validation_cost": 2 / epoch + 0.01 * epoch,
            "train_accuracy": 1 - 0.5 / epoch,
            "validation_accuracy": 0.9 - 0.5 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def a_range_test() -> tuple[np.ndarray, np.ndarray]:
    rates = np.geomspace(1e-5, 10, 100)
    return rates, 2.3 - np.minimum(rates, 0.3) * 6 + 2 * np.maximum(rates - 1, 0)


def some_answers() -> tuple[np.ndarray, np.ndarray]:
    answers = RNG.uniform(0, 300, 80)
    return answers, 0.6 * answers + RNG.normal(60, 30, 80)


def a_confusion(k: int, right: int) -> np.ndarray:
    return RNG.poisson(0.3, (k, k)) + right * np.eye(k, dtype=int)


def some_mistakes(n: int, shape: tuple[int, ...], classes: list[str], wrong: int):
    labels = np.arange(n) % len(classes)
    said = np.where(np.arange(n) < wrong, (labels + 1) % len(classes), labels)
    return RNG.random((n, *shape)), labels, said, RNG.random((n, len(classes))), classes


RESULTS = [
    ("quadratic cost, 784-30-10", 93.28, 93.1, 92.8, 93.5),
    ("a name so long that it does not fit beside any picture", None, 98.2, 98.1, 98.3),
    ("one seed only", 95.1, 95.2, float("nan"), float("nan")),
]
BENCHMARKS = [
    ("batch 1", {"PyTorch": (31.0, 28.0, 35.0), "Keras": (120.0, 110.0, 140.0)}),
    ("batch 10", {"PyTorch": (0.5, 0.4, 0.6)}),
]
MANY_PEERS = {f"peer {i}": (1.5 + i, 1.2 + i, 2.0 + i) for i in range(8)}

PICTURES: dict[str, Callable[[Axes | None], Axes]] = {
    "costs": lambda ax: plots.costs(a_history(40), ax),
    "costs, one epoch": lambda ax: plots.costs(a_history(1), ax),
    "costs, 2000 epochs": lambda ax: plots.costs(a_history(2000), ax),
    "costs, none": lambda ax: plots.costs([], ax),
    "costs, not measured": lambda ax: plots.costs([{"epoch": 1, "train_accuracy": 0.5}], ax),
    "costs, not finite": lambda ax: plots.costs([{"train_cost": np.nan}], ax),
    "accuracies": lambda ax: plots.accuracies(a_history(12), ax),
    "accuracies, one epoch": lambda ax: plots.accuracies(a_history(1), ax),
    "weights, 1": lambda ax: plots.weights(RNG.normal(size=(1, 64)), (8, 8), ax),
    "weights, 30": lambda ax: plots.weights(RNG.normal(size=(30, 784)), (28, 28, 1), ax),
    "weights, 100": lambda ax: plots.weights(RNG.normal(size=(100, 64)), (8, 8), ax),
    "weights, 1000": lambda ax: plots.weights(RNG.normal(size=(1000, 64)), (8, 8), ax),
    "weights, rows": lambda ax: plots.weights(RNG.normal(size=(10, 64)), (8, 8), ax, rows=2),
    "weights, wide": lambda ax: plots.weights(RNG.normal(size=(9, 200)), (5, 40), ax),
    "weights, no image": lambda ax: plots.weights(RNG.normal(size=(20, 13)), (13,), ax),
    "weights, colour": lambda ax: plots.weights(RNG.normal(size=(4, 192)), (8, 8, 3), ax),
    "weights, zero": lambda ax: plots.weights(np.zeros((4, 64)), (8, 8), ax),
    "weights, not finite": lambda ax: plots.weights(np.full((2, 4), np.nan), (2, 2), ax),
    "predictions": lambda ax: plots.predictions(*some_answers(), ax),
    "predictions, many": lambda ax: plots.predictions(np.arange(5e4), np.arange(5e4) * 0.9, ax),
    "predictions, one": lambda ax: plots.predictions([2.0], [3.0], ax),
    "predictions, not finite": lambda ax: plots.predictions([1.0, 2.0], [np.nan, np.inf], ax),
    "rate_range": lambda ax: plots.rate_range(*a_range_test(), 0.03, 0.1, ax),
    "rate_range, one cost": lambda ax: plots.rate_range([0.1], [2.0], ax=ax),
    "rate_range, flat": lambda ax: plots.rate_range([0.1, 1], [2.0, 2.0], 0.01, np.nan, ax),
    "rate_range, not finite": lambda ax: plots.rate_range([0.1, 1], [np.nan, np.inf], ax=ax),
    "confusion, 2": lambda ax: plots.confusion(np.diag([50, 50]), ["no", "yes"], ax),
    "confusion, 10": lambda ax: plots.confusion(a_confusion(10, 980), DIGITS, ax),
    "confusion, names": lambda ax: plots.confusion(a_confusion(10, 98000), CLOTHES, ax),
    "confusion, nasty": lambda ax: plots.confusion(a_confusion(7, 5), NASTY, ax),
    "confusion, 30": lambda ax: plots.confusion(
        a_confusion(30, 4000), [f"class {i}" for i in range(30)], ax
    ),
    "confusion, 100": lambda ax: plots.confusion(
        a_confusion(100, 500), [f"class {i}" for i in range(100)], ax
    ),
    "confusion, 150": lambda ax: plots.confusion(
        a_confusion(150, 50), [f"class {i}" for i in range(150)], ax
    ),
    "confusion, big counts": lambda ax: plots.confusion(
        np.full((20, 20), 123456), [str(i) for i in range(20)], ax
    ),
    "confusion, empty": lambda ax: plots.confusion(np.zeros((3, 3), int), ["a", "b", "c"], ax),
    "mistakes": lambda ax: plots.mistakes(*some_mistakes(80, (8, 8), DIGITS, 40), ax),
    "mistakes, names": lambda ax: plots.mistakes(*some_mistakes(80, (28, 28), CLOTHES, 40), ax),
    "mistakes, capitals": lambda ax: plots.mistakes(*some_mistakes(40, (8, 8), CAPITALS, 40), ax),
    "mistakes, nasty": lambda ax: plots.mistakes(*some_mistakes(20, (8, 8, 1), NASTY, 20), ax),
    "mistakes, colour": lambda ax: plots.mistakes(*some_mistakes(9, (8, 8, 3), DIGITS, 9), ax),
    "mistakes, 100": lambda ax: plots.mistakes(
        *some_mistakes(120, (8, 8), CLOTHES, 120), ax, most=100
    ),
    "mistakes, one": lambda ax: plots.mistakes(*some_mistakes(5, (8, 8), DIGITS, 1), ax),
    "mistakes, none": lambda ax: plots.mistakes(*some_mistakes(5, (8, 8), DIGITS, 0), ax),
    "comparison": lambda ax: plots.comparison(RESULTS, ax),
    "comparison, one": lambda ax: plots.comparison(RESULTS[:1], ax),
    "comparison, none": lambda ax: plots.comparison([], ax),
    "bars": lambda ax: plots.bars(BENCHMARKS, ax),
    "bars, one": lambda ax: plots.bars(BENCHMARKS[1:], ax),
    "bars, many peers": lambda ax: plots.bars([("a", MANY_PEERS), ("b", MANY_PEERS)], ax),
    "bars, far apart": lambda ax: plots.bars(
        [("a", {"x": (4e3, 3e3, 5e3), "y": (0.02, 0.01, 0.03)})], ax
    ),
    "bars, none": lambda ax: plots.bars([("a", {})], ax),
}


@pytest.fixture(params=PICTURES.values(), ids=PICTURES)
def draw(request: pytest.FixtureRequest) -> Callable[[Axes | None], Axes]:
    return request.param


@pytest.fixture(scope="module", params=PICTURES.values(), ids=PICTURES)
def picture(request: pytest.FixtureRequest) -> Axes:
    ax = request.param(None)
    ax.figure.draw_without_rendering()
    return ax


def shown_texts(ax: Axes) -> list:
    """Return what can be read on an Axes: title, labels, ticks in view, legend, texts."""
    texts = list(ax.texts)
    if ax.axison:
        texts += [ax.xaxis.label, ax.yaxis.label, ax._left_title, *shown_ticks(ax.xaxis)]
        texts += shown_ticks(ax.yaxis)
    if ax.get_legend():
        texts += ax.get_legend().get_texts()
    return [text for text in texts if text.get_text().strip()]


def shown_ticks(axis) -> list:
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label for at, label in ticks if low <= at <= high]


# Laws


def test_draws_on_the_axes_given(draw):
    figure = Figure(figsize=(6, 5))
    ax = figure.subplots()
    assert draw(ax) is ax
    assert figure.get_layout_engine() is None


def test_every_text_lies_in_the_picture_and_apart(picture):
    texts = shown_texts(picture)
    assert texts
    figure = picture.figure
    page = figure.get_tightbbox().padded(0.1).transformed(figure.dpi_scale_trans)
    boxes = {}
    for text in texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
        if text.get_rotation() in (0, 90):  # the box of a slanted text says nothing
            boxes[text] = box.padded(-0.1 * min(box.height, box.width))
    for (a, box_a), (b, box_b) in itertools.combinations(boxes.items(), 2):
        assert not box_a.overlaps(box_b), (a, b)


def test_no_letter_is_too_small_to_read(picture):
    assert min(text.get_fontsize() for text in shown_texts(picture)) >= 4


@pytest.mark.parametrize("name", ["costs", "weights, 30", "confusion, 10", "mistakes", "bars"])
def test_saved_as_png_of_150_dots_an_inch(name, tmp_path):
    png = plots.save(PICTURES[name](None), tmp_path / "a.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at = png.index(b"pHYs") + 4
    assert struct.unpack(">IIB", png[at : at + 9]) == (5906, 5906, 1)  # 150 / 0.0254 m = 5905.5
    width, height = struct.unpack(">II", png[16:24])
    assert 100 < width < 1500
    assert 100 < height < 1500


# How it learned


def line(ax: Axes, label: str) -> np.ndarray:
    return next(line for line in ax.lines if line.get_label() == label).get_xydata()


@pytest.mark.parametrize(
    ("draw", "measure"), [(plots.costs, "cost"), (plots.accuracies, "accuracy")]
)
def test_curves_are_the_history(draw, measure):
    history = a_history(5)
    ax = draw(history)
    for part in "train", "validation":
        expected = [(row["epoch"], row[f"{part}_{measure}"]) for row in history]
        np.testing.assert_array_equal(line(ax, part), expected)


measured = st.none() | st.floats(0, 10) | st.sampled_from([np.nan, np.inf])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), measured, measured), max_size=40))
def test_curves_hold_what_was_measured_and_ring_the_best(rows):
    history = [
        {"epoch": epoch, "train_cost": train} | ({"validation_cost": validation} if has else {})
        for epoch, (has, train, validation) in enumerate(rows, start=1)
    ]
    ax = plots.costs(history)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    validation = []
    for part in "train", "validation":
        values = [(row["epoch"], row.get(f"{part}_cost")) for row in history]
        finite = [[e, v] for e, v in values if v is not None and np.isfinite(v)]
        assert drawn.pop(part, []) == finite
        validation = finite
    best = min(validation, key=lambda pair: pair[1], default=None)
    assert list(drawn.values()) == ([[best]] if best else [])


def test_best_validation_worked_by_hand():
    costs = [0.9, 0.3, 0.3, 0.5]  # the lowest for the first time in epoch 2
    history = [{"epoch": i, "validation_cost": cost} for i, cost in enumerate(costs, start=1)]
    ax = plots.costs(history)
    assert line(ax, "best: 0.3, epoch 2").tolist() == [[2, 0.3]]
    shares = [{"epoch": 7, "validation_accuracy": 0.5}, {"epoch": 8, "validation_accuracy": 0.975}]
    ax = plots.accuracies(shares)
    assert line(ax, "best: 97.50 %, epoch 8").tolist() == [[8, 0.975]]


def test_one_epoch_shows_a_point_at_a_whole_epoch():
    ax = plots.costs([{"epoch": 1, "train_cost": 0.5}])
    assert ax.lines[0].get_marker() == "o"
    assert ax.lines[0].get_markersize() > 2
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in shown_ticks(ax.xaxis)] == ["1"]


def test_nothing_measured_is_said():
    assert plots.costs([]).texts[0].get_text() == "No cost was measured"
    history = [{"epoch": 1, "train_accuracy": np.nan}]
    assert plots.accuracies(history).texts[0].get_text() == "No accuracy was measured"


def test_learning_curves_are_both_side_by_side():
    history = a_history(3)
    left, right = plots.learning_curves(history).axes
    np.testing.assert_array_equal(line(left, "train"), line(plots.costs(history), "train"))
    np.testing.assert_array_equal(line(right, "train"), line(plots.accuracies(history), "train"))
    assert left.get_position().x1 < right.get_position().x0


# What it learned


def test_predictions_are_over_their_answers() -> None:
    ax = plots.predictions([1.0, 2.0, 4.0], [2.0, 2.0, 2.0])
    assert ax.lines[0].get_xydata().tolist() == [[1, 2], [2, 2], [4, 2]]
    assert ax.lines[1].get_xydata().tolist() == [[1, 1], [4, 4]]
    assert ax.get_title("left") == "Predictions: RMSE 1.29"  # the root of (1 + 0 + 4) / 3
    few = plots.predictions(np.arange(5e4), np.zeros(50_000)).lines[0]
    assert len(few.get_xdata()) <= 20_000
    with pytest.raises(ValueError, match="must be as many"):
        plots.predictions([1.0], [1.0, 2.0])


@pytest.mark.parametrize(("neurons", "drawn"), [(1, 1), (30, 30), (100, 100), (1000, 100)])
def test_weights_are_images_of_the_rows(neurons, drawn):
    matrix = RNG.normal(size=(neurons, 6))
    ax = plots.weights(matrix, (2, 3))
    assert len(ax.images) == drawn
    for image, row in zip(ax.images, matrix, strict=False):
        np.testing.assert_array_equal(image.get_array(), row.reshape(2, 3))
    assert ax.get_title("left") == f"First-layer weights: {drawn} of {neurons} neurons"


def test_weights_share_one_scale_symmetric_about_0():
    ax = plots.weights([[1, -3, 0, 2], [0.5, 0, 0, 0]], (2, 2))
    assert {image.get_clim() for image in ax.images} == {(-3, 3)}
    zero = ax.images[0].to_rgba(np.array([0.0]))[0]
    assert min(zero) > 0.95  # white
    bar = ax.figure.axes[-1]
    assert bar is not ax
    assert bar.get_ylabel() == "weight"


def test_weights_stand_in_the_grid_asked_for_and_apart():
    ax = plots.weights(np.eye(10, 6), (2, 3), rows=2)
    lefts, tops = ({image.get_extent()[side] for image in ax.images} for side in (0, 3))
    assert (len(lefts), len(tops)) == (5, 2)
    boxes = [image.get_extent() for image in ax.images]  # left, right, bottom, top
    corners = ax.transData.transform([(left, top) for left, _, _, top in boxes])
    rows = corners.round().reshape(2, 5, 2)  # reading order on the screen, where y points up
    assert (np.diff(rows[:, :, 0], axis=1) > 0).all()
    assert (rows[0, :, 1] > rows[1, :, 1]).all()
    feet = ax.transData.transform([(left, bottom) for left, _, bottom, _ in boxes])
    assert (corners[:, 1] > feet[:, 1]).all()
    for a, b in itertools.combinations(boxes, 2):
        assert a[1] < b[0] or b[1] < a[0] or a[2] < b[3] or b[2] < a[3]


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1), (1, 2, 3), (2, 1, 3), ()])
def test_weights_that_form_no_image_are_one_heat_map(shape):
    matrix = RNG.normal(size=(5, int(np.prod(shape))))
    ax = plots.weights(matrix, shape)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), matrix)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input", "neuron")


@pytest.mark.parametrize(
    ("matrix", "shape", "rows", "named"),
    [
        (np.ones((3, 5)), (2, 3), None, r"\[neurons, 6\].*shape \(3, 5\)"),
        (np.ones(6), (2, 3), None, r"shape \(6,\)"),
        (np.ones((0, 6)), (2, 3), None, r"shape \(0, 6\)"),
        (np.ones((3, 6)), (2, 3), -1, "rows=-1"),
    ],
)
def test_weights_refuses_what_does_not_fit(matrix, shape, rows, named):
    with pytest.raises(ValueError, match=named):
        plots.weights(matrix, shape, rows=rows)


# Where it goes wrong


def test_confusion_worked_by_hand():
    # Of 10 cats 2 were called dogs: 0.2. Of 20 dogs 1 was called cat: 0.05. 3 of 30 are 10 %.
    ax = plots.confusion([[8, 2], [1, 19]], ["cat", "dog"])
    shares = ax.images[0].get_array()
    assert shares.mask.tolist() == [[True, False], [False, True]]
    assert (shares[0, 1], shares[1, 0]) == (0.2, 0.05)
    assert ax.get_title("left") == "Errors: 3 of 30 examples (10.00 %)"
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "8", (1, 0): "2", (0, 1): "1", (1, 1): "19"}  # (said, true)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    # On the square-root scale up to 0.2, a share of 0.05 is half way.
    assert ax.images[0].norm(0.05) == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6).flatmap(lambda k: arrays(np.int64, (k, k), elements=st.integers(0, 999))))
def test_confusion_writes_every_count_but_0(counts):
    ax = plots.confusion(counts, DIGITS[: len(counts)])
    drawn = np.zeros_like(counts)
    for text in ax.texts:
        said, true = text.get_position()
        drawn[true, said] = int(text.get_text())
    np.testing.assert_array_equal(drawn, counts)
    assert len(ax.texts) == np.count_nonzero(counts)


def test_a_single_error_in_a_thousand_is_seen():
    counts = 1000 * np.eye(3, dtype=int)
    counts[0, 1], counts[1, 2] = 1, 30
    image = plots.confusion(counts, ["a", "b", "c"]).images[0]
    rare, none = image.to_rgba(np.array([0.001, 0.0]))
    assert np.abs(rare - none).max() > 0.1


def test_numbers_in_cells_stand_out_from_the_cell():
    counts = np.zeros((13, 13), int)
    counts[0] = range(13)  # every depth of colour
    ax = plots.confusion(counts, [str(i) for i in range(13)])
    (image,) = ax.images
    colours = image.to_rgba(image.get_array())
    for text in ax.texts:
        said, true = text.get_position()
        ink, paper = luminance(to_rgb(text.get_color())), luminance(colours[true, said, :3])
        lighter, darker = max(ink, paper), min(ink, paper)
        assert (lighter + 0.05) / (darker + 0.05) > 4, text  # contrast as WCAG 2 defines it


def luminance(colour) -> float:
    """Return the relative luminance of an sRGB colour, from 0 (black) to 1 (white)."""
    linear = ((np.asarray(colour) + 0.055) / 1.055) ** 2.4
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_confusion_of_many_classes_drops_numbers_then_names():
    for k, numbers, names in [(30, True, 30), (31, False, 31), (101, False, 51)]:
        ax = plots.confusion(np.ones((k, k), int), [f"class {i}" for i in range(k)])
        assert bool(ax.texts) is numbers
        shown = [text.get_text() for text in ax.get_yticklabels()]
        assert len(shown) == names
        at = ax.get_yticks()
        assert shown == [f"class {i}" for i in at]
        assert [text.get_text() for text in ax.get_xticklabels()] == shown


def test_long_names_keep_both_ends():
    names = [f"a family of things, number {i}" for i in range(3)]
    ax = plots.confusion(np.eye(3, dtype=int), names)
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert [name[-1] for name in shown] == ["0", "1", "2"]
    assert all(len(name) == 16 and "…" in name for name in shown)


@pytest.mark.parametrize("shape", [(2, 3), (2, 2), (3,), (0, 0)])
def test_confusion_refuses_another_shape(shape):
    with pytest.raises(ValueError, match=r"\[3, 3\].*for the 3 classes"):
        plots.confusion(np.ones(shape), ["a", "b", "c"])


def test_mistakes_worked_by_hand():
    images = np.zeros((4, 2, 2), np.uint8)
    images[:, 0, 0] = [10, 255, 30, 0]
    labels, said = [0, 1, 2, 2], [0, 2, 1, 0]  # the first is right
    probabilities = [[0.9, 0.1, 0.0], [0.1, 0.2, 0.7], [0.0, 0.8, 0.2], [0.7, 0.0, 0.3]]
    ax = plots.mistakes(images, labels, said, probabilities, ["a", "b", "c"])
    # Sure of the wrong class: 0.7, 0.8, 0.7; the two that tie stay in order.
    captions = [text.get_text() for text in ax.texts]
    assert captions == ["c → b (0.80)", "b → c (0.70)", "c → a (0.70)"]
    shown = [image.get_array() for image in ax.images]
    np.testing.assert_allclose(shown, images[[2, 1, 3]] / 255)
    assert ax.get_title("left") == "Mistakes: 3 of 4 examples"
    ax = plots.mistakes(images, labels, said, probabilities, ["a", "b", "c"], most=1)
    assert [text.get_text() for text in ax.texts] == ["c → b (0.80)"]
    assert ax.get_title("left") == "Mistakes: 3 of 4 examples, the worst 1"


def test_mistakes_that_tie_stay_in_order():
    images, labels, said, probabilities, _ = some_mistakes(300, (2, 2), DIGITS, 300)
    tied = np.where(np.arange(300) % 10 == 3, 0.6, 0.5)  # 3, 13, 23 .. are the 30 worst
    probabilities[:] = tied[:, None]
    images[:, 0, 0] = np.linspace(0, 1, 300)
    ax = plots.mistakes(images, labels, said, probabilities, DIGITS, most=35)
    order = [*range(3, 300, 10), 0, 1, 2, 4, 5]
    shown = [image.get_array()[0, 0] for image in ax.images]
    assert np.argsort(shown).tolist() == np.argsort(order).tolist()


def test_captions_stay_apart_on_any_axes():
    ax = Figure(figsize=(7, 6)).subplots()
    plots.mistakes(*some_mistakes(25, (8, 8), CAPITALS, 25), ax)
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 40), st.integers(1, 30))
def test_mistakes_are_the_worst_and_sorted(wrong, most):
    images, labels, said, probabilities, classes = some_mistakes(40, (2, 3), DIGITS, wrong)
    ax = plots.mistakes(images, labels, said, probabilities, classes, most=most)
    sure = sorted((probabilities[i, said[i]] for i in range(wrong)), reverse=True)[:most]
    captions = [text.get_text() for text in ax.texts] if wrong else []
    assert [caption[-5:-1] for caption in captions] == [f"{p:.2f}" for p in sure]
    assert len(ax.images) == len(sure)


def test_no_mistakes_is_said_in_the_picture():
    ax = plots.mistakes(*some_mistakes(7, (2, 2), DIGITS, 0))
    assert [text.get_text() for text in ax.texts] == ["Mistakes: none in 7 examples"]
    ax = plots.mistakes(np.ones((0, 2, 2)), [], [], np.ones((0, 10)), DIGITS)
    assert [text.get_text() for text in ax.texts] == ["Mistakes: none in 0 examples"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": np.ones((4, 4))}, r"\(4, 4\)"),
        ({"images": np.ones((4, 2, 2, 2))}, r"\(4, 2, 2, 2\)"),
        ({"labels": [0, 1]}, r"\(2,\)"),
        ({"predictions": [0, 1]}, r"\(2,\)"),
        ({"probabilities": np.ones(4)}, r"\[n, 3\]"),
        ({"probabilities": np.ones((4, 2))}, r"\[n, 3\].*\(4, 2\)"),
        ({"most": 0}, "most=0"),
    ],
)
def test_mistakes_refuses_what_does_not_fit(change, named):
    given = {
        "images": np.ones((4, 2, 2)),
        "labels": [0, 1, 2, 0],
        "predictions": [1, 1, 2, 0],
        "probabilities": np.ones((4, 3)),
        "classes": ["a", "b", "c"],
    }
    with pytest.raises(ValueError, match=named):
        plots.mistakes(**(given | change))


# How it compares


def test_comparison_is_the_rows():
    ax = plots.comparison(RESULTS, label="test error (%)")
    claimed, mean = line(ax, "claimed"), line(ax, "reached (mean, low to high)")
    np.testing.assert_array_equal(claimed, [(93.28, 0), (np.nan, 1), (95.1, 2)])
    np.testing.assert_array_equal(mean, [(93.1, 0), (98.2, 1), (95.2, 2)])
    (whiskers,) = ax.collections
    segments = np.array(whiskers.get_segments()[:2])
    np.testing.assert_array_equal(segments, [[(92.8, 0), (93.5, 0)], [(98.1, 1), (98.3, 1)]])
    assert ax.get_yticklabels()[0].get_text() == RESULTS[0][0]
    assert ax.yaxis_inverted()  # the first row is on top
    assert ax.get_xlabel() == "test error (%)"


def test_bars_start_at_1_and_end_at_the_median():
    ax = plots.bars(BENCHMARKS)
    assert ax.get_xscale() == "log"
    drawn = {
        bars.get_label(): [(bar.get_x(), bar.get_width()) for bar in bars] for bars in ax.containers
    }
    assert drawn == {"PyTorch": [(1, 30), (1, -0.5)], "Keras": [(1, 119)]}
    whiskers = [
        segment[:, 0].tolist() for lines in ax.collections for segment in lines.get_segments()
    ]
    assert whiskers == [[28, 35], [0.4, 0.6], [110, 140]]
    assert [text.get_text().strip() for text in ax.texts] == ["31×", "0.5×", "120×"]
    places = [bar.get_y() + bar.get_height() / 2 for bars in ax.containers for bar in bars]
    assert [round(place) for place in places] == [0, 1, 0]  # beside the name of the workload
    assert ax.lines[0].get_xdata() == [1, 1]
    low, high = ax.get_xlim()
    assert low < 0.4
    assert high > 140


@pytest.mark.parametrize("ratio", [0.0, -1.0, np.nan, np.inf])
def test_bars_refuse_what_is_no_ratio(ratio):
    with pytest.raises(ValueError, match="positive ratios"):
        plots.bars([("a", {"x": (1.0, ratio, 1.0)})])


# Saving


def test_save_takes_figure_axes_and_axes_of_a_subfigure(tmp_path):
    figure = Figure()
    part = figure.subfigures(1, 2)[0].subplots()
    plots.costs(a_history(3), part)
    sizes = set()
    for i, picture in enumerate([figure, part, part.figure]):
        path = plots.save(picture, tmp_path / f"{i}.png")
        sizes.add(path.read_bytes()[16:24])
    assert len(sizes) == 1


def test_save_leaves_the_file_open_to_others_as_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        path = plots.save(plots.costs([]), str(tmp_path / "a.png"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("broken", ["savefig", "fsync", "replace"])
def test_a_failed_save_keeps_the_old_picture_and_no_draft(broken, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    owner = {"savefig": Figure, "fsync": os, "replace": Path}[broken]
    monkeypatch.setattr(owner, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        plots.save(plots.costs([]), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_the_picture_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    path, synced = tmp_path / "a.png", []
    path.write_bytes(b"old")
    fsync = os.fsync

    def watch(descriptor):
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
        assert path.read_bytes() == b"old"
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    plots.save(plots.costs([]), path)
    assert synced == [(path.stat().st_ino, path.stat().st_size)]


def test_save_into_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="missing"):
        plots.save(plots.costs([]), tmp_path / "missing" / "a.png")


# Surroundings


def test_threads_draw_what_one_thread_draws(tmp_path):
    def draw(i: int) -> bytes:
        name = ("costs", "bars", "comparison", "confusion, 2")[i % 4]
        return plots.save(PICTURES[name](None), tmp_path / f"{i}.png").read_bytes()

    alone = [draw(i) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, range(4, 12)))
    assert together == alone * 2


SCRIPT = """
import sys
from deltarule import plots
assert not any(name.split(".")[0] == "matplotlib" for name in sys.modules), "loaded too early"
figures = [
    plots.learning_curves([{"train_cost": 1.0}]), plots.weights([[1.0] * 4], (2, 2)),
    plots.confusion([[1, 2], [3, 4]], ["a", "b"]), plots.comparison([("a", 1.0, 2.0, 1.0, 3.0)]),
    plots.mistakes([[[0, 1], [1, 0]]], [0], [1], [[0.1, 0.9]], ["a", "b"]),
    plots.bars([("a", {"b": (2.0, 1.0, 3.0)})]),
]
for figure in figures:
    plots.save(figure, sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules, "pyplot was loaded"
"""


@pytest.mark.parametrize("backend", [None, "agg"])
def test_needs_neither_display_nor_pyplot(backend, tmp_path):
    kept = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "DISPLAY")}
    kept |= {"PYTHONPATH": os.pathsep.join(sys.path)} | ({"MPLBACKEND": backend} if backend else {})
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "a.png")]
    done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["costs", "weights, 1", "confusion, 2", "mistakes", "bars"])
def test_missing_matplotlib_is_told_with_the_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError) as told:
        PICTURES[name](None)
    remedy = "pictures need matplotlib; install it with: pip install 'deltarule[plot]'"
    assert str(told.value) == remedy
