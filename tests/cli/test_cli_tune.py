"""``deltarule tune``: small searches on digits, killed and interrupted, and what it refuses."""

import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_commands import Command, Run, digest, in_many_calls, start, write_images
from rich.console import Console

from deltarule.tuning import Choices, Range, Trial

SMALL = ("tune", "digits", "--hidden", "4,6", "--batch-size", "64", "--dropout", "0",
         "--trials", "6", "--epochs", "9", "--learning-rate", "0.01:3", "--l1", "0")  # fmt: skip


def lines(folder: Path) -> list[dict[str, object]]:
    path = folder / "trials.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def outcome(folder: Path) -> tuple[list[str], str]:
    return (
        sorted(json.dumps(record) for record in lines(folder)),
        digest((folder / "best" / "model.safetensors").read_bytes()),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole") / "whole"


@pytest.fixture
def done(run: Run, whole: Path) -> Path:
    """The search that others are compared with, made once."""
    if not whole.exists():
        assert run(*SMALL, "--quiet", "--out", str(whole)).code == 0
    return whole


def test_it_says_what_it_tried_and_what_is_best(run: Run) -> None:
    done = run(*SMALL, "--out", "a search")
    assert done.code == 0, done.err
    *progress, last = done.err.splitlines()
    assert progress[0] == "trials: 6 to epoch 3, the best 2 to epoch 9"
    assert progress[1].split() == ["#", "hidden", "rate", "l2", "epoch", "valid"]
    assert len([*progress[2:], last]) == 6 + 2
    table = done.out.splitlines()
    assert table[0] == progress[1]
    assert [row.split()[-2] for row in table[1:7]] == ["9", "9", "3", "3", "3", "3"]
    said = dict(line.split(":", 1) for line in table[7:11])
    number = table[1].split()[0]
    assert said["best"].strip() == f"trial {number}, chosen by 180 examples"
    assert re.fullmatch(r"on 1,437 examples, \d epochs", said["trained anew"].strip())
    assert table[-2:] == ["test set:       not used; measure once, at the end:",
                          "  deltarule evaluate 'a search/best' digits"]  # fmt: skip
    assert max(map(len, [*table, *done.err.splitlines()])) <= 60
    assert Path("a search/tuning.png").read_bytes().startswith(b"\x89PNG")
    assert run("evaluate", "a search/best", "digits").code == 0
    assert run("show", "a search/trial-001").code == 0


def test_as_json(run: Run) -> None:
    done = run(*SMALL, "--json", "--quiet", "--metric", "validation_cost", "--search", "random",
               "--out", "s")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    facts = done.json
    assert facts["best"] == facts["trials"][0]
    costs = [trial["validation_cost"] for trial in facts["trials"]]
    assert (len(costs), costs) == (6, sorted(costs))
    assert (facts["validation_examples"], facts["retrained_on"]) == (180, 1437)
    assert (facts["model"], facts["picture"]) == ("s/best/model.safetensors", "s/tuning.png")
    for trial in facts["trials"]:
        assert 0.01 <= trial["values"]["learning_rate"] <= 3
        assert (trial["values"]["l1"], trial["values"]["batch_size"]) == (0.0, 64)


def test_the_test_set_is_never_touched(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltarule import data
    from deltarule.cli import tuning

    def load_without_test(source: str, validation: float | None) -> SimpleNamespace:
        splits = data.load(source, validation=validation)
        return SimpleNamespace(train=splits.train, validation=splits.validation)  # no ``test``

    monkeypatch.setattr(tuning, "load", load_without_test)
    done = run(*SMALL[:-4], "--learning-rate", "0.5", "--trials", "2", "--out", "s", "--quiet")
    assert done.code == 0, done.err


def test_a_named_network_is_searched_without_sizes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltarule.cli import tuning
    from deltarule.network.architectures import ARCHITECTURES

    asked = {}

    def not_now(*_: object, **given: object) -> None:
        asked.update(given)
        raise ValueError("not now")

    monkeypatch.setattr(tuning, "tune", not_now)
    source = str(write_images(Path("images"), side=28))
    assert run("tune", source, "--network", "nielsen-conv", "--l2", "0").code == 2
    wanted = ARCHITECTURES["nielsen_conv"](classes=3, shape=(28, 28, 1))
    assert asked["network"]({"learning_rate": 0.1}) == wanted
    assert set(asked["space"]) == {"batch_size", "learning_rate", "l1", "l2"}
    assert asked["space"]["l2"] == Choices((0.0,))


def slowly() -> None:
    """Every call takes long enough that a test can act, and leaves a checkpoint."""
    import time

    from deltarule.training import Keeper

    in_many_calls()
    save = Keeper.save

    def save_slowly(keeper: Keeper, run: object) -> None:
        save(keeper, run)  # type: ignore[arg-type]
        time.sleep(0.01)

    Keeper.save = save_slowly  # type: ignore[method-assign]


def begun(folder: str, *how: str) -> Command:
    return start(*how, "--quiet", "--jobs", "2", prepare=slowly)


def test_killed_again_and_again_it_ends_as_if_it_were_not(run: Run, done: Path) -> None:
    home = Path("s")

    def checkpoints() -> int:
        return len(list(home.glob("trial-*/checkpoint-*"))) + len(list(home.glob("best/check*")))

    how: tuple[str, ...] = (*SMALL, "--out", "s")
    for known in (1, 6):  # in the first stage, and in the second
        command = begun("s", *how)
        command.until(lambda n=known: len(lines(home)) >= n and checkpoints() > 0)
        command.send(signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL
        how = ("tune", "--resume", "s")
    resumed = run(*how)
    assert resumed.code == 0, resumed.err
    assert outcome(home) == outcome(done)
    assert run(*how, "--json", "--quiet").json["best"]["over"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_stops_after_checkpoints(run: Run, done: Path, number: signal.Signals) -> None:
    command = begun("s", *SMALL, "--out", "s")
    command.until(lambda: len(lines(Path("s"))) >= 1)
    command.send(number)
    assert command.wait() == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert command.err.splitlines()[-2:] == [
        "the search was stopped; go on with:", "deltarule tune --resume s",
    ]  # fmt: skip
    assert command.out == ""
    assert len(lines(Path("s"))) < 8
    assert run("tune", "--resume", "s", "--quiet").code == 0
    assert outcome(Path("s")) == outcome(done)


REFUSED = [
    ((), "SOURCE is missing: give digits, mnist, or a folder of IDX files."),
    (("digits", "--learning-rate", "1:0.1"), "--learning-rate: a range must go from a number up"),
    (("digits", "--batch-size", "10:100"), "--batch-size: each value makes a compiled program"),
    (("digits", "--hidden", "30,"), "--hidden: hidden layers must be numbers of units such as"),
    (("digits", "--dropout", "1"), "--dropout: each share to drop must be at least 0"),
    (("digits", "--network", "64,30,10"), "--network must be a name such as lenet5, got '64,30"),
    (("digits", "--network", "lenet5", "--hidden", "3"), "--hidden goes with sizes; --network"),
    (("digits", "--momentum", "0.9"), "--momentum means nothing to sgd; leave it out."),
    (("digits", "--optimizer", "bfgs", "--learning-rate", "1"), "--learning-rate means nothing to"),
    (("digits", "--search", "grid"), "search must be one of halving, random; got 'grid'."),
    (("digits", "--trials", "0"), "trials must be a whole number of at least 1, got 0."),
    (("digits", "--jobs", "0"), "jobs must be at least 1, got 0."),
    (("digits", "--metric", "accuracy"), "metric must be one of validation_accuracy, validation"),
    (("digits", "--validation", "0"), "trials are compared on validation data, got none"),
    (("digits", "--batch-size", "5000"), "batch_size must be at most the 1257 training examples"),
    (("--resume", "s", "--trials", "5"), "--resume goes on with the search as it was begun; leave "
     "out --trials."),
    (("--resume", "s", "--out", "t"), "--out and --resume exclude each other"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[said[:25] for _, said in REFUSED])
def test_what_is_refused_is_one_sentence_and_leaves_nothing(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    done = run("tune", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {said}")
    assert not list(Path().glob("runs/*"))


def test_what_cannot_be_resumed(run: Run) -> None:
    none = run("tune", "--resume", "nothing")
    assert none.code == 5
    assert "nothing is no folder of a search: it has no config.json" in none.err
    assert run("train", "digits", "--network", "64,4,10", "--epochs", "1", "--out", "r").code == 0
    other = run("tune", "--resume", "r")
    assert other.code == 5
    assert "of a single run" in other.err


def test_the_table_on_a_terminal() -> None:
    from deltarule.cli.trial_table import Table

    space = {"hidden": Choices(("30", "100")), "learning_rate": Range(1e-4, 1),
             "momentum": Range(0.5, 0.99, log=False), "l1": Range(1e-7, 1e-4),
             "l2": Range(1e-10, 1), "dropout": Choices((0.0, 0.3)),
             "batch_size": Choices((10, 100))}  # fmt: skip
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere, width=60, height=8, force_terminal=True)
        with Table(space, "validation_accuracy", console) as table:
            table.plan([(27, 3), (9, 9)])
            for number in range(1, 13):
                values = {"hidden": "100", "learning_rate": 0.00032, "momentum": 0.95, "l1": 4e-7,
                          "l2": 1.23e-10, "dropout": 0.3, "batch_size": 100}  # fmt: skip
                best = 1 if number > 2 else None
                table.moved(Trial(number, values, 3, 3, best, 0.1, number / 20, over=number > 2))
            rows = str(table._drawn()).splitlines()
    assert rows[0] == "10 of 36 runs done; under way first, then the best"
    assert [int(row.split()[0]) for row in rows[2:]] == [1, 2, 12, 11]  # what there is room for
    assert rows[4].split() == ["12", "100", "0.3", "100", "3.2e-4", "0.95", "4e-7", "1e-10",
                               "3", "60.00%"]  # fmt: skip
    assert max(map(len, rows)) <= 60
