"""Networks with the companion and without: the same outputs, gradients and trained weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltarule import Dataset, Recipe
from deltarule.learning.fit import fit
from deltarule.learning.plan import make_plan
from deltarule.network import (
    ACTIVATIONS,
    Activation,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
    Network,
    Residual,
    Scale,
    companion,
    kernels,
)
from deltarule.network.kernels import Kernels, using

pytestmark = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
RELU, FLAT = Activation("relu"), Flatten()
GATE = (GlobalAvgPool(), Dense(2), RELU, Dense(6), Activation("sigmoid"))
NETWORKS = {
    "convolutions": (Conv(6, 3, padding="same"), RELU, MaxPool(2), Conv(5, 3), RELU, FLAT),
    "relu after the pool": (Conv(6, 5), MaxPool(2), RELU, FLAT),
    "no bias, batch norm": (
        Conv(6, 3, padding="same", bias=False), BatchNorm(), RELU, MaxPool(3, 2), FLAT,
    ),
    "batch norm first": (BatchNorm(), Activation("gelu"), Conv(4, 2, 2), Activation("tanh"), FLAT),
    "strides, groups, dilation": (
        Conv(6, 3, 2, padding=1), RELU, Conv(6, 3, groups=3, padding="same"), Activation("elu"),
        Conv(4, 2, dilation=2), Activation("leaky_relu"), AvgPool(2, 1), FLAT,
    ),
    "residual": (
        Conv(6, 1), Residual((Conv(6, 3, padding="same", bias=False), BatchNorm(), RELU)), RELU,
        GlobalAvgPool(),
    ),
    "branches": (
        Concat(((Conv(3, 1), RELU), (Conv(5, 3, padding="same"),), (AvgPool(3, 1, "same"),))),
        MaxPool(3, 2, "same"), FLAT,
    ),
    "gates": (Conv(6, 3), Scale(GATE), FLAT),
    "other norms": (Conv(6, 3), LocalResponseNorm(), RELU, FLAT, Dense(8), LayerNorm(), RELU),
    "dropout": (Conv(6, 3), RELU, FLAT, Dropout(0.5), Dense(9), Activation("softplus")),
    "dense": (FLAT, Dense(40), Activation("sigmoid"), Dense(30), Activation("lecun_tanh")),
}  # fmt: skip
ALWAYS = {name: {"plain": 0, "bfloat16": 0} for name in kernels.choice.PAYS_FROM}
WITH, WITHOUT = (Kernels("patches", "plain", with_it) for with_it in (True, False))
WITH_16, WITHOUT_16 = (Kernels("patches", "bfloat16", with_it) for with_it in (True, False))


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Let the companion do all it can, however small."""
    monkeypatch.setattr(kernels.choice, "PAYS_FROM", ALWAYS)


def network_of(name):
    return Network(*NETWORKS[name], Dense(4), shape=(9, 11, 2))


def everything(network, how, train):
    """Return outputs, state and gradients of a random network on random images."""
    rng = np.random.default_rng(3)
    params, state = jax.tree.map(
        lambda array: jnp.asarray(array + 0.1 * rng.standard_normal(array.shape), jnp.float32),
        network.init(rng),
    )
    if not train:
        state = jax.tree.map(jnp.abs, state)  # a variance
    x = jnp.asarray(rng.standard_normal((5, *network.shape)), jnp.float32)
    weights = jnp.asarray(rng.standard_normal(4), jnp.float32)

    def cost(params, x):
        z, after = network.apply(params, state, x, key=jax.random.key(1), train=train)
        return (z * weights).sum(), (z, after)

    with using(how):
        run = jax.jit(jax.grad(cost, argnums=(0, 1), has_aux=True))
        return jax.tree.map(np.asarray, run(params, x))


def errors(found, expected):
    """Return how far each array of ``found`` is from ``expected``, over the size of that."""
    return [
        np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
        if b.size
    ]


def calls(network, how):
    """Return the handlers that a training step of ``network`` calls."""
    params, state = jax.tree.map(np.float32, network.init(np.random.default_rng(0)))
    x = np.ones((2, *network.shape), np.float32)
    with using(how):
        step = jax.grad(
            lambda p: network.apply(p, state, x, key=jax.random.key(0), train=True)[0].sum()
        )
        return {word for word in str(jax.make_jaxpr(step)(params)).split() if "deltarule_" in word}


