"""``train``: what ``fit`` learns, kept in a run folder so that nothing is lost."""

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltarule import Callback, Dataset, Network, Recipe, fit, load_model
from deltarule.errors import CheckpointError, DivergedError, RunBusyError
from deltarule.learning import Run, plan
from deltarule.runs import RunFolder
from deltarule.training import environment, train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4))
TRAIN = Dataset(X[:50], (X[:50, 0] > 0).astype(int), ("no", "yes"))
VALIDATION = Dataset(X[50:], (X[50:, 0] > 0).astype(int), ("no", "yes"))
NETWORK = Network([4, 5, 2], dropout=0.2)
RECIPE = Recipe(epochs=6, optimizer="momentum", batch_size=4)
STEPS = 13  # of an epoch, the last with two examples


class StopAt(Callback):
    """Stops after so many epochs, for a reason of its own or by Ctrl-C."""

    def __init__(self, epoch: int, ctrl_c: bool = False) -> None:
        self.epoch, self.ctrl_c = epoch, ctrl_c

    def epoch_ended(self, run: Run) -> None:
        if run.state.epoch == self.epoch:
            if self.ctrl_c:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                run.stop("lunch")


def keep(folder: Path, recipe: Recipe = RECIPE, **options: Any) -> Run:
    return train(NETWORK, TRAIN, VALIDATION, recipe, folder, **options)


def same(ours: Run, theirs: Run) -> bool:
    plain = [[{k: v for k, v in r.items() if k != "seconds"} for r in run.history]
             for run in (ours, theirs)]  # fmt: skip
    arrays = [[a for layer in run.model.params for a in layer.values()] for run in (ours, theirs)]
    return plain[0] == plain[1] and all(map(np.array_equal, *arrays))


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*"))


# ---- what is kept


def test_it_learns_what_fit_learns(tmp_path: Path) -> None:
    run = keep(tmp_path / "run")
    assert same(run, fit(NETWORK, TRAIN, VALIDATION, RECIPE))
    assert run.resumed_at == 0
    stored = load_model(tmp_path / "run/model.safetensors")
    np.testing.assert_array_equal(stored.outputs(X), run.model.outputs(X))
    assert stored.classes == ("no", "yes")


def test_what_the_folder_holds(tmp_path: Path) -> None:
    run = keep(tmp_path / "run", source="toy", options={"epochs": 6})
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "model.safetensors", "history.jsonl", "config.json", "environment.json",
        f"checkpoint-{6 * STEPS:08d}.safetensors",
    }  # fmt: skip
    assert RunFolder(folder).read_lines("history.jsonl") == run.history
    config = json.loads((folder / "config.json").read_text())
    assert (config["source"], config["options"]) == ("toy", {"epochs": 6})
    assert Recipe.from_description(config["recipe"]) == RECIPE
    assert Network.from_description(config["network"]["layers"], (4,)) == NETWORK
    assert config["training_data"] == {"examples": 50, "fingerprint": TRAIN.fingerprint()}
    assert config["validation_data"]["fingerprint"] == VALIDATION.fingerprint()
    assert json.loads((folder / "environment.json").read_text()) == environment()
    provenance = load_model(folder / "model.safetensors").provenance
    assert (provenance["source"], provenance["epochs"]) == ("toy", 6)


