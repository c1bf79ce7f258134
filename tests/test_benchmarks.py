"""The benchmarks do what they say: equal work for all, in turns, ratios within a round."""

import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltarule import evaluate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other

memory, parts, peers, races, report, run, task, workers = map(
    importlib.import_module,
    ("memory", "parts", "peers", "races", "report", "run", "task", "workers"),
)

# Keras calls NumPy in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

OURS = "deltarule_engine"
SMALL = {
    "online": task.Workload("online", (12, 6, 4), 1, 0.2),
    "batches": task.Workload("batches", (12, 6, 5, 4), 8, 0.5),
    "softmax": task.Workload("softmax", (12, 9, 4), 16, 0.1, "relu", "softmax"),
}
PIXELS = 18 * 18  # 18 -> 14 -> 7 -> 3 -> 1: pooling leaves a row and a column out
IMAGE = task.Workload(
    "image", (PIXELS, 20, 4), 8, 0.02, "relu", "softmax",
    maps=((3,), (5,)), optimizer="momentum", momentum=0.9,
)  # fmt: skip
NORMAL = task.Workload(
    "normal", (PIXELS, 4), 8, 0.001, "relu", "softmax",
    maps=((3, 4), (5,)), kernel=3, padding="same", batch_norm=True, optimizer="adamw",
)  # fmt: skip
LARGE = {
    "image": IMAGE,
    "one convolution": replace(IMAGE, maps=((4,),), optimizer="sgd", momentum=0.0),
    "momentum": replace(IMAGE, maps=(), sizes=(PIXELS, 9, 7, 4), learning_rate=0.01),
}
EVERY = [workload for suite in task.SUITES for workload in suite.workloads]
# torch.compile takes half a minute to compile: run.py checks it before every measurement.
CHECKED = [name for name in peers.PEERS if name not in (OURS, "torch_compiled")]
EXACT = {**LARGE, "batch norm": NORMAL}


class InProcess:
    """What ``run.check`` asks of a worker, without the process."""

    def __init__(self, name: str, examples: int = 90, inputs: int = 12) -> None:
        self.name = name
        self.dataset = task.random_bytes(examples, inputs, classes=4)
        self.faults: dict[str, Any] = {}

    def learned(self, workload: task.Workload, steps: int) -> task.Weights:
        job = task.Task(replace(workload, **self.faults), self.dataset).take(steps)
        peer = peers.load(self.name)(job)
        peer.train(job.order())
        return peer.weights()


def able(name: str, workload: task.Workload, **sizes: int) -> InProcess:
    entry = peers.PEERS[name]
    if why := entry.missing() or entry.refuses(workload):
        pytest.skip(f"{entry.title}: {why}")
    return InProcess(name, **sizes)


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("workload", SMALL.values(), ids=SMALL)
def test_every_peer_reaches_our_weights(name: str, workload: task.Workload) -> None:
    # 90 examples: the last batch of 8 or of 16 is smaller, and every peer must weigh it alike
    job = peers.PEERS[name].adapted(workload)
    run.check(InProcess(OURS), able(name, workload), job, steps=90)


@pytest.mark.parametrize("workload", EXACT.values(), ids=EXACT)
def test_pytorch_reaches_our_weights_in_images(workload: task.Workload) -> None:
    sizes = {"examples": 90, "inputs": PIXELS}  # 11 batches of 8, and one of 2
    theirs, exact = able("torch_eager", workload, **sizes), replace(workload, precision="float64")
    run.check(InProcess(OURS, **sizes), theirs, exact, steps=12)


