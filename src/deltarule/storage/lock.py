"""A lock file: one process at a time works in a folder.

The kernel's ``flock`` is used where the file system has it: the lock ends with its holder, however
that ends, so none is ever stale. Elsewhere a second file, made with ``O_EXCL``, names the holder by
process, host and boot; it is taken over when that process is gone from this boot of this host. A
holder on another host cannot be seen from here and counts as alive. Every process must see the
folder through a file system of the same kind, or one locks what the other does not look at.
"""

import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deltarule.errors import RunBusyError
from deltarule.storage.disk import explained
from deltarule.storage.text import printable

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` for the length of a ``with`` block.

    Raises ``RunBusyError``, naming the holder, if another process has it; ``OSError`` if the file
    cannot be made.
    """
    with explained("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if _flock(descriptor, path):
            yield
        else:
            with _held_by_name(path.with_name(path.name + "-holder")):
                yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int, path: Path) -> bool:
    """Lock; return False if the file system knows no such lock."""
    with explained("lock", path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path, os.pread(descriptor, 4096, 0)) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _this_process(), 0)
        return True


@contextmanager
def _held_by_name(path: Path) -> Iterator[None]:
    with explained("lock", path):
        try:
            _claim(path, _this_process())
        except FileExistsError:
            _set_stale_aside(path)
            try:
                _claim(path, _this_process())
            except FileExistsError:
                raise _busy(path, path.read_bytes()) from None
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)


def _claim(path: Path, holder: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, holder)
    finally:
        os.close(descriptor)


def _set_stale_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}-{os.getpid()}")
    with suppress(FileNotFoundError, FileExistsError):  # another process was faster
        holder = path.read_bytes()
        if not _gone(holder):
            raise _busy(path, holder)
        os.rename(path, aside)
        now = aside.read_bytes()
        os.unlink(aside)
        if now != holder:  # another process took over between the two looks: give it back
            _claim(path, now)


def _gone(holder: bytes) -> bool:
    known = _parsed(holder)
    here = _parsed(_this_process())
    if known.get("host") != here["host"] or not isinstance(known.get("pid"), int):
        return False
    if known.get("boot") != here["boot"]:
        return True
    try:
        os.kill(known["pid"], 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def _busy(path: Path, holder: bytes) -> RunBusyError:
    known = _parsed(holder)
    process = f"process {known['pid']} on {known['host']}" if known else "another process"
    return RunBusyError(
        f"the folder {printable(path.parent)} is in use by {printable(process)}; wait until that "
        f"ends, or choose another folder. If it has ended, delete {printable(path)}."
    )


def _this_process() -> bytes:
    holder = {"pid": os.getpid(), "host": platform.node(), "boot": _boot()}
    return json.dumps(holder).encode()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no such file outside Linux: the process number decides alone
        return ""


def _parsed(holder: bytes) -> dict[str, Any]:
    try:
        known = json.loads(holder)
    except ValueError:
        return {}
    return known if isinstance(known, dict) and set(known) == {"pid", "host", "boot"} else {}
