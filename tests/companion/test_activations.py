"""The companion's activations against the formulas in float64."""

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule.network import Activation, Conv, companion, kernels
from deltarule.network.activations import ACTIVATIONS
from deltarule.network.companion.activations import activate
from deltarule.network.kernels import Kernels, using

companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
pytestmark = companion_only

ALONE = companion.ALONE
LEAST_POWER = 2e-38  # e^-87: smaller powers of e are taken for this
NEAR_0 = np.geomspace(1e-30, 1e-2, 57)
POINTS = np.concatenate([np.linspace(-100, 100, 4001), NEAR_0, -NEAR_0, [0, 87.5, -87.5, 1e30]])


def both(function, z, g):
    """Return f(z) and g f'(z)."""
    y, pull = jax.vjp(function, z)
    return y, pull(g)[0]


def exact(name, z, g):
    """Return them by the formulas of the plain path, in float64."""
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in (z, g)]
        return [np.asarray(a) for a in both(ACTIVATIONS[name], *wide)]


def drawn(*shape, seed=0):
    return np.float32(np.random.default_rng(seed).normal(size=shape) * 3)


@pytest.mark.parametrize("name", ALONE)
def test_every_number_is_exact_to_some_ulps(name):
    z = np.float32(POINTS)
    found = both(lambda z: activate(z, name), z, np.ones_like(z))
    relative = 8e-6 if name == "gelu" else 1e-6  # far in its tail z^2 / 2 is rounded, then a power
    # the slope of gelu crosses 0 at -0.75, between terms of 0.2; that of elu in float64 is y + 1
    slope = {"elu": 1e-16, "gelu": 1e-7, "softplus": 0.0}[name]
    for one, other, more in zip(found, exact(name, z, np.ones_like(z)), (0, slope), strict=True):
        error = np.abs(np.asarray(one, np.float64) - other)
        assert np.all(error <= relative * np.abs(other) + more + LEAST_POWER * (1 + np.abs(z)))


@pytest.mark.parametrize("name", ALONE)
def test_bfloat16_is_the_exact_number_rounded(name):
    z, g = (jnp.asarray(drawn(3000, seed=s), jnp.bfloat16) for s in (0, 1))
    for one, other in zip(both(lambda z: activate(z, name), z, g), exact(name, z, g), strict=True):
        assert one.dtype == jnp.bfloat16
        error = np.abs(np.asarray(one, np.float64) - other)
        assert np.all(error <= 2**-8 * np.abs(other) + 1e-6)  # half a last place, of 7 bits


def test_an_example_by_hand():
    # elu(-ln 2) = 1/2 - 1 and its slope there is 1/2; softplus(0) = ln 2 with slope 1/2;
    # gelu(0) = 0, its slope the share of the normal distribution below 0, 1/2. All times g = 4.
    z, g = jnp.array([-np.log(2), 3.0]), jnp.array([4.0, 4.0])
    y, dz = both(lambda z: activate(z, "elu"), z, g)
    np.testing.assert_allclose(y, [-0.5, 3], rtol=1e-6)
    np.testing.assert_allclose(dz, [2, 4], rtol=1e-6)
    y, dz = both(lambda z: activate(z, "softplus"), 0 * z, g)
    np.testing.assert_allclose([y[0], dz[0]], [np.log(2), 2], rtol=1e-6)
    y, dz = both(lambda z: activate(z, "gelu"), 0 * z, g)
    assert (y.tolist(), dz.tolist()) == ([0, 0], [2, 2])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ALONE)
def test_nan_infinity_and_0_give_what_the_plain_path_gives(name, dtype):
    z = jnp.asarray(np.tile([np.nan, np.inf, -np.inf, 0.0, -0.0], 9), dtype)  # vectors and a rest
    found = both(lambda z: activate(z, name), z, jnp.ones_like(z))
    for one, other in zip(found, both(ACTIVATIONS[name], z, jnp.ones_like(z)), strict=True):
        np.testing.assert_allclose(np.float32(one), np.float32(other), atol=1e-30)
    assert np.isnan(np.float32(found)[:, ::5]).all()


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=0, max_size=3), st.sampled_from(ALONE), st.booleans()
)  # fmt: skip
def test_any_shape_and_place_gives_the_same_number(shape, name, half):
    dtype = jnp.bfloat16 if half else jnp.float32
    z, g = (jnp.asarray(drawn(*shape, seed=s), dtype) for s in (0, 1))
    forward = both(lambda z: activate(z, name), z, g)
    turned = both(lambda z: activate(z, name), z.ravel()[::-1], g.ravel()[::-1])
    for one, other in zip(forward, turned, strict=True):
        assert (one.shape, one.dtype) == (z.shape, dtype)
        assert np.array_equal(np.float32(one).ravel()[::-1], np.float32(other))


def test_the_same_bits_in_every_thread_and_however_it_is_cut():
    z = drawn(700_001)
    run = jax.jit(lambda z: both(lambda z: activate(z, "gelu"), z, z))
    first = [np.asarray(a) for a in run(z)]
    parts = [run(z[i : i + 10_001]) for i in range(0, len(z), 10_001)]  # too few for two threads
    for whole, pieces in zip(first, zip(*parts, strict=True), strict=True):
        assert np.array_equal(whole, np.concatenate(pieces))
    with ThreadPoolExecutor(2) as threads:
        for again in threads.map(lambda _: run(z), range(6)):
            assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


BAD = {
    "another activation": ((5,), (5,), "tanh", "elu, gelu or softplus"),
    "a gradient of another size": ((5,), (4,), "elu", "like z"),
    "a gradient of another type": ((5,), np.int32, "elu", "like z"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_an_exception(name):
    shape, other, activation, message = BAD[name]
    z = jnp.ones(shape)
    g = jnp.ones(shape, other) if other is np.int32 else jnp.ones(other)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=message):
        companion.call(
            "deltarule_activation_backward", jax.ShapeDtypeStruct(shape, z.dtype), z, g,
            activation=activation,
        )  # fmt: skip


def test_float64_is_refused():
    with (
        jax.enable_x64(True),
        pytest.raises((ValueError, jax.errors.JaxRuntimeError), match="float32 or bfloat16"),
    ):
        activate(jnp.ones(5, jnp.float64), "gelu")


@pytest.mark.parametrize("product", ["plain", "bfloat16"])
def test_it_is_used_from_the_size_on_where_it_pays(product):
    def is_native(name, size):
        with using(Kernels("patches", product, companion=True)):
            text = str(jax.make_jaxpr(lambda z: kernels.activate(z, name))(jnp.ones(size)))
        return "deltarule_activation" in text

    least = kernels.choice.PAYS_FROM["activation"][product]
    assert all(is_native(name, least) for name in ALONE)
    assert not any(is_native(name, least - 1) for name in ALONE)
    assert not any(is_native(name, least) for name in ACTIVATIONS if name not in ALONE)


def test_after_a_convolution_nothing_but_the_companion_touches_the_pixels():
    network = Conv(8, 3), Activation("gelu")

    def run(x, w, b):
        with using(Kernels("patches", "plain", companion=True)):
            y, _ = network[0].apply(
                {"w": w, "b": b}, {}, x, key=None, train=True, activation=network[1].name
            )
        return y

    text = str(jax.make_jaxpr(run)(jnp.ones((64, 18, 18, 3)), jnp.ones((8, 3, 3, 3)), jnp.ones(8)))
    assert "deltarule_convolution_forward" in text
    assert "deltarule_activation_forward" in text
    assert "erf" not in text
