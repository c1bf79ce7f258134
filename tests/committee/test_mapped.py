"""Members of one program: what accelerators do, tested on the CPU by asking for it."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from kept import FIRST_SEED, Once, history, kill_in_training

from deltarule import Callback, Dataset, Network, Recipe, load_model
from deltarule.committee import Committee
from deltarule.committee_training import CommitteeRun, train_committee
from deltarule.data.augment import Augment
from deltarule.errors import DivergedError
from deltarule.learning import Run, fit, plan, step, together
from deltarule.network import Activation, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool
from deltarule.runs import RunFolder
from deltarule.training import train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 4))
TRAIN = Dataset(X[:50], (X[:50, 0] > 0).astype(int), ("no", "yes"))
VALIDATION = Dataset(X[50:], (X[50:, 0] > 0).astype(int), ("no", "yes"))
PIXELS = RNG.integers(0, 256, (24, 8, 8)).astype(np.uint8)
IMAGES = Dataset(PIXELS, np.arange(24) % 2, scale=1 / 255)
NETWORK = Network([4, 5, 2], dropout=0.2)
RECIPE = Recipe(epochs=6, optimizer="momentum", batch_size=4, seed=FIRST_SEED)
MEMBERS = 3


def keep(folder: Path, **options: Any) -> CommitteeRun:
    options = {"networks": NETWORK, "recipes": RECIPE, "members": MEMBERS, "mapped": True,
               "training": TRAIN, "validation": VALIDATION, **options}  # fmt: skip
    given = [options.pop(name) for name in ("networks", "training", "validation", "recipes")]
    return train_committee(*given, folder, **options)


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


def put(patch: pytest.MonkeyPatch, name: str, function: Any) -> None:
    """Put ``function`` where a compiled one was, of which no programs are kept."""
    function._cache_size = lambda: 0
    patch.setattr(together, name, function)


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
    put(monkeypatch, "_advance_all", lambda *asked: epochs.append(asked[-3]) or make(*asked))
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
        with together.seated(together.Seat(meeting, seat)):
            place = together.place()
            while step < last:
                orders = np.zeros((1, 10), np.int32)
                call = together.Call(program, None, None, None, orders, orders, None, np.uint32(0),
                                     0, 1, step, last)  # fmt: skip
                step = place.advance(call).last_step

    put(monkeypatch, "_advance_all", advance_all)
    meeting = together.Meeting(3)
    with ThreadPoolExecutor(3) as pool:
        for seat, (step, last) in enumerate([(2, 10), (5, 8), (0, 10)]):
            pool.submit(go, meeting, seat, step, last)
    # three places a call, whoever they are filled by; epochs, first and last step
    assert made == [(3, 1, 0, 2), (3, 1, 2, 5), (3, 1, 5, 8), (3, 1, 8, 10)]


# ---- stopping and going on


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


def fail_at(number: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the call of this number raise ``error``."""
    calls = []
    make = together._advance_all

    def make_or_fail(*asked: Any) -> Any:
        calls.append(asked)
        if len(calls) == number:
            raise error
        return make(*asked)

    put(monkeypatch, "_advance_all", make_or_fail)


@pytest.mark.parametrize("error", [MemoryError("no room"), SystemExit(3)], ids=repr)
def test_a_call_that_fails_is_told_once_and_costs_nobody_what_was_learned(
    tmp_path: Path, whole: dict[str, Any], error: BaseException
) -> None:
    class EachEpoch(Callback):
        """Asks for a call an epoch."""

    with pytest.MonkeyPatch.context() as patch:
        fail_at(3, error, patch)
        with pytest.raises(type(error)) as caught:
            keep(tmp_path, callbacks=[EachEpoch()])
    assert caught.value is error
    assert error.__notes__ == ["(while training member 1 of the committee)"]
    for number in (2, 3):
        with RunFolder(tmp_path / f"member-{number}") as folder:
            found = folder.latest_checkpoint()
        assert found is not None
        assert len(found.header["history"]) == 2
    run = keep(tmp_path, resume=True)
    assert [member.resumed_at for member in run.members[1:]] == [2, 2]
    assert everything(tmp_path) == whole


def test_an_error_of_the_program_comes_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(program: Any, learner: Any, *asked: Any) -> Any:
        return learner if learner.cost > 0 else None  # which is not known while it is traced

    together._advance_all.clear_cache()
    put(monkeypatch, "advance", wrong)
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        keep(tmp_path)
    together._advance_all.clear_cache()
    assert [note for note in caught.value.__notes__ if "member" in note] == [
        "(while training member 1 of the committee)"
    ]


def test_too_many_for_the_memory_of_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
    fail_at(1, error, monkeypatch)
    with pytest.raises(MemoryError, match=r"does not hold 3 members .* fewer at a time") as caught:
        keep(tmp_path)
    assert caught.value.__cause__ is error


