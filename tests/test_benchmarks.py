"""The benchmarks do what they say: equal work for all, in turns, ratios within a round."""

import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other

peers, report, run, task, workers = map(
    importlib.import_module, ("peers", "report", "run", "task", "workers")
)

# Keras calls NumPy in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

SMALL = {
    "online": task.Workload("online", (12, 6, 4), 1, 0.2),
    "batches": task.Workload("batches", (12, 6, 5, 4), 8, 0.5),
    "softmax": task.Workload("softmax", (12, 9, 4), 16, 0.1, "relu", "softmax"),
}
# torch.compile takes half a minute to compile: run.py checks it before every measurement.
CHECKED = [name for name in peers.PEERS if name not in (peers.OURS, "torch_compiled")]


class InProcess:
    """What ``run.check`` asks of a worker, without the process."""

    def __init__(self, name: str, examples: int = 90) -> None:
        self.name = name
        self.dataset = task.random_bytes(examples, 12, classes=4)
        self.faults: dict[str, float] = {}

    def learned(self, workload: task.Workload, steps: int) -> task.Weights:
        job = task.Task(replace(workload, **self.faults), self.dataset).take(steps)
        peer = peers.load(self.name)(job)
        peer.train(job.order())
        return peer.weights()


def able(name: str, workload: task.Workload) -> InProcess:
    entry = peers.PEERS[name]
    if why := entry.missing() or entry.refuses(workload):
        pytest.skip(f"{entry.title}: {why}")
    return InProcess(name)


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("workload", SMALL.values(), ids=SMALL)
def test_every_peer_reaches_our_weights(name: str, workload: task.Workload) -> None:
    # 90 examples: the last batch of 8 or of 16 is smaller, and every peer must weigh it alike
    job = peers.PEERS[name].adapted(workload)
    run.check(InProcess(peers.OURS), able(name, workload), job, steps=90)


@pytest.mark.parametrize("fault", [{"learning_rate": 0.21}, {"batch_size": 2}])
def test_a_peer_that_does_other_work_is_refused(fault: dict[str, float]) -> None:
    wrong = InProcess("numpy_textbook")
    wrong.faults = fault
    with pytest.raises(AssertionError, match="numpy_textbook must reach our weights"):
        run.check(InProcess(peers.OURS), wrong, SMALL["online"], steps=30)


def test_weights_that_are_not_numbers_never_agree() -> None:
    class Broken(InProcess):
        def learned(self, workload: task.Workload, steps: int) -> task.Weights:
            return [(w * np.nan, b) for w, b in super().learned(workload, steps)]

    with pytest.raises(AssertionError, match="nan"):
        run.check(InProcess(peers.OURS), Broken(peers.OURS), SMALL["online"], steps=5)


@pytest.mark.parametrize("name", [peers.OURS, *CHECKED])
def test_every_epoch_starts_from_the_first_weights_and_shuffles(name: str) -> None:
    able(name, SMALL["batches"])
    job = task.Task(SMALL["batches"], task.random_bytes(40, 12, classes=4))
    peer = peers.load(name)(job)
    assert peer.train() > 0
    shuffled = peer.weights()[0][0].copy()
    peer.train(job.order())
    ordered = peer.weights()[0][0].copy()
    peer.train(job.order())
    np.testing.assert_allclose(peer.weights()[0][0], ordered, atol=1e-6)
    if name != peers.OURS:  # its order is the seed's
        assert np.abs(shuffled - ordered).max() > 1e-5


def test_ours_takes_no_other_order_than_that_of_its_seed() -> None:
    job = task.Task(SMALL["online"], task.random_bytes(10, 12, classes=4))
    with pytest.raises(ValueError, match="fit always shuffles"):
        peers.load(peers.OURS)(job).train(np.arange(10))


def test_steps_count_the_smaller_last_batch_and_peers_may_take_fewer() -> None:
    job = task.Task(SMALL["softmax"], task.random_bytes(90, 12, classes=4))
    assert job.steps == 6  # 5 x 16 = 80, and a batch of 10
    assert job.take(2).steps == 2
    assert len(job.take(2).dataset) == 32
    assert len(job.take(100).dataset) == 90
    assert job.take(None) is job


def test_the_goals_are_those_promised() -> None:
    goals = {w.name: w.goals for w in task.WORKLOADS}
    assert [goals[w]["torch_eager"] for w in ("W1", "W2", "W3", "W4")] == [49, 9, 3.2, 1.1]
    assert [goals[w]["sklearn_mlp"] for w in ("W1", "W2", "W3", "W4")] == [49, 7.5, 4.1, 2.2]


class Clock:
    """A trainer whose blocks take the times it is given."""

    def __init__(self, name: str, times: list[float], calls: list[str]) -> None:
        self.name, self.times, self.calls = name, iter(times), calls

    def seconds_a_step(self) -> float:
        self.calls.append(self.name)
        return next(self.times)


