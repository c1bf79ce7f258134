"""The streams of the command, made safe: nobody may be listening, or in another alphabet."""

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def make_streams_safe() -> None:
    """Let no closed, lost or ASCII stream end a command.

    What a stream's alphabet lacks is escaped. Progress nobody reads is dropped: it is not worth a
    run. A result nobody reads still raises ``BrokenPipeError``.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as by 2>&-
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = Heedless(sys.stderr)


class Heedless:
    """A stream that takes everything, also when its reader has left or its terminal is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text`` if somebody is there."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if somebody is there."""
        with suppress(OSError):
            self._stream.flush()