class Noted(Callback):
    """Notes which checkpoints there are after each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, []

    def advanced(self, run: Run) -> None:
        if run.state.position == 0:
            self.seen.append(numbers(self.folder))


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ({"every_epochs": 1}, [[1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6]]),
        ({"every_epochs": 2}, [[], [2], [2], [2, 4], [2, 4], [4, 6]]),
        ({"every_seconds": 0}, [[1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6]]),
        ({}, [[]] * 6),
    ],
    ids=str,
)
def test_when_checkpoints_are_written(
    tmp_path: Path, options: dict[str, Any], after: list[list[int]]
) -> None:
    noted = Noted(tmp_path / "run")
    keep(tmp_path / "run", callbacks=[noted], **options)
    assert noted.seen == [[epoch * STEPS for epoch in epochs] for epochs in after]
    assert numbers(tmp_path / "run")[-1] == 6 * STEPS


@pytest.mark.parametrize(
    "options", [{"every_epochs": 0}, {"every_epochs": -1}, {"every_seconds": -1.0},
                {"every_seconds": float("nan")}], ids=str,
)  # fmt: skip
def test_intervals_that_are_none(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be at least"):
        keep(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_request_that_fit_refuses_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give the last layer 2 units"):
        train(Network([4, 3]), TRAIN, VALIDATION, RECIPE, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_the_folder_is_probed_before_the_first_step(tmp_path: Path) -> None:
    class Fail(Callback):
        def started(self, run: Run) -> None:
            raise AssertionError("it has begun")

    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="choose another name"):
        keep(tmp_path / "file/run", callbacks=[Fail()])


def test_the_folder_is_locked_while_the_run_goes_on(tmp_path: Path) -> None:
    class Enter(Callback):
        def epoch_ended(self, run: Run) -> None:
            with pytest.raises(RunBusyError), RunFolder(tmp_path / "run"):
                pass

    keep(tmp_path / "run", callbacks=[Enter()])
    with RunFolder(tmp_path / "run"):
        pass


# ---- going on


@pytest.mark.parametrize("epoch", [1, 3, 5])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_goes_on_bit_for_bit(tmp_path: Path, epoch: int, precision: str) -> None:
    recipe = Recipe(
        epochs=6, optimizer="adam", batch_size=4, precision=precision, schedule="cosine"
    )
    first = keep(tmp_path / "run", recipe, callbacks=[StopAt(epoch)])
    assert (first.stopped, first.state.epoch) == ("lunch", epoch)
    run = keep(tmp_path / "run", recipe, resume=True)
    assert (run.resumed_at, run.stopped) == (epoch, None)
    whole = keep(tmp_path / "whole", recipe)
    assert same(run, whole)
    mine, theirs = (contents(tmp_path / name) for name in ("run", "whole"))
    for name in ("model.safetensors", "config.json", "environment.json"):
        assert mine[name] == theirs[name]


@pytest.mark.parametrize("call", range(1, 9))
def test_it_goes_on_from_the_middle_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    whole = keep(tmp_path / "whole")

    class Die(Callback):
        calls = 0

        def advanced(self, run: Run) -> None:
            self.calls += 1
            if self.calls == call:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(plan, "CALL_SECONDS", 2e-5)
        with pytest.raises(KeyboardInterrupt):
            keep(tmp_path / "run", callbacks=[Die()], every_seconds=0)
    assert same(keep(tmp_path / "run", resume=True), whole)


@pytest.mark.filterwarnings("default:Training interrupted by user")
def test_ctrl_c_in_a_script(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        run = keep(tmp_path / "run", callbacks=[StopAt(2, ctrl_c=True)])
    assert run.state.epoch == 2
    assert same(keep(tmp_path / "run", resume=True), keep(tmp_path / "whole"))


def test_a_cut_validation_set_is_the_same_again(tmp_path: Path) -> None:
    recipe = Recipe(epochs=12, early_stopping=3)
    runs = []
    for name, stop in (("run", [StopAt(2)]), ("whole", [])):
        runs.append(train(NETWORK, TRAIN, None, recipe, tmp_path / name, callbacks=stop))
    run = train(NETWORK, TRAIN, None, recipe, tmp_path / "run", resume=True)
    assert same(run, runs[1])
    assert run.stopped == runs[1].stopped


@pytest.mark.parametrize("early_stopping", [None, 1])
def test_a_finished_run_stays_as_it_is(tmp_path: Path, early_stopping: int | None) -> None:
    recipe = Recipe(epochs=6, early_stopping=early_stopping, learning_rate=0.0)
    first = keep(tmp_path / "run", recipe)
    before = contents(tmp_path / "run")
    for force in (False, True):
        run = keep(tmp_path / "run", recipe, resume=True, force=force)
        assert run.resumed_at == run.state.epoch == first.state.epoch
        assert run.stopped == first.stopped
        assert contents(tmp_path / "run") == before


def test_a_finished_run_that_is_forced_to_be_longer_agrees_with_itself(tmp_path: Path) -> None:
    short, long = (Recipe(epochs=n, early_stopping=1, learning_rate=0.0) for n in (6, 9))
    keep(tmp_path / "run", short)
    keep(tmp_path / "run", long, resume=True, force=True)  # it stays stopped: nothing is learned
    before = contents(tmp_path / "run")
    run = keep(tmp_path / "run", long, resume=True)
    assert run.resumed_at == 2
    assert contents(tmp_path / "run") == before


def test_it_begins_again_where_no_checkpoint_was_written_yet(tmp_path: Path) -> None:
    class Die(Callback):
        def epoch_ended(self, run: Run) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path / "run", callbacks=[Die()])
    assert numbers(tmp_path / "run") == []
    with pytest.raises(CheckpointError, match=r"config.recipe.seed: it was 0, now 1"):
        keep(
            tmp_path / "run",
            Recipe(epochs=6, optimizer="momentum", batch_size=4, seed=1),
            resume=True,
        )
    run = keep(tmp_path / "run", resume=True)
    assert run.resumed_at == 0
    assert same(run, keep(tmp_path / "whole"))


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="start the run without resume"):
        keep(tmp_path / "new", resume=True)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"seed": 1}, ["config.recipe.seed"]),
        ({"batch_size": 5}, ["config.recipe.batch_size"]),
        ({"precision": "float64"}, ["config.recipe.precision"]),
        ({"optimizer": "adam", "l2": 0.1}, ["config.recipe.l2", "config.recipe.optimizer"]),
    ],
    ids=str,
)
def test_another_recipe_is_refused(
    tmp_path: Path, changes: dict[str, Any], names: list[str]
) -> None:
    keep(tmp_path / "run")
    before = contents(tmp_path / "run")
    other = Recipe(**RECIPE.describe() | changes)
    for force in (False, True):
        with pytest.raises(CheckpointError) as caught:
            keep(tmp_path / "run", other, resume=True, force=force)
        assert all(name in str(caught.value) for name in names)
        assert str(caught.value).count("it was") == len(names)
    assert contents(tmp_path / "run") == before


def test_other_data_or_another_network_are_refused(tmp_path: Path) -> None:
    keep(tmp_path / "run")
    moved = Dataset(X[:50] + 1e-9, TRAIN.y, TRAIN.classes)
    for network, training, validation, name in [
        (NETWORK, moved, VALIDATION, "training_data.fingerprint"),
        (NETWORK, TRAIN[:49], VALIDATION, "training_data.examples"),
        (NETWORK, TRAIN, VALIDATION[:9], "validation_data"),
        (NETWORK, TRAIN, None, "validation_data"),
        (Network([4, 5, 2]), TRAIN, VALIDATION, "network.layers"),
        (Network([4, 6, 2], dropout=0.2), TRAIN, VALIDATION, "network.layers"),
    ]:
        with pytest.raises(CheckpointError, match=f"config.{name}"):
            train(network, training, validation, RECIPE, tmp_path / "run", resume=True, force=True)


def test_force_lets_epochs_and_versions_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltarule import training

    keep(tmp_path / "run")
    longer = Recipe(**RECIPE.describe() | {"epochs": 8})
    other = {**environment(), "jax": "99.0"}
    monkeypatch.setattr(training, "environment", lambda: other)
    with pytest.raises(CheckpointError, match=r"epochs: it was 6, now 8; environment.jax.*; force"):
        keep(tmp_path / "run", longer, resume=True)
    run = keep(tmp_path / "run", longer, resume=True, force=True)
    assert same(run, fit(NETWORK, TRAIN, VALIDATION, longer))


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    keep(tmp_path / "run")
    with RunFolder(tmp_path / "run") as folder:
        found = folder.latest_checkpoint()
        assert found is not None
        for arrays, header in [
            ({}, found.header),
            ({k: a[:1] if a.ndim else a for k, a in found.arrays.items()}, found.header),
            (found.arrays, {k: v for k, v in found.header.items() if k != "position"}),
        ]:
            folder.save_checkpoint(found.number + 1, arrays, header)
            folder._held.close()  # type: ignore[union-attr]
            with pytest.raises(CheckpointError, match="the checkpoint does not fit this run"):
                keep(tmp_path / "run", resume=True)


# ---- divergence


@pytest.mark.parametrize("early_stopping", [None, 9])
def test_what_divergence_leaves(tmp_path: Path, early_stopping: int | None) -> None:
    class Flood(Callback):
        def advanced(self, run: Run) -> None:
            if run.state.epoch == 2:
                learner = run.state.learner
                params = tuple({k: v + np.nan for k, v in p.items()} for p in learner.params)
                run.state.learner = learner._replace(params=params)

    recipe = Recipe(epochs=6, early_stopping=early_stopping)
    options: dict[str, Any] = {"every_epochs": 1, "callbacks": [Flood()]}
    if early_stopping is None:
        with pytest.raises(DivergedError, match="epoch 3"):
            keep(tmp_path / "run", recipe, **options)
        assert not (tmp_path / "run/model.safetensors").exists()
        assert len(keep(tmp_path / "run", recipe, resume=True).history) == 6
        return
    run = keep(tmp_path / "run", recipe, **options)
    assert run.stopped == "the cost of epoch 3 is not finite"
    before = contents(tmp_path / "run")
    again = keep(tmp_path / "run", recipe, resume=True)
    assert (again.stopped, len(again.history)) == (run.stopped, 3)
    assert contents(tmp_path / "run") == before