@pytest.mark.parametrize("name", ["torch_eager", "deltarule_native"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("workload", [IMAGE, NORMAL], ids=lambda workload: workload.name)
def test_all_learn_about_as_much_in_either_precision(
    workload: task.Workload, precision: str, name: str
) -> None:
    sizes = {"examples": 160, "inputs": PIXELS}
    theirs = able(name, workload, **sizes)
    job = task.Task(replace(workload, precision=precision), theirs.dataset)
    run.check_learning(InProcess(OURS, **sizes), theirs, job)


def test_another_precision_of_the_peers_is_theirs_alone() -> None:
    sizes = {"examples": 160, "inputs": PIXELS}
    job = replace(IMAGE, precision="bfloat16", peer_precision="float32")
    theirs = able("torch_eager", job, **sizes)
    run.check_learning(InProcess(OURS, **sizes), theirs, task.Task(job, theirs.dataset))
    timed = {name: entry.timed(job).precision for name, entry in peers.PEERS.items()}
    assert timed.pop("deltarule_engine") == timed.pop("deltarule_native") == "bfloat16"
    assert set(timed.values()) == {"float32"}
    wrong = InProcess(OURS, **sizes)
    wrong.faults = {"precision": "float32"}
    with pytest.raises(AssertionError, match="must take bfloat16"):
        run.check_learning(wrong, theirs, task.Task(job, theirs.dataset))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"learning_rate": 1e-4}, "must lower the cost"),
        ({"momentum": 0.5}, "must end image near our cost"),
        ({"precision": "float32"}, "must take bfloat16"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_peer_that_does_not_learn_the_same_is_refused(fault: dict[str, Any], said: str) -> None:
    ours, wrong = (InProcess(OURS, examples=160, inputs=PIXELS) for _ in range(2))
    job = task.Task(replace(IMAGE, precision="bfloat16"), ours.dataset)
    run.check_learning(ours, wrong, job)
    wrong.faults = fault
    with pytest.raises(AssertionError, match=said):
        run.check_learning(ours, wrong, job)


@pytest.mark.parametrize("workload", LARGE.values(), ids=LARGE)
def test_costs_in_numpy_are_those_of_evaluate(workload: task.Workload) -> None:
    job = task.Task(workload, task.random_bytes(60, PIXELS, classes=4))
    ours = peers.load(OURS)(job)
    ours.train()
    theirs = evaluate(ours.run.model, job.dataset).cost
    assert job.cost(ours.weights()) == pytest.approx(theirs, rel=1e-5)


def test_costs_in_numpy_are_those_of_a_batch_that_is_normalised() -> None:
    # the only step of an epoch sees all 60 examples, with the first weights
    job = task.Task(replace(NORMAL, batch_size=60), task.random_bytes(60, PIXELS, classes=4))
    ours = peers.load(OURS)(job)
    ours.train()
    (epoch,) = ours.run.history
    assert job.cost(job.first_weights()) == pytest.approx(epoch["train_cost"], rel=1e-5)


def test_weight_decay_is_of_the_work_that_is_checked() -> None:
    ours, wrong = (InProcess(OURS, inputs=PIXELS) for _ in range(2))
    exact = replace(NORMAL, precision="float64")
    run.check(ours, wrong, exact, steps=2)
    wrong.faults = {"optimizer": "adam"}  # which is adamw without weight decay
    with pytest.raises(AssertionError, match="must reach our weights"):
        run.check(ours, wrong, exact, steps=2)


@pytest.mark.parametrize("fault", [{"learning_rate": 0.21}, {"batch_size": 2}])
def test_a_peer_that_does_other_work_is_refused(fault: dict[str, float]) -> None:
    wrong = InProcess("numpy_textbook")
    wrong.faults = fault
    with pytest.raises(AssertionError, match="numpy_textbook must reach our weights"):
        run.check(InProcess(OURS), wrong, SMALL["online"], steps=30)


def test_weights_that_are_not_numbers_never_agree() -> None:
    class Broken(InProcess):
        def learned(self, workload: task.Workload, steps: int) -> task.Weights:
            return [array * np.nan for array in super().learned(workload, steps)]

    ours, broken = InProcess(OURS), Broken(OURS)
    with pytest.raises(AssertionError, match="nan"):
        run.check(ours, broken, SMALL["online"], steps=5)
    with pytest.raises(AssertionError, match="ends at nan"):
        run.check_learning(broken, ours, task.Task(SMALL["softmax"], ours.dataset))


@pytest.mark.parametrize("name", [OURS, *CHECKED])
def test_every_epoch_starts_from_the_first_weights_and_shuffles(name: str) -> None:
    able(name, SMALL["batches"])
    job = task.Task(SMALL["batches"], task.random_bytes(40, 12, classes=4))
    peer = peers.load(name)(job)
    assert peer.train() > 0
    shuffled = peer.weights()[0].copy()
    peer.train(job.order())
    ordered = peer.weights()[0].copy()
    peer.train(job.order())
    np.testing.assert_allclose(peer.weights()[0], ordered, atol=1e-6)
    if not peers.PEERS[name].ours:  # its order is the seed's
        assert np.abs(shuffled - ordered).max() > 1e-5


@pytest.mark.parametrize("name", [OURS, "torch_eager"])
@pytest.mark.parametrize("workload", [IMAGE, NORMAL], ids=lambda workload: workload.name)
def test_no_momentum_is_carried_into_the_next_block(workload: task.Workload, name: str) -> None:
    exact = replace(workload, precision="float64")
    job = task.Task(exact, able(name, workload, examples=40, inputs=PIXELS).dataset)
    peer = peers.load(name)(job)
    peer.train(job.order())
    once = [array.copy() for array in peer.weights()]
    peer.train(job.order())
    assert workers.disagreement(once, peer.weights()) < 1e-9


@pytest.mark.parametrize(("name", "switch"), [("deltarule_engine", "0"), ("deltarule_native", "1")])
def test_the_companion_is_switched_while_a_peer_trains(
    name: str, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, train = [], peers.load(OURS).fit.__globals__["fit"]

    def fit(*arguments: Any, **options: Any) -> Any:
        seen.append(os.environ["DELTARULE_NATIVE"])
        return train(*arguments, **options)

    monkeypatch.setenv("DELTARULE_NATIVE", "as it was")
    monkeypatch.setattr("peers.deltarule_engine.fit", fit)
    job = task.Task(SMALL["softmax"], task.random_bytes(40, 12, classes=4))
    assert peers.load(name)(job).train() > 0
    assert seen == [switch]
    assert os.environ["DELTARULE_NATIVE"] == "as it was"


def test_ours_takes_no_other_order_than_that_of_its_seed() -> None:
    job = task.Task(SMALL["online"], task.random_bytes(10, 12, classes=4))
    with pytest.raises(ValueError, match="fit always shuffles"):
        peers.load(OURS)(job).train(np.arange(10))


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
    images = {w.name: w.goals.get("torch_eager") for w in task.IMAGES}
    assert list(images.values()) == [1.15, 1.1, 1.0, 0.95, None, 1.35, None, 0.95]
    native = {w.name: w.goals["torch_eager"] for w in task.NATIVE}
    assert list(native.values()) == [1.4, 1.8, 1.8, 1.8, 1.6, 1.6, 1.5, 1.2, 1.3, 2.5, 18, 8.5, 45]
    assert report.MEMORY_GOAL == 2048


def test_a_name_means_the_same_work_in_every_suite() -> None:
    jobs: dict[str, task.Workload] = {}
    for job in EVERY:
        same = replace(job, goals={})
        assert jobs.setdefault(job.name, same) == same
    for suite in task.SUITES:
        assert len({job.name for job in suite.workloads}) == len(suite.workloads)
        assert peers.PEERS[suite.ours].ours
        assert suite.ours not in suite.peers
        assert suite.with_companion == (suite.name == "cpu-native")


def test_the_network_of_wide_convolutions_is_that_of_its_name() -> None:
    exact, rounded = task.NATIVE[:2]
    # 28 -> 14 -> 7 -> 3 pixels a side, and 3 x 3 x 160 = 1440 numbers for the dense layer
    assert exact.shapes == [
        (48, 3, 3, 1), (48, 3, 3, 48), (96, 3, 3, 48), (96, 3, 3, 96), (160, 3, 3, 96),
        (160, 3, 3, 160), (10, 1440),
    ]  # fmt: skip
    # 28 x 28 x 48 x 9 x (1 + 48) + 14 x 14 x 96 x 9 x (48 + 96) + 7 x 7 x 160 x 9 x (96 + 160)
    # = 16.60 + 24.39 + 18.06 million multiplications: with additions 118 million, as intended
    network = peers.load(OURS)(task.Task(exact, task.random_bytes(8, 784))).network
    assert round(2e-6 * network.multiplications((28, 28, 1))) == 118
    assert "160C3-160C3-MP2-10 batch norm, relu, softmax, AdamW, batch 128" in exact.title
    assert replace(rounded, name="", goals={}, precision="float32", our_steps=1) == replace(
        exact, name="", goals={}, our_steps=1, peer_steps=rounded.peer_steps
    )
    four = next(job for job in task.NATIVE if job.name == "W4-bf16")
    assert four.title == "784-256-256-10 relu, softmax, bfloat16 beside float32, batch 128"


def test_the_image_workloads_are_those_they_are_called() -> None:
    lenet, wide = task.IMAGES[0], task.IMAGES[4]
    # 28 -> 24 -> 12 -> 8 -> 4 pixels a side, and 4 x 4 x 50 = 800 numbers for the dense layers
    assert lenet.shapes == [(20, 5, 5, 1), (50, 5, 5, 20), (500, 800), (10, 500)]
    assert lenet.title == "28x28-20C5-MP2-50C5-MP2-500-10 relu, softmax, momentum 0.9, batch 64"
    assert wide.shapes[1] == (2000, 2500)
    for exact, rounded in zip(task.IMAGES[::2], task.IMAGES[1::2], strict=True):
        assert rounded.name == f"{exact.name}-bf16"
        assert exact.name in (f"lenet{rounded.batch_size}", f"wide{rounded.batch_size}")
        assert "bfloat16" in rounded.title
        for job in (exact, rounded):
            assert job.our_steps == job.peer_steps  # blocks of the same length
            assert job.our_steps * job.batch_size <= task.EXAMPLES
        same = {"name": "", "precision": "float32", "our_steps": 1, "peer_steps": 1, "goals": {}}
        assert replace(exact, **same) == replace(rounded, **same)


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
    seconds = {OURS: ours, "torch_eager": theirs}
    peer = report.summary(job, 90, seconds)["peers"]["torch_eager"]
    assert peer["ratio"] == pytest.approx(12)
    assert (peer["q1"], peer["q3"]) == (pytest.approx(10.75), pytest.approx(13.75))
    assert peer["us_per_step"] == pytest.approx(14.5)
    assert peer["seconds_per_epoch"] == pytest.approx(12 * 14.5e-6)  # 90 examples in eights
    assert peer["goal"] == 12.5


def results(ratio: float, startup: float = 0.2) -> dict:
    job = replace(SMALL["batches"], name="W2", goals={"torch_eager": 9})
    seconds = {OURS: [1e-5] * 3, "torch_eager": [ratio * 1e-5] * 3, "keras_jax": [2e-5] * 3}
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


def test_ratios_are_shown_as_finely_as_their_goals() -> None:
    stored = results(1.146)
    assert "| 1.1 (1.1 to 1.1) " in report.tables(stored)
    stored["workloads"]["W2"]["peers"]["torch_eager"]["goal"] = 1.15
    assert "| 1.15 (1.15 to 1.15)         | 1.15 | not reached" in report.tables(stored)


@pytest.mark.parametrize(("mib", "said"), [(2047, "| reached "), (2048, "| not reached ")])
def test_the_table_of_memory_says_whether_it_stays_under_two_gib(mib: float, said: str) -> None:
    stored = results(9.5) | {"memory": {"W2": mib}}
    row = next(line for line in report.tables(stored).splitlines() if f"| {mib} " in line)
    assert said in row
    assert "under 2048" in row
    assert "MiB" not in report.tables(results(9.5))


def test_training_lenet_at_batch_512_stays_under_two_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "0")  # compiling takes memory too
    peak = memory.peak_mib(OURS, "lenet512")
    if peak is None:
        pytest.skip("the kernel does not count the peak memory of a process")
    assert 39 < peak < report.MEMORY_GOAL  # the examples alone are 39 MB


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


STORED = {path.stem: path for path in sorted(run.RESULTS.glob("*.json"))}


def test_every_stored_result_is_of_a_suite() -> None:
    assert set(STORED) <= {suite.name for suite in task.SUITES}
    page = run.PAGE.read_text(encoding="utf-8")
    assert [s.name for s in task.SUITES if page.count(f"<!-- {s.marker} -->") != 1] == []
    assert "cpu" in STORED


@pytest.mark.parametrize("name", STORED)
def test_the_page_shows_the_stored_results(name: str) -> None:
    stored = json.loads(STORED[name].read_text(encoding="utf-8"))
    page = run.PAGE.read_text(encoding="utf-8")
    marker = next(suite.marker for suite in task.SUITES if suite.name == name)
    assert f"<!-- {marker} -->\n{report.tables(stored)}\n<!-- /{marker} -->" in page


@pytest.mark.parametrize("name", STORED)
def test_the_stored_results_hold_what_they_are_drawn_from(name: str) -> None:
    stored = json.loads(STORED[name].read_text(encoding="utf-8"))
    assert stored["rounds"] >= 7
    suite = next(suite for suite in task.SUITES if suite.name == name)
    assert list(stored["workloads"]) == [w.name for w in suite.workloads]
    assert ("companion" in stored) == suite.with_companion
    assert set(stored.get("memory", {})) == set(suite.memory)
    assert ("startup" in stored) == suite.startup
    for job in suite.workloads:
        workload = stored["workloads"][job.name]
        assert workload["title"] == job.title
        assert next(iter(workload["peers"])) == suite.ours
        seconds = {p: [t * 1e-6 for t in r["rounds_us"]] for p, r in workload["peers"].items()}
        again = report.summary(job, task.EXAMPLES, seconds)["peers"]
        for peer, row in workload["peers"].items():
            assert len(row["rounds_us"]) == stored["rounds"]
            assert row.get("ratio", 1) == pytest.approx(again[peer].get("ratio", 1), rel=1e-2)
            assert row.get("goal") == again[peer].get("goal")


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., set[str]]:
    """Run the command without measuring anything; return the names of what it stored."""

    def call(*arguments: str, there: bool = True) -> set[str]:
        for path in tmp_path.rglob("*.json"):
            path.unlink()
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        monkeypatch.setattr(run, "RESULTS", tmp_path)
        monkeypatch.setattr(run, "benchmark", lambda *_: results(9.5))
        monkeypatch.setattr(run, "companion", lambda: (there, "what it is"))
        run.main()
        return {path.name for path in tmp_path.rglob("*.json")}

    return call


