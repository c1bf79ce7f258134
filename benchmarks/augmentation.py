"""What an epoch of augmentation costs: seconds, and memory.

``python benchmarks/augmentation.py`` measures and stores, and puts the table into
docs/augmentation.md; ``--draw`` only draws. ``--shared`` says that other work ran beside it.

An epoch is as many batches as 60 000 images of 28 x 28 make, inside one compiled call, as in
training; the least of some rounds counts. Processor time is that of all cores together. Peak memory
is that of a fresh process, with augmentation and without.
"""

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from memory import own_peak_mib
from report import put, table
from run import HERE, RESULTS, machine, versions

from deltarule.data.augment import Augment, augmentation

WANTED = ("affine", "affine,elastic")
BATCHES = (10, 128, 512)
IMAGES, ROUNDS = 60_000, 5
PATH = RESULTS / "augmentation" / "cpu.json"
PAGE = HERE.parent / "docs" / "augmentation.md"
MARKER = "augmentation"
NOTHING = "none"


def epoch(wanted: Augment, size: int) -> None:
    """Change all images once, in batches of ``size``, and say how long that took."""
    rng = np.random.default_rng(0)  # bytes at once: larger numbers would hide what is measured
    images = jnp.asarray(rng.integers(0, 256, (IMAGES, 28, 28), np.uint8))

    @jax.jit
    def run(x: jax.Array, key: jax.Array) -> jax.Array:
        def batch(i: jax.Array, total: jax.Array) -> jax.Array:
            part = jax.lax.dynamic_slice_in_dim(x, i * size, size)
            return total + wanted.apply(jax.random.fold_in(key, i), part)

        return jax.lax.fori_loop(0, len(x) // size, batch, jnp.zeros((size, 28, 28)))

    best = {"seconds": np.inf, "processor_seconds": np.inf}
    for attempt in range(ROUNDS + 1):
        before, used = time.perf_counter(), time.process_time()
        run(images, jax.random.key(attempt)).block_until_ready()
        if attempt:  # the first one compiles
            best["seconds"] = min(best["seconds"], time.perf_counter() - before)
            best["processor_seconds"] = min(best["processor_seconds"], time.process_time() - used)
    print(json.dumps(best | {"peak_mib": own_peak_mib()}))


def measured(name: str, size: int) -> dict[str, float]:
    """Return what ``epoch`` says in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(size)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(printed)
    return found


def measure() -> dict[str, Any]:
    """Return every measurement: by what is wanted and by size of the batch."""
    return {
        name: {str(size): measured(name, size) for size in BATCHES} for name in (NOTHING, *WANTED)
    }


def added_mib(results: dict[str, Any], name: str, size: str) -> float:
    """Return how much more memory a process takes with augmentation than without."""
    epochs = results["epochs"]
    more: float = epochs[name][size]["peak_mib"] - epochs[NOTHING][size]["peak_mib"]
    return more


def tables(results: dict[str, Any]) -> str:
    """Return the stored measurements in Markdown."""
    rows = [
        (name, size, f"{each['processor_seconds']:.2f}", f"{each['seconds']:.2f}",
         str(round(added_mib(results, name, size))))
        for name in WANTED for size, each in results["epochs"][name].items()
    ]  # fmt: skip
    beside = ", shared with other work" if results["shared"] else ""
    said = f"{results['machine']['cores']} cores{beside}; the least of {ROUNDS} epochs each."
    heads = ("", "batch", "processor s", "s", "more memory, MiB")
    return f"{said}\n\n{table(heads, rows)}"


def main() -> None:
    """Measure and store; or draw what is stored into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    parser.add_argument("--shared", action="store_true", help="other work runs beside it")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "BATCH"), help="only this, here")
    options = parser.parse_args()
    if options.one:
        name, size = options.one
        epoch(Augment() if name == NOTHING else augmentation(name), int(size))
        return
    if not options.draw:
        results = {"machine": machine(), "versions": versions(), "shared": options.shared}
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(json.dumps(results | {"epochs": measure()}, indent=1) + "\n", "utf-8")
    put(PAGE, tables(json.loads(PATH.read_text("utf-8"))), MARKER)


if __name__ == "__main__":
    main()
