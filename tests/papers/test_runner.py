"""Studies run, stored, taken up again and interrupted."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_study import BASELINE, STUDY, VOTE, best_on_validation, experiment

from deltarule import Committee, Recipe, Run, Splits, data, evaluate, load_model, train
from deltarule.errors import DataError
from deltarule.papers import Baseline, Experiment, Study, Watcher, reproduce
from deltarule.papers.results import document, is_reached, of_study, stored


class Log(Watcher):
    def __init__(self) -> None:
        self.plan: tuple[int, int, int] | None = None
        self.runs: list[tuple[str, int]] = []
        self.epochs: list[int] = []

    def planned(self, experiments: int, runs: int, kept: int) -> None:
        self.plan = (experiments, runs, kept)

    def advanced(self, experiment: Experiment | Baseline, run: Run) -> None:
        self.epochs.append(run.state.epoch)

    def measured(self, experiment: Experiment | Baseline, measured: dict[str, Any]) -> None:
        self.runs.append((experiment.name, measured["seed"]))


def run(folder: Path, study: Study = STUDY, **options: Any) -> tuple[list[dict[str, Any]], Log]:
    log = Log()
    return list(reproduce(study, folder, watcher=log, **{"seeds": 2, **options})), log


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    reached = [{k: v for k, v in each.items() if k != "seconds"} for each in result["reached"]]
    return {**result, "reached": reached}


def test_every_experiment_is_run_stored_and_yielded_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "papers" / "results"  # made with the folder above it
    results, log = run(folder)
    assert [each["name"] for each in results] == ["tiny-final", "tiny-test", "tiny-base"]
    assert log.plan == (3, 5, 0)  # two seeds each, but once for what takes no chance
    assert sorted(log.runs) == [
        ("tiny-base", 0), ("tiny-final", 0), ("tiny-final", 1), ("tiny-test", 0), ("tiny-test", 1),
    ]  # fmt: skip
    assert log.epochs
    for each in results:
        assert json.loads((folder / f"{each['name']}.json").read_text()) == each
    assert of_study(folder, STUDY) == results


def test_a_result_says_all_that_matters(tmp_path: Path) -> None:
    (result, *_), _ = run(tmp_path, only=["tiny-final"])
    assert result["citation"] == STUDY.citation
    assert result["claimed"] == 80.0
    assert result["seeds"] == [0, 1]
    accuracies = [each["accuracy"] for each in result["reached"]]
    a, b = accuracies
    assert (result["lowest"], result["highest"]) == (min(a, b), max(a, b))
    assert result["mean"] == pytest.approx((a + b) / 2, abs=1e-4)
    assert result["sd"] == pytest.approx(abs(a - b) / 2**0.5, abs=1e-4)  # of a sample of two
    assert set(result["versions"]) == {"deltarule", "jax"}
    assert set(result["machine"]) == {"cpus", "architecture"}
    assert "seed" not in result["setup"]["recipe"]
    assert "test set" in result["protocol"]


def test_results_do_not_depend_on_how_many_run_at_once(tmp_path: Path) -> None:
    one, _ = run(tmp_path / "one", jobs=1)
    three, _ = run(tmp_path / "three", jobs=3)
    assert [timeless(each) for each in one] == [timeless(each) for each in three]


def test_a_second_start_runs_only_what_is_missing(tmp_path: Path) -> None:
    first, _ = run(tmp_path)
    (tmp_path / "tiny-test.json").unlink()
    again, log = run(tmp_path)
    assert log.plan == (3, 2, 2)
    assert {name for name, _ in log.runs} == {"tiny-test"}
    assert [timeless(each) for each in again] == [timeless(each) for each in first]
    fewer, log = run(tmp_path, seeds=1)
    assert (log.runs, fewer) == ([], again)


def test_more_seeds_join_those_before(tmp_path: Path) -> None:
    only = {"only": ["tiny-final"]}
    (two,), _ = run(tmp_path / "grown", **only)
    (three,), log = run(tmp_path / "grown", seeds=3, **only)
    assert log.plan == (1, 1, 0)
    assert log.runs == [("tiny-final", 2)]
    assert three["reached"][:2] == two["reached"]
    (at_once,), _ = run(tmp_path / "at once", seeds=3, **only)
    assert timeless(three) == timeless(at_once)


def test_another_recipe_runs_again_and_takes_the_place_of_the_first(tmp_path: Path) -> None:
    run(tmp_path, only=["tiny-final"])
    for change in ({"recipe": Recipe(epochs=2, learning_rate=0.5)}, {"training": 500}):
        other = dataclasses.replace(STUDY, experiments=(experiment(**change),))
        assert stored(tmp_path, other, other.experiments[0]) is None
        assert stored(tmp_path, STUDY, STUDY.experiments[0]) is not None
    _, log = run(tmp_path, other, seeds=1)
    assert log.runs == [("tiny-final", 0)]
    assert stored(tmp_path, STUDY, STUDY.experiments[0]) is None


def test_a_corrected_claim_needs_no_run(tmp_path: Path) -> None:
    (before,), _ = run(tmp_path, only=["tiny-final"])
    other = dataclasses.replace(STUDY, experiments=(experiment(claimed=99.99),))
    (after,), log = run(tmp_path, other)
    assert log.runs == []
    assert after == {**before, "claimed": 99.99}
    assert of_study(tmp_path, other) == [after]


def test_a_run_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: Any) -> None:
    """A kill costs what came after the last checkpoint, and the result is the same."""
    each = best_on_validation()
    study = dataclasses.replace(STUDY, experiments=(each,))
    (whole,), _ = run(tmp_path / "whole", study, seeds=1)

    class Kill(Log):
        def advanced(self, experiment: Experiment | Baseline, run: Run) -> None:
            super().advanced(experiment, run)
            if run.state.epoch == 2:
                raise RuntimeError("killed")

    monkeypatch.setitem(train.__kwdefaults__, "every_epochs", 1)
    with pytest.raises(RuntimeError, match="killed"):
        list(reproduce(study, tmp_path / "cut", seeds=1, watcher=Kill()))
    (folder,) = (tmp_path / "cut" / "runs").iterdir()
    assert list(folder.glob("checkpoint-*"))
    (resumed,), log = run(tmp_path / "cut", study, seeds=1)
    assert timeless(resumed) == timeless(whole)
    assert min(log.epochs) >= 1  # it did not begin again


def test_a_vote_counts_the_answers_of_its_experiment(tmp_path: Path) -> None:
    study = dataclasses.replace(STUDY, experiments=(VOTE.of, VOTE))
    (of, vote), log = run(tmp_path, study, seeds=2)
    assert log.plan == (2, 3, 0)  # a vote of three takes three seeds, however few are asked for
    assert sorted(log.runs) == [(VOTE.of.name, seed) for seed in range(3)]
    assert of["seeds"] == [0, 1, 2]
    (counted,) = vote["reached"]
    assert counted["members"] == [each["accuracy"] for each in of["reached"]]
    assert counted["seconds"] == pytest.approx(sum(each["seconds"] for each in of["reached"]))
    models = [load_model(path / "model.safetensors") for path in (tmp_path / "runs").iterdir()]
    test = data.load("digits").test
    answers = np.array([model.predict(test.x) for model in models])
    votes = (answers[:, :, None] == np.arange(10)).sum(axis=0)  # [images, classes]
    right = votes[np.arange(len(test)), test.y]
    votes[np.arange(len(test)), test.y] = 0
    assert counted["accuracy"] == round(100 * (right > votes.max(axis=1)).mean(), 4)
    assert counted["unanimous"] == round(100 * (right == 3).mean(), 4)
    together = evaluate(Committee(tuple(models), combine="vote"), test).accuracy
    assert together >= counted["accuracy"] / 100 - 1e-6  # a committee gives ties to the mean
    assert "A tie is an error" in vote["protocol"]


def test_a_vote_needs_no_network_once_the_answers_are_there(tmp_path: Path) -> None:
    study = dataclasses.replace(STUDY, experiments=(VOTE.of, VOTE))
    (_, vote), _ = run(tmp_path, study)
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "tiny-vote.json").unlink()
    (again,), log = run(tmp_path, study, only=["tiny-vote"])
    assert (again, log.plan, log.runs) == (vote, (1, 0, 1), [])
    (alone,), log = run(tmp_path / "alone", dataclasses.replace(study, experiments=(VOTE,)))
    assert timeless(alone) == timeless(vote)
    assert len(log.runs) == 3


def test_a_vote_asks_again_where_the_answers_were_not_kept(tmp_path: Path) -> None:
    study = dataclasses.replace(STUDY, experiments=(VOTE.of, VOTE))
    (of, vote), _ = run(tmp_path, study)
    del of["reached"][1]["wrong"]
    (tmp_path / "tiny-test.json").write_text(json.dumps(of))
    _, log = run(tmp_path, study, only=["tiny-test"])
    assert log.runs == []
    (again,), log = run(tmp_path, study, only=["tiny-vote"])
    assert log.runs == [(VOTE.of.name, 1)]
    assert timeless(again) == timeless(vote)


def test_a_vote_counted_by_hand() -> None:
    """Five members, 100 images: one of two votes against three, a tie, a plurality, a majority."""
    answers = [
        {"7": 1, "20": 4, "31": 0},
        {"7": 1, "20": 4, "31": 2},
        {"20": 9, "31": 3},
        {"20": 9, "50": 5},
        {"50": 5},
        {str(image): 0 for image in range(100)},  # a sixth, who is not asked
    ]
    measured = [
        {"seed": seed, "accuracy": 100.0 - len(wrong), "asked": 100, "wrong": wrong, "seconds": 1.5}
        for seed, wrong in enumerate(answers)
    ]
    counted = dataclasses.replace(VOTE, members=5).count(measured[::-1])
    # 7: three right against two. 20: one right, two 4, two 9. 31: two right, three others that
    # differ. 50: three right against two. So 20 alone is missed.
    assert counted["accuracy"] == 99.0
    assert counted["unanimous"] == 96.0
    assert counted["members"] == [97.0, 97.0, 98.0, 98.0, 99.0]
    assert (counted["seed"], counted["seconds"]) == (0, 7.5)
    tied = [{**each, "wrong": {"3": 8} if each["seed"] in (1, 2) else {}} for each in measured[:4]]
    assert dataclasses.replace(VOTE, members=4).count(tied)["accuracy"] == 99.0  # two against two


def test_shifted_training_sees_five_images_for_one(tmp_path: Path) -> None:
    plain, shifted = (
        run(tmp_path, dataclasses.replace(STUDY, experiments=(each,)), seeds=1)[0][0]
        for each in (experiment(), experiment("tiny-shifted", shifted=True))
    )
    assert plain["reached"][0]["accuracy"] != shifted["reached"][0]["accuracy"]
    assert shifted["setup"]["shifted"] is True


def test_a_result_from_before_there_was_augmentation_is_still_one(tmp_path: Path) -> None:
    ((result,), _), each = run(tmp_path, only=["tiny-final"]), experiment()
    del result["setup"]["shifted"], result["setup"]["recipe"]["augment"]
    del result["setup"]["recipe"]["average"]
    (tmp_path / "tiny-final.json").write_text(json.dumps(result))
    assert stored(tmp_path, STUDY, each) is not None


def test_opt_in_experiments_run_only_by_name(tmp_path: Path) -> None:
    (result,), _ = run(tmp_path, only=["tiny-opt-in"], seeds=1)
    assert result["name"] == "tiny-opt-in"
    assert result["sd"] is None


def test_ctrl_c_keeps_what_is_finished_and_stops_the_rest(tmp_path: Path) -> None:
    endless = experiment("tiny-endless", recipe=Recipe(epochs=1_000_000))
    asked: list[Splits] = []
    last = dataclasses.replace(BASELINE, accuracy=lambda splits: asked.append(splits) or 0.5)
    study = dataclasses.replace(STUDY, experiments=(experiment(), endless, last))

    class Interrupt(Log):
        def measured(self, experiment: Experiment | Baseline, measured: dict[str, Any]) -> None:
            super().measured(experiment, measured)
            if len(self.runs) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(reproduce(study, tmp_path, seeds=2, watcher=Interrupt()))
    (kept,) = tmp_path.glob("*.json")  # of the interrupted runs there is no result
    assert json.loads(kept.read_text())["seeds"] == [0, 1]

    waiting = reproduce(study, tmp_path, seeds=2)
    assert next(waiting)["name"] == "tiny-final"
    waiting.close()  # hangs here for days if the endless runs are not told to stop
    assert [path.name for path in tmp_path.glob("*.json")] == ["tiny-final.json"]
    assert not asked, "what waited in the queue must not begin"


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny-final.json"
    for content in ('{"name": "tiny-fin', "[]", '{"name": "tiny-final"}', "\xff"):
        path.write_text(content, encoding="latin-1")
        with pytest.raises(DataError, match=r"tiny-final\.json is not a stored result"):
            run(tmp_path)


@pytest.mark.parametrize(("options", "message"), [
    ({"only": ["tiny-finall"]}, "did you mean 'tiny-final'"),
    ({"seeds": 0}, "seeds must be at least 1"),
    ({"jobs": 0}, "jobs must be at least 1"),
])  # fmt: skip
def test_bad_requests(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot make the folder"):
        run(tmp_path / "file" / "results", only=["tiny-base"])


@pytest.mark.parametrize(("accuracies", "reached"), [
    ([94.0, 95.42], True), ([95.42, 95.41], True), ([95.41, 95.40], False), ([95.4199], True),
    ([99.0], True),
])  # fmt: skip
def test_reached_if_the_best_seed_is_at_least_the_claim(
    accuracies: list[float], reached: bool
) -> None:
    measured = [{"seed": i, "accuracy": a} for i, a in enumerate(accuracies)]
    result = document(STUDY, experiment(claimed=95.42), measured)
    assert is_reached(result) is reached
