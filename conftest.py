"""What every test starts from."""

import os
import signal

from hypothesis import settings

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
