"""What every test starts from."""

import signal

# Started in the background, by nohup or by some schedulers, a process ignores these signals, and so
# does every process it starts: tests that send them would wait for ever.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        interrupt = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if interrupt else signal.SIG_DFL)
