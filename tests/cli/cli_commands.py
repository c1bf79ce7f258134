"""Running the command, here or in a process of its own, and looking at what it left.

The other process is forked from a server that has the libraries loaded and has computed nothing
yet: a real process with real signals, exit code and streams, at a fraction of the cost of a new
interpreter.
"""

import functools
import hashlib
import json
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PATIENCE = 120.0  # seconds; only a hang takes so long
LOADED = ["deltarule.cli.running", "sklearn.datasets", "sklearn.model_selection", "scipy.stats"]


class Done(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=_no_json)


Run = Callable[..., Done]  # the fixture ``run``


def _no_json(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


# ---- what a run left


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=_no_json) for line in lines]


def bits(folder: Path) -> tuple[str, str]:
    """Return what the same run must leave: the SHA-256 of its model and of its history."""
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in history(folder)]
    model = (folder / "model.safetensors").read_bytes()
    return digest(model), digest(json.dumps(records).encode())


def files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run by its name."""
    return {p.name: digest(p.read_bytes()) for p in folder.iterdir() if p.name != ".lock"}


def checkpoints(folder: Path) -> list[int]:
    """Return the numbers of the checkpoints, oldest first."""
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*"))


def write_images(folder: Path, *, side: int = 4, seed: int = 0) -> Path:
    """Write a set of three easy classes as four IDX files; return the folder."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for stem, n in (("train", 60), ("t10k", 30)):
        labels = (np.arange(n) % 3).astype(np.uint8)
        images = rng.integers(0, 60, (n, side, side), dtype=np.uint8)
        images[np.arange(n), labels] += 150  # class 1 has a bright second row
        write_idx(folder / f"{stem}-images-idx3-ubyte", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte", labels)
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


# ---- a process of its own


@dataclass
class Command:
    """A command that runs or has run; its streams go to files."""

    process: BaseProcess
    streams: tuple[Path, Path]

    @property
    def out(self) -> str:
        return self.streams[0].read_text()

    @property
    def err(self) -> str:
        return self.streams[1].read_text()

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        """Return the exit code; that of a signal is negative."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running after {PATIENCE:.0f} s:\n{self.err[-2000:]}")
        return self.process.exitcode

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for something that the running command brings about."""
        limit = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.exitcode is None, f"it has ended before:\n{self.err[-2000:]}"
            assert time.monotonic() < limit, f"nothing happened:\n{self.err[-2000:]}"
            time.sleep(0.002)


def start(*arguments: str, prepare: Callable[[], None] | None = None) -> Command:
    """Start ``deltarule ARGUMENTS`` in this folder and with this environment.

    ``prepare`` is a function of a module, called in the other process before the command.
    """
    folder = Path.cwd()
    count = len(list(folder.glob(".command-*-out")))
    streams = folder / f".command-{count}-out", folder / f".command-{count}-err"
    for path in streams:
        path.touch()
    process = _context().Process(
        target=_become, args=(arguments, folder, dict(os.environ), streams, prepare)
    )
    process.start()
    return Command(process, streams)


@functools.cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    os.environ["PYTHONWARNINGS"] = "ignore:os.fork"  # JAX warns; it has no threads there yet
    return context


def _become(
    arguments: tuple[str, ...],
    folder: Path,
    environment: dict[str, str],
    streams: tuple[Path, Path],
    prepare: Callable[[], None] | None,
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY), number)
    open_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    from deltarule.cli import main, outcome

    outcome.draw = lambda *_: []  # takes longer than the training
    if prepare is not None:
        prepare()
    sys.argv = ["deltarule", *arguments]
    main()


def open_streams() -> None:
    """Open Python's streams as a new interpreter does; those of the server know other files."""
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115


# ---- what another process may be prepared with


def in_many_calls() -> None:
    """Cut an epoch of digits into several compiled calls, with a checkpoint after each."""
    from deltarule import training
    from deltarule.learning import plan

    plan.CALL_SECONDS = 2.5e-4  # by make_plan's guess a third of an epoch
    plan.Plan.after = lambda self, *_: self.steps_per_call  # type: ignore[method-assign]
    assert training.train.__kwdefaults__ is not None
    training.train.__kwdefaults__["every_seconds"] = 0.0


def slowly() -> None:
    """As ``in_many_calls``, with pauses, so that a test can act between two calls."""
    in_many_calls()
    from deltarule.training import Keeper

    save = Keeper.save

    def save_slowly(keeper: Keeper, run: object) -> None:
        save(keeper, run)  # type: ignore[arg-type]
        time.sleep(0.02)

    Keeper.save = save_slowly  # type: ignore[method-assign]
