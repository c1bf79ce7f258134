"""Same seed, same weights: in other processes, folders and hash seeds; another seed, others."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from fits import BATCH, NETWORK, blobs, digest, history, weights

from deltarule.learning import Recipe, fit
from deltarule.network import Network

ROOT = Path(__file__).parents[2]
NETWORK_WITH_DROPOUT = Network([4, 5, 3], activation="relu", output="softmax", dropout=0.2)


def everything_random(seed=11):
    """A run that draws weights, a cut, shuffles and masks."""
    recipe = Recipe(epochs=4, batch_size=5, optimizer="adam", early_stopping=9, seed=seed)
    return fit(NETWORK_WITH_DROPOUT, blobs(60), recipe=recipe)


def few(seed):
    return Recipe(epochs=2, batch_size=BATCH, seed=seed)


def elsewhere(folder, **environment):
    compiled_anew = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
    path = {"PYTHONPATH": f"{ROOT / 'src'}:{Path(__file__).parent}"}
    environment = os.environ | compiled_anew | path | environment
    code = "import test_same_seed as t; print(t.digest(t.everything_random().state))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300, check=True,
    )  # fmt: skip
    return result.stdout.strip()


def test_the_same_bits_in_other_processes(tmp_path):
    here = digest(everything_random().state)
    assert elsewhere(tmp_path, PYTHONHASHSEED="0") == here
    assert elsewhere(ROOT, PYTHONHASHSEED="4242", LC_ALL="C", TZ="Asia/Tokyo") == here


def test_global_chance_has_no_say():
    first = digest(everything_random().state)
    np.random.seed(99)  # noqa: NPY002
    with jax.enable_x64(True):
        assert digest(everything_random().state) == first


def test_every_seed_gives_a_run_of_its_own():
    runs = [fit(NETWORK, blobs(), recipe=few(seed)) for seed in range(4)]
    assert len({digest(run.state) for run in runs}) == 4


def test_the_seed_draws_weights_and_order_on_their_own():
    """With the initial weights given, only the order of the examples is left to the seed."""
    data, start = blobs(), NETWORK.init(np.random.default_rng(0))[0]
    runs = [fit(NETWORK, data, recipe=few(s), params=start) for s in (0, 0, 1)]
    assert history(runs[0]) == history(runs[1])
    assert not np.array_equal(weights(runs[0]), weights(runs[2]))
    whole = Recipe(batch_size=43, epochs=2, precision="float64")
    runs = [
        fit(NETWORK, data, recipe=Recipe.from_description(whole.describe() | {"seed": s}),
            params=start)
        for s in (0, 1)
    ]  # fmt: skip
    np.testing.assert_allclose(weights(runs[0]), weights(runs[1]), rtol=0, atol=1e-12)


def test_the_weights_given_are_not_changed():
    start = NETWORK.init(np.random.default_rng(0))[0]
    copied = jax.tree.map(np.copy, start)
    fit(NETWORK, blobs(), recipe=few(0), params=start)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, start, copied)))


@pytest.mark.parametrize(
    "sizes", [[4, 6, 3], [4, 5, 5, 3], [4, 3]], ids=["units", "more layers", "fewer layers"]
)
def test_weights_of_another_network_are_refused(sizes):
    params = Network(sizes).init(np.random.default_rng(0))[0]
    with pytest.raises(ValueError, match=r"params must have the structure and shapes of"):
        fit(NETWORK, blobs(), params=params)
