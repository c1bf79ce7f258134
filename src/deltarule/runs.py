"""A run folder: everything a run leaves, one process at a time, nothing lost whatever happens.

    model.safetensors                 the trained model (``files.save_model``)
    checkpoint-00000012.safetensors   where the run stood, the last two
    history.jsonl                     a record a line, a line an epoch
    config.json, environment.json     what was asked for, and where it ran
    data.json                         what was learned from: files, and the rows of each part

Pictures lie beside them. A checkpoint's number says which is the newest; the clock has no part in
it. An old checkpoint goes only after the new one is safe on the disk.
"""

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from deltarule import storage
from deltarule.errors import CheckpointError, ModelFileError
from deltarule.storage import printable

MODEL = "model.safetensors"
HISTORY = "history.jsonl"
CONFIG = "config.json"
ENVIRONMENT = "environment.json"
DATA = "data.json"

# The history travels in the header, so it may be longer than a model's.
_FORMAT = storage.Format("checkpoint", version=1, limit=64 << 20)
_CHECKPOINT = re.compile(r"checkpoint-([0-9]{8,18})\.safetensors")


class Checkpoint(NamedTuple):
    """Where a run stood: the number given when it was saved, its arrays and its plain data."""

    number: int
    arrays: dict[str, np.ndarray]
    header: dict[str, Any]


class RunFolder:
    """The folder of one run.

    Inside a ``with`` block this process holds the folder: it exists, files can be written to it,
    and no other process may enter. Reading needs no block.

    Args:
        path: the folder; it and those above it are made if they are missing.
        keep: how many checkpoints to keep.

    Raises on entry ``RunBusyError`` if another process holds the folder, and ``OSError`` if nothing
    can be written there, so that a run fails before its first step and not after its last.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root, RunFolder(new_run_path(root, "demo")) as run:
    ...     path = run.save_checkpoint(1, {"w": np.zeros(2)}, {"epoch": 1})
    ...     run.latest_checkpoint()
    Checkpoint(number=1, arrays={'w': array([0., 0.])}, header={'epoch': 1})
    """

    def __init__(self, path: str | Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}; a run needs its newest.")
        self.path = Path(path)
        self.keep = keep
        self._held: ExitStack | None = None

    def __enter__(self) -> "RunFolder":
        for folder in [*reversed(self.path.parents), self.path]:
            storage.make_folder(folder)
        with ExitStack() as stack:
            stack.enter_context(storage.locked(self.path / ".lock"))
            storage.clean(self.path)
            storage.probe(self.path)
            self._held = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def save_checkpoint(
        self, number: int, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]
    ) -> Path:
        """Write checkpoint ``number``, then remove older ones beyond ``keep``; return its path.

        Raises ``OSError`` if the disk refuses: the checkpoints there were are then untouched, and
        the call may be made again.
        """
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 10**18:
            raise ValueError(f"number must be an integer of at least 0, got {number!r}.")
        path = self._file(f"checkpoint-{number:08d}.safetensors")
        storage.write_tensors(path, arrays, {"number": number, "run": header}, _FORMAT)
        self._prune(number)
        return path

    def latest_checkpoint(self, *, strict: bool = False) -> Checkpoint | None:
        """Return the checkpoint with the highest number, or None if there is none at all.

        A damaged one is passed over with a warning, or with ``strict`` refused. Raises
        ``CheckpointError`` if there are checkpoints but none can be read: to start afresh beside
        them would hide the loss.
        """
        problems = []
        for number, path in self._checkpoints():
            try:
                return self._read(number, path)
            except (ModelFileError, OSError) as error:
                if strict:
                    raise CheckpointError(str(error)) from error
                problems.append(str(error))
                warnings.warn(f"checkpoint {number} is passed over: {error}", stacklevel=2)
        if problems:
            raise CheckpointError(
                f"no checkpoint in {printable(self.path)} can be read; put back a copy or start in "
                f"another folder. The newest: {problems[0]}"
            )
        return None

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write the file ``name``, for example a picture; return its path."""
        path = self._file(name)
        storage.write_atomically(path, data)
        return path

    def write_json(self, name: str, data: Any) -> Path:
        """Write plain ``data`` for people and programs; numbers not finite become null."""
        text = json.dumps(_publishable(data, name), indent=2, ensure_ascii=False)
        return self.write_bytes(name, f"{text}\n".encode())

    def append_line(self, name: str, record: Mapping[str, Any]) -> None:
        """Append ``record`` as a line of JSON; numbers not finite become null."""
        storage.append_line(self._file(name), _line(record, name))

    def rewrite_lines(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Make ``records`` the whole file, as a resumed run does whose last lines came too late."""
        self.write_bytes(name, b"".join(_line(record, name) + b"\n" for record in records))

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """Return the records of the file ``name``, none if there is no file.

        A last line that a kill cut short is left out. Raises ``CheckpointError`` for any other
        line that is no record, ``OSError`` if the file cannot be read.
        """
        path = self.path / _plain(name)
        with storage.explained("read", path):
            try:
                lines = path.read_bytes().split(b"\n")[:-1]
            except FileNotFoundError:
                return []
        return [_record(line, number, path) for number, line in enumerate(lines, 1)]

    def _file(self, name: str) -> Path:
        if self._held is None:
            raise RuntimeError("write to a run folder only inside `with RunFolder(...) as run:`.")
        return self.path / _plain(name)

    def _checkpoints(self) -> list[tuple[int, Path]]:
        """Return the numbers and paths of the checkpoints, newest first."""
        with storage.explained("read", self.path):
            matches = [_CHECKPOINT.fullmatch(path.name) for path in self.path.iterdir()]
        found = [(int(match[1]), self.path / match[0]) for match in matches if match]
        return sorted(found, reverse=True)

    def _read(self, number: int, path: Path) -> Checkpoint:
        arrays, header = storage.read_tensors(path, _FORMAT)
        if header.get("number") != number or not isinstance(header.get("run"), dict):
            raise ModelFileError(
                f"{printable(path)} was saved as checkpoint {header.get('number')!r:.40}; "
                "give it its name back."
            )
        return Checkpoint(number, arrays, header["run"])

    def _prune(self, newest: int) -> None:
        # Those with a higher number are never touched: if this run went back past a damaged one,
        # counting it among the kept would throw away the one just written.
        older = [path for number, path in self._checkpoints() if number < newest]
        for path in older[self.keep - 1 :]:
            try:
                storage.remove(path)
            except OSError as error:  # the new one is safe: no reason to stop a run
                warnings.warn(f"an old checkpoint stays: {error}", stacklevel=3)


