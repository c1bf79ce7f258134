"""How much memory training takes at most: ``python benchmarks/memory.py lenet512`` prints MiB.

The kernel counts for a whole process, so each measurement is a fresh one: the interpreter, the
libraries, all 50 000 examples, compilation and the first compiled call of ``fit``, which allocates
everything that later calls use again.
"""

import json
import subprocess
import sys
from pathlib import Path

import peers
from task import SUITES, Task, Workload, load_examples

from deltarule import Callback, Run, fit

STATUS = Path("/proc/self/status")  # of Linux


class OneCall(Callback):
    """Stop after the first compiled call."""

    every_epoch = False

    def advanced(self, run: Run) -> None:
        run.stop("one call is enough")


def peak_mib(workload: str) -> float | None:
    """Return the peak memory of training ``workload`` in MiB, None where nobody counts it."""
    if not STATUS.exists():
        return None
    command = [sys.executable, __file__, workload]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(json.loads(printed))


def train_once(job: Workload) -> None:
    """Train for one compiled call, as our peer does."""
    ours = peers.load(peers.OURS)(Task(job, load_examples()))
    fit(
        ours.network, ours.task.dataset,
        recipe=ours.recipe, params=ours.first, callbacks=[OneCall()],
    )  # fmt: skip


def own_peak_mib() -> float:
    """Return the largest resident size this process has had."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024  # it is in KiB


if __name__ == "__main__":
    jobs = {job.name: job for suite in SUITES for job in suite.workloads}
    train_once(jobs[sys.argv[1]])
    print(json.dumps(own_peak_mib()))
