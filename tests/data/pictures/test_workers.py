"""Several processes and streams: the same answers, bounded memory, nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deltarule.data.pictures import read as reading
from deltarule.data.pictures import read_images
from deltarule.data.pictures.unread import UnreadPictures
from deltarule.data.pictures.workers import AHEAD, in_order, workers_for
from deltarule.errors import DataError

SRC = Path(__file__).parents[3] / "src"
WATCHDOG = 60  # seconds; whatever hangs is a failure


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], env={"PYTHONPATH": str(SRC)},
        capture_output=True, text=True, timeout=WATCHDOG,
    )  # fmt: skip


@pytest.fixture
def photos(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.full((4, 4), 100 * label + i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_more_workers_only_where_they_pay():
    assert workers_for(1000, 10**6, None) == 1
    assert workers_for(10**5, 10**10, None) == min(8, len(os.sched_getaffinity(0)))
    assert workers_for(1, 1, 3) == 3
    with pytest.raises(DataError, match="workers"):
        workers_for(1, 1, 0)


def test_a_script_without_a_guard_gets_the_same_from_two_workers(photos, tmp_path):
    script = tmp_path / "script.py"  # spawn would run it again, workers and all
    script.write_text(
        "import sys\n"
        "from deltarule.data.pictures import read_images\n"
        "print('started')\n"
        "made = read_images(sys.argv[1], workers=2)\n"
        "print(made.splits.train.fingerprint(), made.splits.test.fingerprint())\n"
        "streamed = read_images(sys.argv[1], stream=True, workers=2)\n"
        "print(streamed.splits.train.fingerprint() == made.splits.train.fingerprint())\n"
    )
    done = run(script, photos)
    one = read_images(photos, workers=1).splits
    assert done.stdout.split() == [
        "started", one.train.fingerprint(), one.test.fingerprint(), "True"
    ], done.stderr  # fmt: skip


def test_a_worker_that_dies_is_a_data_error():
    tasks = iter([0, 1])
    with pytest.raises(DataError, match="ended before its time"):
        list(in_order(os._exit, tasks, 2))


def test_no_further_ahead_than_said():
    taken = []

    def tasks():
        for i in range(100):
            taken.append(i)
            yield i

    answers = in_order(abs, tasks(), 2)
    for i, answer in zip(range(20), answers, strict=False):
        assert answer == i
        assert len(taken) <= i + 1 + 2 * AHEAD
    answers.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals as POSIX has them")
def test_ctrl_c_is_the_parents():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    held = in_order(partial(signal.pthread_sigmask, signal.SIG_BLOCK), [[]], 2)
    assert [signal.SIGINT in mask for mask in held] == [True]
    assert list(in_order(signal.getsignal, [signal.SIGINT], 2)) == [signal.SIG_IGN]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


WAITING = """
import os, sys, time
from pathlib import Path
from deltarule.data.pictures import survey_images
import deltarule.data.pictures.read as reading
from deltarule.data.pictures.workers import in_order

def slow(decode, jobs, workers):
    for answer in in_order(decode, jobs, 2):
        import multiprocessing
        print(*[p.pid for p in multiprocessing.active_children()], flush=True)
        time.sleep(60)
        yield answer

reading.in_order = slow
reading.jobs_of = lambda *rest, real=reading.jobs_of: real(*rest[:4], 1)
reading.read_images(sys.argv[1], cache=sys.argv[2])
"""


def gone(pids):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if not any(
            Path(f"/proc/{pid}").exists() and b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
            for pid in pids
        ):
            return True  # fmt: skip
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_and_no_half_cache_is_left(photos, tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, str(script), str(photos), str(tmp_path / "cache")],
        env={"PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does, to all of them
        else:
            process.kill()
        _, errors = process.communicate(timeout=WATCHDOG)
        assert gone(pids)
        if number == signal.SIGINT:
            assert errors.count(b"KeyboardInterrupt") == 1, errors.decode()
            assert list((tmp_path / "cache").iterdir()) == []
        else:
            assert not list((tmp_path / "cache").glob("*.npy"))
    finally:
        process.kill()


# ---- streams


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_that_stay_in_their_files_are_those_in_memory(photos, workers):
    kept = read_images(photos).splits
    streamed = read_images(photos, stream=True, workers=workers).splits
    for part in ("train", "validation", "test"):
        one, other = getattr(kept, part), getattr(streamed, part)
        assert isinstance(other.x, UnreadPictures)
        assert one.fingerprint() == other.fingerprint()
    order = np.random.default_rng(0).permutation(len(kept.train))
    np.testing.assert_array_equal(streamed.train[order].x[:], kept.train.x[order])
    some = [order[:3], order[3:3], order[3:10]]
    for part, x in zip(some, streamed.train.x.read(some), strict=True):
        np.testing.assert_array_equal(x, kept.train.x[part])


def test_a_file_that_changes_after_it_was_listed_ends_the_stream(photos):
    made = read_images(photos, stream=True)
    victim = made.files[made.indices["train"][0]].name
    (photos / victim).write_bytes((photos / victim).read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{victim} was changed"):
        made.splits.train.x[:]
    assert made.splits.train.x[1:3].shape == (2, 4, 4, 1)


def test_a_bad_file_is_known_before_anything_is_trained(photos):
    (photos / "cat" / "3.png").write_bytes((photos / "cat" / "3.png").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"cat/3.png is damaged"):
        read_images(photos, stream=True)
    made = read_images(photos, stream=True, skip_bad=True)
    assert list(made.skipped) == ["cat/3.png"]
    assert sum(len(part.x[:]) for part in vars(made.splits).values()) == 39


def test_a_stream_is_chosen_where_the_disk_has_no_room(photos, monkeypatch):
    usage = reading.shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(reading.shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(reading, "KEPT_IN_MEMORY", 0)
    made = read_images(photos)
    assert isinstance(made.splits.train.x, UnreadPictures)
    assert "anew each time" in made.report[-1]
    with pytest.raises(DataError, match="leave one of them out"):
        read_images(photos, stream=True, cache=False)


TRAINING = """
import multiprocessing, sys, time
import deltarule as dr
from deltarule.data import read_images
from deltarule.learning import pages

pages.PAGE = 64  # bytes: four pictures
splits = read_images(sys.argv[1], stream=True, workers=2).splits

class Wait(dr.Callback):
    def advanced(self, run):
        print(*[p.pid for p in multiprocessing.active_children()], flush=True)
        while sys.argv[2] == "twice" or not run.stopped:
            time.sleep(0.01)

run = dr.fit(dr.Network([16, 2]), splits.train, recipe=dr.Recipe(batch_size=4), callbacks=[Wait()])
print(run.stopped, len(multiprocessing.active_children()))
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("presses", ["once", "twice"])
def test_ctrl_c_while_a_run_reads_ahead_leaves_no_process(photos, tmp_path, presses):
    script = tmp_path / "script.py"
    script.write_text(TRAINING)
    process = subprocess.Popen(
        [sys.executable, str(script), str(photos), presses], env={"PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        for _ in range(2 if presses == "twice" else 1):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
            time.sleep(0.3)
        said, errors = process.communicate(timeout=WATCHDOG)
        assert gone(pids)
        assert said == (b"" if presses == "twice" else b"interrupted 0\n"), errors.decode()
        assert errors.count(b"KeyboardInterrupt") == (1 if presses == "twice" else 0)
    finally:
        process.kill()
