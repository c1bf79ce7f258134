"""Stopping on request: the first signal ends the run after a checkpoint, the second at once."""

import signal
import threading
from types import FrameType
from typing import Any

from deltarule.learning import Callback, Run

NAMES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class StopOnSignal(Callback):
    """Stops the run when the process is asked to; ``exit_code`` says by which signal."""

    every_epoch = False

    def __init__(self) -> None:
        self.exit_code = 0

    def __enter__(self) -> "StopOnSignal":
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in NAMES:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks for
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.exit_code = NAMES[signal.Signals(number)]
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)

    def started(self, run: Run) -> None:
        """Do not begin if the signal came before."""
        self.advanced(run)

    def advanced(self, run: Run) -> None:
        """Stop the run if a signal came."""
        if self.exit_code:
            run.stop("interrupted")
