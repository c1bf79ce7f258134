"""Writing: the old file or the new one, whole, whatever fails."""

import errno
import mmap
import os
import re
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from unreliable import ForgetfulOs, Killed, UnreliableOs

from deltarule import storage
from deltarule.storage import disk

OLD, NEW = b"old " * 100, b"new, and longer " * 100
ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPERM, errno.EROFS, errno.EACCES]
CALLS = ("open", "write", "fsync", "close", "replace", "open", "fsync", "close")  # one safe write


def test_writes_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (OLD, NEW, b""):
        storage.write_atomically(path, data)
        assert path.read_bytes() == data
        assert os.listdir(tmp_path) == ["a"]


def test_the_calls_of_one_write_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = UnreliableOs(10**9, Killed)
    monkeypatch.setattr(disk, "os", counting)
    storage.write_atomically(tmp_path / "a", NEW)
    assert tuple(counting.calls) == CALLS


@pytest.mark.parametrize("fail_at", range(1, len(CALLS) + 1))
@pytest.mark.parametrize("number", ERRORS)
def test_an_error_at_any_call_keeps_the_old_file_and_removes_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int, number: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    faulty = UnreliableOs(fail_at, lambda: OSError(number, os.strerror(number)))
    monkeypatch.setattr(disk, "os", faulty)
    with pytest.raises(OSError, match=re.escape(f"cannot write {path}: ")) as caught:
        storage.write_atomically(path, NEW)
    assert caught.value.errno == number
    assert type(caught.value) is type(OSError(number, ""))
    assert str(caught.value).endswith(".")
    assert os.listdir(tmp_path) == ["a"]
    renamed = "replace" in faulty.calls[: fail_at - 1]
    assert path.read_bytes() == (NEW if renamed else OLD)


@pytest.mark.parametrize("fail_at", range(1, len(CALLS) + 1))
def test_ctrl_c_at_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    monkeypatch.setattr(disk, "os", UnreliableOs(fail_at, KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        storage.write_atomically(path, NEW)
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() in (OLD, NEW)


@pytest.mark.parametrize("fail_at", range(1, len(CALLS) + 1))
def test_death_at_any_call_and_cleaning_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(disk, "os", UnreliableOs(fail_at, Killed, dead=True))
        with pytest.raises(Killed):
            storage.write_atomically(path, NEW)
    assert path.read_bytes() in (OLD, NEW)
    left = {name for name in os.listdir(tmp_path) if name != "a"}
    assert len(left) == (1 if 1 < fail_at <= CALLS.index("replace") + 1 else 0)
    storage.clean(tmp_path)
    assert os.listdir(tmp_path) == ["a"]


def test_a_power_cut_at_any_moment_leaves_old_or_new_and_after_the_write_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    forgetful = ForgetfulOs(tmp_path)
    monkeypatch.setattr(disk, "os", forgetful)
    storage.write_atomically(path, NEW)
    assert len(forgetful.moments) == 1 + len(CALLS)
    for states in forgetful.moments:
        assert {state["a"] for state in states} <= {OLD, NEW}
    assert forgetful.moments[-1] == [{"a": NEW}]


def test_the_power_cut_model_catches_a_missing_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(OLD)
    for number, forgotten in enumerate(("_flush", "_flush_folder")):
        new = NEW + bytes([number])
        forgetful = ForgetfulOs(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", forgetful)
            patch.setattr(disk, forgotten, lambda where: None)
            storage.write_atomically(tmp_path / "a", new)
        assert {state["a"] for state in forgetful.moments[-1]} > {new}


def test_a_short_write_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

        def write(self, descriptor: int, data: bytes) -> int:
            return os.write(descriptor, data[:7])

    monkeypatch.setattr(disk, "os", Slow())
    storage.write_atomically(tmp_path / "a", NEW)
    assert (tmp_path / "a").read_bytes() == NEW


def test_a_real_limit_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="larger than this system") as caught:
            storage.write_atomically(tmp_path / "a", NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == OLD


FILL = """
import sys
from deltarule import storage
from pathlib import Path
folder = Path(sys.argv[1])
storage.write_atomically(folder / "a", b"old")
try:
    storage.write_atomically(folder / "a", bytes(2 << 20))
except OSError as error:
    print(error, sorted(path.name for path in folder.iterdir()), (folder / "a").read_bytes())
"""


def test_a_full_disk(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path)]
    try:
        able = subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("this system does not let a test mount a small disk")
    command = [*unshare, sys.executable, "-c", FILL, str(tmp_path)]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert done.stdout == (
        f"cannot write {tmp_path}/a: the disk is full; free some space or choose another folder. "
        "['a'] b'old'\n"
    ), done.stderr


def _environment() -> dict[str, str]:
    source = Path(disk.__file__).parents[2]
    return {**os.environ, "PYTHONPATH": str(source)}


def test_a_reader_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(OLD)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        storage.write_atomically(path, b"short")
        assert view[:] == OLD
        assert file.read() == OLD
    assert path.read_bytes() == b"short"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "there" / "b")
    storage.write_atomically(tmp_path / "a", NEW)
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "there" / "b").read_bytes() == NEW


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    storage.write_atomically(tmp_path / "a", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a")}
    assert len(modes) == 1


def test_impossible_paths_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "none" / "a": "does not exist",
        tmp_path / "file" / "a": "is a file, not a folder",
        tmp_path: "not a plain file",
        tmp_path / "pipe": "not a plain file",
        tmp_path / ("x" * 300): "too long",
        f"{tmp_path}/a\0b": r"a\\x00b: the path is not a valid name",
        f"{tmp_path}/a\ud800": r"a\\ud800: the path is not a valid name",
    }
    for path, words in cases.items():
        with pytest.raises(OSError, match=words):
            storage.write_atomically(path, NEW)
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_name_of_255_bytes_and_one_that_is_not_utf_8(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 255), os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")):
        storage.write_atomically(path, NEW)
        assert Path(path).read_bytes() == NEW


