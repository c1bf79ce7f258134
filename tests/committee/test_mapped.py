"""Members of one program: what accelerators do, tested on the CPU by asking for it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deltarule import Callback, Dataset, Network, Recipe, load_model
from deltarule.committee import Committee
from deltarule.committee_members import in_one_program, wanted_members
from deltarule.committee_training import CommitteeRun, side_by_side, train_committee
from deltarule.data.augment import Augment
from deltarule.data.unread import Unread
from deltarule.errors import DivergedError
from deltarule.learning import Run, plan, step, together
from deltarule.network import Activation, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, kernels
from deltarule.runs import RunFolder
from deltarule.training import train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4))
TRAIN = Dataset(X[:50], (X[:50, 0] > 0).astype(int), ("no", "yes"))
VALIDATION = Dataset(X[50:], (X[50:, 0] > 0).astype(int), ("no", "yes"))
PIXELS = RNG.integers(0, 256, (24, 8, 8)).astype(np.uint8)
IMAGES = Dataset(PIXELS, np.arange(24) % 2, scale=1 / 255)
NETWORK = Network([4, 5, 2], dropout=0.2)
RECIPE = Recipe(epochs=6, optimizer="momentum", batch_size=4, seed=7)
MEMBERS = 3


def keep(folder: Path, **options: Any) -> CommitteeRun:
    options = {"networks": NETWORK, "recipes": RECIPE, "members": MEMBERS, "mapped": True,
               "training": TRAIN, "validation": VALIDATION, **options}  # fmt: skip
    given = [options.pop(name) for name in ("networks", "training", "validation", "recipes")]
    return train_committee(*given, folder, **options)


def history(folder: Path) -> list[dict[str, Any]]:
    records = RunFolder(folder).read_lines("history.jsonl")
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def everything(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {str(p.relative_to(folder)): p.read_bytes()
                             for p in folder.rglob("model.safetensors")}  # fmt: skip
    return found | {p.name: history(p) for p in sorted(folder.glob("member-*"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an uninterrupted training leaves."""
    folder = tmp_path_factory.mktemp("whole")
    keep(folder)
    return everything(folder)


def assert_alike(one: Path, other: Path, tolerance: float) -> None:
    """Both folders hold the same run, up to rounding."""
    for ours, theirs in zip(history(one), history(other), strict=True):
        assert set(ours) == set(theirs)
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=tolerance, abs=tolerance), name
    models = [load_model(folder / "model.safetensors") for folder in (one, other)]
    for ours, theirs in zip(models[0].params, models[1].params, strict=True):
        for name, array in ours.items():
            np.testing.assert_allclose(array, theirs[name], atol=tolerance, err_msg=name)
    for ours, theirs in zip(models[0].state, models[1].state, strict=True):
        for name, array in ours.items():
            np.testing.assert_allclose(array, theirs[name], atol=tolerance, err_msg=name)


CONVOLUTIONS = Network(
    Conv(3, 3), BatchNorm(), Activation("relu"), MaxPool(2), Flatten(), Dropout(0.3), Dense(2),
    Activation("softmax"), shape=(8, 8, 1),
)  # fmt: skip
PICTURES = {"networks": CONVOLUTIONS, "training": IMAGES, "validation": IMAGES[:6]}
CASES: dict[str, dict[str, Any]] = {
    "dropout and momentum": {},
    "one step an epoch": {"recipes": replace(RECIPE, batch_size=50)},
    "an odd batch at the end": {"recipes": replace(RECIPE, batch_size=7, optimizer="adam")},
    "penalties and clipping": {"recipes": replace(RECIPE, l1=1e-3, l2=1e-2, clip=0.5)},
    "no validation": {"validation": None},
    "an average": {"recipes": replace(RECIPE, average=0.9)},
    "float64": {"recipes": replace(RECIPE, precision="float64")},
    "a schedule": {"recipes": replace(RECIPE, schedule="cosine", optimizer="nesterov")},
    "a measured rate": {"recipes": replace(RECIPE, learning_rate="auto")},
    "emphasis": {"recipes": replace(RECIPE, order="emphasize")},
    "images": {**PICTURES, "recipes": replace(RECIPE, augment=Augment(shift=1.0, rotation=10.0))},
    "classes that weigh": {"recipes": replace(RECIPE, class_weight="balanced")},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_members_are_what_training_alone_makes_up_to_rounding(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    make = together.Meeting._make
    monkeypatch.setattr(
        together.Meeting, "_make",
        lambda self, group, ahead: calls.append(len(group)) or make(self, group, ahead),
    )  # fmt: skip
    run = keep(tmp_path / "all", **options)
    assert run.committee is not None
    assert set(calls) == {MEMBERS}  # they did learn together
    asked = {"networks": NETWORK, "training": TRAIN, "validation": VALIDATION, "recipes": RECIPE}
    asked |= options
    narrow = asked["recipes"].precision == "float32"
    for number in range(1, MEMBERS + 1):
        recipe = replace(asked["recipes"], seed=7 + number - 1)
        alone = tmp_path / f"alone-{number}"
        train(asked["networks"], asked["training"], asked["validation"], recipe, alone)
        assert_alike(tmp_path / f"all/member-{number}", alone, 2e-5 if narrow else 1e-12)


def test_one_program_for_all_calls_and_none_for_one_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "KEPT_PROGRAMS", 1000)
    together._advance_all.clear_cache()
    stop_early = replace(RECIPE, epochs=60, early_stopping=2)
    run = keep(tmp_path, recipes=stop_early)
    assert len({len(member.history) for member in run.members}) > 1  # some stay longer
    assert together._advance_all._cache_size() == 1


def test_a_call_may_be_of_many_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = []
    make = together._advance_all
    monkeypatch.setattr(
        together, "_advance_all", lambda *asked: epochs.append(asked[-3]) or make(*asked)
    )
    keep(tmp_path)
    assert epochs == [RECIPE.epochs]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 2e-5), ("float64", 1e-12)])
