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
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from memory import peak_mib
from peers import PEERS
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
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    for suite in options.suites:
        path = (options.out or RESULTS) / f"{suite.name}.json"
        chosen = [job for job in suite.workloads if job.name in options.workloads]
        if options.draw and path.exists():
            draw(PAGE, json.loads(path.read_text(encoding="utf-8")), suite.marker)
        if options.draw or not chosen:
            continue
        results = benchmark(suite, chosen, options.peers, options.rounds)
        if options.out or _whole(suite, chosen, options):
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        else:
            _say("A part, few rounds or no companion: printed, and stored only where --out says.")
        print(tables(results))


def benchmark(
    suite: Suite, workloads: list[Workload], wanted: list[str], rounds: int
) -> dict[str, Any]:
    """Return the results of ``workloads`` for the wanted peers that can run here."""
    names = [suite.ours, *(peer for peer in suite.peers if peer in wanted)]
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
    if suite.with_companion:
        results["companion"] = companion()[1]
    if suite.startup:
        results["startup"] = startup(rounds)
    peaks = {name: peak_mib(suite.ours, name) for name in suite.memory if name in measured}
    if found := {name: mib for name, mib in peaks.items() if mib is not None}:
        results["memory"] = found
    return results | {"left_out": left_out}


def measure(job: Workload, workers: list[Worker], rounds: int) -> dict[str, Any]:
    """Check that the peers agree, warm them up, and time them in turns; ours comes first."""
    ours, *others = workers
    learns = job.our_steps or job.precision != "float32"
    # Among millions of relu neurons one is so near 0 that float32 puts it on either side, and one
    # such neuron moves every weight.
    exact, steps = ("float64", CHECKED_LARGE) if job.our_steps else ("float32", CHECKED_STEPS)
    for worker in others:
        _say(f"{job.name}: {worker.name} must agree")
        adapted = PEERS[worker.name].adapted(job)
        check(ours, worker, replace(adapted, precision=exact), steps)
        if learns:
            check_learning(ours, worker, Task(adapted, load_examples()).take(steps))
    for worker in workers:
        _say(f"{job.name}: {worker.name} warms up")
        entry = PEERS[worker.name]
        worker.prepare(entry.timed(job), entry.block(job))
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
    """Raise ``AssertionError`` unless both learn ``task``, as they are timed, and about as much.

    After many steps, or in bfloat16, weights part; so it is the costs that must be near.
    """
    first, costs = task.cost(task.first_weights()), []
    for each in (ours, worker):
        job = PEERS[each.name].timed(task.workload)
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


def companion() -> tuple[bool, str]:
    """Return whether the companion can be used here, and what it is or why not."""
    # Every worker imports this file, and PyTorch's process needs no JAX.
    from deltarule.network import companion as ours

    return ours.is_there(), ours.describe()


def _whole(suite: Suite, chosen: list[Workload], options: argparse.Namespace) -> bool:
    """Whether a run may take the place of the stored results of ``suite``."""
    full = len(chosen) == len(suite.workloads) and set(options.peers) >= set(suite.peers)
    there = not suite.with_companion or companion()[0]
    return full and there and options.rounds >= ROUNDS


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    known = {suite.name: suite for suite in SUITES}
    parser.add_argument("--suites", default=",".join(known), help=f"of {', '.join(known)}")
    parser.add_argument(
        "--workloads", help="of these suites; a name is measured in each of them that has it"
    )
    parser.add_argument(
        "--peers", default=",".join(PEERS),
        help=f"of {', '.join(PEERS)}; a suite has its own, and its deltarule is always measured",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="a folder for the results, of parts too")
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    options = parser.parse_args()
    options.suites = [known[name] for name in _names(parser, "suite", options.suites, known)]
    jobs = list(dict.fromkeys(job.name for suite in options.suites for job in suite.workloads))
    options.workloads = _names(parser, "workload", options.workloads or ",".join(jobs), jobs)
    options.peers = _names(parser, "peer", options.peers, PEERS)
    return options


def _names(
    parser: argparse.ArgumentParser, what: str, text: str, known: Collection[str]
) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown {what} {unknown[0]!r}; choose from {', '.join(known)}")
    return names


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
