"""Model files that are not what they say: each is refused in a sentence, and none is obeyed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import container, flipped, summed, tensor_file

from deltarule.errors import ModelFileError
from deltarule.files import load_model
from deltarule.network import (
    Activation,
    Dense,
)
from deltarule.storage import printable

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_FILES = sorted(GOLDEN.glob("*.safetensors"), key=lambda path: path.name)


DENSE = {"layer": "Dense", "units": 2, "weight_init": "zeros", "bias_init": "zeros"}
SIGMOID = {"layer": "Activation", "name": "sigmoid"}
HEADER: dict[str, Any] = {
    "layers": [DENSE, SIGMOID],
    "network_shape": [3],
    "shape": [3],
    "classes": ["a", "b"],
    "scale": 1.0,
    "provenance": {},
}
W, B = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
ARRAYS = {"layers.0.w": W, "layers.0.b": B}


def with_header(**changes: Any) -> bytes:
    header = {**HEADER, **changes}
    return tensor_file(ARRAYS, {"format": "model", "version": 1, "header": header})


def with_layers(*layers: Any) -> bytes:
    return with_header(layers=list(layers))


def with_arrays(**arrays: np.ndarray | None) -> bytes:
    changed = ARRAYS | {name.replace("_", "."): array for name, array in arrays.items()}
    kept = {name: array for name, array in changed.items() if array is not None}
    return tensor_file(kept, {"format": "model", "version": 1, "header": HEADER})


def without(field: str) -> bytes:
    header = {name: value for name, value in HEADER.items() if name != field}
    return tensor_file(ARRAYS, {"format": "model", "version": 1, "header": header})


HUGE = 10**15
WRONG = {
    # the schema
    "no layers": (with_layers(), "a network needs at least one layer"),
    "layers that are a dictionary": (with_header(layers={}), "list of layers"),
    "a layer that is text": (with_layers("Dense"), "list of layers"),
    "a layer without a kind": (with_layers({"units": 2}), "layer must be one of Dense"),
    "an unknown layer": (with_layers({**DENSE, "layer": "Dens"}), "did you mean 'Dense'?"),
    "a module as layer": (with_layers({"layer": "os.system"}), "layer must be one of Dense"),
    "a list as kind": (with_layers({**DENSE, "layer": ["Dense"]}), "layer must be one of Dense"),
    "an unknown activation": (with_layers(DENSE, {**SIGMOID, "name": "relux"}), "got 'relux'"),
    "an unknown initializer": (with_layers({**DENSE, "weight_init": "x"}), "init must be one of"),
    "a field too many": (with_layers({**DENSE, "seed": 1}), "Dense expects the fields"),
    "a field too few": (with_layers({"layer": "Dense", "units": 2}), "Dense expects the fields"),
    "negative units": (with_layers({**DENSE, "units": -2}), "units must be an integer"),
    "no units": (with_layers({**DENSE, "units": 0}), "units must be an integer"),
    "units that are a float": (with_layers({**DENSE, "units": 2.0}), "units of layer Dense"),
    "units that are true": (with_layers({**DENSE, "units": True}), "units of layer Dense"),
    "units that are text": (with_layers({**DENSE, "units": "2"}), "units of layer Dense"),
    "a rate of 1": (with_layers({"layer": "Dropout", "rate": 1.0}), "rate must be"),
    "a rate that is NaN": (
        with_layers({"layer": "Dropout", "rate": {"__float__": "nan"}}),
        "rate must be",
    ),
    "very many units": (
        with_header(layers=[{**DENSE, "units": HUGE}], classes=[]),
        f"a layer of {HUGE:,} units",
    ),
    "too many units": (
        with_layers(*({**DENSE, "units": HUGE},) * 2),
        "no network that can be built",
    ),
    "units beyond 64 bits": (with_layers({**DENSE, "units": 2**63}), "no network that can be"),
    "very many layers": (with_layers(*(SIGMOID,) * 10_000), "as many classes as outputs"),
    "an entry too many": (with_header(code="x"), "must have the entries"),
    **{f"no {field}": (without(field), "must have the entries") for field in HEADER},
    "a shape that is a number": (with_header(shape=3), "list of sizes as shape"),
    "no shape": (with_header(shape=None), "list of sizes as shape"),
    "a negative size": (with_header(shape=[-3]), "sizes of at least 1 as shape"),
    "a fractional size": (with_header(shape=[3.0]), "sizes of at least 1 as shape"),
    "a size beyond 64 bits": (with_header(shape=[2**63]), "sizes of at least 1 as shape"),
    "too many axes": (with_header(shape=[1] * 33), "list of sizes as shape"),
    "another input": (with_header(shape=[4]), "expects inputs of shape (3,), got (4,)"),
    "a network of another input": (with_header(network_shape=[4]), "expects inputs of shape (4,)"),
    "a network shape that is text": (with_header(network_shape="3"), "sizes as network_shape"),
    "classes that are numbers": (with_header(classes=[0, 1]), "list of names as classes"),
    "classes that are text": (with_header(classes="ab"), "list of names as classes"),
    "a class too many": (with_header(classes=["a", "b", "c"]), "as many classes as outputs"),
    "a scale that is text": (with_header(scale="1"), "finite number as scale"),
    "a scale that is whole": (with_header(scale=1), "finite number as scale"),
    "a scale that is infinite": (
        with_header(scale={"__float__": "inf"}),
        "finite number as scale, got inf",
    ),
    "a provenance that is a list": (with_header(provenance=[]), "dictionary as provenance"),
    "a large provenance": (with_header(provenance={"a": "b" * (1 << 18)}), "at most 262,144"),
    # the arrays
    "a missing array": (with_arrays(layers_0_b=None), "lacks the array layers.0.b of shape (2,)"),
    "an extra array": (with_arrays(layers_1_w=W), "layers.1.w of shape (2, 3), which its layers"),
    "an extra state": (with_arrays(state_0_w=W), "state.0.w of shape (2, 3), which its layers"),
    "a turned array": (
        with_arrays(layers_0_w=W.T.copy()),
        "layers.0.w of shape (3, 2), but its layers need (2, 3)",
    ),
    "an array of another rank": (with_arrays(layers_0_b=B[None]), "(1, 2), but its layers need"),
    "a scalar": (with_arrays(layers_0_b=B[0]), "of shape (), but its layers need (2,)"),
    "an empty array": (with_arrays(layers_0_b=B[:0]), "of shape (0,), but its layers need (2,)"),
    "an array of integers": (with_arrays(layers_0_b=np.zeros(2, np.int64)), "got float32, int64"),
    "two precisions": (with_arrays(layers_0_b=np.zeros(2)), "got float32, float64"),
    "NaN": (with_arrays(layers_0_b=B * np.nan), "holds 2 numbers in layers.0.b that are NaN"),
    "infinity": (with_arrays(layers_0_w=W * np.inf), "holds 6 numbers in layers.0.w that are NaN"),
    # and the file around them (more in test_tensors.py)
    "a checkpoint": (tensor_file({}, {"format": "checkpoint", "version": 1}), "'checkpoint' file"),
    "a newer version": (tensor_file({}, {"format": "model", "version": 2}), "update deltarule"),
    "a pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n.", "a Python pickle"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    raw, words = WRONG[case]
    path = tmp_path / "m.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(path))
    assert message.count(str(path)) == 1
    assert message.isprintable()
    assert len(message) < 700


def test_the_right_file_among_the_wrong_ones_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for raw in (with_header(), with_arrays(), with_header(network_shape=None, classes=[])):
        path.write_bytes(raw)
        model = load_model(path)
        assert model.network.layers == (Dense(2, "zeros", "zeros"), Activation("sigmoid"))
        # z = 1 + 2 + 3 = 6 for both outputs, 1 / (1 + e^-6) = 0.99753
        np.testing.assert_allclose(model.outputs(np.array([[1, 2, 3]])), [[0.997527] * 2], 1e-5)


def test_weights_that_are_not_finite_may_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_arrays(layers_0_b=B * np.nan))
    assert np.isnan(load_model(path, allow_nonfinite=True).params[0]["b"]).all()


def test_arrays_are_judged_before_memory_is_asked_for(tmp_path: Path) -> None:
    """A file that keeps its promise of a terabyte, but not what its layers say."""
    size = 1 << 40
    ours = {"format": "model", "version": 1, "header": HEADER}
    ours |= {"tensors_sha256": "0" * 64, "sha256": "Z" * 64}
    entries = {
        "__metadata__": {"deltarule": json.dumps(ours)},
        "layers.0.b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "layers.0.w": {"dtype": "U8", "shape": [size], "data_offsets": [8, 8 + size]},
    }
    path = tmp_path / "m.safetensors"
    path.write_bytes(summed(container(entries)))
    os.truncate(path, path.stat().st_size + 8 + size)
    with pytest.raises(ModelFileError, match=r"layers\.0\.w of shape \(1099511627776,\), but its"):
        load_model(path)


def test_one_wrong_bit_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for _ in flipped(path, GOLDEN_FILES[0].read_bytes()):
        with pytest.raises(ModelFileError):
            load_model(path)
    load_model(path)


def test_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    good = GOLDEN_FILES[0].read_bytes()
    end = 8 + int.from_bytes(good[:8], "little")
    for cut in {*(len(good) * part // 64 for part in range(64)), end - 1, end, end + 1}:
        path.write_bytes(good[:cut])
        with pytest.raises(ModelFileError):
            load_model(path)


# --- a model file is data

EVIL = (
    "__import__('os').system('touch owned')",
    "eval(compile('1', '', 'eval'))",
    "os.system",
    "subprocess",
    "cos\nsystem\n(S'touch owned'\ntR.",
    "../../../../etc/passwd",
    "/etc/passwd",
    "<script>alert(1)</script>",
    "\x1b]0;owned\x07\x1b[2J\u202e",
    "${jndi:ldap://localhost/a}",
    "{0.__class__}%s%n",
    "__reduce__",
    "antigravity",
)


def test_loading_runs_imports_and_opens_nothing(tmp_path: Path) -> None:
    hostile = {
        "text everywhere": with_header(
            classes=list(EVIL[:2]), provenance={text: [text, {text: text}] for text in EVIL}
        )
    }
    for number, text in enumerate(EVIL):
        hostile[f"layer {number}"] = with_layers({**DENSE, "layer": text})
        hostile[f"init {number}"] = with_layers({**DENSE, "weight_init": text})
        hostile[f"activation {number}"] = with_layers(DENSE, {"layer": "Activation", "name": text})
        hostile[f"field {number}"] = with_layers({**DENSE, text: text})
        hostile[f"entry {number}"] = with_header(**{text: text})
        hostile[f"format {number}"] = tensor_file({}, {"format": text, "version": 1})
    hostile |= {case: raw for case, (raw, _) in WRONG.items()}
    paths = []
    for number, raw in enumerate(hostile.values()):
        paths.append(str(tmp_path / f"{number}.safetensors"))
        Path(paths[-1]).write_bytes(raw)
    script = str(Path(__file__).with_name("audited_load.py"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script, str(GOLDEN_FILES[0]), *paths],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outcomes = dict(zip(hostile, done.stdout.splitlines(), strict=True))
    assert outcomes.pop("text everywhere") == "loaded"
    assert set(outcomes.values()) == {"refused"}
    assert not (tmp_path / "owned").exists()


def test_text_of_a_file_is_printed_escaped(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for text in EVIL:
        path.write_bytes(with_layers({**DENSE, "layer": text}))
        with pytest.raises(ModelFileError) as caught:
            load_model(path)
        assert str(caught.value).isprintable()
    path.write_bytes(with_header(classes=["\x1b[31mred", "\u202edneh"]))
    model = load_model(path)
    assert [printable(name) for name in model.classes] == [r"\x1b[31mred", r"\u202edneh"]
    assert model.labels(np.zeros((1, 3))) == ["\x1b[31mred"]  # the name itself is not changed


def test_a_path_with_control_characters_is_printed_escaped(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no file .*\\x1b\[2J"):
        load_model(tmp_path / "\x1b[2J")
