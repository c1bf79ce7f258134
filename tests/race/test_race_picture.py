"""The picture of a race: who is drawn, against what, and how."""

import numpy as np
import pytest

from deltarule import plots

STEPS = [{"epoch": k, "gradient_evaluations": 2 * k, "seconds": 0.1 * k, "cost": 2.0 / (k + 1)}
         for k in range(4)]  # fmt: skip
CURVES = {"sgd 0.1": [STEPS, STEPS[:3]], "lbfgs": [STEPS[:2]]}


def drawn(line):
    return [tuple(point) for point in line.get_xydata().tolist()]


def test_a_panel_for_each_measure_and_a_name_for_each_optimizer():
    picture = plots.race(CURVES)
    labels = [ax.get_xlabel() for ax in picture.axes]
    assert labels == ["epochs, or iterations", "gradients of all examples", "seconds"]
    assert [text.get_text() for text in picture.legends[0].get_texts()] == list(CURVES)
    costs = [2, 1, 2 / 3, 0.5]
    assert drawn(picture.axes[0].lines[0]) == list(zip([0, 1, 2, 3], costs, strict=True))
    assert drawn(picture.axes[1].lines[0]) == list(zip([0, 2, 4, 6], costs, strict=True))


def test_the_first_seed_is_the_bold_one():
    first, second, _ = plots.cost_against("epoch", CURVES).lines
    assert first.get_linewidth() > second.get_linewidth()
    assert first.get_color() == second.get_color()


def test_seconds_are_logarithmic_and_leave_the_start_out():
    picture = plots.race(CURVES, ["seconds"])
    (ax,) = picture.axes
    assert ax.get_xscale() == "log"
    shown = ax.lines[0].get_transform().transform(ax.lines[0].get_xydata())[:, 0]
    assert (shown[1:] > 0).all()
    assert not np.isfinite(shown[0])  # 0 s has no place there, not even at the edge
    assert ax.lines[0].get_marker() == ""
    assert ax.lines[2].get_marker() == "o"  # a single epoch, which is no line


def test_many_optimizers_are_told_apart():
    lines = plots.cost_against("epoch", {str(i): [STEPS] for i in range(14)}).lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 14


def test_nobody_and_an_unknown_measure():
    assert plots.race({}).axes[0].texts[0].get_text() == "Nobody ran"
    with pytest.raises(ValueError, match="against must be one of epoch"):
        plots.cost_against("epochs", CURVES)
