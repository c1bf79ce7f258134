"""Ctrl-C, threads, and callbacks: what may happen around the compiled calls."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fits import BATCH, NETWORK, Snapshots, blobs, cut_into, digest, weights

from deltarule.learning import Callback, Recipe, Run, fit

DATA = blobs()
RECIPE = Recipe(epochs=5, batch_size=BATCH)


class Press(Callback):
    """Presses Ctrl-C a number of times in an epoch."""

    def __init__(self, epoch, press, times=1):
        self.epoch, self.press, self.times, self.run = epoch, press, times, None

    def epoch_ended(self, run):
        self.run = run
        if run.state.epoch == self.epoch:
            for _ in range(self.times):
                self.press()


def test_ctrl_c_ends_the_run_with_a_warning_and_a_model(ctrl_c):
    with pytest.warns(UserWarning, match="^Training interrupted by user.$") as warned:
        run = fit(NETWORK, DATA, recipe=RECIPE, callbacks=[Press(2, ctrl_c)])
    assert warned[0].filename == __file__
    assert (run.stopped, len(run.history)) == ("interrupted", 2)
    assert run.model.predict(DATA.x).shape == (43,)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    shorter = fit(NETWORK, DATA, recipe=Recipe(epochs=2, batch_size=BATCH))
    assert np.array_equal(weights(run), weights(shorter))
    resumed = fit(NETWORK, DATA, recipe=RECIPE, resume=run.state)
    assert digest(resumed.state) == digest(fit(NETWORK, DATA, recipe=RECIPE).state)


def test_a_second_ctrl_c_ends_it_at_once(ctrl_c):
    press = Press(2, ctrl_c, times=2)
    with pytest.raises(KeyboardInterrupt):
        fit(NETWORK, DATA, recipe=RECIPE, callbacks=[press])
    assert len(press.run.history) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_an_error_restores_the_handler():
    class Fail(Callback):
        def epoch_ended(self, run):
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fit(NETWORK, DATA, recipe=RECIPE, callbacks=[Fail()])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_caller_stays(ctrl_c):
    presses = []

    def handler(number, frame):
        presses.append(number)

    signal.signal(signal.SIGINT, handler)
    run = fit(NETWORK, DATA, recipe=RECIPE, callbacks=[Press(2, ctrl_c)])
    assert presses == [signal.SIGINT]
    assert (run.stopped, len(run.history)) == (None, 5)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is handler


def test_a_worker_thread_trains_like_the_main_one():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(digest(fit(NETWORK, DATA, recipe=RECIPE).state))
    )
    thread.start()
    thread.join(120)
    assert found == [digest(fit(NETWORK, DATA, recipe=RECIPE).state)]


def test_two_threads_at_once_and_in_two_precisions():
    recipes = [
        Recipe(epochs=60, batch_size=BATCH, seed=seed, precision=precision)
        for seed in (1, 2)
        for precision in ("float32", "float64")
    ]
    alone = [digest(fit(NETWORK, DATA, recipe=recipe).state) for recipe in recipes]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda recipe: fit(NETWORK, DATA, recipe=recipe), recipes)
        assert [digest(run.state) for run in together] == alone
    assert len(set(alone)) == 4


class Record(Callback):
    """Writes down every event and where the run stood."""

    def __init__(self, every_epoch=True):
        self.every_epoch, self.events = every_epoch, []

    def started(self, run):
        assert isinstance(run, Run)
        self.events.append(("started", run.state.epoch, run.state.position))

    def advanced(self, run):
        self.events.append(("advanced", run.state.epoch, run.state.position))

    def epoch_ended(self, run):
        assert run.history[-1]["epoch"] == run.state.epoch
        self.events.append(("epoch_ended", run.state.epoch, run.state.position))

    def ended(self, run):
        self.events.append(("ended", run.state.epoch, run.state.position))


def test_the_order_of_events(monkeypatch):
    cut_into(monkeypatch, 5)  # of nine steps
    record = Record()
    fit(NETWORK, DATA, recipe=Recipe(epochs=2, batch_size=BATCH), callbacks=[record])
    assert record.events == [
        ("started", 0, 0),
        ("advanced", 0, 5),
        ("epoch_ended", 1, 0),
        ("advanced", 1, 0),
        ("advanced", 1, 5),
        ("epoch_ended", 2, 0),
        ("advanced", 2, 0),
        ("ended", 2, 0),
    ]


def test_callbacks_are_told_in_their_order():
    told = []

    class Named(Callback):
        def __init__(self, name):
            self.name = name

        def epoch_ended(self, run):
            told.append(self.name)

    fit(
        NETWORK, DATA, recipe=Recipe(epochs=2, batch_size=BATCH), callbacks=[Named("a"), Named("b")]
    )
    assert told == ["a", "b", "a", "b"]


def test_every_epoch_decides_whether_epochs_share_a_call():
    eager, patient, stored = Record(), Record(every_epoch=False), Snapshots()
    runs = [
        fit(NETWORK, DATA, recipe=RECIPE, callbacks=[eager]),
        fit(NETWORK, DATA, recipe=RECIPE, callbacks=[patient, stored]),
    ]
    assert [run.plan.epochs_per_call for run in runs] == [1, 32]
    assert [event for event, *_ in eager.events].count("advanced") == 5
    assert [event for event, *_ in patient.events].count("advanced") == 1
    assert [event for event, *_ in patient.events].count("epoch_ended") == 5
    assert digest(runs[0].state) == digest(runs[1].state)


@pytest.mark.parametrize("event", ["started", "epoch_ended", "advanced"])
def test_a_callback_may_stop_the_run(event):
    class Stop(Callback):
        pass

    setattr(Stop, event, lambda self, run: run.stop("enough"))
    record = Record()
    run = fit(NETWORK, DATA, recipe=RECIPE, callbacks=[Stop(), record])
    assert run.stopped == "enough"
    assert len(run.history) == (0 if event == "started" else 1)
    assert record.events[-1][0] == "ended"
    assert run.model.predict(DATA.x).shape == (43,)


def test_the_first_reason_to_stop_is_kept():
    class Stop(Callback):
        def epoch_ended(self, run):
            run.stop(f"epoch {run.state.epoch}")
            run.stop("later")

    assert fit(NETWORK, DATA, recipe=RECIPE, callbacks=[Stop()]).stopped == "epoch 1"
