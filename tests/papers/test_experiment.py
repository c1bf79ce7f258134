"""One run of one experiment: which accuracy is reported, and what stands beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny_study import BASELINE, best_on_validation, experiment

from deltarule import Callback, Recipe, Run, Splits, data, evaluate


@pytest.fixture(scope="module")
def splits() -> Splits:
    return data.load("digits")


class Keep(Callback):
    """Keeps the run, so that a test can measure what the experiment should have measured."""

    def ended(self, run: Run) -> None:
        self.run = run


def share(percent: float) -> float:
    return percent / 100


def test_final(splits: Splits) -> None:
    keep = Keep()
    each = experiment()
    measured = each.measure(splits, 1, [keep])
    assert keep.run.recipe.seed == measured["seed"] == 1
    assert keep.run.validation is splits.test  # as the source watched it
    history = [record["validation_accuracy"] for record in keep.run.history]
    assert measured["epochs"] == len(history) == 3
    assert share(measured["first"]) == pytest.approx(history[0], abs=1e-6)
    assert measured["accuracy"] == measured["final"]
    assert share(measured["final"]) == pytest.approx(history[-1], abs=1e-6)
    assert evaluate(keep.run.model, splits.test).accuracy == history[-1]


def test_best_is_the_first_of_the_best_epochs(splits: Splits) -> None:
    keep = Keep()
    each = experiment(report="best", recipe=Recipe(epochs=10, learning_rate=3.0))
    for seed in range(10):  # until one ends below its best
        measured = each.measure(splits, seed, [keep])
        if measured["best"] > measured["final"]:
            break
    history = [record["validation_accuracy"] for record in keep.run.history]
    assert measured["accuracy"] == measured["best"] > measured["final"], "no case for this test"
    assert measured["best_epoch"] == 1 + int(np.argmax(history))
    assert share(measured["best"]) == pytest.approx(max(history), abs=1e-6)


def test_the_test_set_is_asked_with_the_weights_of_the_best_epoch(splits: Splits) -> None:
    keep = Keep()
    measured = best_on_validation().measure(splits, 0, [keep])
    assert keep.run.validation is splits.validation
    assert keep.run.state.best is not None
    expected = evaluate(keep.run.model, splits.test).accuracy
    assert share(measured["accuracy"]) == pytest.approx(expected, abs=1e-6)
    assert measured["accuracy"] != measured["best"]
    assert measured["asked"] == len(splits.test)
    answers = splits.test.y.copy()
    for image, answer in measured["wrong"].items():
        assert answers[int(image)] != answer
        answers[int(image)] = answer
    assert (answers == keep.run.model.predict(splits.test.x)).all()


def test_measured_only_at_the_end(splits: Splits) -> None:
    keep = Keep()
    each = experiment(every_epoch=False, watched="validation", training=100)
    measured = each.measure(splits, 0, [keep])
    assert keep.run.validation is None
    assert len(keep.run.train) == 100
    expected = evaluate(keep.run.model, splits.validation).accuracy
    assert share(measured["accuracy"]) == pytest.approx(expected, abs=1e-6)
    assert not {"first", "best", "final"} & set(measured)


@pytest.mark.parametrize(("l2", "printed"), [(0.0, None), (0.01, None), (0.01, 0.5)])
def test_training_cost_is_the_one_the_source_prints(
    splits: Splits, l2: float, printed: float | None
) -> None:
    keep = Keep()
    recipe = Recipe(epochs=1, learning_rate=0.5, l2=l2)
    each = experiment(recipe=recipe, printed_l2=printed, training=200)
    measured = each.measure(splits, 0, [keep])
    result = evaluate(keep.run.model, splits.train.take(200))
    squares = sum(float((layer["w"].astype(float) ** 2).sum())
                  for layer in keep.run.model.params if layer)  # fmt: skip
    charged = l2 if printed is None else printed
    assert measured["train_cost"] == pytest.approx(result.cost + charged / 2 * squares, abs=1e-6)
    assert share(measured["train_accuracy"]) == pytest.approx(result.accuracy, abs=1e-6)


def test_a_seed_gives_the_same_run_and_another_seed_another(splits: Splits) -> None:
    def figures(seed: int) -> dict[str, Any]:
        measured = experiment().measure(splits, seed)
        return {key: value for key, value in measured.items() if key not in ("seconds", "seed")}

    assert figures(0) == figures(0)
    assert figures(0) != figures(1)


def test_half_a_run_is_no_result(splits: Splits, ctrl_c: Callable[[], None]) -> None:
    class Stop(Callback):
        def epoch_ended(self, run: Run) -> None:
            ctrl_c()

    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        experiment().measure(splits, 0, [Stop()])


def test_baseline(splits: Splits) -> None:
    measured = BASELINE.measure(splits, 0)
    assert share(measured["accuracy"]) == pytest.approx((splits.test.y == 3).mean(), abs=1e-6)
    assert BASELINE.seeds(5) == [0]


@pytest.mark.parametrize("changes", [
    {"report": "test", "watched": "validation"},  # no early stopping: nothing keeps the best
    {"report": "test", "watched": "test", "recipe": Recipe(early_stopping=5)},
    {"report": "final", "recipe": Recipe(early_stopping=5)},  # would report the best weights
    {"report": "best", "every_epoch": False},
])  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="report '"):
        experiment(**changes)
