"""Kill a child process at each call that changes the disk; print what the folder holds after each.

python kill_children.py FOLDER KEEP

For n = 1, 2, 3 ... a fresh run folder with checkpoints 1 and 2 is made, a child writes checkpoint 3
and dies by SIGKILL at its n-th call. A line for each n: was it killed, which checkpoint is the
newest, how many temporary files it left, how many are left after the next start. Ends with the
first n that no longer killed.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from unreliable import UnreliableOs

from deltarule import runs
from deltarule.storage import disk


def die() -> BaseException:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def arrays(number: int) -> dict[str, np.ndarray]:
    return {"w": np.full((20, 5), number, np.float32)}


def child(folder: Path, keep: int, fail_at: int) -> None:
    disk.os = UnreliableOs(fail_at, die)
    with runs.RunFolder(folder, keep=keep) as run:
        run.save_checkpoint(3, arrays(3), {"epoch": 3})
    os._exit(0)


def main(root: Path, keep: int) -> None:
    for fail_at in range(1, 1000):
        folder = root / f"run-{fail_at}"
        with runs.RunFolder(folder, keep=keep) as run:
            for number in (1, 2):
                run.save_checkpoint(number, arrays(number), {"epoch": number})
        pid = os.fork()
        if pid == 0:
            child(folder, keep, fail_at)
        _, status = os.waitpid(pid, 0)
        before = len(list(folder.glob(".*.tmp")))
        with runs.RunFolder(folder, keep=keep) as run:  # the dead child's lock is gone
            found = run.latest_checkpoint()
            assert found is not None
            assert (found.arrays["w"] == found.number).all()
        after = len(list(folder.glob(".*.tmp")))
        print(os.WIFSIGNALED(status), found.number, before, after, flush=True)
        if not os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