def test_only_a_whole_suite_replaces_stored_results(stored: Callable[..., set[str]]) -> None:
    images = ",".join(job.name for job in task.IMAGES)
    assert stored("--workloads", images, "--rounds", "6") == set()
    assert stored("--workloads", "lenet64,lenet64-bf16") == set()
    assert stored("--workloads", "W1,W2,W3,W4", "--peers", "torch_eager") == set()
    assert stored("--workloads", images, "--peers", "torch_eager") == {"cpu-images.json"}
    assert stored("--suites", "cpu-native", "--peers", "torch_eager") == set()
    assert stored("--suites", "cpu-native") == {"cpu-native.json"}
    assert stored() == {"cpu.json", "cpu-images.json", "cpu-native.json"}


def test_what_was_measured_without_the_companion_is_not_stored_as_with_it(
    stored: Callable[..., set[str]],
) -> None:
    assert stored(there=False) == {"cpu.json", "cpu-images.json"}


def test_parts_are_stored_where_the_command_line_says(
    stored: Callable[..., set[str]], tmp_path: Path
) -> None:
    parts = "--workloads", "W2", "--out", str(tmp_path / "some" / "parts")
    assert stored(*parts) == {"cpu.json", "cpu-native.json"}  # the suites that have it
    assert stored(*parts, "--suites", "cpu,cpu-images") == {"cpu.json"}


