"""What tests of all folders need."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Press Ctrl-C, from any thread, whatever handler the test runner has installed."""

    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.3)  # until the main thread has learned of it

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield press
    after = signal.signal(signal.SIGINT, before)
    assert after is signal.default_int_handler  # put back by whoever took its place
