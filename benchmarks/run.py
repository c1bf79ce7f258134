"""Time deltarule against other libraries: ``python benchmarks/run.py``.

Read ``task.py`` (what is equal for all), one of ``peers/``, and ``workers.py`` first;
``docs/benchmarks.md`` describes the method. The peers come with the extra ``bench``; one that is
not installed is left out, and named.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from memory import peak_mib
from peers import OURS, PEERS
from report import draw, summary, tables
from task import EXAMPLES, SUITES, Suite, Task, Workload, load_examples
from workers import Worker, disagreement, interleaved

import deltarule

HERE = Path(__file__).parent
RESULTS = HERE / "results"  # a file a suite
PAGE = HERE.parent / "docs" / "benchmarks.md"
ROUNDS = 7  # fewer are never stored among RESULTS
CHECKED_STEPS = 100
CHECKED_LARGE = 10
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # of any weight or bias, after so many steps
ROUNDED = 1e-5  # some weight must differ by more where operands were bfloat16
LEARNED = 0.95  # of the first cost is the most that may be left
NEAR = 0.1  # of what was learned may lie between two costs
LIBRARIES = ("numpy", "jax", "optax", "torch", "scikit-learn", "keras")
COMMANDS = {
    "deltarule --help": ("-m", "deltarule", "--help"),
    "import deltarule": ("-c", "import deltarule"),
    "python alone": ("-c", ""),
}


def main() -> None:
    """Measure, store and print; or draw the stored results into the page."""
    options = _options()
    for suite in SUITES:
        path = (options.out or RESULTS) / f"{suite.name}.json"
        chosen = [job for job in suite.workloads if job in options.workloads]
        if options.draw and path.exists():
            draw(PAGE, json.loads(path.read_text(encoding="utf-8")), suite.marker)
        if options.draw or not chosen:
            continue
        results = benchmark(suite, chosen, options.peers, options.rounds)
        if options.out or _whole(suite, chosen, options):
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        else:
            _say("A part, or few rounds: printed, and stored only where --out says.")
        print(tables(results))


def benchmark(
    suite: Suite, workloads: list[Workload], wanted: list[str], rounds: int
) -> dict[str, Any]:
    """Return the results of ``workloads`` for the wanted peers that can run here."""
    beside = wanted if suite.peers is None else [peer for peer in wanted if peer in suite.peers]
    names = [name for name in PEERS if name in {OURS, *beside}]
    missing = {name: why for name in names if (why := PEERS[name].missing())}
    workers = [Worker(name) for name in names if name not in missing]
    left_out = [f"{PEERS[name].title} ({why})" for name, why in missing.items()]
    measured = {}
    try:
        for job in workloads:
            refused = {w: why for w in workers if (why := PEERS[w.name].refuses(job))}
            left_out += [f"{PEERS[w.name].title} on {job.name} ({refused[w]})" for w in refused]
            measured[job.name] = measure(job, [w for w in workers if w not in refused], rounds)
    finally:
        for worker in workers:
            worker.close()
    results = {
        "machine": machine(),
        "versions": versions(),
        "examples": "MNIST" if os.environ.get("DELTARULE_DATA") else "random bytes, as many",
        "rounds": rounds,
        "workloads": measured,
    }
    if suite.startup:
        results["startup"] = startup(rounds)
    peaks = {name: peak_mib(name) for name in suite.memory if name in measured}
    if found := {name: mib for name, mib in peaks.items() if mib is not None}:
        results["memory"] = found
    return results | {"left_out": left_out}


def measure(job: Workload, workers: list[Worker], rounds: int) -> dict[str, Any]:
    """Check that the peers agree, warm them up, and time them in turns; ours comes first."""
    ours, *others = workers
    # Among millions of relu neurons one is so near 0 that float32 puts it on either side, and one
    # such neuron moves every weight.
    exact, steps = ("float64", CHECKED_LARGE) if job.our_steps else ("float32", CHECKED_STEPS)
    for worker in others:
        _say(f"{job.name}: {worker.name} must agree")
        adapted = PEERS[worker.name].adapted(job)
        check(ours, worker, replace(adapted, precision=exact), steps)
        if job.our_steps:
            check_learning(ours, worker, Task(adapted, load_examples()).take(steps))
    for worker in workers:
        _say(f"{job.name}: {worker.name} warms up")
        worker.prepare(job, job.our_steps if worker is ours else job.peer_steps)
    _say(f"{job.name}: {rounds} rounds")
    return summary(job, EXAMPLES, interleaved(workers, rounds))


def check(ours: Worker, worker: Worker, job: Workload, steps: int = CHECKED_STEPS) -> None:
    """Raise ``AssertionError`` unless both end at the same weights: else they do other work."""
    difference = disagreement(ours.learned(job, steps), worker.learned(job, steps))
    tolerance = TOLERANCE[job.precision]
    if not difference <= tolerance:  # so that NaN fails too
        raise AssertionError(
            f"{worker.name} must reach our weights within {tolerance:g} after {steps} steps of "
            f"{job.name}, but one differs by {difference:.2g}; it does not do the same work."
        )


def check_learning(ours: Worker, worker: Worker, task: Task) -> None:
    """Raise ``AssertionError`` unless both learn ``task``, in its precision, and about as much.

    After many steps, or in bfloat16, weights part; so it is the costs that must be near.
    """
    job, first = task.workload, task.cost(task.first_weights())
    costs = []
    for each in (ours, worker):
        weights = each.learned(job, task.steps)
        costs.append(task.cost(weights))
        if not costs[-1] <= LEARNED * first:
            raise AssertionError(
                f"{each.name} must lower the cost of {job.name}, {first:.3g}, to {LEARNED:g} of "
                f"it in {task.steps} steps, but ends at {costs[-1]:.3g}; it does not learn."
            )
        if job.precision != "float32":
            exact = each.learned(replace(job, precision="float32"), task.steps)
            if disagreement(weights, exact) <= ROUNDED:
                raise AssertionError(
                    f"{each.name} must take {job.precision} in {job.name}, but its weights are "
                    "those of float32."
                )
    if abs(costs[0] - costs[1]) > NEAR * (first - costs[0]):
        raise AssertionError(
            f"{worker.name} must end {job.name} near our cost, {costs[0]:.3g}, but ends at "
            f"{costs[1]:.3g}; it does not do the same work."
        )


def startup(rounds: int) -> dict[str, float]:
    """Return the median wall time of each of COMMANDS, in seconds, taken in turns."""
    seconds: dict[str, list[float]] = {what: [] for what in COMMANDS}
    for number in range(rounds + 1):
        for what, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if number:  # the first round fills the caches of the disk
                seconds[what].append(time.perf_counter() - start)
    return {what: statistics.median(times) for what, times in seconds.items()}


def machine() -> dict[str, Any]:
    """Return what the times depend on most; "unknown" where the system does not say."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
        has = {"avx512": "avx512f" in flags, "amx": "amx_tile" in flags}
    except OSError:
        has = {}
    said = {name: "yes" if there else "no" for name, there in has.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "architecture": platform.machine(),
        "avx512": said.get("avx512", "unknown"),
        "amx": said.get("amx", "unknown"),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, deltarule and the libraries that are installed."""
    found = {"Python": platform.python_version(), "deltarule": deltarule.__version__}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def _whole(suite: Suite, chosen: list[Workload], options: argparse.Namespace) -> bool:
    """Whether a run may take the place of the stored results of ``suite``."""
    full = len(chosen) == len(suite.workloads) and set(options.peers) >= set(suite.peers or PEERS)
    return full and options.rounds >= ROUNDS


def _options() -> argparse.Namespace:
    known = {job.name: job for suite in SUITES for job in suite.workloads}

    def workloads(text: str) -> list[Workload]:
        return [known[name] for name in _names("workload", text, list(known))]

    def peers(text: str) -> list[str]:
        return _names("peer", text, list(PEERS))

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--workloads", type=workloads, default=list(known.values()), help=",".join(known)
    )
    parser.add_argument("--peers", type=peers, default=list(PEERS), help=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="a folder for the results, of parts too")
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    return parser.parse_args()


def _names(what: str, text: str, known: list[str]) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(
            f"unknown {what} {unknown[0]!r}; choose from {', '.join(known)}"
        )
    return names


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
