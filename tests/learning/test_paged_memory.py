"""A folder ten times what memory may hold is learned from; held in memory it does not fit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SRC = Path(__file__).parents[2] / "src"
SIDE, EACH = 256, 2050  # pixels; pictures of a class

TRAIN = """
import resource, sys
import numpy as np
import PIL.Image, sklearn.model_selection
from deltarule import Dataset, Network, Recipe, evaluate, fit
from deltarule.data import read_images
from deltarule.learning import measure, pages

folder, array, how = sys.argv[1:]
pages.PAGE, measure.CHUNK_NUMBERS = 2 << 20, 1 << 20  # so that a smaller folder will do
n, shape = 4000, (256, 256, 3)
network = Network([256 * 256 * 3, 2], output="softmax")
recipe = Recipe(batch_size=4, learning_rate=1e-4, epochs=1)
few = Dataset(np.zeros((8, *shape), np.uint8), np.arange(8) % 2, scale=1 / 255)
fit(network, few, few, recipe)  # libraries are loaded, threads started

decoded = n * 256 * 256 * 3
now = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (now + decoded // 10, now + decoded // 10))
if how == "mapped":
    x = np.memmap(array, np.uint8, "w+", shape=(n, *shape))  # zeros, which take no room
    run = fit(network, Dataset(x, np.arange(n) % 2, scale=1 / 255), 90 / n, recipe)
else:
    options = {"cache": False} if how == "held" else {"stream": True}
    splits = read_images(folder, validation=90, test=10, workers=1, **options).splits
    assert splits.train.x.nbytes == decoded
    run = fit(network, splits.train, splits.validation, recipe)
    accuracy = run.history[-1]["validation_accuracy"], evaluate(run.model, splits.test).accuracy
    assert accuracy == (1.0, 1.0), accuracy
print("learned")
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes, dark above and dark below; every file of a class is the same one."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("cat", "dog")):
        pixels = np.full((2, SIDE // 2, SIDE, 3), 20, np.uint8)
        pixels[label] = 220
        (root / name).mkdir()
        Image.fromarray(pixels.reshape(SIDE, SIDE, 3)).save(root / name / "first.bmp")
        for i in range(1, EACH):
            os.link(root / name / "first.bmp", root / name / f"{i}.bmp")
    return root


def train(photos, array, how):
    # one arena: how many the allocator opens depends on chance, and each keeps what was freed
    environment = {**os.environ, "PYTHONPATH": str(SRC), "MALLOC_ARENA_MAX": "1"}
    environment["JAX_ENABLE_COMPILATION_CACHE"] = "0"  # storing what is compiled takes memory too
    return subprocess.run(
        [sys.executable, "-c", TRAIN, photos, array, how],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it needs Linux's /proc")
@pytest.mark.parametrize("how", ["streamed", "mapped"])
def test_a_folder_ten_times_the_memory_is_learned(photos, tmp_path, how):
    done = train(photos, tmp_path / "x", how)
    assert done.stdout == "learned\n", done.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it needs Linux's /proc")
def test_the_limit_is_one(photos, tmp_path):
    assert "MemoryError" in train(photos, tmp_path / "x", "held").stderr
