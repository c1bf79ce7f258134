"""Writing to the disk so that nothing is ever lost or half-written.

A file is replaced in four steps: write a temporary file beside it, fsync it, rename it over the
old one, fsync the folder. A kill or a power cut between any two of them leaves the old file or the
new one, whole. But for the lock, every call that changes the disk is made here, through the name
``os``, so a test can put an unreliable one in its place. For POSIX systems.
"""

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deltarule.storage.text import printable

AnyPath = str | os.PathLike[str]

_TEMPORARY = re.compile(r"\.deltarule-[0-9a-f]{16}\.tmp")

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would be larger than this system or its limits allow",
    errno.EIO: "the disk reports a fault; check it or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; change the permissions or choose another folder",
    errno.EPERM: "it is not permitted; change the permissions or choose another folder",
    errno.ENOENT: "it, or a folder above it, does not exist; create that or correct the path",
    errno.EEXIST: "something of that name is in the way; choose another name",
    errno.ENOTDIR: "a part of the path is a file, not a folder; correct the path",
    errno.EISDIR: "it is a folder or a device, not a plain file; correct the path",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EINVAL: "the path is not a valid name on this system; choose another",
}


def write_atomically(path: AnyPath, data: bytes) -> None:
    """Make ``data`` the whole content of the file ``path``, durably, or change nothing.

    A process that has the old file open keeps the old content. Raises ``OSError`` with a sentence
    that names the path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/answer.txt", b"42")
    ...     print(Path(folder, "answer.txt").read_text())
    42
    """
    with explained("write", path):
        target = Path(os.path.realpath(path))  # a link keeps its place, its target is replaced
        if target.exists() and not target.is_file():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = _temporary(target.parent)
        try:
            _write_new(temporary, data)
            os.replace(temporary, target)
            _flush_folder(target.parent)
        except BaseException:
            _discard(temporary)
            raise


def append_line(path: AnyPath, line: bytes) -> None:
    """Append ``line`` and a line break to the file ``path``, durably, or change nothing.

    Half a line at the end, as a kill may leave it, is removed first. Raises ``OSError``.
    """
    with explained("write", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            end = _end_of_lines(descriptor)
            try:
                _write_all(descriptor, line + b"\n")
                _flush(descriptor)
                if end == 0:
                    _flush_folder(Path(path).parent)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)


def remove(path: AnyPath) -> None:
    """Remove the file ``path``; that it is gone already is no error. Raises ``OSError``."""
    with explained("remove", path), suppress(FileNotFoundError):
        os.unlink(path)


def make_folder(path: AnyPath, *, exist_ok: bool = True) -> None:
    """Make the folder ``path``, durably; the folder above it must exist. Raises ``OSError``."""
    with explained("make the folder", path):
        if exist_ok and os.path.isdir(path):
            return
        try:
            os.mkdir(path)
        except FileExistsError:
            if not (exist_ok and os.path.isdir(path)):  # else another process was faster
                raise
        _flush_folder(Path(path).parent)


def probe(folder: AnyPath) -> None:
    """Find out now whether files can be written to ``folder``. Raises ``OSError`` if not."""
    with explained("write to", folder):
        temporary = _temporary(Path(folder))
        try:
            _write_new(temporary, bytes(4096))
        finally:
            _discard(temporary)


def clean(folder: AnyPath) -> None:
    """Remove the temporary files that a killed process left in ``folder``. Raises ``OSError``.

    Call it only where no other process may be writing.
    """
    with explained("clean", folder):
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                os.unlink(Path(folder, name))


@contextmanager
def explained(action: str, path: AnyPath) -> Iterator[None]:
    """Turn any ``OSError`` inside into one of the same kind whose message is a sentence.

    >>> with explained("write", "full/model.safetensors"):
    ...     raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    Traceback (most recent call last):
    OSError: cannot write full/model.safetensors: the disk is full; free some space or choose \
another folder.
    """
    try:
        if not _possible(path):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        yield
    except OSError as error:
        if error.errno is None:  # a sentence already
            raise
        reason = _REASONS.get(error.errno, os.strerror(error.errno))
        sentence = type(error)(f"cannot {action} {printable(path)}: {reason}.")
        sentence.errno = error.errno
        raise sentence from error


def _possible(path: AnyPath) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _temporary(folder: Path) -> Path:
    # Not made from the final name, which may already be as long as a name can be.
    return folder / f".deltarule-{secrets.token_hex(8)}.tmp"


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_all(descriptor, data)
        _flush(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush(descriptor: int) -> None:
    os.fsync(descriptor)
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone stops at the drive's own cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
            raise
    finally:
        os.close(descriptor)


def _end_of_lines(descriptor: int) -> int:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    end = os.pread(descriptor, size, 0).rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    return end


def _discard(path: Path) -> None:
    with suppress(OSError):
        os.unlink(path)