def test_data_are_random_bytes_only_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DELTARULE_DATA", raising=False)
    monkeypatch.setattr(task, "EXAMPLES", 50)
    found = task.load_examples()
    assert (found.name, found.x.shape, found.x.dtype) == ("random bytes", (50, 784), np.uint8)
    assert found.scale == pytest.approx(1 / 255)


def test_names_on_the_command_line_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in {
        ("--workloads", "W1,W9"): "unknown workload 'W9'",
        ("--suites", "gpu"): "unknown suite 'gpu'; choose from cpu, cpu-images, cpu-native",
        ("--suites", "cpu", "--workloads", "lenet64"): "choose from W1, W2, W3, W4\n",
        ("--peers", "abacus"): "unknown peer 'abacus'",
    }.items():
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        with pytest.raises(SystemExit):
            run.main()
        assert said in capsys.readouterr().err


def test_a_library_that_is_not_installed_is_named() -> None:
    entry = peers.Entry("Nothing", "Nothing", ("no-such-distribution",))
    assert entry.missing() == "no-such-distribution is not installed"
    assert peers.Entry("Nothing", "Nothing", programs=("no-such-program",)).missing()
    assert peers.PEERS[OURS].missing() is None


def test_peers_without_convolutions_here_refuse_images() -> None:
    able = {name for name, entry in peers.PEERS.items() if entry.refuses(NORMAL) is None}
    assert able == {"deltarule_engine", "deltarule_native", "torch_eager", "torch_compiled"}


