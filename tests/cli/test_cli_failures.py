"""What goes wrong while a command runs: exit code, sentence, and nothing lost."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import Run, bits, checkpoints, files, history, in_many_calls, start

import deltarule
from deltarule.runs import RunFolder
from deltarule.storage import disk, locked

DIVERGING = (
    "train", "digits", "--activation", "relu", "--output", "identity", "--cost", "quadratic",
    "--out", "run",
)  # fmt: skip


# ---- divergence


def test_divergence(run: Run) -> None:
    done = run(*DIVERGING, "--learning-rate", "1e6")
    assert (done.code, done.out) == (4, "")
    assert "training diverged in epoch 1" in done.err
    assert "no epoch had a finite cost" in done.err
    assert "choose a learning_rate below 1e+06" in done.err
    assert len([line for line in done.err.splitlines() if not line.startswith("epoch")]) == 1


class Flood(deltarule.Callback):
    """Blows the weights up after the third epoch."""

    def advanced(self, run: deltarule.Run) -> None:
        if run.state.epoch == 3 and run.state.position == 0:
            learner = run.state.learner
            params = tuple({k: v * 1e30 for k, v in layer.items()} for layer in learner.params)
            run.state.learner = learner._replace(params=params)


@pytest.fixture
def flooded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from deltarule.cli import running

    train = running.train

    def train_badly(*arguments: Any, callbacks: Any, **named: Any) -> Any:
        return train(*arguments, callbacks=[*callbacks, Flood()], **named)

    with monkeypatch.context() as patch:
        patch.setattr(running, "train", train_badly)
        yield


def test_divergence_later_leaves_the_last_checkpoint_usable(run: Run, flooded: None) -> None:
    done = run(*DIVERGING, "--learning-rate", "0.01", "--checkpoint-every", "1")
    assert (done.code, done.out) == (4, "")
    assert "training diverged in epoch 4" in done.err
    last = history(Path("run"))[2]
    assert f"the last finite cost was {last['train_cost']:.4g}, of epoch 3" in done.err
    found = RunFolder("run").latest_checkpoint(strict=True)
    assert found is not None
    assert [record["epoch"] for record in found.header["history"]] == [1, 2, 3]
    assert all(np.isfinite(array).all() for array in found.arrays.values())


def test_with_early_stopping_divergence_ends_at_the_best_epoch(run: Run, flooded: None) -> None:
    done = run(*DIVERGING, "--learning-rate", "0.01", "--early-stopping", "9", "--json")
    assert done.code == 0
    assert done.json["stopped"] == "the cost of epoch 4 is not finite"
    assert done.json["last_epoch"]["train_cost"] is None  # as JSON says NaN
    assert done.json["test"]["accuracy"] > 0.5
    records = history(Path("run"))
    assert [record["train_cost"] is None for record in records] == [False] * 3 + [True]
    before = files(Path("run"))
    again = run("train", "--resume", "run", "--json")
    assert (again.code, again.json) == (0, done.json)
    assert "already complete" in again.err
    assert files(Path("run")) == before


# ---- the disk


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the disk be full for files whose name holds a text, from the n-th write on."""

    class Full:
        def __init__(self, name: str, after: int) -> None:
            self.name, self.after, self.writes = name, after, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def replace(self, old: Any, new: Any) -> None:
            if self.name in str(new):
                self.writes += 1
                if self.writes > self.after:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.replace(old, new)

    def fill(name: str, after: int = 0) -> None:
        monkeypatch.setattr(disk, "os", Full(name, after))

    return fill


