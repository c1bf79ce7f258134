"""Ctrl-C, SIGTERM and SIGHUP: a checkpoint first, then the exit code that tells which it was."""

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_commands import Command, Run, bits, checkpoints, history, slowly, start

from deltarule import load_model
from deltarule.runs import RunFolder

ARGUMENTS = ("train", "digits", "--network", "64,16,10", "--epochs", "40", "--dropout", "0.1",
             "--out")  # fmt: skip
BRIEF = ("train", "digits", "--network", "64,16,10", "--epochs", "4", "--out")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def under_way(*arguments: str) -> Command:
    command = start(*arguments, prepare=slowly)
    folder = Path(arguments[-1])
    command.until(lambda: folder.is_dir() and checkpoints(folder))
    return command


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_one_signal_stops_after_a_checkpoint(run: Run, number: signal.Signals) -> None:
    command = under_way(*ARGUMENTS, "a run")
    command.send(number)
    since = time.monotonic()
    assert command.wait() == CODES[number]
    assert time.monotonic() - since < 5
    assert command.out == ""
    *lines, last = command.err.splitlines()
    assert all(line.startswith("epoch") for line in lines)
    said = re.fullmatch(r"stopped after (\d+) of 40 epochs; resume with: deltarule (.+)", last)
    assert said is not None
    assert len(history(Path("a run"))) == int(said[1]) < 40
    found = RunFolder("a run").latest_checkpoint(strict=True)
    assert found is not None
    assert len(found.header["history"]) == int(said[1])
    load_model("a run/model.safetensors")  # what is learned can be used already
    assert run(*shlex.split(said[2])).code == 0
    assert run(*ARGUMENTS, "whole").code == 0
    assert bits(Path("a run")) == bits(Path("whole"))


def test_resume_of_a_resume(run: Run) -> None:
    arguments = (*ARGUMENTS, "run")
    for number in CODES:
        before = checkpoints(Path("run")) if Path("run").is_dir() else []
        command = start(*arguments, prepare=slowly)
        command.until(lambda b=before: Path("run").is_dir() and checkpoints(Path("run")) != b)
        command.send(number)
        assert command.wait() == CODES[number]
        arguments = ("train", "--resume", "run")
    assert run(*arguments).code == 0
    assert run(*ARGUMENTS, "whole").code == 0
    assert bits(Path("run")) == bits(Path("whole"))


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_second_signal_ends_it_at_once(run: Run, second: signal.Signals) -> None:
    command = start(*ARGUMENTS, "run", prepare=stuck_once_stopped)
    command.until(lambda: Path("run").is_dir() and checkpoints(Path("run")))
    command.send(signal.SIGINT)
    command.until(Path("stuck").exists)
    command.send(second)
    since = time.monotonic()
    assert command.wait() == -second  # a shell says 130 or 143
    assert time.monotonic() - since < 2
    assert RunFolder("run").latest_checkpoint(strict=True) is not None
    assert run("train", "--resume", "run").code == 0
    assert run(*ARGUMENTS, "whole").code == 0
    assert bits(Path("run")) == bits(Path("whole"))


def stuck_once_stopped() -> None:
    """Take for ever over the last checkpoint, as on a hanging network disk."""
    slowly()
    from deltarule.learning import Run as LearningRun
    from deltarule.training import Keeper

    def hang(keeper: Keeper, run: LearningRun) -> None:
        Path("stuck").touch()
        while True:
            time.sleep(1)

    Keeper.ended = hang  # type: ignore[method-assign]


def test_a_signal_that_the_caller_ignores_stays_ignored(run: Run) -> None:
    command = start(*BRIEF, "run", prepare=as_under_nohup)
    command.until(lambda: Path("run").is_dir() and checkpoints(Path("run")))
    command.send(signal.SIGHUP)
    assert command.wait() == 0
    assert len(history(Path("run"))) == 4


def as_under_nohup() -> None:
    slowly()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_stopped_process_goes_on(run: Run) -> None:
    command = under_way(*BRIEF, "run")
    command.send(signal.SIGSTOP)
    time.sleep(0.3)
    command.send(signal.SIGCONT)
    assert command.wait() == 0
    assert all(record["seconds"] >= 0 for record in history(Path("run")))
    assert run(*BRIEF, "whole").code == 0
    assert bits(Path("run")) == bits(Path("whole"))


def test_ctrl_c_before_the_run_has_begun() -> None:
    command = start("train", "digits", "--out", "run", prepare=slow_data)
    command.until(Path("loading").exists)
    command.send(signal.SIGINT)
    assert command.wait() == 130
    assert "Traceback" not in command.err
    assert not Path("run").exists()


def slow_data() -> None:
    from deltarule.cli import running

    def opened(*_: object, **__: object) -> None:
        Path("loading").touch()
        time.sleep(60)

    running.opened = opened  # type: ignore[assignment]


def test_a_real_command_with_a_real_interpreter() -> None:
    arguments = ["train", "digits", "--epochs", "1000000", "--out", "run"]
    with subprocess.Popen(
        [sys.executable, "-m", "deltarule", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch       1/1000000  train cost")
        process.send_signal(signal.SIGINT)
        *_, last = process.stderr.read().splitlines()
        assert process.wait() == 130
    assert last.endswith("resume with: deltarule train --resume run")
