"""The cache of downloads: parts, processes, the disk, and where it all lies."""

import errno
import hashlib
import os
import pwd
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pooch
import pytest
from mirror_server import CONTENT, answer, assert_installed, cut, fetch, send, stall, until

from deltarule.data import download
from deltarule.errors import DownloadError

pytestmark = pytest.mark.usefixtures("cache")
PAGE = b"<!DOCTYPE html><title>This domain may be for sale</title>"


# ---- parts, processes, the disk


def part_of(cache, content):
    (cache / "small").mkdir(parents=True)
    path = cache / "small" / "file.gz.part"
    path.write_bytes(content)
    return path


def test_a_cut_download_goes_on_where_it_was(server, cache):
    fetch(server, first=cut(CONTENT, 50_000), second=send(CONTENT))
    place = int(server.asked[1][2].removeprefix("bytes=").removesuffix("-"))
    assert 40_000 < place <= 50_000  # the last piece of a cut connection may be lost
    assert_installed(cache / "small")


def test_a_later_run_goes_on_where_the_last_was(server, cache):
    with pytest.raises(DownloadError):
        fetch(server, first=cut(CONTENT, 50_000))
    part = cache / "small" / "file.gz.part"
    size = part.stat().st_size
    assert part.read_bytes() == CONTENT[:size]
    assert_installed(fetch(server, first=send(CONTENT)))
    assert server.asked[1][2] == f"bytes={size}-"


PARTS = {
    "all of it": (CONTENT, []),
    "all of something else": (CONTENT[::-1], [None]),
    "more than there is": (CONTENT + b"more", [None]),
    "a part of something else": (PAGE, [f"bytes={len(PAGE)}-", None]),
    "nothing": (b"", [None]),
}


@pytest.mark.parametrize(("part", "ranges"), PARTS.values(), ids=PARTS)
def test_what_a_part_may_be(server, cache, part, ranges):
    part_of(cache, part)
    assert_installed(fetch(server, good=send(CONTENT)))
    assert [asked for _, _, asked in server.asked] == ranges


def test_mirror_that_cannot_go_on_starts_again(server, cache):
    part_of(cache, CONTENT[:50_000])
    assert_installed(fetch(server, good=send(CONTENT, ranges=False)))
    assert len(server.asked) == 1


def test_mirror_that_goes_on_elsewhere_is_left(server, cache):
    part_of(cache, CONTENT[:50_000])
    elsewhere = answer(206, Content_Range="bytes 60000-99999/100000")
    assert_installed(fetch(server, first=elsewhere, second=send(CONTENT)))


def test_killed_in_the_middle(server, cache):
    server.mirrors["slow"] = stall(CONTENT, 60_000)
    process = _process(server, "slow")
    part = cache / "small" / "file.gz.part"
    try:
        until(lambda: part.exists() and part.stat().st_size >= 40_000)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    assert not (cache / "small" / "file.gz").exists()
    # The kernel has freed the lock of the dead: its part is taken up.
    assert_installed(fetch(server, good=send(CONTENT)))
    assert server.asked[-1][2] is not None


