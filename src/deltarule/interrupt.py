"""Ctrl-C while something is learned: the first ends it in good order, the second at once."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self


class CtrlC:
    """Inside the block the first Ctrl-C calls ``stop``, and a second one interrupts as usual.

    Nothing is interrupted by the first, so that none of the threads that learn side by side can be
    lost on the way. Where somebody else handles the signal already, or outside the main thread,
    nothing changes.

    Attributes:
        pressed: whether it was.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._handles = False
        self.pressed = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._handles = True
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.pressed = True
        self._stop()