def test_rounds_are_taken_in_turns_that_start_one_further_on_each_time() -> None:
    calls: list[str] = []
    clocks = [Clock(name, [1.0, 2.0, 3.0], calls) for name in "abc"]
    assert workers.interleaved(clocks, 3) == {name: [1.0, 2.0, 3.0] for name in "abc"}
    assert "".join(calls) == "abcbcacab"


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is twice as slow in the second round: 10/1, 22/2, 16/1 and 13/1 are 10, 11, 16,
    # 13. Sorted: 10 11 13 16; median 12, quartiles 10.75 and 13.75 (a quarter of the way between).
    ours, theirs = [1e-6, 2e-6, 1e-6, 1e-6], [10e-6, 22e-6, 16e-6, 13e-6]
    job = replace(SMALL["batches"], goals={"torch_eager": 12.5})
    seconds = {peers.OURS: ours, "torch_eager": theirs}
    peer = report.summary(job, 90, seconds)["peers"]["torch_eager"]
    assert peer["ratio"] == pytest.approx(12)
    assert (peer["q1"], peer["q3"]) == (pytest.approx(10.75), pytest.approx(13.75))
    assert peer["us_per_step"] == pytest.approx(14.5)
    assert peer["seconds_per_epoch"] == pytest.approx(12 * 14.5e-6)  # 90 examples in eights
    assert peer["goal"] == 12.5


def results(ratio: float, startup: float = 0.2) -> dict:
    job = replace(SMALL["batches"], name="W2", goals={"torch_eager": 9})
    seconds = {peers.OURS: [1e-5] * 3, "torch_eager": [ratio * 1e-5] * 3, "keras_jax": [2e-5] * 3}
    return {
        "machine": {"cores": 2, "architecture": "x86_64", "avx512": "yes", "amx": "no"},
        "versions": {"Python": "3.11.7"},
        "examples": "MNIST",
        "rounds": 3,
        "workloads": {"W2": report.summary(job, 90, seconds)},
        "startup": {"deltarule --help": startup, "import deltarule": 0.1},
        "left_out": ["scikit-learn (not installed)"],
    }


@pytest.mark.parametrize(
    ("ratio", "said"), [(9.5, "| 9.5 (9.5 to 9.5) "), (9.0, "| reached"), (8.9, "| not reached")]
)
def test_the_table_says_plainly_whether_a_goal_is_reached(ratio: float, said: str) -> None:
    text = report.tables(results(ratio))
    row = next(line for line in text.splitlines() if "| PyTorch " in line)
    assert said in row
    assert "12-6-5-4 sigmoid, batch 8" in text
    keras = next(line for line in text.splitlines() if "| Keras on JAX " in line)
    assert "reached" not in keras  # no goal, no verdict
    assert "Not measured: scikit-learn (not installed)." in text


def test_a_slow_start_is_called_so() -> None:
    assert "not reached" not in report.tables(results(9.5, startup=0.29))
    assert "not reached" in report.tables(results(9.5, startup=0.3))


def test_drawing_changes_only_what_stands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")
    report.draw(page, results(9.5))
    once = page.read_text()
    report.draw(page, results(9.5))
    assert page.read_text() == once
    assert once.startswith("before\n<!-- benchmarks -->\n3 rounds on 2 cores")
    assert once.endswith("\n<!-- /benchmarks -->\nafter\n")
    assert "old" not in once
    page.write_text("no markers")
    with pytest.raises(ValueError, match="once each"):
        report.draw(page, results(9.5))


def test_the_page_shows_the_stored_results() -> None:
    stored = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    assert report.tables(stored) in run.PAGE.read_text(encoding="utf-8")


def test_the_stored_results_hold_what_they_are_drawn_from() -> None:
    stored = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    assert stored["rounds"] >= 7
    for name, workload in stored["workloads"].items():
        job = next(w for w in task.WORKLOADS if w.name == name)
        seconds = {p: [t * 1e-6 for t in r["rounds_us"]] for p, r in workload["peers"].items()}
        again = report.summary(job, task.EXAMPLES, seconds)["peers"]
        for peer, row in workload["peers"].items():
            assert len(row["rounds_us"]) == stored["rounds"]
            assert row.get("ratio", 1) == pytest.approx(again[peer].get("ratio", 1), rel=1e-2)
            assert row.get("goal") == again[peer].get("goal")


def test_data_are_random_bytes_only_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DELTARULE_DATA", raising=False)
    monkeypatch.setattr(task, "EXAMPLES", 50)
    found = task.load_examples()
    assert (found.name, found.x.shape, found.x.dtype) == ("random bytes", (50, 784), np.uint8)
    assert found.scale == pytest.approx(1 / 255)


def test_names_on_the_command_line_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--workloads", "W1,W9"])
    with pytest.raises(SystemExit):
        run.main()
    assert "unknown workload 'W9'" in capsys.readouterr().err


def test_a_library_that_is_not_installed_is_named() -> None:
    entry = peers.Entry("Nothing", "Nothing", ("no-such-distribution",))
    assert entry.missing() == "no-such-distribution is not installed"
    assert peers.Entry("Nothing", "Nothing", programs=("no-such-program",)).missing()
    assert peers.PEERS[peers.OURS].missing() is None


def test_the_page_lists_every_peer_and_workload() -> None:
    page = run.PAGE.read_text(encoding="utf-8")
    assert [w for w in task.WORKLOADS if not re.search(rf"\b{w.name}\b", page)] == []
    assert [e.title for e in peers.PEERS.values() if e.title not in page] == []
