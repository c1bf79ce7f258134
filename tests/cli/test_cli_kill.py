"""SIGKILL at any moment: no run is ever corrupted, and it ends with the same bits.

DELTARULE_TORTURE=1 kills 1,000 times instead of 20.
"""

import os
import random
import signal
import time
import warnings
from pathlib import Path

import pytest
from cli_commands import Command, Run, bits, checkpoints, history, in_many_calls, slowly, start

from deltarule import load_model
from deltarule.runs import RunFolder

STEPS = 126  # of an epoch of digits in batches of 10
PLAIN = ("train", "digits", "--network", "64,16,10", "--epochs", "12", "--optimizer", "momentum",
         "--dropout", "0.2", "--out")  # fmt: skip
STOPPING = ("train", "digits", "--network", "64,16,10", "--epochs", "30", "--early-stopping", "4",
            "--learning-rate", "1", "--out")  # fmt: skip
KILLS = 1000 if os.environ.get("DELTARULE_TORTURE") else 20
A_RUN = 20  # kills of the same run


def kill(command: Command) -> None:
    command.send(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL


@pytest.mark.parametrize("arguments", [PLAIN, STOPPING], ids=["plain", "stopping"])
@pytest.mark.parametrize("moment", ["early", "in the middle of an epoch", "late"])
def test_a_killed_run_ends_with_the_same_bits(
    run: Run, arguments: tuple[str, ...], moment: str
) -> None:
    assert run(*arguments, "whole").code == 0
    epochs = len(history(Path("whole")))
    first = {"early": 1, "late": (epochs - 2) * STEPS}.get(moment, epochs // 2 * STEPS)
    folder = Path("run")

    def reached() -> bool:
        numbers = checkpoints(folder) if folder.is_dir() else []
        return any(n >= first and (n % STEPS or "middle" not in moment) for n in numbers)

    command = start(*arguments, "run", prepare=slowly)
    command.until(reached)
    kill(command)
    found = RunFolder(folder).latest_checkpoint(strict=True)
    assert found is not None
    done = run("train", "--resume", "run")
    assert done.code == 0, done.err
    assert done.err.count("epoch") == epochs - found.number // STEPS  # it did not begin again
    assert bits(folder) == bits(Path("whole"))


def test_killed_between_configuration_and_first_checkpoint(run: Run) -> None:
    assert run(*PLAIN, "whole").code == 0
    command = start(*PLAIN, "run")  # the first checkpoint comes at the end
    command.until(Path("run/config.json").exists)
    kill(command)
    assert run("train", "--resume", "run").code == 0
    assert bits(Path("run")) == bits(Path("whole"))


def test_many_kills_at_random_moments_corrupt_nothing(run: Run) -> None:
    arguments = [each if each != "12" else "250" for each in PLAIN]
    assert run(*arguments, "whole").code == 0
    chance = random.Random(0)
    for number in range(KILLS // A_RUN):
        folder = Path(f"run-{number}")
        steps = 0
        for _ in range(A_RUN):
            begun = folder.is_dir() and (folder / "config.json").exists()
            again = ["train", "--resume", str(folder)] if begun else [*arguments, str(folder)]
            before = checkpoints(folder) if begun else []
            command = start(*again, prepare=in_many_calls)
            command.until(lambda f=folder, b=before: f.is_dir() and checkpoints(f) != b)
            time.sleep(chance.uniform(0, 0.05))
            kill(command)
            steps = assert_whole(folder, steps)
        assert run("train", "--resume", str(folder)).code == 0
        assert bits(folder) == bits(Path("whole"))


def assert_whole(folder: Path, steps: int) -> int:
    """Assert that nothing in ``folder`` is damaged and that it did not fall behind ``steps``."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = RunFolder(folder).latest_checkpoint(strict=True)
    assert found is not None
    assert found.number >= steps
    records = RunFolder(folder).read_lines("history.jsonl")
    assert len(records) >= len(found.header["history"])
    assert [record["epoch"] for record in records] == list(range(1, len(records) + 1))
    if (folder / "model.safetensors").exists():
        load_model(folder / "model.safetensors")
    return found.number
