"""Evaluation: integers over every example, whatever the size of the portions."""

import math

import numpy as np
import pytest
from fits import BATCH, NETWORK, blobs
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from deltarule.data import Dataset
from deltarule.learning import Evaluation, Recipe, evaluate, fit
from deltarule.network import Activation, Dense, Model, Network, model

DATA = blobs(301, seed=5)


@pytest.fixture(scope="module")
def run():
    return fit(NETWORK, blobs(), DATA, Recipe(epochs=3, batch_size=BATCH))


def evaluation(labels, predictions, classes=("a", "b", "c"), sureness=None):
    labels, predictions = np.array(labels), np.array(predictions)
    probabilities = np.zeros((len(labels), len(classes)))
    probabilities[np.arange(len(labels)), predictions] = 1.0 if sureness is None else sureness
    return Evaluation(len(labels), 0.0, classes, labels, predictions, probabilities)


def test_the_same_integers_whatever_the_portions(run, monkeypatch):
    found = []
    for chunk in (1, 7, 128, 10_000):
        monkeypatch.setattr(model, "CHUNK", chunk)
        result = evaluate(run.model, DATA)
        found.append((result.correct, result.confusion.tolist(), result.predictions.tolist()))
    assert all(each == found[0] for each in found)
    assert 0 < found[0][0] < 301


@pytest.mark.parametrize("size", [1, 7, 128])
def test_the_parts_add_up_to_the_whole(run, size):
    if size == 1:
        parts = [DATA[i : i + 1] for i in range(40)]
    else:
        parts = [DATA[first : first + size] for first in range(0, 301, size)]
    whole = evaluate(run.model, DATA[: sum(map(len, parts))])
    results = [evaluate(run.model, part) for part in parts]
    assert sum(result.correct for result in results) == whole.correct
    assert np.array_equal(sum(result.confusion for result in results), whole.confusion)
    total = sum(result.cost * result.n for result in results)
    assert total / whole.n == pytest.approx(whole.cost, rel=1e-6)


def test_it_is_what_the_run_recorded(run):
    result, record = evaluate(run.model, DATA), run.history[-1]
    assert result.correct == round(record["validation_accuracy"] * 301)
    assert result.accuracy == record["validation_accuracy"]
    assert result.cost == pytest.approx(record["validation_cost"], rel=1e-5)


def test_confusion_is_scikit_learns_and_has_true_classes_in_rows(run):
    result = evaluate(run.model, DATA)
    assert np.array_equal(result.confusion, confusion_matrix(DATA.y, run.model.predict(DATA.x)))
    assert evaluation([0, 0, 0, 1], [1, 1, 0, 1]).confusion.tolist() == [
        [1, 2, 0],
        [0, 1, 0],
        [0, 0, 0],  # a class nobody saw still has its row
    ]


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (7, 10), (345, 360), (360, 360), (1, 1)])
def test_the_interval_is_wilsons(correct, n):
    """(p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96 (Wilson 1927)."""
    z, p = 1.959963984540054, correct / n
    middle = p + z**2 / (2 * n)
    width = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle - width) / (1 + z**2 / n), (middle + width) / (1 + z**2 / n)
    result = evaluation([0] * n, [0] * correct + [1] * (n - correct))
    assert result.interval == pytest.approx((low, high), abs=1e-12)
    assert 0 <= result.interval[0] <= result.accuracy <= result.interval[1] <= 1


def test_the_most_confused_pairs():
    result = evaluation([0, 0, 1, 1, 1, 2, 2], [1, 1, 0, 2, 2, 2, 0])
    assert result.most_confused() == [("a", "b", 2), ("b", "c", 2), ("b", "a", 1)]
    assert result.most_confused(1) == [("a", "b", 2)]
    assert result.most_confused(9)[3:] == [("c", "a", 1)]
    assert evaluation([0, 1], [0, 1]).most_confused() == []


def test_mistakes_come_surest_first_and_ties_in_order():
    result = evaluation([0, 0, 1, 1, 2], [1, 0, 0, 2, 1], sureness=[0.5, 0.9, 0.7, 0.5, 0.6])
    assert result.mistakes.tolist() == [2, 4, 0, 3]
    assert result.correct == 1
    assert result.accuracy == 0.2


def test_a_saturated_output_does_not_change_the_answer():
    """Both outputs are 1 in float32; the weighted inputs 20 and 30 still tell them apart."""
    network = Network(Dense(2), Activation("sigmoid"), shape=(1,))
    params = ({"w": np.float32([[20], [30]]), "b": np.zeros(2, np.float32)}, {})
    saturated = Model(network, params, ({}, {}), (1,), classes=("0", "1"))
    data = Dataset(np.ones((1, 1)), np.ones(1, int))
    assert saturated.outputs(data.x).tolist() == [[1.0, 1.0]]
    result = evaluate(saturated, data)
    assert result.predictions.tolist() == saturated.predict(data.x).tolist() == [1]


