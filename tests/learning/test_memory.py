"""Memory: what augmentation adds, measured in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
MIB = 1 << 20

TRAIN = """
import sys
import numpy as np
from deltarule import Augment, Dataset, Network, Recipe, fit

rng = np.random.default_rng(0)
x = rng.integers(0, 256, (60_000, 28, 28), np.uint8)
data = Dataset(x, rng.integers(0, 10, 60_000), scale=1 / 255)
augment = None if sys.argv[1] == "none" else Augment(
    rotation=15, shear=15, scale=0.15, shift=2, elastic_alpha=36, elastic_sigma=6
)
recipe = Recipe(epochs=1, batch_size=int(sys.argv[2]), augment=augment)
fit(Network([784, 10], output="softmax"), data, recipe=recipe)
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


def peak(*arguments: str) -> int:
    """Return the most bytes of memory a process held that trained one epoch."""
    compiled_anew = {"JAX_ENABLE_COMPILATION_CACHE": "0"}  # compiling takes memory too
    environment = {**os.environ, **compiled_anew, "PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it needs Linux's /proc")
@pytest.mark.parametrize("batch_size", ["128", "6000"])
def test_augmenting_mnist_adds_less_than_200_mib(batch_size):
    assert peak("augmented", batch_size) - peak("none", batch_size) < 200 * MIB