def test_the_page_lists_every_peer_and_workload() -> None:
    page = run.PAGE.read_text(encoding="utf-8")
    assert [w for w in EVERY if not re.search(rf"(?<!\S){w.name}\b(?!-)", page)] == []
    assert [e.title for e in peers.PEERS.values() if e.title not in page] == []


def test_the_page_shows_the_stored_parts_of_a_step() -> None:
    stored = json.loads(parts.PATH.read_text("utf-8"))
    assert parts.tables(stored) in run.PAGE.read_text("utf-8")
    assert tuple(stored["workloads"]) == parts.PARTS


@pytest.mark.parametrize("workload", [IMAGE, NORMAL], ids=lambda workload: workload.name)
def test_both_libraries_have_the_same_parts(workload: task.Workload) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: make bench installs it")
    rows = parts.measure(workload)
    kinds = ["Conv", "BatchNorm", "MaxPool", "Dense"] if workload.batch_norm else [
        "Conv", "MaxPool", "Dense",
    ]  # fmt: skip
    assert [row["layers"] for row in rows] == kinds
    assert all(row["ours_ms"] > 0 and row["pytorch_ms"] > 0 for row in rows)
    convolution, dense = rows[0], rows[-1]
    assert convolution["multiplications"] > dense["multiplications"] > 0


