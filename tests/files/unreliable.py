"""The calls to the operating system, made to fail, to die, or to forget on a power cut."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGING = (
    "open", "write", "pwrite", "ftruncate", "fsync", "replace", "rename", "unlink", "mkdir",
    "close",
)  # fmt: skip


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the library may catch it and act."""


class UnreliableOs:
    """Like ``os``, but the call ``fail_at`` (from 1) of those that change the disk goes wrong.

    A write that goes wrong has written half of its data. ``fault`` makes the exception. With
    ``dead`` every later call raises too: a killed process does nothing more.
    """

    def __init__(self, fail_at: int, fault: Callable[[], BaseException], *, dead: bool = False):
        self.fail_at, self.fault, self.dead = fail_at, fault, dead
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._wrapped(name, real) if name in CHANGING else real

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            count = len(self.calls)
            if count < self.fail_at or (count > self.fail_at and not self.dead):
                return real(*args, **options)
            if count == self.fail_at and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            if name == "close":  # the kernel closes what a dead process had open
                real(*args, **options)
            raise self.fault()

        return call

    @property
    def reached(self) -> bool:
        return len(self.calls) >= self.fail_at


@dataclass
class Content:
    """The bytes of one file: those an fsync has made safe, and those written."""

    safe: bytes = b""
    written: bytes = b""

    def after_a_power_cut(self) -> tuple[bytes, bytes, bytes]:
        """Return what may be left: all, nothing or half of what is not safe."""
        begun = len(self.safe) if self.written.startswith(self.safe) else 0
        half = self.written[: (begun + len(self.written)) // 2]
        return self.safe, self.written, half


@dataclass
class ForgetfulOs:
    """Like ``os``, and keeps a record of one folder: what is safe, what a power cut may undo.

    After every call ``self.moments`` grows by one: the folders, as {name: bytes}, that might be
    found if the power failed there. Any part of the renames, creations and removals since the
    folder's last fsync may be there, in any combination, with or without the data.
    """

    folder: Path
    moments: list[list[dict[str, bytes]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.safe = {
            path.name: Content(path.read_bytes(), path.read_bytes())
            for path in self.folder.iterdir()
        }
        self.now = dict(self.safe)
        self.pending: list[tuple[str, ...]] = []
        self.made: dict[str, Content] = {}
        self.descriptors: dict[int, str] = {}
        self.moments.append(self._states())

    def __getattr__(self, name: str) -> Any:
        if name not in CHANGING:
            return getattr(os, name)
        action = getattr(self, "_" + name)

        def call(*args: Any, **options: Any) -> Any:
            result = getattr(os, name)(*args, **options)
            action(result, *args)
            self.moments.append(self._states())
            return result

        return call

    def _open(self, descriptor: int, path: Any, flags: int, mode: int = 0) -> None:
        name = "" if Path(path) == self.folder else Path(path).name
        self.descriptors[descriptor] = name
        if name and name not in self.now:
            self.now[name] = self.made[name] = Content()
            self.pending.append(("create", name))

    def _write(self, count: int, descriptor: int, data: bytes) -> None:
        self.now[self.descriptors[descriptor]].written += bytes(data)[:count]

    def _ftruncate(self, result: None, descriptor: int, size: int) -> None:
        content = self.now[self.descriptors[descriptor]]
        content.written = content.written[:size]

    def _fsync(self, result: None, descriptor: int) -> None:
        name = self.descriptors[descriptor]
        if name:
            self.now[name].safe = self.now[name].written
        else:
            self.safe, self.pending = dict(self.now), []

    def _close(self, result: None, descriptor: int) -> None:
        del self.descriptors[descriptor]

    def _replace(self, result: None, old: Any, new: Any) -> None:
        old, new = Path(old).name, Path(new).name
        self.made[new + "/" + old] = self.now[old]
        self.now[new] = self.now.pop(old)
        self.pending.append(("replace", old, new))

    def _unlink(self, result: None, path: Any) -> None:
        self.now.pop(Path(path).name)
        self.pending.append(("unlink", Path(path).name))

    def _states(self) -> list[dict[str, bytes]]:
        states = []
        for chosen in itertools.product([True, False], repeat=len(self.pending)):
            entries = dict(self.safe)
            for (action, name, *rest), kept in zip(self.pending, chosen, strict=True):
                if not kept:
                    continue
                if action == "create":
                    entries[name] = self.made[name]
                elif action == "unlink":
                    entries.pop(name, None)
                else:
                    entries.pop(name, None)
                    entries[rest[0]] = self.made[rest[0] + "/" + name]
            states += self._contents(entries)
        return [dict(state) for state in {tuple(sorted(state.items())) for state in states}]

    def _contents(self, entries: dict[str, Content]) -> Iterator[dict[str, bytes]]:
        # Every file at its safest, every file at its newest, every file cut in the middle.
        for choice in range(3):
            yield {name: each.after_a_power_cut()[choice] for name, each in entries.items()}