def test_other_costs(run):
    result = evaluate(run.model, DATA, "quadratic")
    error = run.model.outputs(DATA.x) - np.eye(3)[DATA.y]
    assert result.cost == pytest.approx((error**2).sum(axis=1).mean() / 2, rel=1e-6)
    with pytest.raises(ValueError, match="did you mean 'quadratic'"):
        evaluate(run.model, DATA, "quadratik")


def test_regression_has_a_cost():
    network = Network(Dense(1), shape=(1,))
    params = ({"w": np.float32([[2]]), "b": np.float32([1])},)
    line = Model(network, params, ({},), (1,))
    data = Dataset(np.array([[0.0], [1.0]]), np.array([[1.0], [5.0]]))
    result = evaluate(line, data, "quadratic")  # the outputs are 1 and 3
    assert result.cost == (0 + 2**2 / 2) / 2
    assert result.predictions.tolist() == [[1.0], [3.0]]


# ---- calibration


def confident(confidences, right, outputs=2):
    """An evaluation of predictions of class 0 with these outputs, right or wrong."""
    probabilities = np.zeros((len(right), outputs))
    probabilities[:, 0] = confidences
    labels = np.where(right, 0, 1)
    classes = tuple("abcdefgh"[:outputs])
    return Evaluation(len(right), 0.0, classes, labels, 0 * labels, probabilities)


def test_calibration_by_hand():
    # Bins of 1/15: 0.95 in (14/15, 1], 0.65 in (9/15, 10/15]. Of the first one in two is right, of
    # the others all: 2/4 |0.5 - 0.95| + 2/4 |1 - 0.65| = 0.225 + 0.175.
    result = confident([0.95, 0.65, 0.95, 0.65], [True, True, False, True])
    assert result.calibration_error == pytest.approx(0.4)
    bins = result.calibration()
    assert bins.confidence.tolist() == pytest.approx([0.65, 0.95])
    assert bins.accuracy.tolist() == [1, 0.5]
    assert bins.n.tolist() == [2, 2]


def test_a_bin_holds_its_upper_edge():
    bins = confident([0.0, 0.2, 0.2000001, 1.0], [True, False, True, True]).calibration(5)
    assert bins.n.tolist() == [2, 1, 1]
    assert bins.accuracy.tolist() == [0.5, 1, 1]


def test_sure_and_right_is_perfectly_calibrated():
    assert confident([1.0] * 5, [True] * 5).calibration_error == 0
    assert confident([1.0] * 5, [False] * 5).calibration_error == 1
    # right as often as it says
    assert confident([0.75] * 4, [True, True, True, False]).calibration_error == 0


certain = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


@given(certain, st.integers(1, 20))
def test_calibration_is_that_of_guo(rows, bins):
    """B_m holds the confidences in ((m - 1)/M, m/M], the first also 0 (Guo et al. 2017)."""
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    edges = np.linspace(0, 1, bins + 1)
    error, found = 0.0, []
    for m in range(bins):
        inside = (confidence > edges[m]) & (confidence <= edges[m + 1])
        if m == 0:
            inside |= confidence == 0
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            error += inside.sum() / len(right) * gap
            found.append(int(inside.sum()))
    result = confident(confidence, right)
    table = result.calibration(bins)
    assert table.n.tolist() == found
    assert (table.n * abs(table.accuracy - table.confidence)).sum() / result.n == pytest.approx(
        error, abs=1e-12
    )
    if bins == 15:
        assert result.calibration_error == pytest.approx(error, abs=1e-12)
    assert result.calibration_error <= 1


def test_a_model_is_as_sure_as_its_largest_output(run):
    result = evaluate(run.model, DATA)
    bins = result.calibration()
    assert bins.n.sum() == 301
    largest = result.probabilities.max(axis=1)
    assert (bins.n * bins.confidence).sum() == pytest.approx(largest.sum())
    assert (bins.n * bins.accuracy).sum() == pytest.approx(result.correct)
    assert 0 < result.calibration_error < 0.5


def test_calibration_is_about_probabilities():
    numbers = Evaluation(1, 0.0, (), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))
    for result in (confident([1.2], [True]), confident([-0.1], [True]), numbers):
        with pytest.raises(ValueError, match="calibration needs outputs between 0 and 1"):
            _ = result.calibration_error


# ---- what is refused


def test_what_does_not_fit_is_refused(run):
    with pytest.raises(ValueError, match="data must hold at least one example, got none"):
        evaluate(run.model, DATA[:0])
    other = Dataset(DATA.x, DATA.y, classes=("x", "y", "z"))
    with pytest.raises(ValueError, match=r"classes \('x', 'y', 'z'\), but the model knows \('0'"):
        evaluate(run.model, other)
    with pytest.raises(ValueError, match=r"inputs of shape \(4,\)"):
        evaluate(run.model, Dataset(np.ones((2, 5)), [0, 2]))