def test_the_multiplications_of_a_convolution_by_hand() -> None:
    # One map of 2 x 2 pixels that see 3 x 3 of 4 x 4: 36 products an image, and no gradient of x.
    workload = task.Workload("tiny", (16, 10), 5, 0.1, "relu", "softmax", maps=((1,),), kernel=3)
    (kind, products, _), *_ = parts.our_parts(workload)
    assert (kind, products) == ("Conv", 2 * 5 * 36)


def test_the_pages_show_the_stored_races() -> None:
    for page, names in races.PAGES.items():
        found = races.stored(names)
        assert list(found) == list(names)
        assert races.tables(found.values()) in page.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in races.FOLDER.glob("*.json")))
def test_a_stored_race_is_the_one_of_its_name(name: str) -> None:
    result = races.stored()[name]
    assert result["race"] == asdict(races.RACES[name])
    assert result["command"] == races.RACES[name].command
    assert not result["interrupted"]
    laps = [lap for racer in result["racers"] for lap in racer["laps"]]
    assert {lap["seed"] for lap in laps} == set(range(races.RACES[name].seeds))


def test_a_race_is_stored_thinned_and_shown() -> None:
    points = [{"epoch": i, "cost": 1 / (i + 3)} for i in range(101)]
    kept = races.thinned(points)
    assert len(kept) <= races.KEPT
    assert kept[-1] == {"epoch": 100, "cost": 0.00970874}
    small = races.Race("digits", "64,4,10", 2, full_batch=True, seeds=1)
    ends = [{"epoch": 1, "gradient_evaluations": 2.0, "seconds": 0.5, "cost": c} for c in (3, 1, 2)]
    laps = [{"learning_rate": 0.1, "diverged": None, "points": [end]} for end in ends]
    racers = [{"optimizer": "sgd", "laps": laps}, {"optimizer": "bfgs", "laps": []}]
    shown = races.tables([{"command": small.command, "examples": 1234, "racers": racers}])
    assert "--full-batch --passes 2 --seeds 1`: 1,234 training examples; left out: bfgs." in shown
    assert "| sgd       | 0.1           | 2 (1 to 3)" in shown
