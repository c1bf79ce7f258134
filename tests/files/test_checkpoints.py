"""Checkpoints: never lost, whatever is killed, full, broken or cut off, and whenever."""

import errno
import os
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_runs import names, newest, save
from unreliable import ForgetfulOs, Killed, UnreliableOs

from deltarule.errors import CheckpointError
from deltarule.runs import RunFolder
from deltarule.storage import disk

HERE = Path(__file__).parent


# --- checkpoints


def test_the_last_two_are_kept(folder: Path) -> None:
    with RunFolder(folder) as run:
        assert run.latest_checkpoint() is None
        save(run, 0, 3, 12)
    assert names(folder) == ["checkpoint-00000003.safetensors", "checkpoint-00000012.safetensors"]
    assert newest(folder) == 12


def test_the_number_decides_and_not_the_clock(folder: Path) -> None:
    with RunFolder(folder) as run:
        save(run, 99_999_999, 100_000_000)  # the longer name sorts before the shorter
    for age, path in enumerate(sorted(folder.glob("checkpoint-*"))):
        os.utime(path, (10**9 + age * 10**7,) * 2)  # the newer a year before the older
    assert newest(folder) == 100_000_000


def test_the_same_state_is_the_same_file(folder: Path) -> None:
    found = []
    for _ in range(2):
        with RunFolder(folder) as run:
            save(run, 7)
            found.append((folder / "checkpoint-00000007.safetensors").read_bytes())
    assert found[0] == found[1]


def test_a_history_with_nan_comes_back(folder: Path) -> None:
    history = [{"epoch": 1, "validation_cost": float("nan"), "train_cost": float("inf")}]
    with RunFolder(folder) as run:
        run.save_checkpoint(1, {}, {"history": history})
        found = run.latest_checkpoint()
    assert found is not None
    np.testing.assert_equal(found.header["history"], history)


def test_a_long_history_fits(folder: Path) -> None:
    record = {"epoch": 1, "learning_rate": 0.1, "train_cost": 1 / 3, "validation_cost": 2 / 3}
    history = [record] * 20_000
    with RunFolder(folder) as run:
        run.save_checkpoint(1, {}, {"history": history})
        found = run.latest_checkpoint()
    assert found is not None
    assert found.header["history"] == history


@pytest.mark.parametrize("number", [-1, True, 1.0, "1", 10**18])
def test_numbers_that_cannot_be(folder: Path, number: Any) -> None:
    with RunFolder(folder) as run, pytest.raises(ValueError, match="number must be"):
        run.save_checkpoint(number, {}, {})


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rename_an_old_one(path: Path) -> None:
    shutil.copy(path.with_name("checkpoint-00000001.safetensors"), path)


def replace_by_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGE = [cut, flip, empty, replace_by_folder, rename_an_old_one, replace_by_link_to_itself]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_is_passed_over_with_a_warning(folder: Path, damage: Any) -> None:
    with RunFolder(folder) as run:
        save(run, 1, 2)
    damage(folder / "checkpoint-00000002.safetensors")
    with pytest.warns(UserWarning, match="checkpoint 2 is passed over: .*checkpoint-00000002"):
        assert newest(folder) == 1
    with pytest.raises(CheckpointError, match="checkpoint-00000002"):
        newest(folder, strict=True)


@pytest.mark.filterwarnings("ignore:checkpoint")
def test_none_that_can_be_read_is_no_fresh_start(folder: Path) -> None:
    with RunFolder(folder) as run:
        save(run, 1, 2)
    for path in folder.glob("checkpoint-*"):
        cut(path)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*run can be read; .*is damaged"):
        newest(folder)


def test_other_files_do_not_count(folder: Path) -> None:
    with RunFolder(folder) as run:
        save(run, 5)
    good = (folder / "checkpoint-00000005.safetensors").read_bytes()
    for name in (
        "checkpoint-00000009.safetensors.bak",
        "checkpoint-9.safetensors",
        "checkpoint-00000009 copy.safetensors",
        "xcheckpoint-00000009.safetensors",
        "checkpoint-٠٠٠٠٠٠٠٩.safetensors",
        "model.safetensors",
    ):
        (folder / name).write_bytes(good)
    assert newest(folder) == 5