def test_clean_removes_only_its_own(tmp_path: Path) -> None:
    mine = disk._temporary(tmp_path)
    mine.write_bytes(b"half")
    others = ["a.tmp", ".deltarule-notes.tmp", f"x{mine.name}", f"{mine.name}x"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    storage.clean(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.probe(tmp_path)
    assert os.listdir(tmp_path) == []
    for fail_at in (1, 2, 3):
        faulty = UnreliableOs(fail_at, lambda: OSError(errno.EROFS, ""))
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", faulty)
            with pytest.raises(OSError, match=f"cannot write to {tmp_path}: the file system is"):
                storage.probe(tmp_path)
        assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_flushed_is_no_error_but_a_fault_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = len(CALLS) - 1
    for number, refused in ((errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)):
        faulty = UnreliableOs(last, lambda number=number: OSError(number, ""))
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", faulty)
            try:
                storage.write_atomically(tmp_path / "a", NEW)
            except OSError:
                assert refused
            else:
                assert not refused


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for line in (b"one", b"two"):
        storage.append_line(path, line)
    assert path.read_bytes() == b"one\ntwo\n"
    for torn in (b"thr", b"\0" * 100):  # as a kill or a power cut may leave it
        with path.open("ab") as file:
            file.write(torn)
        storage.append_line(path, b"next")
        path.write_bytes(path.read_bytes().removesuffix(b"next\n"))
        assert path.read_bytes() == b"one\ntwo\n"
    path.write_bytes(b"half")
    storage.append_line(path, b"one")
    assert path.read_bytes() == b"one\n"


@pytest.mark.parametrize("start", [b"", b"one\n", b"one\ntw"])
def test_an_append_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    whole = start[: start.rfind(b"\n") + 1]
    for fail_at in range(1, 10):
        path = tmp_path / f"a{fail_at}"
        if start:
            path.write_bytes(start)
        faulty = UnreliableOs(fail_at, lambda: OSError(errno.ENOSPC, ""))
        with monkeypatch.context() as patch:
            patch.setattr(disk, "os", faulty)
            try:
                storage.append_line(path, b"two")
            except OSError as error:
                assert "cannot write" in str(error)  # noqa: PT017
                if faulty.calls[fail_at - 1] != "close":
                    assert (path.read_bytes() if path.exists() else b"") in (start, whole)
            else:
                assert not faulty.reached
                assert path.read_bytes() == whole + b"two\n"
                return
    pytest.fail("no append came to its end")


def test_a_power_cut_never_takes_a_line_that_was_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b"one", b"two", b"three"]
    forgetful = ForgetfulOs(tmp_path)
    monkeypatch.setattr(disk, "os", forgetful)
    for count, line in enumerate(lines):
        before = len(forgetful.moments)
        storage.append_line(tmp_path / "a", line)
        for state in (state for states in forgetful.moments[before:] for state in states):
            assert state.get("a", b"").startswith(b"".join(each + b"\n" for each in lines[:count]))
    assert forgetful.moments[-1] == [{"a": b"one\ntwo\nthree\n"}]


def test_on_macos_the_drive_is_flushed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(disk.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(disk.fcntl, "fcntl", lambda descriptor, command: asked.append(command))
    storage.write_atomically(tmp_path / "a", NEW)
    assert asked == [51]
