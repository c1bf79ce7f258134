"""Model files: a model comes back as it was; every other file is refused, and none is obeyed."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.make import golden_models
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule import files
from deltarule.files import load_model, save_model
from deltarule.network import (
    ACTIVATIONS,
    INITIALIZERS,
    Activation,
    Dense,
    Dropout,
    Flatten,
    Model,
    Network,
)

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_FILES = sorted(GOLDEN.glob("*.safetensors"), key=lambda path: path.name)


def make(network: Network, shape: tuple[int, ...], **fields: Any) -> Model:
    params, state = network.init(np.random.default_rng(0), shape)
    return Model(network, params, state, shape, **fields)


def small() -> Model:
    layers = (Flatten(), Dense(3), Activation("relu"), Dropout(0.5), Dense(2))
    return make(Network(*layers), (2, 2), classes=("no", "yes"), scale=0.5)


# --- a model comes back

hidden = st.sampled_from(sorted(ACTIVATIONS)).map(Activation)
dense = st.builds(
    Dense,
    st.integers(1, 5),
    st.sampled_from(sorted(INITIALIZERS)),
    st.sampled_from(sorted(INITIALIZERS)),
)
dropout = st.floats(0, 1, exclude_max=True).map(Dropout)
any_layers = st.lists(hidden | dense | dropout | st.just(Flatten()), max_size=6)
class_name = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def models(draw: st.DrawFn) -> Model:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    known = draw(st.booleans())
    network = Network(Flatten(), *draw(any_layers), shape=shape if known else None)
    outputs = network.output_shape(shape)[0]
    model = make(
        network,
        shape,
        classes=tuple(draw(st.lists(class_name, min_size=outputs, max_size=outputs))),
        scale=draw(st.floats(allow_nan=False, allow_infinity=False)),
        provenance={"cost": draw(st.floats()), "notes": draw(class_name)},
    )
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    cast = tuple({name: a.astype(dtype) for name, a in layer.items()} for layer in model.params)
    return dataclasses.replace(model, params=cast)


def same(one: Model, other: Model) -> None:
    assert one.network == other.network
    assert (one.shape, one.classes, one.scale) == (other.shape, other.classes, other.scale)
    np.testing.assert_equal(one.provenance, other.provenance)
    assert len(one.params) == len(other.params)
    for a, b in zip(one.params + one.state, other.params + other.state, strict=True):
        assert list(a) == list(b)
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name], strict=True)


@settings(deadline=None)
@given(models())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, model: Model) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    save_model(model, path)
    first = path.read_bytes()
    found = load_model(path)
    same(model, found)
    save_model(found, path)
    assert path.read_bytes() == first


def test_the_answers_are_the_same_to_the_bit(tmp_path: Path) -> None:
    model = small()
    save_model(model, tmp_path / "a")
    found = load_model(tmp_path / "a")
    x = np.random.default_rng(1).normal(size=(5, 2, 2))
    np.testing.assert_array_equal(model.outputs(x), found.outputs(x))
    assert model.labels(x) == found.labels(x)


def test_what_numpy_gives_is_stored_as_plain_data(tmp_path: Path) -> None:
    network = Network([4, 2])
    params, state = network.init(np.random.default_rng(0))
    classes = tuple(np.array(["a", "b"]))
    model = Model(network, params, state, (np.int64(4),), classes, np.float32(0.5))
    save_model(model, tmp_path / "a")
    found = load_model(tmp_path / "a")
    assert found.shape == (4,)
    assert type(found.shape[0]) is int
    assert found.classes == ("a", "b")
    assert type(found.classes[0]) is str
    assert found.scale == 0.5


def test_a_layer_says_every_field_so_new_defaults_change_no_old_file(tmp_path: Path) -> None:
    save_model(small(), tmp_path / "a")
    text = (tmp_path / "a").read_bytes()
    for field in (b"units", b"weight_init", b"bias_init", b"name", b"rate"):
        assert field in text


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    good = small()
    params = good.params
    bfloat = {"w": params[1]["w"].astype(np.float16), "b": params[1]["b"]}
    cases: dict[str, dict[str, Any]] = {
        "as many classes as outputs; it has 1 classes and outputs of shape (2,)": {
            "classes": ("no",)
        },
        "weights all of float32 or all of float64, got float16, float64": {
            "params": (params[0], bfloat, *params[2:])
        },
        "lacks the array layers.1.w of shape (3, 4)": {"params": ({}, {}, *params[2:])},
        "has the array layers.0.x of shape (1,), which its layers do not need": {
            "params": ({"x": np.zeros(1)}, *params[1:])
        },
        "no network that can be built: Dense expects inputs with one axis": {
            "network": Network(Dense(2))
        },
        "finite number as scale, got nan": {"scale": float("nan")},
        "dictionary as provenance, got set()": {"provenance": set()},
        "provenance.x must be plain data": {"provenance": {"x": np.zeros(1)}},
        "provenance of at most 262,144 bytes": {"provenance": {"x": "y" * (1 << 18)}},
        "sizes of at least 1 as shape": {"shape": (0,)},
    }
    for words, changes in cases.items():
        with pytest.raises(ValueError, match=r"^the model cannot be saved: ") as caught:
            save_model(dataclasses.replace(good, **changes), tmp_path / "a")
        assert words in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_saving_over_a_model_keeps_the_old_one_if_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_model(small(), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be saved"):
        save_model(dataclasses.replace(small(), scale=float("inf")), path)
    assert path.read_bytes() == before


# --- golden files: every version ever released loads for ever


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.name)
def test_golden_files_answer_as_they_did(path: Path) -> None:
    stored = json.loads(path.with_suffix(".json").read_text())
    model = load_model(path)
    tolerance = 1e-12 if model.dtype == np.float64 else 1e-6
    outputs = model.outputs(np.array(stored["x"], np.uint8))
    np.testing.assert_allclose(outputs, stored["outputs"], rtol=0, atol=tolerance)
    assert np.ptp(outputs) > 0.1  # no constant could pass


def test_golden_files_are_the_models_they_were_made_from(tmp_path: Path) -> None:
    assert len(GOLDEN_FILES) == 2 * files.FORMAT.version
    for name, model in golden_models().items():
        path = GOLDEN / f"v1-{name}.safetensors"
        same(load_model(path), model)
        save_model(load_model(path), tmp_path / name)
        assert (tmp_path / name).read_bytes() == path.read_bytes()
