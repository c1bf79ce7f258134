"""What every test starts from."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# More than half of the time goes into compiling, so what one test compiled is found again by the
# other workers, by the commands that tests start and by the next run. JAX knows a program by its
# text, the options and the compiler: one that changed is another. Set before JAX is imported.
COMPILED = Path(__file__).parent / ".pytest_cache/compiled"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(COMPILED)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# With XLA's own caches for GPUs, the place of the cache is among the options of a program.
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"
KEPT = 7 * 24 * 3600  # seconds
MAPPINGS = 20_000  # of memory: Linux allows a process 65 530, a program takes several

# The same examples in every run, so that a change fails by its own fault; DELTARULE_EXPLORE=1 looks
# for new ones, and what it finds becomes a test of its own.
settings.register_profile("steady", derandomize=True)
if not os.environ.get("DELTARULE_EXPLORE"):
    settings.load_profile("steady")

# Started in the background, by nohup or by some schedulers, a process ignores these signals, and so
# does every process it starts: tests that send them would wait for ever.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        interrupt = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if interrupt else signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Forget programs that were compiled long ago, so that the folder does not grow for ever."""
    if hasattr(config, "workerinput"):
        return
    COMPILED.mkdir(parents=True, exist_ok=True)
    for program in COMPILED.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run may forget it first
            if time.time() - program.stat().st_mtime > KEPT:
                program.unlink()


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs() -> Iterator[None]:
    """Forget what was compiled before the system has no room for more: the compiler would crash."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_bytes().count(b"\n") > MAPPINGS:
        import jax

        jax.clear_caches()


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