def test_two_processes_at_once(server, cache):
    both = threading.Barrier(2)

    def together(handler):
        both.wait(30)  # nobody gets anything before both have asked
        send(CONTENT)(handler)

    server.mirrors["good"] = together
    processes = [_process(server, "good") for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    assert len(server.asked) == 2
    assert_installed(cache / "small")


def _process(server, mirror):
    """Start a process that fetches the file from ``mirror``."""
    program = f"""if True:
        from deltarule.data.download import *
        file = RemoteFile("file.gz", {len(CONTENT)}, "{hashlib.sha256(CONTENT).hexdigest()}")
        small = Collection("small", "CC0", ("{server.base}{mirror}/",), (file,))
        fetch(small, _loopback=True)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, env=environment
    )


def test_who_waits_for_no_lock_looks_again(server, cache, monkeypatch):
    # The other process installs the file between our look at the cache and our lock.
    locked = download._locked

    def meanwhile(lock):
        (cache / "small" / "file.gz").write_bytes(CONTENT)
        return locked(lock)

    monkeypatch.setattr(download, "_locked", meanwhile)
    assert_installed(fetch(server, good=answer(404)))
    assert server.asked == []


def test_file_system_without_locks(server, cache, monkeypatch):
    monkeypatch.setattr(download, "_locked", lambda lock: False)
    assert_installed(fetch(server, bad=cut(CONTENT, 9), good=send(CONTENT)))


def test_disk_full(server, cache):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="File too large; make room") as caught:
            fetch(server, good=send(CONTENT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert not isinstance(caught.value, DownloadError)
    assert [path.name for path in (cache / "small").iterdir()] == [".file.gz.lock"]
    assert_installed(fetch(server, good=send(CONTENT)))


def test_bytes_are_on_the_disk_before_the_name_is(server, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: calls.append(n) or r(*a))
    fetch(server, good=send(CONTENT))
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


@pytest.mark.parametrize("place", [0, 50_000, 99_999])
def test_cached_file_that_was_damaged_is_fetched_again(server, cache, place):
    folder = fetch(server, good=send(CONTENT))
    damaged = bytearray(CONTENT)
    damaged[place] ^= 1
    (folder / "file.gz").write_bytes(damaged)
    assert_installed(fetch(server, good=send(CONTENT)))
    (folder / "file.gz").write_bytes(CONTENT[:place])
    assert_installed(fetch(server, good=send(CONTENT)))
    assert len(server.asked) == 3


# ---- offline, and where the cache is


def test_offline(server, cache, monkeypatch):
    monkeypatch.setenv("DELTARULE_OFFLINE", "1")
    with pytest.raises(DownloadError, match="DELTARULE_OFFLINE") as caught:
        fetch(server, good=send(CONTENT))
    for part in ("file.gz", str(cache / "small"), f"{server.base}good/"):
        assert part in str(caught.value)
    assert server.asked == []
    assert not cache.exists()
    monkeypatch.setenv("DELTARULE_OFFLINE", "0")
    folder = fetch(server, good=send(CONTENT))
    monkeypatch.setenv("DELTARULE_OFFLINE", "1")
    assert fetch(server, good=send(CONTENT)) == folder
    (folder / "file.gz").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="or is damaged there"):
        fetch(server, good=send(CONTENT))


def test_cache_of_the_system(server, tmp_path, monkeypatch):
    monkeypatch.delenv("DELTARULE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = fetch(server, good=send(CONTENT))
    assert folder.parts[-2:] == ("deltarule", "small")
    assert folder.is_relative_to(tmp_path)


def test_no_home(server, tmp_path, monkeypatch, capsys):
    def nobody(_):
        raise KeyError

    for name in ("DELTARULE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert_used_once(server, tmp_path, capsys)


def test_no_home_with_an_older_platformdirs(server, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DELTARULE_CACHE")
    monkeypatch.setattr(pooch, "os_cache", lambda project: Path("~/.cache", project))
    assert_used_once(server, tmp_path, capsys)


@pytest.mark.parametrize("below", ["file", "/proc"])
def test_cache_that_cannot_be_written(server, tmp_path, monkeypatch, capsys, below):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / below / "cache"))
    assert_used_once(server, tmp_path, capsys)


def assert_used_once(server, tmp_path, capsys):
    """A temporary folder is used, said to be, and found again by this process."""
    folder = fetch(server, good=send(CONTENT))
    assert_installed(folder)
    assert folder.parent.parent == tmp_path
    assert folder.parent.stat().st_mode & 0o077 == 0
    assert "warning: the cache folder cannot be written" in capsys.readouterr().err
    assert fetch(server, good=answer(404)) == folder
    assert len(server.asked) == 1
    assert capsys.readouterr().err == ""


def test_cache_that_can_only_be_read_is_read(server, tmp_path, monkeypatch):
    folder = fetch(server, good=send(CONTENT))
    monkeypatch.setattr(download, "cache_folder", None)
    assert fetch(server, good=answer(404)) == folder
    assert Path(folder, "file.gz").exists()
