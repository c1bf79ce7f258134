"""One process at a time: with the kernel's lock, and where there is none."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deltarule.errors import RunBusyError
from deltarule.storage import lock, locked

HOLD = """
import sys
from pathlib import Path
from deltarule.runs import RunFolder
from deltarule.storage import lock
if sys.argv[2] == "named":
    def unsupported(descriptor, how):
        raise OSError(95, "not supported")
    lock.fcntl.flock = unsupported
with RunFolder(sys.argv[1]) as run:
    print("holding", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["flock", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "named":
        monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    return request.param


def unsupported(descriptor: int, how: int) -> None:
    raise OSError(errno.ENOTSUP, "not supported")


def start(folder: Path, kind: str) -> "subprocess.Popen[str]":
    source = Path(lock.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_two_processes_and_a_death(tmp_path: Path, kind: str) -> None:
    with start(tmp_path, kind) as process:
        words = f"in use by process {process.pid} on {os.uname().nodename}"
        with pytest.raises(RunBusyError, match=words), locked(tmp_path / ".lock"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(tmp_path / ".lock"):  # the dead hold nothing
        pass


def test_an_orderly_end_releases(tmp_path: Path, kind: str) -> None:
    with start(tmp_path, kind) as process:
        process.communicate("")
    assert process.returncode == 0
    with locked(tmp_path / ".lock"):
        pass


def test_twice_in_one_process(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".lock"
    with locked(path):
        with pytest.raises(RunBusyError, match=f"process {os.getpid()}"), locked(path):
            pass
        with pytest.raises(RunBusyError), locked(path):  # refusing releases nothing
            pass
    with locked(path):
        pass


def test_an_error_inside_releases(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / ".lock"):
        raise ZeroDivisionError
    with locked(tmp_path / ".lock"):
        pass


def gone_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


HERE = json.loads(lock._this_process())
HOLDERS = {
    "of another host": ({**HERE, "pid": 1, "host": "elsewhere"}, False),
    "of another boot": ({**HERE, "boot": "before"}, True),
    "alive": (HERE, False),
    "of process 1, alive and not ours": ({**HERE, "pid": 1}, False),
    "of an impossible process": ({**HERE, "pid": 10**30}, False),
    "without a process": ({**HERE, "pid": "1"}, False),
    "of another form": ({"pid": 1}, False),
    "no dictionary": ([1], False),
}


@pytest.mark.parametrize("case", HOLDERS)
def test_holders_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    holder, stale = HOLDERS[case]
    _try(tmp_path, monkeypatch, json.dumps(holder).encode(), stale)


@pytest.mark.parametrize("holder", [b"", b"{", b"\xff\x00"])
def test_a_holder_that_cannot_be_read_counts_as_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: bytes
) -> None:
    _try(tmp_path, monkeypatch, holder, stale=False)


def test_a_dead_holder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _try(tmp_path, monkeypatch, json.dumps({**HERE, "pid": gone_pid()}).encode(), stale=True)


def _try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holder: bytes, stale: bool) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    named = tmp_path / ".lock-holder"
    named.write_bytes(holder)
    if stale:
        with locked(tmp_path / ".lock"):
            assert named.read_bytes() == lock._this_process()
        assert os.listdir(tmp_path) == [".lock"]
    else:
        with pytest.raises(RunBusyError, match=r"delete .*lock-holder"), locked(tmp_path / ".lock"):
            pass
        assert named.read_bytes() == holder


def test_of_two_that_take_over_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    named = tmp_path / ".lock-holder"
    named.write_bytes(json.dumps({**HERE, "boot": "before"}).encode())
    winner = json.dumps({**HERE, "host": "faster"}).encode()
    real = os.rename

    def rename(old: Path, new: Path) -> None:
        named.write_bytes(winner)  # another process replaces it between our look and our move
        real(old, new)

    monkeypatch.setattr(lock.os, "rename", rename)
    with pytest.raises(RunBusyError, match="on faster"), locked(tmp_path / ".lock"):
        pass
    assert named.read_bytes() == winner


def test_other_faults_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(OSError, match=r"cannot lock .*does not exist"),
        locked(tmp_path / "no/lock"),
    ):
        pass

    def broken(descriptor: int, how: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(lock.fcntl, "flock", broken)
    with pytest.raises(OSError, match=r"cannot lock .*reports a fault"), locked(tmp_path / ".lock"):
        pass