def at_the_third_submit(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    submit, begun = ThreadPoolExecutor.submit, []

    def submit_two(self: Any, *work: Any) -> Any:
        begun.append(work)
        if len(begun) == 3:
            time.sleep(1)  # the two others have come to wait for the third
            act()
        return submit(self, *work)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_two)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_members_that_nobody_starts_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    at_the_third_submit(monkeypatch, Mock(side_effect=error))
    with pytest.raises(type(error)):
        keep(tmp_path)


@pytest.mark.filterwarnings("default:Training interrupted by user")
@pytest.mark.parametrize("mapped", [True, False])
def test_ctrl_c_while_members_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c: Any, mapped: bool
) -> None:
    at_the_third_submit(monkeypatch, ctrl_c)
    endless = replace(RECIPE, epochs=100_000)
    with pytest.warns(UserWarning, match="interrupted"):
        run = keep(tmp_path, recipes=endless, mapped=mapped, jobs=MEMBERS)
    assert (run.committee, run.stopped) == (None, "interrupted")
    assert all(member.folder.joinpath("model.safetensors").exists() for member in run.members)


@pytest.mark.filterwarnings("default:Training interrupted by user")
def test_ctrl_c_while_members_learn(tmp_path: Path, whole: dict[str, Any], ctrl_c: Any) -> None:
    with pytest.warns(UserWarning, match="interrupted"):
        run = keep(tmp_path, callbacks=[Once(2, 3, lambda run: ctrl_c())])
    assert (run.committee, run.stopped) == (None, "interrupted")
    assert not any(member.finished for member in run.members)
    keep(tmp_path, resume=True)
    assert everything(tmp_path) == whole


def test_a_callback_may_train_a_network_of_its_own(tmp_path: Path, whole: dict[str, Any]) -> None:
    found = []

    class Inner(Callback):
        def epoch_ended(self, run: Run) -> None:
            found.append(fit(Network([4, 3, 2]), TRAIN, recipe=Recipe(epochs=1)).history[0])

    keep(tmp_path, callbacks=[Inner()])
    assert len(found) == MEMBERS * RECIPE.epochs
    assert len({record["train_cost"] for record in found}) == 1
    assert everything(tmp_path) == whole


def test_slow_callbacks_make_no_shorter_calls(tmp_path: Path) -> None:
    lengths = []

    class Slow(Callback):
        every_epoch = False

        def advanced(self, run: Run) -> None:
            time.sleep(0.05)
            lengths.append(run.state.position)

    many = Dataset(np.tile(X, (300, 1)), np.arange(300 * len(X)) % 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "CALL_SECONDS", 0.02)
        run = keep(tmp_path, training=many, validation=None, callbacks=[Slow()],
                   recipes=replace(RECIPE, epochs=2))  # fmt: skip
    assert len(lengths) / MEMBERS < 40
    waiting = 0.05 * len(lengths) / 2  # in an epoch, one after another
    assert run.members[0].history[1]["seconds"] < waiting / 2


@pytest.mark.parametrize("every", [True, False])
def test_members_with_other_callbacks_have_the_same_calls(tmp_path: Path, every: bool) -> None:
    class Mine(Callback):
        def __init__(self, number: int) -> None:
            self.every_epoch = every and number == 2

    groups = []
    make = together.Meeting._make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            together.Meeting, "_make",
            lambda self, group, ahead: groups.append(len(group)) or make(self, group, ahead),
        )  # fmt: skip
        keep(tmp_path, callbacks=lambda number: [Mine(number)])
    assert groups == [MEMBERS] * (RECIPE.epochs if every else 1)


def test_mapped_programs_are_forgotten_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "KEPT_PROGRAMS", 2)
    for size in (3, 4, 5, 6):
        keep(tmp_path / str(size), recipes=replace(RECIPE, batch_size=size, epochs=1))
    assert together._advance_all._cache_size() <= 2


def test_an_empty_validation_set_is_none(tmp_path: Path, whole: dict[str, Any]) -> None:
    for mapped in (False, True):
        folder = tmp_path / str(mapped)
        assert keep(folder, validation=VALIDATION[:0], mapped=mapped).committee is not None
        assert "validation_cost" not in history(folder / "member-1")[0]


def test_a_killed_process_goes_on_bit_for_bit(tmp_path: Path, whole: dict[str, Any]) -> None:
    kill_in_training("test_mapped", tmp_path)
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
            seen = run.train, run._feed.examples, run._validation
            held.add(tuple(map(id, seen)))

    wide = Network([784, 3, 2])
    pictures = Dataset(RNG.integers(0, 256, (20, 28, 28)).astype(np.uint8), np.arange(20) % 2)
    keep(tmp_path, networks=wide, training=pictures, validation=pictures[:5], views="deskew",
         callbacks=[Look()])  # fmt: skip
    assert len(held) == 1


def test_those_that_stay_alone_are_trained_too(tmp_path: Path) -> None:
    network, recipe = Network([4, 3, 2]), Recipe(optimizer="lbfgs", epochs=2)
    run = keep(tmp_path, networks=network, recipes=recipe)
    assert isinstance(run.committee, Committee)
    alone = tmp_path / "alone"
    train(network, TRAIN, VALIDATION, replace(recipe, seed=1), alone)
    assert history(alone) == history(tmp_path / "member-2")
