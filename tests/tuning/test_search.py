"""A search of nine trials: what goes on, what is shared, what is kept, what is refused."""

import importlib
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest
from searches import RECIPE, SPACE, TRAINING, VALIDATION, history, lines, outcome, search

from deltarule.data import Dataset
from deltarule.errors import CheckpointError, DivergedError
from deltarule.files import load_model
from deltarule.learning import Callback, fit, step
from deltarule.network import Network
from deltarule.training import environment
from deltarule.tuning import Choices, Range, tune


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The search that others are compared with."""
    folder = tmp_path_factory.mktemp("whole") / "search"
    return folder, search(folder)


def test_the_best_third_goes_on_and_the_best_wins(whole):
    folder, tuning = whole
    stages = {of: [r for r in lines(folder) if r["of"] == of] for of in (3, 9, 27)}
    assert [len(stage) for stage in stages.values()] == [9, 3, 1]

    def best(stage, most):
        order = sorted(stage, key=lambda r: (-r["validation_accuracy"], r["validation_cost"]))
        return {record["number"] for record in order[:most]}

    assert {record["number"] for record in stages[9]} == best(stages[3], 3)
    assert {record["number"] for record in stages[27]} == best(stages[9], 1)
    assert tuning.best.number == stages[27][0]["number"]
    assert tuning.trials[0].number == tuning.best.number
    assert len(tuning.trials) == 9


def test_a_trial_that_goes_on_is_the_run_it_would_have_been(whole):
    folder, tuning = whole
    values = dict(tuning.best.values)
    network = Network([64, int(values.pop("hidden")), 10], output="softmax")
    run = fit(network, TRAINING, VALIDATION, replace(RECIPE, epochs=27, **values))
    stored = history(folder / f"trial-{tuning.best.number:03d}")
    assert stored == [{k: v for k, v in r.items() if k != "seconds"} for r in run.history]
    model = load_model(folder / f"trial-{tuning.best.number:03d}" / "model.safetensors")
    for ours, theirs in zip(jax.tree.leaves(model.params), jax.tree.leaves(run.model.params),
                            strict=True):  # fmt: skip
        np.testing.assert_array_equal(ours, theirs)


def test_every_trial_is_a_run_folder(whole):
    folder, _ = whole
    for number in range(1, 10):
        home = folder / f"trial-{number:03d}"
        assert load_model(home / "model.safetensors").shape == (8, 8)
        assert json.loads((home / "config.json").read_text())["options"].keys() == SPACE.keys()


def test_the_best_is_trained_on_training_and_validation_data_together(whole):
    folder, tuning = whole
    both = Dataset(
        np.concatenate([TRAINING.x, VALIDATION.x]), np.concatenate([TRAINING.y, VALIDATION.y]),
        TRAINING.classes, TRAINING.scale,
    )  # fmt: skip
    config = json.loads((folder / "best" / "config.json").read_text())
    assert config["training_data"] == {"examples": 160, "fingerprint": both.fingerprint()}
    assert config["validation_data"] is None
    assert len(history(folder / "best")) == tuning.best.best_epoch == len(tuning.run.history)
    assert config["recipe"]["learning_rate"] == tuning.best.values["learning_rate"]


@pytest.mark.parametrize("jobs", [1, 4])
def test_threads_do_not_change_the_outcome(whole, tmp_path, jobs):
    search(tmp_path / "again", jobs=jobs)
    assert outcome(tmp_path / "again") == outcome(whole[0])


@pytest.mark.parametrize("jobs", [1, 2])
def test_trials_of_one_shape_share_a_program(monkeypatch, tmp_path, jobs):
    """Two shapes, and the last run with more examples: three programs for ten runs."""
    traced = []

    def counting(program, *arguments):
        traced.append(program)
        return step.advance.__wrapped__(program, *arguments)

    counted = jax.jit(counting, static_argnums=0, donate_argnums=1)
    monkeypatch.setattr(importlib.import_module("deltarule.learning.together"), "advance", counted)
    moved = []
    search(tmp_path / "s", jobs=jobs, search="random", epochs=2, watch=moved.append)
    sizes = [trial.values["hidden"] for trial in moved if trial.over]
    assert len(traced) == 3
    assert (len(sizes), set(sizes)) == (9, {"4", "6"})
    if jobs == 1:  # those of one program one after another: only some programs are kept
        assert sum(a != b for a, b in pairwise(sizes)) == 1


def test_random_search_runs_all_to_the_end(tmp_path):
    space = {"learning_rate": Choices((0.1, 0.5, 1.0))}
    tuning = search(tmp_path / "r", search="random", space=space, trials=9, epochs=2)
    assert [record["of"] for record in lines(tmp_path / "r")] == [2, 2, 2]  # there are no more
    assert sorted(trial.values["learning_rate"] for trial in tuning.trials) == [0.1, 0.5, 1.0]


def test_a_trial_that_diverges_is_a_result_with_its_reason(tmp_path):
    space = {"learning_rate": Choices((1e30, 0.5)), "l2": Choices((0.1,))}
    tuning = search(tmp_path / "d", space=space, search="random", epochs=2)
    assert [trial.values["learning_rate"] for trial in tuning.trials] == [0.5, 1e30]
    assert "training diverged in epoch 1: the cost is not finite" in tuning.trials[1].diverged
    assert tuning.best.diverged is None


def test_if_all_diverge_it_says_so_also_when_resumed(tmp_path):
    space = {"learning_rate": Choices((1e30, 1e29)), "l2": Choices((0.1,))}
    for resume in (False, True):
        with pytest.raises(DivergedError, match="all 2 trials diverged; search smaller learning"):
            search(tmp_path / "d", space=space, search="random", epochs=2, resume=resume)


class StopIn(Callback):
    """Stops whichever run is the n-th to advance."""

    every_epoch = False

    def __init__(self, calls):
        self.calls = calls

    def advanced(self, run):
        self.calls -= 1
        if self.calls <= 0:
            run.stop("enough")


@pytest.mark.parametrize("calls", [1, 5, 12, 14])  # of 9 + 3 + 1 + 1 with one call a run
def test_a_search_that_was_stopped_goes_on_to_the_same_outcome(whole, tmp_path, calls):
    first = search(tmp_path / "s", callbacks=[StopIn(calls)], jobs=1)
    assert (first.best, first.stopped) == (None, "enough")
    moved = []
    again = search(tmp_path / "s", resume=True, watch=moved.append)
    assert again.best == whole[1].best
    assert outcome(tmp_path / "s") == outcome(whole[0])
    finished = {(t.number, t.of) for t in moved if t.over}
    assert len(finished) == 13  # also those of before are shown


class Begun(Callback):
    """Notes where each run begins, and stops one of them once two have begun."""

    every_epoch = False

    def __init__(self, *, stop=False):
        self.runs, self.stop = [], stop

    def started(self, run):
        self.runs.append(run)

    def advanced(self, run):
        if self.stop and len(self.runs) == 2 and run is self.runs[0]:
            run.stop("enough")


def test_what_goes_on_is_not_trained_again(tmp_path):
    begun = Begun()
    search(tmp_path / "s", callbacks=[begun])
    stood = [(run.recipe.epochs, run.resumed_at) for run in begun.runs]
    assert stood[:-1] == [(3, 0)] * 9 + [(9, 3)] * 3 + [(27, 9)]  # and the last network, from 0


def test_if_one_is_stopped_all_are(tmp_path):
    begun = Begun(stop=True)
    search(tmp_path / "s", callbacks=[begun], search="random", trials=4, epochs=20_000)
    assert [run.stopped for run in begun.runs] == ["enough", "enough"]
    assert all(len(run.history) < 20_000 for run in begun.runs)


def test_to_resume_a_finished_search_changes_nothing(whole, tmp_path):
    search(tmp_path / "s")
    before = (tmp_path / "s" / "trials.jsonl").read_bytes()
    assert search(tmp_path / "s", resume=True).best == whole[1].best
    assert (tmp_path / "s" / "trials.jsonl").read_bytes() == before


def test_a_mistake_in_a_trial_ends_the_search_and_says_where(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr("deltarule.tuning.team.train", broken)
    with pytest.raises(OSError, match="the disk is full") as caught:
        search(tmp_path / "s", jobs=1)
    assert caught.value.__notes__ == ["(in trial 1)"]


REFUSED = [
    ({"search": "grid"}, "search must be one of halving, random; got 'grid'."),
    ({"metric": "accuracy"}, "metric must be one of validation_accuracy, validation_cost"),
    ({"trials": 0}, "trials must be a whole number of at least 1, got 0."),
    ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5."),
    ({"jobs": 0}, "jobs must be at least 1, got 0."),
    ({"space": {"epochs": Choices((1, 2))}}, "space must not hold epochs, which is the same for"),
    ({"space": {"rate": Range(0.1, 1)}}, "a name in space must be one of hidden, dropout, opti"),
    ({"space": {"batch_size": Choices((10, 200))}}, "batch_size must be at most the 100 training"),
    ({"space": {"l2": Choices((-1.0,))}}, "l2 must be a number of at least 0, got -1.0."),
    ({"recipe": replace(RECIPE, early_stopping=3)}, "early_stopping would end a trial before it"),
    ({"recipe": replace(RECIPE, schedule="cosine")}, "schedule cosine depends on the number of"),
    ({"network": lambda values: Network([64, 3])}, "the network has outputs of shape (3,)"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=[said[:30] for _, said in REFUSED])
def test_what_cannot_be_is_refused_before_anything_is_trained(tmp_path, changes, said):
    with pytest.raises(ValueError, match=r"\w") as refused:
        search(tmp_path / "s", **changes)
    assert str(refused.value).startswith(said)
    assert not (tmp_path / "s").exists()


def test_it_needs_validation_data(tmp_path):
    with pytest.raises(ValueError, match="trials are compared on validation data, got none"):
        tune(TRAINING, VALIDATION.take(0), tmp_path / "s")
    line = Dataset(np.ones((4, 1)), np.ones((4, 1)))
    with pytest.raises(ValueError, match="needs classes; choose validation_cost"):
        tune(line, line, tmp_path / "s")


def test_a_folder_holds_one_search(whole, tmp_path):
    folder = whole[0]
    with pytest.raises(ValueError, match="holds a run or a search already; resume it, or choose"):
        search(folder)
    with pytest.raises(CheckpointError, match=r"another one \(trials: it was 9, now 8\)"):
        search(folder, trials=8, resume=True)
    with pytest.raises(CheckpointError, match="holds no search to resume"):
        search(tmp_path / "none", resume=True)


@pytest.mark.parametrize("which", ["training", "validation"])
def test_other_data_is_refused_at_resume(whole, which):
    data = {"training": TRAINING, "validation": VALIDATION}
    data[which] = data[which].take(len(data[which]) - 1)
    with pytest.raises(CheckpointError, match=rf"another one \({which}_data: it was '\w+', now"):
        tune(**data, folder=whole[0], space=SPACE, recipe=RECIPE, trials=9, epochs=27, resume=True)


def test_other_versions_are_named(whole, monkeypatch):
    monkeypatch.setattr("deltarule.tuning.search.environment", lambda: {"jax": "0.0.1"})
    with pytest.warns(UserWarning, match="the trials so far ran with another jax"):
        search(whole[0], resume=True)


def test_what_was_not_noted_yet_is_no_other_version(whole, monkeypatch):
    here = {**environment(), "one more": "1.0"}
    monkeypatch.setattr("deltarule.tuning.search.environment", lambda: here)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(whole[0], resume=True)


def test_regression_is_compared_by_its_cost(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    data = Dataset(x, x @ [[1.0], [2.0]])
    space = {"hidden": Choices(("4",)), "learning_rate": Choices((1e-4, 0.1))}
    recipe = replace(RECIPE, cost="quadratic")
    tuning = tune(
        data[:40], data[40:], tmp_path / "s", space=space, recipe=recipe, epochs=3,
        metric="validation_cost", jobs=1,
    )  # fmt: skip
    assert tuning.best.values["learning_rate"] == 0.1
    assert tuning.best.validation_accuracy is None


@pytest.mark.filterwarnings("default:The search was interrupted")
@pytest.mark.parametrize("when", ["trials are started", "trials learn"])
def test_ctrl_c_ends_a_search_that_goes_on_later(whole, tmp_path, ctrl_c, monkeypatch, when):
    class Press(Callback):
        pressed = False

        def epoch_ended(self, run):
            if not self.pressed and run.state.epoch == 2:
                self.pressed = True
                ctrl_c()

    submit = ThreadPoolExecutor.submit

    def submit_and_press(*work):
        future = submit(*work)
        monkeypatch.undo()
        ctrl_c()
        return future

    if when == "trials are started":
        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_and_press)
    pressing = [Press()] if when == "trials learn" else []
    with pytest.warns(UserWarning, match="The search was interrupted by user") as warned:
        tuning = search(tmp_path / "s", callbacks=pressing)
    assert warned[0].filename == search.__code__.co_filename
    assert (tuning.stopped, tuning.best) == ("interrupted", None)
    search(tmp_path / "s", resume=True)
    assert outcome(tmp_path / "s") == outcome(whole[0])
