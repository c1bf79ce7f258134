"""``train_committee``: each member a run of its own, together one committee, nothing lost."""

import hashlib
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kept import FIRST_SEED, Once, history, kill_in_training

from deltarule import Callback, Dataset, Network, Recipe, data, load_model
from deltarule.cli.signals import StopOnSignal
from deltarule.committee import Committee
from deltarule.committee_training import CommitteeRun, train_committee
from deltarule.data.views import viewed
from deltarule.errors import CheckpointError, DivergedError, RunBusyError
from deltarule.learning import Run, evaluate, plan, step
from deltarule.runs import RunFolder
from deltarule.training import train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4))
TRAIN = Dataset(X[:50], (X[:50, 0] > 0).astype(int), ("no", "yes"))
VALIDATION = Dataset(X[50:], (X[50:, 0] > 0).astype(int), ("no", "yes"))
NETWORK = Network([4, 5, 2], dropout=0.2)
RECIPE = Recipe(epochs=6, optimizer="momentum", batch_size=4, seed=FIRST_SEED)
MEMBERS = 3


def keep(folder: Path, **options: Any) -> CommitteeRun:
    options = {"networks": NETWORK, "recipes": RECIPE, "members": MEMBERS, **options}
    network, recipe = options.pop("networks"), options.pop("recipes")
    return train_committee(network, TRAIN, VALIDATION, recipe, folder, **options)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def everything(folder: Path) -> dict[str, Any]:
    """What two trainings must have in common to be the same: every model's bytes and history."""
    found: dict[str, Any] = {str(p.relative_to(folder)): digest(p)
                             for p in folder.rglob("model.safetensors")}  # fmt: skip
    return found | {p.name: history(p) for p in sorted(folder.glob("member-*"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted training leaves."""
    folder = tmp_path_factory.mktemp("whole")
    keep(folder)
    return everything(folder)


# ---- what is learned


@pytest.mark.parametrize("jobs", [None, 1, 3])
def test_a_member_is_what_training_alone_makes(tmp_path: Path, jobs: int | None) -> None:
    run = keep(tmp_path / "all", jobs=jobs)
    assert (run.stopped, len(run.members)) == (None, MEMBERS)
    for number in range(1, MEMBERS + 1):
        alone = tmp_path / f"alone-{number}"
        train(NETWORK, TRAIN, VALIDATION, replace(RECIPE, seed=7 + number - 1), alone)
        member = tmp_path / f"all/member-{number}"
        assert digest(member / "model.safetensors") == digest(alone / "model.safetensors")
        assert history(member) == history(alone)
        told = run.members[number - 1]
        assert (told.number, told.folder, told.resumed_at) == (number, member, 0)
        assert (told.finished, told.stopped, len(told.history)) == (True, None, 6)
    assert len({digest(p) for p in tmp_path.glob("all/member-*/model.safetensors")}) == MEMBERS


def test_the_committee_is_its_members(tmp_path: Path) -> None:
    run = keep(tmp_path, combine="vote", source="toy", options={"epochs": 6})
    stored = load_model(tmp_path / "model.safetensors")
    assert isinstance(stored, Committee)
    assert run.committee is not None
    assert stored.combine == run.committee.combine == "vote"
    np.testing.assert_array_equal(stored.outputs(X), run.committee.outputs(X))
    members = [load_model(tmp_path / f"member-{i}/model.safetensors") for i in (1, 2, 3)]
    np.testing.assert_array_equal(stored.member_predictions(X), [m.predict(X) for m in members])
    assert [m.provenance["recipe"]["seed"] for m in stored.members] == [7, 8, 9]
    assert stored.provenance["source"] == "toy"
    assert "seed" not in stored.provenance["recipe"]


def test_what_the_folder_holds(tmp_path: Path) -> None:
    keep(tmp_path, source="toy", options={"epochs": 6})
    assert {path.name for path in tmp_path.iterdir()} == {
        ".lock", "config.json", "environment.json", "model.safetensors",
        "member-1", "member-2", "member-3",
    }  # fmt: skip
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "source": "toy", "options": {"epochs": 6},
        "committee": {"members": 3, "views": ["original"] * 3, "combine": "mean"},
    }  # fmt: skip
    assert json.loads((tmp_path / "member-2/config.json").read_text())["source"] == "toy"


def test_networks_recipes_and_views_may_differ(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (40, 28, 28)).astype(np.uint8)
    images = Dataset(x, np.arange(40) % 2, scale=1 / 255)
    networks = [Network([784, hidden, 2], output="softmax") for hidden in (3, 4)]
    recipes = [Recipe(epochs=2, seed=5), Recipe(epochs=3, seed=5, optimizer="adam")]
    views = ["original", "deskew"]
    run = train_committee(
        networks, images, images[:9], recipes, tmp_path / "all", members=2, views=views
    )
    assert run.committee is not None
    assert run.committee.views == ("original", "deskew")
    seen = viewed(images, "deskew")
    assert not np.array_equal(seen.x, images.x)
    train(networks[1], seen, viewed(images[:9], "deskew"), recipes[1], tmp_path / "alone")
    assert digest(tmp_path / "all/member-2/model.safetensors") == digest(
        tmp_path / "alone/model.safetensors"
    )
    alone = load_model(tmp_path / "alone/model.safetensors")
    np.testing.assert_array_equal(
        run.committee.member_predictions(images.x)[1], alone.predict(seen.x)
    )


def test_it_reads_digits_better_than_its_members(tmp_path: Path) -> None:
    digits = data.load("digits")
    network = Network([64, 10, 10], activation="tanh", output="softmax")
    recipe = Recipe(epochs=15, learning_rate=0.5, seed=11)
    run = train_committee(network, digits.train, None, recipe, tmp_path, members=5)
    assert run.committee is not None
    result = evaluate(run.committee, digits.test)
    assert result.accuracy > np.mean(result.member_accuracies)
    assert result.accuracy >= 0.95
    assert 0 < result.disagreement < 0.2
    assert 0 < result.calibration_error < 0.2


@pytest.mark.parametrize("jobs", [1, MEMBERS])
def test_equal_programs_are_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.setattr(step, "KEPT_PROGRAMS", 1000)
    step.advance.clear_cache()
    keep(tmp_path / "first", jobs=jobs)
    assert step.advance._cache_size() == 1  # for all three members
    keep(tmp_path / "again", jobs=jobs, recipes=replace(RECIPE, seed=100))
    assert step.advance._cache_size() == 1


@pytest.mark.parametrize("when", ["a run starts", "a run goes on"])
def test_programs_forgotten_by_one_member_do_not_harm_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    class Forget(Callback):
        def epoch_ended(self, run: Run) -> None:
            if when == "a run goes on" and run.state.epoch == 1:
                step.advance.clear_cache()

    networks = [Network([4, hidden, 2]) for hidden in (3, 4)]
    options = {"networks": networks, "members": 2, "recipes": Recipe(epochs=3)}
    keep(tmp_path / "calm", jobs=1, **options)
    monkeypatch.setattr(step, "KEPT_PROGRAMS", 1)
    keep(tmp_path / "wild", jobs=2, callbacks=[Forget()], **options)
    assert everything(tmp_path / "wild") == everything(tmp_path / "calm")


# ---- stopping and going on


def fail(error: BaseException) -> Any:
    def act(run: Run) -> None:
        raise error

    return act


@pytest.mark.parametrize("jobs", [1, 2, 3])
@pytest.mark.parametrize(("number", "epoch"), [(1, 2), (2, 5), (3, 1)])
def test_a_broken_training_goes_on_bit_for_bit(
    tmp_path: Path, whole: dict[str, Any], jobs: int, number: int, epoch: int
) -> None:
    broken = Once(number, epoch, fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path, callbacks=[broken], every_epochs=1, jobs=jobs)
    assert not (tmp_path / "model.safetensors").exists()
    run = keep(tmp_path, resume=True, jobs=jobs)
    assert run.committee is not None
    assert everything(tmp_path) == whole
    # a checkpoint had been written after each epoch but the one that broke
    assert run.members[number - 1].resumed_at == epoch - 1


def test_a_killed_process_goes_on_bit_for_bit(tmp_path: Path, whole: dict[str, Any]) -> None:
    kill_in_training("test_committee_training", tmp_path)
    run = keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole
    assert run.members[1].resumed_at == 2


def test_finished_members_are_not_trained_again(tmp_path: Path, whole: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        keep(tmp_path, callbacks=[Once(2, 2, fail(RuntimeError("broken")))], jobs=1)
    before = digest(tmp_path / "member-1/model.safetensors")
    calls = []

    class Told(Callback):
        def __init__(self, number: int) -> None:
            self.number = number

        def advanced(self, run: Run) -> None:
            calls.append(self.number)

    run = keep(tmp_path, resume=True, callbacks=lambda number: [Told(number)])
    assert set(calls) == {2, 3}
    assert [member.resumed_at for member in run.members] == [6, 0, 0]
    assert digest(tmp_path / "member-1/model.safetensors") == before
    assert everything(tmp_path) == whole
    again = keep(tmp_path, resume=True)
    assert [member.resumed_at for member in again.members] == [6, 6, 6]
    assert everything(tmp_path) == whole


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_callback_stops_all(tmp_path: Path, whole: dict[str, Any], jobs: int) -> None:
    lunch = Once(1, 2, lambda run: run.stop("lunch"))
    run = keep(tmp_path, callbacks=[lunch], jobs=jobs)
    assert (run.committee, run.stopped) == (None, "lunch")
    assert run.members[0].stopped == "lunch"
    assert not run.members[0].finished
    if jobs == 1:
        assert len(run.members) == 1
        assert not (tmp_path / "member-2").exists()
    assert not (tmp_path / "model.safetensors").exists()
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


LONG = replace(RECIPE, epochs=20_000)  # nobody would wait for its end


@pytest.mark.parametrize("error", [None, DivergedError("lunch")], ids=["a callback", "an error"])
def test_the_others_stop_where_they_are_with_a_checkpoint(
    tmp_path: Path, error: DivergedError | None
) -> None:
    act = fail(error) if error else lambda run: run.stop("lunch")

    class Begun(Callback):
        seeds: set[int] = set()  # noqa: RUF012

        def epoch_ended(self, run: Run) -> None:
            self.seeds.add(run.recipe.seed)
            if run.recipe.seed == 7 and self.seeds == {7, 8, 9}:
                act(run)

    def train_them() -> CommitteeRun:
        return keep(tmp_path, recipes=LONG, callbacks=[Begun()], jobs=3)

    if error:
        with pytest.raises(DivergedError, match="lunch"):
            train_them()
    else:
        run = train_them()
        assert [(each.stopped, each.finished) for each in run.members] == [("lunch", False)] * 3
    for number in (1, 2, 3):
        with RunFolder(tmp_path / f"member-{number}") as folder:
            found = folder.latest_checkpoint()
        if error and number == 1:  # what failed is not written over what was kept before
            assert found is None
            continue
        assert found is not None
        assert 0 < len(found.header["history"]) < 20_000


def test_a_member_that_stops_early_stops_no_other(tmp_path: Path) -> None:
    still, moving = (Recipe(epochs=5, early_stopping=1, learning_rate=rate, monitor="train_cost")
                     for rate in (0.0, 0.1))  # fmt: skip
    run = keep(tmp_path, recipes=[still, moving, replace(moving, seed=1)], jobs=1)
    assert run.committee is not None
    assert run.stopped is None
    assert [len(member.history) for member in run.members] == [2, 5, 5]
    assert run.members[0].finished
    assert run.members[0].stopped == "train_cost has not improved since epoch 1"
    before = everything(tmp_path)
    again = keep(tmp_path, recipes=[still, moving, replace(moving, seed=1)], resume=True)
    assert again.committee is not None
    assert everything(tmp_path) == before


def test_an_error_in_one_member_stops_the_others_and_is_raised(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    broken = Once(1, 1, fail(DivergedError("the cost is not finite")))
    with pytest.raises(DivergedError, match="not finite") as caught:
        keep(tmp_path, callbacks=[broken], jobs=2)
    assert caught.value.__notes__ == ["(while training member 1 of the committee)"]
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "member-1/model.safetensors").exists()
    others = [folder for folder in tmp_path.glob("member-*") if folder.name != "member-1"]
    assert others
    for folder in others:
        with RunFolder(folder) as unlocked:
            found = unlocked.latest_checkpoint()
        assert found is not None
        assert len(found.header["history"]) == len(history(folder))
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


@pytest.mark.filterwarnings("default:Training interrupted by user")
def test_ctrl_c_in_a_script(tmp_path: Path, whole: dict[str, Any], ctrl_c: Any) -> None:
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        run = keep(tmp_path, callbacks=[Once(1, 1, lambda run: ctrl_c())])
    assert (run.committee, run.stopped) == (None, "interrupted")
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command(tmp_path: Path, whole: dict[str, Any], number: int) -> None:
    def ask(run: Run) -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.3)

    with StopOnSignal() as stopper:
        run = keep(tmp_path, callbacks=[stopper, Once(2, 1, ask)], jobs=2)
    assert stopper.exit_code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert (run.committee, run.stopped) == (None, "interrupted")
    for member in run.members:
        assert list(member.folder.glob("checkpoint-*"))
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


def test_it_goes_on_from_the_middle_of_epochs(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Callback):
        calls = 0

        def advanced(self, run: Run) -> None:
            self.calls += 1
            if self.calls >= 9 and run.state.position:  # which member is told when is chance
                run.stop("enough")

    with monkeypatch.context() as patch:
        patch.setattr(plan, "CALL_SECONDS", 2e-5)
        run = keep(tmp_path, callbacks=[Stop()], jobs=2)
    assert run.committee is None
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


def test_callbacks_are_told_one_thing_at_a_time(tmp_path: Path) -> None:
    class Alone(Callback):
        inside, events = 0, 0

        def tell(self, run: Run) -> None:
            assert self.inside == 0
            self.inside += 1
            time.sleep(0.002)
            self.inside -= 1
            self.events += 1

        started = advanced = epoch_ended = ended = tell

    alone = Alone()
    keep(tmp_path, callbacks=[alone], jobs=3)
    assert alone.events == MEMBERS * (1 + 6 + 6 + 1)


# ---- what is refused


def test_another_committee_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no committee to resume; start it without"):
        keep(tmp_path / "new", resume=True)
    keep(tmp_path)
    before = everything(tmp_path)
    for changes, words in [
        ({"members": 2}, "members: it was 3, now 2"),
        ({"combine": "vote"}, "combine: it was 'mean', now 'vote'"),
        ({"recipes": replace(RECIPE, seed=8)}, r"config.recipe.seed: it was \d, now"),
        ({"networks": Network([4, 6, 2])}, "config.network.layers"),
    ]:
        with pytest.raises(CheckpointError, match=words):
            keep(tmp_path, resume=True, **changes)
    assert everything(tmp_path) == before
    train(NETWORK, TRAIN, None, RECIPE, tmp_path / "single")
    with pytest.raises(CheckpointError, match="holds no committee"):
        keep(tmp_path / "single", resume=True)


def test_the_folder_is_locked(tmp_path: Path) -> None:
    with RunFolder(tmp_path), pytest.raises(RunBusyError):
        keep(tmp_path)


SAME = Recipe(epochs=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"members": 0}, "members must be a whole number of at least 1, got 0"),
        ({"members": 2.0}, "members must be a whole number of at least 1, got 2.0"),
        ({"members": 1001}, "members must be at most 1,000, got 1,001"),
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"combine": "votes"}, "did you mean 'vote'"),
        ({"views": "deskeww"}, "deskeww"),
        ({"views": ["original"] * 2}, "views must be one for all members or one each for 3, got 2"),
        ({"networks": [NETWORK]}, "networks must be one for all members or one each for 3, got 1"),
        ({"recipes": [SAME] * 4}, "got 4; pass members=4, or as many recipes"),
        ({"recipes": [SAME] * 3}, "members 1 and 2 have the same network, recipe and view"),
        ({"recipes": replace(SAME, seed=2**63 - 1)}, "seed must be a whole number"),
    ],
    ids=str,
)
def test_wrong_requests_write_nothing(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        keep(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_network_that_does_not_fit_the_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give the last layer 2 units"):
        keep(tmp_path, networks=Network([4, 3]))
