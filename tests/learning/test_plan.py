"""What a plan says of itself is so: who convolves, what the companion does, how batches are cut."""

import pytest

from deltarule.learning.measure import part_size
from deltarule.learning.plan import make_plan
from deltarule.learning.recipe import PRECISIONS
from deltarule.network import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Network,
    companion,
)

IMAGES = Network(
    Conv(4, 3), MaxPool(2), Activation("relu"), Flatten(), Dense(2), Activation("softmax"),
    shape=(6, 6, 1),
)  # fmt: skip
ROWS = Network([36, 8, 2])


def said(network=IMAGES, *, examples=1000, batch_size=64, **more):
    """Return the sentences by their first word; those of single layers together."""
    lines = make_plan(network, network.shape or (36,), examples, batch_size, **more).explain()
    found = {}
    for line in lines:
        word, _, text = line.partition(": ")
        found.setdefault("layers" if line.startswith("  ") else word, []).append(text)
    assert all(len(texts) == 1 for word, texts in found.items() if word != "layers")
    return {word: texts if word == "layers" else texts[0] for word, texts in found.items()}


@pytest.fixture(params=["the companion", "no companion"])
def there(request, monkeypatch):
    """Say whether the companion is there; every test is run with and without it."""
    if request.param == "no companion":
        monkeypatch.setenv("DELTARULE_NATIVE", "0")
        return False
    if not companion.is_there():
        pytest.skip("deltarule-native is not installed")
    return True


@pytest.mark.parametrize("network", [IMAGES, ROWS], ids=["images", "rows"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_plan_names_device_companion_and_products(there, network, precision):
    found = said(network, precision=precision, backend="cpu")
    used = there and (companion.has_bfloat16() if precision == "bfloat16" else True)
    used = used and precision != "float64"
    assert found["device"] == "cpu"
    assert found["companion"].startswith("deltarule-native, " if used else "not in use: ")
    assert ("convolution" in found) == (network is IMAGES)
    assert any("companion" in line for line in found.get("layers", ())) <= used
    assert ("16 bits" in found["products"]) == (precision == "bfloat16")


def test_in_double_precision_the_companion_is_not_used(there):
    found = said(precision="float64", backend="cpu")
    why = "it is for 32 bits or 16" if there else "DELTARULE_NATIVE is 0"
    assert found["companion"] == f"not in use: {why}"
    assert found["convolution"].startswith("patches and one matrix product")


def test_a_processor_without_sixteen_bits(there, monkeypatch):
    monkeypatch.setattr(companion, "has_bfloat16", lambda: False)
    found = said(precision="bfloat16", backend="cpu")
    why = "it has no products of 16 bits on this processor" if there else "DELTARULE_NATIVE is 0"
    assert found["companion"] == f"not in use: {why}"


def test_who_convolves_on_a_cpu(there):
    found = said(backend="cpu")["convolution"]
    assert found.startswith("the companion's" if there else "patches and one matrix product")


def test_second_derivatives_have_the_backends_own_operator(there):
    found = said(backend="cpu", twice_differentiable=True)
    assert "fast" not in found["convolution"]
    assert "slow on a CPU, but only it has the second derivatives" in found["convolution"]
    why = "it has no second derivatives" if there else "DELTARULE_NATIVE is 0"
    assert found["companion"].startswith(f"not in use: {why}")
    assert not any(line.startswith("companion") for line in found["layers"])


def test_elsewhere_it_is_the_backends_own_operator(there):
    found = said(backend="gpu")
    assert found["device"] == "gpu"
    assert found["convolution"] == "the backend's own operator, which is fast there"
    assert found["companion"] == "not in use: it is for CPUs"
    assert found["batch"] == "worked on whole"


# Batches.


@pytest.mark.parametrize(
    ("batch_size", "examples", "text"),
    [
        (64, 1000, "worked on whole"),
        (512, 1024, "512 in 8 parts of 64; gradients"),
        (512, 1000, "512 in 8 parts of 64; the last 488 in 8 parts of 61; gradients"),
        (512, 512 + 97, "512 in 8 parts of 64; the last 97 whole: nothing from 32 to 64 divides"),
        (100, 110, "100 in 2 parts of 50; the last 10 whole; gradients"),
        (65, 130, "65 whole: nothing from 32 to 64 divides it"),
        (131, 231, "131 whole: nothing from 32 to 64 divides it; the last 100 in 2 parts of 50; g"),
    ],
)
def test_batches_of_patches_are_cut_as_it_is_said(monkeypatch, batch_size, examples, text):
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    found = said(batch_size=batch_size, examples=examples, backend="cpu")["batch"]
    assert found.startswith(text)
    sizes = [batch_size, examples % batch_size]
    assert ("gradients of parts" in found) == any(part_size(n, 64) < n for n in sizes)


def test_what_needs_no_patches_or_the_whole_batch_is_not_cut(there):
    normed = Network(Conv(4, 3), BatchNorm(), Flatten(), Dense(2), shape=(6, 6, 1))
    for network in (normed, ROWS):
        assert said(network, batch_size=512, backend="cpu")["batch"] == "worked on whole"
    cut = said(batch_size=512, backend="cpu")["batch"] != "worked on whole"
    assert cut == (not there)


@pytest.mark.skipif(not companion.is_there(), reason="deltarule-native is not installed")
def test_windows_that_are_too_large_for_the_companion():
    large, small = (
        Network(MaxPool(side), Flatten(), Dense(2), shape=(34, 34, 1)) for side in (17, 16)
    )
    who = [said(each)["layers"][0].split()[0] for each in (large, small)]
    assert who == ["compiler", "companion"]


def test_calls_of_tiny_data_are_many_epochs():
    assert said(ROWS, examples=60)["calls"] == "32 epochs each"
    assert "epochs" not in said(ROWS, examples=60, every_epoch=True)["calls"]
