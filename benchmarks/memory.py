"""How much memory training takes at most, in MiB.

``python benchmarks/memory.py deltarule_engine lenet512`` prints it for that deltarule and workload.

The kernel counts for a whole process, so each measurement is a fresh one: the interpreter, the
libraries, all 50 000 examples, compilation and the first steps of ``fit``; after these a run of a
whole epoch holds no more.
"""

import json
import subprocess
import sys
from pathlib import Path

import peers
from task import SUITES, Task, Workload, load_examples

from deltarule import Callback, Run

STEPS = 20  # at least; the peak is reached after about ten
STATUS = Path("/proc/self/status")  # of Linux


class FewSteps(Callback):
    """Stop when STEPS steps are done."""

    every_epoch = False

    def advanced(self, run: Run) -> None:
        if run.state.position >= STEPS:
            run.stop("enough steps")


def peak_mib(ours: str, workload: str) -> float | None:
    """Return the peak memory of training ``workload`` in MiB, None where nobody counts it."""
    if not STATUS.exists():
        return None
    command = [sys.executable, __file__, ours, workload]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(json.loads(printed))


def train(ours: str, job: Workload) -> None:
    """Train for a few steps, as the peer ``ours`` does."""
    peers.load(ours)(Task(job, load_examples())).fit(FewSteps())


def own_peak_mib() -> float:
    """Return the largest resident size this process has had."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024  # it is in KiB


if __name__ == "__main__":
    jobs = {job.name: job for suite in SUITES for job in suite.workloads}
    train(sys.argv[1], jobs[sys.argv[2]])
    print(json.dumps(own_peak_mib()))