def test_a_member_that_stops_early_leaves_the_others(
    tmp_path: Path, precision: str, tolerance: float
) -> None:
    recipe = replace(RECIPE, epochs=60, early_stopping=2, precision=precision)
    run = keep(tmp_path / "all", recipes=recipe)
    assert run.committee is not None
    assert all(member.finished for member in run.members)
    for number in range(1, MEMBERS + 1):
        train(NETWORK, TRAIN, VALIDATION, replace(recipe, seed=7 + number - 1),
              tmp_path / f"alone-{number}")  # fmt: skip
        alone = tmp_path / f"alone-{number}"
        assert_alike(tmp_path / f"all/member-{number}", alone, tolerance)


def test_who_is_behind_goes_first_and_no_further_than_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    def advance_all(program: Any, learners: list[Any], *asked: Any) -> list[tuple[Any, None]]:
        made.append((len(asked[2][0]), *asked[-3:]))
        return [(learner, None) for learner in learners]

    def go(meeting: together.Meeting, seat: int, step: int, last: int) -> None:
        program = SimpleNamespace(precision="float32")
        with together.seated(meeting, seat):
            while step < last:
                orders = np.zeros((1, 10), np.int32)
                call = together.Call(program, None, None, None, orders, orders, None, np.uint32(0),
                                     0, 1, step, last)  # fmt: skip
                step = together.advanced(call).last_step

    monkeypatch.setattr(together, "_advance_all", advance_all)
    meeting = together.Meeting(3)
    with ThreadPoolExecutor(3) as pool:
        for seat, (step, last) in enumerate([(2, 10), (5, 8), (0, 10)]):
            pool.submit(go, meeting, seat, step, last)
    # three places a call, whoever they are filled by; epochs, first and last step
    assert made == [(3, 1, 0, 2), (3, 1, 2, 5), (3, 1, 5, 8), (3, 1, 8, 10)]


# ---- stopping and going on


class Once(Callback):
    """Does ``act`` when member ``number`` has done ``epoch`` epochs."""

    def __init__(self, number: int, epoch: int, act: Any) -> None:
        self.seed, self.epoch, self.act = RECIPE.seed + number - 1, epoch, act

    def epoch_ended(self, run: Run) -> None:
        if (run.recipe.seed, run.state.epoch) == (self.seed, self.epoch):
            self.act(run)


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, whole: dict[str, Any]) -> None:
    run = keep(tmp_path, callbacks=[Once(2, 3, lambda run: run.stop("lunch"))])
    assert (run.committee, run.stopped) == (None, "lunch")
    assert keep(tmp_path, resume=True).committee is not None
    assert everything(tmp_path) == whole


