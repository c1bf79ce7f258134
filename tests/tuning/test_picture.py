"""The picture of what mattered."""

import pytest

from deltarule.plots import against, tuning


def trial(accuracy, epochs=3, diverged=None, **values):
    return {"values": values, "epochs": epochs, "diverged": diverged, "over": True,
            "validation_accuracy": accuracy, "validation_cost": 1 - accuracy}  # fmt: skip


TRIALS = [
    trial(0.9, 9, hidden="100", learning_rate=0.1, l2=0.0),
    trial(0.8, 3, hidden="30", learning_rate=0.001, l2=0.0),
    trial(0.7, 3, hidden="100x50", learning_rate=1.0, l2=0.0),
    trial(0.1, 1, "too far", hidden="30", learning_rate=3.0, l2=0.0),
]


def drawn(ax):
    return {line.get_label(): line for line in ax.lines}


def test_a_picture_for_each_that_varies():
    axes = tuning(TRIALS).axes
    assert [ax.get_xlabel() for ax in axes] == ["hidden", "learning rate"]
    assert [ax.get_xscale() for ax in axes] == ["linear", "log"]
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["30", "100", "100x50"]
    assert [axes[0].get_ylabel(), axes[1].get_ylabel()] == ["validation accuracy", ""]


@pytest.mark.parametrize(
    ("metric", "best"), [("validation_accuracy", 0.9), ("validation_cost", 0.1)]
)
def test_the_best_is_marked_and_what_diverged_lies_at_the_edge(metric, best):
    lines = drawn(against("learning_rate", TRIALS, metric))
    assert set(lines) == {"3 epochs", "9 epochs", "best", "diverged"}
    assert lines["best"].get_xdata() == 0.1
    assert lines["best"].get_ydata() == pytest.approx(best)
    assert lines["diverged"].get_xdata() == [3.0]
    assert lines["diverged"].get_ydata() == [float(metric == "validation_cost")]
    assert sorted(lines["3 epochs"].get_xdata()) == [0.001, 1.0]


def test_the_first_of_equals_is_the_best():
    lines = drawn(against("l2", [trial(0.9, l2=0.1), trial(0.9, l2=0.2)], "validation_accuracy"))
    assert lines["best"].get_xdata() == [0.1]


def test_nothing_to_draw_is_said():
    assert tuning([]).axes[0].texts[0].get_text() == "Nothing varied"
    assert tuning(TRIALS[:1]).axes[0].texts[0].get_text() == "Nothing varied"
    lost = [trial(0.1, diverged="x", l2=0.1), trial(0.1, diverged="x", l2=0.2)]
    assert set(drawn(tuning(lost).axes[0])) == {"diverged"}
