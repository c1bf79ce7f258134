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

from deltarule.data.pictures import read_images, survey_images
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
        "from deltarule.data.pictures import read_images, survey_images\n"
        "print('started')\n"
        "made = read_images(sys.argv[1], workers=2)\n"
        "print(made.splits.train.fingerprint(), made.splits.test.fingerprint())\n"
        "found = survey_images(sys.argv[1])\n"
        "x = [x.tobytes() for x, y in found.stream(batch_size=3, workers=2)]\n"
        "print(x == [x.tobytes() for x, y in found.stream(batch_size=3)])\n"
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


def epoch_of(found, **options):
    return [(x.copy(), y.copy()) for x, y in found.stream(batch_size=6, **options)]


def test_a_stream_has_every_picture_once_an_epoch_in_a_seeded_order(photos):
    found = survey_images(photos)
    n = len(found.parts["train"])
    one, two = epoch_of(found, epochs=1), epoch_of(found, epochs=2)
    assert [len(x) for x, _ in one] == [6] * (n // 6) + ([n % 6] if n % 6 else [])
    seen = np.concatenate([x[:, 0, 0, 0] for x, _ in two])
    labels = np.concatenate([y for _, y in two])
    assert labels.tolist() == (seen >= 100).astype(int).tolist()
    assert sorted(seen[:n]) == sorted(seen[n:])
    assert len(set(seen[:n])) == n
    assert seen[:n].tolist() != seen[n:].tolist()
    later = epoch_of(found, first_epoch=1)
    assert np.concatenate([x[:, 0, 0, 0] for x, _ in later]).tolist() == seen[n:].tolist()
    other = epoch_of(found, seed=1)
    assert np.concatenate([x[:, 0, 0, 0] for x, _ in other]).tolist() != seen[:n].tolist()
    made = read_images(photos)
    plain = np.concatenate([x for x, _ in epoch_of(found, shuffle=False)])
    np.testing.assert_array_equal(plain, made.splits.train.x)


def test_a_bad_file_ends_a_stream_or_is_left_out(photos):
    found = survey_images(photos)
    victim = found.listing.files[found.parts["train"][0]].name
    (photos / victim).write_bytes((photos / victim).read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{victim} was changed"):
        epoch_of(found)
    count = sum(len(x) for x, _ in epoch_of(found, skip_bad=True))
    assert count == len(found.parts["train"]) - 1


BOUNDED = """
import resource, sys
from deltarule.data.pictures import survey_images

workers = int(sys.argv[2])
found = survey_images(sys.argv[1], size=256, colour=True, test=2, validation=0)
decoded = 256 * 256 * 3 * len(found.parts["train"])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
next(found.stream(batch_size=4))  # libraries are loaded
if workers == 1:  # an imposed limit, on top of what is there now
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + decoded // 10, now + decoded // 10))
before, count = peak(), 0
for x, y in found.stream(batch_size=4, workers=workers):
    count += x.nbytes
assert count == decoded, (count, decoded)
print((peak() - before) / decoded)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the memory from /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_folder_ten_times_the_memory_streams(tmp_path, workers):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise.repeat(16, 0).repeat(16, 1)).save(tmp_path / "one.png")
    data = (tmp_path / "one.png").read_bytes()
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(250):
            (tmp_path / "photos" / name / f"{i}.png").write_bytes(data)
    script = tmp_path / "script.py"
    script.write_text(BOUNDED)
    done = run(script, tmp_path / "photos", workers)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.1