@pytest.mark.filterwarnings("ignore:checkpoint")
def test_going_back_past_damage_never_throws_the_new_ones_away(folder: Path) -> None:
    with RunFolder(folder, keep=4) as run:
        save(run, 10, 12, 13)
    for number in (12, 13):
        cut(folder / f"checkpoint-{number:08d}.safetensors")
    with RunFolder(folder) as run:
        assert newest(folder) == 10
        save(run, 11)
        cut(folder / "checkpoint-00000011.safetensors")
        assert newest(folder) == 10  # still there
        for number in (11, 12, 13, 14):
            save(run, number)
            assert newest(folder) == number
    assert names(folder) == ["checkpoint-00000013.safetensors", "checkpoint-00000014.safetensors"]


def test_an_old_one_that_cannot_be_removed_stops_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sticky:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def unlink(self, path: Any) -> None:
            raise PermissionError(errno.EPERM, "no")

    with RunFolder(folder, keep=1) as run:
        save(run, 1)
        monkeypatch.setattr(disk, "os", Sticky())
        with pytest.warns(UserWarning, match="an old checkpoint stays: cannot remove .*00000001"):
            save(run, 2)
    assert newest(folder) == 2


# --- death, errors and power cuts at every call


def calls_of_a_save(folder: Path, keep: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    with RunFolder(folder, keep=keep) as run, monkeypatch.context() as patch:
        save(run, 1, 2)
        counting = UnreliableOs(10**9, Killed)
        patch.setattr(disk, "os", counting)
        save(run, 3)
    return counting.calls


@pytest.mark.parametrize("keep", [1, 2])
def test_sigkill_at_each_call(tmp_path: Path, keep: int) -> None:
    """Real processes and a real SIGKILL, n = 1, 2, 3 ... until the save comes to its end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads should not fork
    command = [sys.executable, str(HERE / "kill_children.py"), str(tmp_path), str(keep)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    killed = [line[0] for line in lines]
    assert killed == ["True"] * (len(lines) - 1) + ["False"]
    assert len(lines) >= 10
    found = [line[1] for line in lines]
    assert found == sorted(found)
    assert set(found) == {"2", "3"}
    assert {line[2] for line in lines} == {"0", "1"}  # some left a temporary file
    assert {line[3] for line in lines} == {"0"}  # and the next start removed it


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("keep", [1, 2])
def test_an_error_at_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int, number: int
) -> None:
    calls = calls_of_a_save(tmp_path / "count", keep, monkeypatch)
    assert calls.count("unlink") == 1
    for fail_at in range(1, len(calls) + 1):
        folder = tmp_path / str(fail_at)
        with RunFolder(folder, keep=keep) as run:
            save(run, 1, 2)
            with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                faulty = UnreliableOs(fail_at, lambda: OSError(number, ""))
                patch.setattr(disk, "os", faulty)
                if calls[fail_at - 1] == "unlink":
                    save(run, 3)
                    assert len(warned) == 1
                else:
                    with pytest.raises(OSError, match=r"cannot write .*checkpoint-00000003"):
                        save(run, 3)
            assert newest(folder, strict=True) in (2, 3)
            assert not list(folder.glob(".*.tmp"))
            save(run, 3)  # the same call again, once there is room
            assert newest(folder, strict=True) == 3


@pytest.mark.filterwarnings("ignore:checkpoint")
@pytest.mark.parametrize("keep", [1, 2])
def test_a_power_cut_at_each_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    folder = tmp_path / "run"
    with RunFolder(folder, keep=keep) as run:
        save(run, 1, 2)
        forgetful = ForgetfulOs(folder)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", forgetful)
            save(run, 3)
    found = []
    for moment, states in enumerate(forgetful.moments):
        for state in states:
            after = tmp_path / f"after-{len(found)}"
            after.mkdir()
            for name, data in state.items():
                (after / name).write_bytes(data)
            found.append((moment, newest(after)))
    assert len(found) > 20
    assert {number for _, number in found} == {2, 3}
    last = len(forgetful.moments) - 1
    assert {number for moment, number in found if moment == last} == {3}


def test_ctrl_c_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of_a_save(tmp_path / "count", 2, monkeypatch)
    for fail_at in range(1, len(calls) + 1):
        folder = tmp_path / str(fail_at)
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt), RunFolder(folder) as run:
            save(run, 1, 2)
            patch.setattr(disk, "os", UnreliableOs(fail_at, KeyboardInterrupt))
            save(run, 3)
            pytest.fail("not interrupted")
        assert newest(folder, strict=True) in (2, 3)
        assert not list(folder.glob(".*.tmp"))
        with RunFolder(folder):  # the lock is free
            pass
