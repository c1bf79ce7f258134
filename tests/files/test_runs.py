"""Run folders: found fit before training, held by one process, records kept whole."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from saved_runs import names, newest, save
from unreliable import UnreliableOs

from deltarule import runs
from deltarule.errors import CheckpointError, RunBusyError
from deltarule.runs import RunFolder, new_run_path
from deltarule.storage import disk, lock

# --- the folder


def test_entering_makes_cleans_and_locks(folder: Path) -> None:
    folder.mkdir()
    left = folder / ".deltarule-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    with RunFolder(folder) as run:
        assert names(folder) == []
        with pytest.raises(RunBusyError, match=f"process {os.getpid()}"), RunFolder(folder):
            pass
        save(run, 1)
    with RunFolder(folder) as again:
        assert newest(folder) == 1
        save(again, 2)


def test_one_object_may_be_entered_again_but_not_twice_at_once(folder: Path) -> None:
    run = RunFolder(folder)
    for _ in range(2):
        with run:
            save(run, 1)
            with pytest.raises(RunBusyError), run:
                pass
            save(run, 2)  # still held


def test_folders_that_cannot_be_are_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cases = {
        tmp_path / "file": "something of that name is in the way",
        tmp_path / "file" / "run": "something of that name is in the way",
        tmp_path / ("x" * 256): "the name is too long",
        tmp_path / "a\0b": "not a valid name",
    }
    for path, words in cases.items():
        with pytest.raises(OSError, match=words) as caught, RunFolder(path):
            pass
        assert str(caught.value).startswith("cannot make the folder ")
        assert str(caught.value).isprintable()
    for path in (tmp_path / os.fsdecode(b"\xff"), tmp_path / "made" / "with" / "it"):
        with RunFolder(path) as run:
            save(run, 1)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_is_refused_before_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder.mkdir()
    for module, words, fail_at in [
        (disk, "write to", 1),
        (disk, "write to", 2),
        (lock, "lock", 1),
        (lock, "lock", 2),
        (lock, "lock", 3),
    ]:
        faulty = UnreliableOs(fail_at, lambda: OSError(number, ""))
        with monkeypatch.context() as patch:
            patch.setattr(module, "os", faulty)
            with pytest.raises(OSError, match=f"^cannot {words} {folder}"), RunFolder(folder):
                pass
        with RunFolder(folder):  # nothing is left locked
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    with pytest.raises(OSError, match="permission is denied"), RunFolder(folder):
        pass


def test_a_folder_that_is_deleted_meanwhile(folder: Path) -> None:
    with RunFolder(folder) as run:
        save(run, 1)
        shutil.rmtree(folder)
        for _ in range(2):
            with pytest.raises(OSError, match=r"cannot write .*00000002.*does not exist"):
                save(run, 2)
        with pytest.raises(OSError, match="does not exist"):
            run.append_line(runs.HISTORY, {"epoch": 1})
        folder.mkdir()  # put back: the same call succeeds
        save(run, 2)
        assert newest(folder) == 2


def test_writing_needs_the_lock_and_reading_does_not(folder: Path) -> None:
    with RunFolder(folder) as run:
        save(run, 1)
        run.append_line(runs.HISTORY, {"epoch": 1})
    assert run.latest_checkpoint() is not None
    assert run.read_lines(runs.HISTORY) == [{"epoch": 1}]
    for write in (
        lambda: save(run, 2),
        lambda: run.append_line(runs.HISTORY, {}),
        lambda: run.rewrite_lines(runs.HISTORY, []),
        lambda: run.write_json(runs.CONFIG, {}),
        lambda: run.write_bytes("a", b""),
    ):
        with pytest.raises(RuntimeError, match="only inside `with"):
            write()


def test_reading_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(OSError, match=r"cannot read .*run: it, or a folder above it, does not"):
        RunFolder(folder).latest_checkpoint()


@pytest.mark.parametrize("keep", [0, -1])
def test_keep(folder: Path, keep: int) -> None:
    with pytest.raises(ValueError, match="keep must be at least 1"):
        RunFolder(folder, keep=keep)


def test_names_are_plain(folder: Path) -> None:
    with RunFolder(folder) as run:
        for name in ("../a", "/a", "a/b", "", ".", "..", ".lock"):
            with pytest.raises(ValueError, match="plain name"):
                run.write_bytes(name, b"")
        path = run.write_bytes("learning curves.png", b"\x89PNG")
    assert path.read_bytes() == b"\x89PNG"


# --- records


def test_json(folder: Path) -> None:
    with RunFolder(folder) as run:
        path = run.write_json(runs.CONFIG, {"sizes": (784, 10), "rate": float("nan"), "é": "\x1b"})
        with pytest.raises(ValueError, match=r"config.json.rate must be plain data"):
            run.write_json(runs.CONFIG, {"rate": np.float32(1)})
    assert json.loads(path.read_text()) == {"sizes": [784, 10], "rate": None, "é": "\x1b"}
    assert "NaN" not in path.read_text()


def test_lines(folder: Path) -> None:
    records = [{"epoch": epoch, "name": "a\nb\u2028"} for epoch in range(1, 6)]
    with RunFolder(folder) as run:
        assert run.read_lines(runs.HISTORY) == []
        for record in records:
            run.append_line(runs.HISTORY, record)
        assert run.read_lines(runs.HISTORY) == records
        run.rewrite_lines(runs.HISTORY, records[:3])
        run.append_line(runs.HISTORY, {"cost": float("inf")})
        assert run.read_lines(runs.HISTORY) == [*records[:3], {"cost": None}]
    text = (folder / runs.HISTORY).read_bytes()
    assert [json.loads(line) for line in text.splitlines()] == [*records[:3], {"cost": None}]


def test_a_last_line_that_is_cut_is_left_out_and_other_damage_is_not(folder: Path) -> None:
    with RunFolder(folder) as run:
        run.rewrite_lines(runs.HISTORY, [{"epoch": 1}, {"epoch": 2}])
        path = folder / runs.HISTORY
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            expected = [{"epoch": 1}] if length >= len(whole) // 2 else []
            assert run.read_lines(runs.HISTORY) == expected
        for damaged in (b"{\n", b"[1]\n", b"\xff\n", b"\n", b'{"a": NaN}\n'):
            path.write_bytes(whole + damaged + whole)
            with pytest.raises(CheckpointError, match=r"line 3 of .*history\.jsonl is damaged"):
                run.read_lines(runs.HISTORY)


# --- names of runs


def test_new_run_path_makes_the_first_free_folder(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert [new_run_path(root, "a").name for _ in range(3)] == ["a", "a-2", "a-3"]
    (root / "b").write_bytes(b"")  # a file is in the way too
    assert new_run_path(root, "b") == root / "b-2"
    assert (root / "b-2").is_dir()
    shutil.rmtree(root / "a-2")
    assert new_run_path(root, "a") == root / "a-2"


def test_new_run_path_refuses(tmp_path: Path) -> None:
    for name in ("", "..", "a/b", "/a", ".a"):
        with pytest.raises(ValueError, match="plain name"):
            new_run_path(tmp_path, name)
    with pytest.raises(OSError, match=r"cannot make the folder .*too long"):
        new_run_path(tmp_path, "x" * 256)
    with pytest.raises(OSError, match=r"cannot make the folder .*does not exist"):
        new_run_path(tmp_path / "none" / "runs", "a")


def test_a_folder_made_by_another_in_the_same_moment_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def mkdir(self, path: Path) -> None:
            os.mkdir(path)  # the other
            os.mkdir(path)  # and then ours

    monkeypatch.setattr(disk, "os", Late())
    with RunFolder(folder) as run:
        save(run, 1)


CLAIM = "import sys; from deltarule.runs import new_run_path; print(new_run_path(*sys.argv[1:]))"


def test_two_that_start_at_once_get_two_folders(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CLAIM, str(tmp_path / "runs"), "a"]
    several = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    paths = {process.communicate()[0] for process in several}
    assert len(paths) == 6
    assert names(tmp_path / "runs") == ["a", *(f"a-{number}" for number in range(2, 7))]


def test_importing_loads_no_jax() -> None:
    code = "import sys, deltarule.runs; print('jax' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
