"""Download a published set once: several mirrors, pinned SHA-256, into the cache folder.

Nothing is believed but the checksum: a file gets its name in the cache only when it is whole, and
is checked again at each use. Environment: DELTARULE_CACHE (another folder), DELTARULE_OFFLINE=1
(never ask the network). Not here: what the files mean (idx.py, mnist.py).
"""

import contextlib
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from deltarule.cache import cache_folder, cache_path
from deltarule.errors import DownloadError

if TYPE_CHECKING:
    import requests

PATIENCE = 30.0  # seconds without progress, shared by the mirrors of a file
SLOWEST = 4096  # bytes per second; a mirror that sends less is left
REDIRECTS = 5
CHUNK = 1 << 13

Piece = tuple[int, bytes]  # some bytes of a file, and the place of the first
Pieces = Generator[Piece, None, None]


@dataclass(frozen=True)
class RemoteFile:
    """A file as it is published: its name, its size in bytes, its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Collection:
    """The files of a set, and the addresses (each ends in "/") under which each can be found."""

    name: str
    licence: str
    mirrors: tuple[str, ...]
    files: tuple[RemoteFile, ...]


class _RefusedError(Exception):
    """What one mirror said instead of sending the file; ``spoilt``: what it sent is of no use."""

    def __init__(self, reason: str, *, spoilt: bool = False) -> None:
        super().__init__(reason)
        self.spoilt = spoilt


def fetch(collection: Collection, *, _loopback: bool = False) -> Path:
    """Return the cache folder that holds every file of ``collection``, whole.

    Files that are missing or damaged are downloaded, over https only; ``_loopback`` also allows
    http from this machine to itself. Says what it does, the size and the licence on stderr first.

    Raises ``DownloadError`` if DELTARULE_OFFLINE forbids it or no mirror gives a file, with what
    each mirror said and where to put the files by hand; ``OSError`` if the disk is full.
    """
    folder = cache_path(collection.name)
    if not _missing(collection, folder):
        return folder
    if os.environ.get("DELTARULE_OFFLINE", "0") not in ("", "0"):
        raise DownloadError(
            f"{collection.name} is not in the cache, or is damaged there, and DELTARULE_OFFLINE "
            f"forbids downloading it.\n{_by_hand(collection, folder)}"
        )
    folder = cache_folder(collection.name)
    if missing := _missing(collection, folder):
        megabytes = sum(file.size for file in missing) / 1e6
        _say(f"{collection.name}: downloading {megabytes:.1f} MB to {folder}")
        _say(f"{collection.name}: licence {collection.licence}")
    for file in missing:
        _download(file, collection, folder, loopback=_loopback)
    return folder


def _missing(collection: Collection, folder: Path) -> list[RemoteFile]:
    return [file for file in collection.files if not _is_whole(folder / file.name, file)]


def _is_whole(path: Path, file: RemoteFile) -> bool:
    import pooch

    try:
        return path.stat().st_size == file.size and pooch.file_hash(path) == file.sha256
    except OSError:
        return False


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _by_hand(collection: Collection, folder: Path) -> str:
    names = ", ".join(file.name for file in collection.files)
    return f"By hand: get {names} from {' or '.join(collection.mirrors)} and put them into {folder}"


# ---- one file


def _download(file: RemoteFile, collection: Collection, folder: Path, *, loopback: bool) -> None:
    said = []
    with _part(folder, file) as part:
        if _is_whole(folder / file.name, file):
            return  # another process was faster
        for mirror in collection.mirrors:
            patience = PATIENCE / len(collection.mirrors)
            try:
                _complete(part, file, mirror + file.name, patience, loopback=loopback)
            except _RefusedError as refusal:
                said.append(f"{urlsplit(mirror).netloc} {refusal}")
            else:
                _install(part, folder / file.name)
                return
    raise DownloadError(
        f"{file.name} of {collection.name} could not be downloaded: {'; '.join(said)}.\n"
        f"{_by_hand(collection, folder)}"
    )


@contextlib.contextmanager
def _part(folder: Path, file: RemoteFile) -> Iterator[Path]:
    """Give the path to write to: one that a later run resumes, unless another process has it."""
    with open(folder / f".{file.name}.lock", "ab") as lock:
        if _locked(lock):
            yield folder / f"{file.name}.part"
            return
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{file.name}.") as own:
        yield Path(own, file.name)


def _locked(lock: IO[bytes]) -> bool:
    """Take the lock if it is free; the kernel frees it when its holder ends, however it ends."""
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # held, or a system or file system without such locks
        return False
    return True


def _complete(part: Path, file: RemoteFile, url: str, patience: float, *, loopback: bool) -> None:
    """Append to ``part`` what it lacks until it is ``file``, from the start if it was no part."""
    start = part.stat().st_size if part.exists() else 0
    if start < file.size:
        pieces = _watched(_pieces(url, start, file.size, patience, loopback=loopback), patience)
        try:
            _write(part, pieces)
        except _RefusedError as refusal:
            if refusal.spoilt:
                part.unlink(missing_ok=True)
            raise
    if not _is_whole(part, file):
        part.unlink()
        if not start:
            raise _RefusedError("sent another file: its SHA-256 is not the published one")
        _complete(part, file, url, patience, loopback=loopback)


def _write(part: Path, pieces: Pieces) -> None:
    try:
        with contextlib.closing(pieces), open(part, "ab") as out:
            for offset, piece in pieces:
                out.truncate(offset)  # a mirror that ignores where we want to go on starts at 0
                out.write(piece)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        part.unlink(missing_ok=True)
        hint = f"{error.strerror}; make room or set DELTARULE_CACHE to another folder"
        raise OSError(error.errno, hint, str(part)) from error


def _install(part: Path, path: Path) -> None:
    os.replace(part, path)
    if os.name == "posix":  # the new name, too, must survive a loss of power
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# ---- one mirror


def _watched(pieces: Pieces, patience: float) -> Pieces:
    """Hand ``pieces`` on as long as each stretch of SLOWEST * patience bytes arrives in time.

    One rule for a mirror that does not answer, stalls, or drips, and a real slow line passes. The
    pieces are drawn in a thread, because no time-out of a socket covers the look-up of a name or
    headers that come one byte at a time.
    """
    arrived: queue.SimpleQueue[Piece | _RefusedError | None] = queue.SimpleQueue()
    left = threading.Event()

    def draw() -> None:
        try:
            with contextlib.closing(pieces):
                for piece in pieces:
                    if left.is_set():
                        return
                    arrived.put(piece)
            arrived.put(None)
        except _RefusedError as refusal:
            arrived.put(refusal)

    threading.Thread(target=draw, name="deltarule-download", daemon=True).start()
    stretch, since = 0, time.monotonic()
    try:
        while True:
            try:
                piece = arrived.get(timeout=max(0.0, since + patience - time.monotonic()))
            except queue.Empty:
                raise _RefusedError(f"sent {stretch} bytes in {patience:.3g} s, too slow") from None
            if piece is None:
                return
            if isinstance(piece, _RefusedError):
                raise piece
            yield piece
            stretch += len(piece[1])
            if stretch >= SLOWEST * patience:
                stretch, since = 0, time.monotonic()
    finally:
        left.set()


def _pieces(url: str, start: int, size: int, patience: float, *, loopback: bool) -> Pieces:
    """Yield the file at ``url`` in pieces, each with its place, from byte ``start`` if it can."""
    import requests
    from urllib3.exceptions import HTTPError

    headers = {"User-Agent": "deltarule", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with (
            _session(loopback=loopback) as session,
            session.get(url, headers=headers, stream=True, timeout=patience) as response,
        ):
            offset = _offset(response, start, size)
            while piece := response.raw.read(CHUNK, decode_content=False):
                if offset + len(piece) > size:
                    raise _RefusedError(f"sent more than the {size} bytes of the file", spoilt=True)
                yield offset, piece
                offset += len(piece)
            if offset < size:
                raise _RefusedError(f"ended after {offset} of {size} bytes", spoilt=True)
    except requests.TooManyRedirects:
        raise _RefusedError(f"redirected more than {REDIRECTS} times") from None
    except requests.exceptions.InvalidSchema:
        raise _RefusedError("led to an address that is not https") from None
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise _RefusedError(f"failed ({_cause(error)})") from error


def _session(*, loopback: bool) -> "requests.Session":
    """Return a session that can open https and nothing else, redirects included."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.max_redirects = REDIRECTS
    session.adapters.clear()
    session.mount("https://", HTTPAdapter())
    if loopback:
        session.mount("http://127.0.0.1:", HTTPAdapter())
    return session


def _offset(response: "requests.Response", start: int, size: int) -> int:
    """Return the place of the first byte of ``response``, if it is what was asked for."""
    if response.status_code not in (200, 206):
        raise _RefusedError(f"answered {response.status_code} {response.reason}")
    offset = start if response.status_code == 206 else 0
    if response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(
        f"bytes {start}-"
    ):
        raise _RefusedError(f"did not go on at byte {start}")
    length = response.headers.get("Content-Length")
    if length not in (None, str(size - offset)):
        raise _RefusedError(f"offered {length} bytes instead of {size - offset}")
    return offset


def _cause(error: BaseException) -> str:
    """Return what the first of a chain of exceptions says: the one that knows what happened."""
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    return str(error) or type(error).__name__