@pytest.mark.parametrize("train", [True, False], ids=["training", "prediction"])
@pytest.mark.parametrize("name", NETWORKS)
def test_same_with_and_without(name, train):
    network = network_of(name)
    found, expected = (everything(network, how, train) for how in (WITH, WITHOUT))
    assert max(errors(found, expected)) < 2e-5
    assert calls(network, WITH)
    assert not calls(network, WITHOUT)


@pytest.mark.parametrize("name", NETWORKS)
def test_same_up_to_rounding_in_16_bits(name):
    network = network_of(name)
    found, exact = (everything(network, how, True) for how in (WITH_16, WITHOUT))
    assert {array.dtype for array in jax.tree.leaves(found)} == {np.dtype(np.float32)}
    off = errors(found, exact)
    # Sixteen bits are 2^-9; batch norm over five images and max pooling on near ties multiply it.
    assert np.median(off) < 0.03
    assert max(off) < 0.3
    assert max(off) > 1e-5  # it did round


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
@pytest.mark.parametrize("before", [Dense(6), Conv(6, 2), BatchNorm()], ids=["Dense", "Conv", "BN"])
def test_every_activation_goes_along(before, name):
    first = (FLAT, before) if isinstance(before, Dense) else (before,)
    network = Network(*first, Activation(name), FLAT, Dense(4), shape=(5, 4, 3))
    found, expected = (everything(network, how, True) for how in (WITH, WITHOUT))
    assert max(errors(found, expected)) < 2e-5


def test_64_bits_never_go_there():
    with jax.enable_x64(True):
        network = network_of("convolutions")
        params, state = network.init(np.random.default_rng(0))
        with using(WITH):
            text = str(jax.make_jaxpr(network.apply)(params, state, np.ones((2, 9, 11, 2))))
    assert "deltarule_" not in text


def test_switch(monkeypatch):
    assert kernels.usual().companion
    assert not kernels.usual("float64").companion
    assert not kernels.usual("float32", "gpu").companion
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    assert not kernels.usual().companion
    assert "DELTARULE_NATIVE is 0" in companion.describe()


def digits(n=60):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (n, 9, 11, 2), dtype=np.uint8)
    return Dataset(x, rng.integers(0, 4, n), tuple("abcd"), 1 / 255)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_gives_the_same_bits_twice_and_learns_alike(monkeypatch, precision):
    network = Network(
        Conv(6, 3, padding="same", bias=False), BatchNorm(), RELU, MaxPool(2), FLAT, Dense(4),
        Activation("softmax"), shape=(9, 11, 2),
    )  # fmt: skip
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.05, precision=precision)
    first, second = (fit(network, digits(), recipe=recipe) for _ in range(2))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(first.model.params), jax.tree.leaves(second.model.params), strict=True
        )
    )
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    plain = fit(network, digits(), recipe=recipe)
    limit = 1e-3 if precision == "float32" else 0.1
    assert 0 < max(errors(first.model.params, plain.model.params)) < limit


def test_plan_says_who_does_what(monkeypatch):
    network = Network(Conv(8), BatchNorm(), RELU, MaxPool(2), FLAT, Dense(4), shape=(9, 11, 2))
    said = make_plan(network, (9, 11, 2), 100, 10).explain()
    assert any("oneDNN" in line for line in said)
    assert sum("companion (" in line for line in said) == 4
    monkeypatch.setattr(kernels.choice, "PAYS_FROM", ALWAYS | {"dense": {"plain": 10**9}})
    said = make_plan(network, (9, 11, 2), 100, 10).explain()
    assert any(line.startswith("  Dense") and "compiler (" in line for line in said)


@pytest.mark.parametrize(("name", "said"), [("gelu", 1), ("relu", 0), ("softmax", 0)])
def test_plan_says_who_does_an_activation_that_nothing_takes_along(name, said):
    network = Network(Conv(8), Activation(name), FLAT, Dense(4), shape=(9, 11, 2))
    lines = make_plan(network, (9, 11, 2), 100, 10).explain()
    assert sum(line.startswith("  Activation") and "companion (" in line for line in lines) == said