def test_a_failure_is_raised_with_the_number_of_its_member(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    def fail(run: Run) -> None:
        raise DivergedError("the cost is not finite")

    with pytest.raises(DivergedError, match="not finite") as caught:
        keep(tmp_path, callbacks=[Once(2, 2, fail)], every_epochs=1)
    assert caught.value.__notes__ == ["(while training member 2 of the committee)"]
    run = keep(tmp_path, resume=True)
    assert run.members[1].resumed_at == 1
    assert everything(tmp_path) == whole


def test_a_call_that_fails_fails_in_all_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(together, "_advance_all", full)
    with pytest.raises(MemoryError, match="no room") as caught:
        keep(tmp_path)
    assert caught.value.__notes__ == ["(while training member 1 of the committee)"]


KILL = """
import os, sys
sys.path[:0] = sys.argv[2:]
import test_mapped as t
t.keep(t.Path(sys.argv[1]), callbacks=[t.Once(2, 3, lambda run: os._exit(9))], every_epochs=1)
"""


def test_a_killed_process_goes_on_bit_for_bit(tmp_path: Path, whole: dict[str, Any]) -> None:
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", KILL, str(tmp_path), here, *sys.path])
    assert done.returncode == 9
    behind = [len(list((tmp_path / f"member-{i}").glob("checkpoint-*"))) for i in (1, 2, 3)]
    assert all(behind)
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


def test_members_at_different_places_come_together_again(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Callback):
        def __init__(self, number: int) -> None:
            self.left = 2 + 2 * number

        def advanced(self, run: Run) -> None:
            self.left -= 1
            if not self.left and run.state.position:
                run.stop("enough")

    with monkeypatch.context() as patch:
        patch.setattr(plan, "CALL_SECONDS", 2e-5)
        assert keep(tmp_path, callbacks=lambda number: [Stop(number)]).committee is None
    newest = max((tmp_path / "member-2").glob("checkpoint-*"))
    newest.unlink()  # so that it starts again from another place, or from the beginning
    groups = []
    make = together.Meeting._make
    with monkeypatch.context() as patch:
        patch.setattr(
            together.Meeting, "_make",
            lambda self, group, ahead: groups.append(len(group)) or make(self, group, ahead),
        )  # fmt: skip
        keep(tmp_path, resume=True)
    assert min(groups) < MEMBERS == max(groups)
    assert everything(tmp_path) == whole


def test_finished_members_only_leave(tmp_path: Path, whole: dict[str, Any]) -> None:
    keep(tmp_path)
    run = keep(tmp_path, resume=True)
    assert [member.resumed_at for member in run.members] == [6, 6, 6]
    assert everything(tmp_path) == whole


def test_examples_are_on_the_device_once(tmp_path: Path) -> None:
    held = set()

    class Look(Callback):
        def started(self, run: Run) -> None:
            held.add(id(run._feed.examples))

    wide = Network([784, 3, 2])
    pictures = Dataset(RNG.integers(0, 256, (20, 28, 28)).astype(np.uint8), np.arange(20) % 2)
    keep(tmp_path, networks=wide, training=pictures, validation=pictures[:5], views="deskew",
         callbacks=[Look()])  # fmt: skip
    assert len(held) == 1


# ---- who learns in one program


def grouped(
    most: int = 9, validation: Dataset | None = VALIDATION, **asked: Any
) -> list[list[int]]:
    options = {"networks": NETWORK, "recipes": RECIPE, "views": "original", "members": 4} | asked
    training = options.pop("training", TRAIN)
    members = list(enumerate(wanted_members(**options), 1))
    groups = in_one_program(members, most, training, validation)
    return [[number for number, _ in group] for group in groups]


def test_groups() -> None:
    assert grouped() == [[1, 2, 3, 4]]
    assert grouped(most=3) == [[1, 2, 3], [4]]
    other = Network([4, 6, 2])
    assert grouped(networks=[NETWORK, other, NETWORK, other], members=4) == [[1, 3], [2, 4]]
    assert grouped(views=["original", "deskew"] * 2) == [[1, 3], [2, 4]]
    slower = replace(RECIPE, learning_rate=0.001)
    recipes = [RECIPE, slower, replace(RECIPE, seed=8), replace(slower, seed=9)]
    assert grouped(recipes=recipes) == [[1, 3], [2, 4]]


class OnDisk(Unread):
    def _read(self, parts: Any) -> Any:
        yield from ()


def test_examples_that_stay_on_the_disk_are_not_shared() -> None:
    unread = replace(TRAIN, x=OnDisk(np.float64, X[:50].shape))
    assert grouped(training=unread) == [[1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"recipes": Recipe(optimizer="lbfgs")}, "its searches are of different lengths"),
        ({"recipes": Recipe(early_stopping=2), "validation": None}, "each cuts off its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_stays_alone(options: dict[str, Any], why: str) -> None:
    assert grouped(**options) == [[1], [2], [3], [4]]


def test_those_that_stay_alone_are_trained_too(tmp_path: Path) -> None:
    network, recipe = Network([4, 3, 2]), Recipe(optimizer="lbfgs", epochs=2)
    run = keep(tmp_path, networks=network, recipes=recipe)
    assert isinstance(run.committee, Committee)
    alone = tmp_path / "alone"
    train(network, TRAIN, VALIDATION, replace(recipe, seed=1), alone)
    assert history(alone) == history(tmp_path / "member-2")


def test_accelerators_map_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert side_by_side(5).startswith(f"5 members, {min(os.cpu_count() or 1, 5)} at a time: a thr")
    monkeypatch.setattr(kernels, "current_backend", lambda: "gpu")
    told = "5 members, 5 at a time: one program mapped over those that differ in their seeds alone"
    assert side_by_side(5) == told
    assert side_by_side(5, jobs=2) == told.replace("5 at", "2 at")
    assert side_by_side(5, mapped=False) == "5 members, one after another"