def new_run_path(root: str | Path, name: str) -> Path:
    """Make the folder ``root/name``, or ``root/name-2`` and so on, and return its path.

    The folder is made, so two runs that start at once never get the same. ``root`` itself is made
    if it is missing. Raises ``OSError``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     [new_run_path(root, "digits").name for _ in range(3)]
    ['digits', 'digits-2', 'digits-3']
    """
    _plain(name)
    storage.make_folder(root)
    count = 1
    while True:
        path = Path(root) / (name if count == 1 else f"{name}-{count}")
        try:
            storage.make_folder(path, exist_ok=False)
        except FileExistsError:
            count += 1
        else:
            return path


def _plain(name: str) -> str:
    if not name or name.startswith(".") or "/" in name:
        raise ValueError(
            f"name must be a plain name, without a folder or a dot before it, got {name!r}; "
            "choose another."
        )
    return name


def _publishable(data: Any, name: str) -> Any:
    return storage.encoded(data, name, special=lambda number: None)


def _line(record: Mapping[str, Any], name: str) -> bytes:
    return json.dumps(_publishable(record, name), ensure_ascii=False).encode()


def _record(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        record = storage.parsed(line.decode())
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise CheckpointError(
            f"line {number} of {printable(path)} is damaged: it must be one JSON record; remove "
            "the line or put back a copy of the file."
        )
    return record