def test_a_full_disk_at_a_checkpoint_keeps_those_before(run: Run, full_disk: Any) -> None:
    arguments = ("train", "digits", "--epochs", "96", "--checkpoint-every", "1", "--out", "run")
    assert run(*arguments[:-1], "whole").code == 0
    full_disk("checkpoint", after=2)
    done = run(*arguments)
    assert (done.code, done.out) == (6, "")
    assert "the disk is full; free some space or choose another folder" in done.err
    assert len([line for line in done.err.splitlines() if not line.startswith("epoch")]) == 1
    assert not list(Path("run").glob(".deltarule-*"))
    kept = checkpoints(Path("run"))
    assert len(kept) == 2
    found = RunFolder("run").latest_checkpoint(strict=True)
    assert found is not None
    assert found.number == kept[-1]
    full_disk("nothing")
    assert run("train", "--resume", "run").code == 0
    assert bits(Path("run")) == bits(Path("whole"))


@pytest.mark.parametrize("name", ["config.json", "history.jsonl", "model.safetensors"])
def test_a_full_disk_at_any_other_file(run: Run, full_disk: Any, name: str) -> None:
    full_disk(name)
    done = run("train", "digits", "--epochs", "2", "--out", "run")
    assert done.code == 6
    assert f"cannot write run/{name}: the disk is full" in done.err
    assert not Path("run/model.safetensors").exists()


@pytest.mark.parametrize("out", ["/proc/run", "file/run", "file", "x" * 300, "a\0b", "dangling"])
def test_a_folder_that_cannot_be_written_is_found_before_training(run: Run, out: str) -> None:
    Path("file").touch()
    Path("dangling").symlink_to("nowhere/at/all")
    done = run("train", "digits", "--out", out)
    assert done.code in (2, 6)
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) <= 2
    assert "epoch" not in done.err


def test_a_read_only_folder_is_found_before_training(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").mkdir()
    if os.geteuid() == 0:  # no permission binds root: let the system call say what it would

        class ReadOnly:
            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

            def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
                if flags & os.O_CREAT and "out" in str(path):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                return os.open(path, flags, mode)

        monkeypatch.setattr(disk, "os", ReadOnly())
    else:
        Path("out").chmod(0o500)
    done = run("train", "digits", "--out", "out")
    assert done.code == 6
    assert "choose another folder" in done.err
    assert "epoch" not in done.err


def test_a_path_that_is_no_text(run: Run) -> None:
    out = os.fsdecode(b"run-\xff")
    done = run("train", "digits", "--epochs", "1", "--out", out)
    assert done.code == 0, done.err
    assert r"run-\udcff/model.safetensors" in done.out
    document = run("evaluate", out, "digits", "--json").json
    assert document["examples"] == 360


def test_a_limit_on_the_size_of_files() -> None:
    command = start("train", "digits", "--epochs", "2", "--out", "run", prepare=small_files_only)
    assert command.wait() == 6
    assert "the file would be larger than this system or its limits allow" in command.err
    assert "Traceback" not in command.err
    assert "model.safetensors" not in files(Path("run"))


def small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_the_folder_vanishes_during_training() -> None:
    command = start("train", "digits", "--epochs", "2000", "--out", "run", prepare=in_many_calls)
    command.until(lambda: Path("run").is_dir() and checkpoints(Path("run")))
    Path("run").rename("moved")
    assert command.wait() == 6
    assert "does not exist" in command.err
    assert RunFolder("moved").latest_checkpoint(strict=True) is not None


# ---- others


def test_a_folder_in_use_is_left_alone(run: Run) -> None:
    assert run("train", "digits", "--epochs", "1", "--out", "run").code == 0
    before = files(Path("run"))
    with locked(Path("run/.lock")):
        done = run("train", "--resume", "run", "--epochs", "2", "--force")
    assert done.code == 6
    assert f"in use by process {os.getpid()}" in done.err
    assert files(Path("run")) == before


def test_a_download_that_is_not_possible(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "cache"))
    for source in ("mnist", "fashion-mnist"):
        done = run("train", source)
        assert (done.code, done.out) == (7, "")
        assert len(done.err.splitlines()) <= 3
        for part in ("DELTARULE_OFFLINE", "train-images-idx3-ubyte.gz", "https://"):
            assert part in done.err
        assert not Path("runs").exists()
