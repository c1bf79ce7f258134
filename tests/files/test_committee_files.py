"""Committee files: a committee comes back as it was; one that is not what it says is refused."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.make_committee import golden_committees
from handmade import container, flipped, summed, tensor_file
from hypothesis import given, settings
from hypothesis import strategies as st

from deltarule import files
from deltarule.committee import Committee
from deltarule.errors import ModelFileError
from deltarule.files import load_model, save_model
from deltarule.network import Activation, Dense, Dropout, Flatten, Model, Network

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_FILES = sorted((GOLDEN / "committees").glob("*.safetensors"), key=lambda path: path.name)

DENSE = {"layer": "Dense", "units": 2, "weight_init": "zeros", "bias_init": "zeros"}
SOFTMAX = {"layer": "Activation", "name": "softmax"}
MEMBER: dict[str, Any] = {
    "layers": [DENSE, SOFTMAX],
    "network_shape": [3],
    "shape": [3],
    "classes": ["a", "b"],
    "scale": 1.0,
    "provenance": {},
}
HEADER: dict[str, Any] = {
    "combine": "mean",
    "members": [MEMBER, MEMBER],
    "shape": [3],
    "views": ["original", "original"],
}
W, B = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
ARRAYS = {
    f"members.{i}.layers.0.{name}": array for i in (0, 1) for name, array in (("w", W), ("b", B))
}


def committee_file(header: Any, arrays: dict[str, np.ndarray], version: int = 1) -> bytes:
    return tensor_file(arrays, {"format": "committee", "version": version, "header": header})


def with_header(**changes: Any) -> bytes:
    return committee_file({**HEADER, **changes}, ARRAYS)


def with_member(**changes: Any) -> bytes:
    return with_header(members=[MEMBER, {**MEMBER, **changes}])


def with_arrays(**arrays: np.ndarray | None) -> bytes:
    changed = ARRAYS | {f"members.{k.replace('_', '.')}": array for k, array in arrays.items()}
    return committee_file(HEADER, {k: array for k, array in changed.items() if array is not None})


def without(field: str) -> bytes:
    return committee_file({k: value for k, value in HEADER.items() if k != field}, ARRAYS)


# --- a committee comes back


def model(seed: int, hidden: int, dtype: Any, output: str) -> Model:
    network = Network(
        Flatten(), Dense(hidden), Activation("tanh"), Dropout(0.5), Dense(2), Activation(output)
    )
    drawn, state = network.init(np.random.default_rng(seed), (2, 2))
    params = tuple({name: array.astype(dtype) for name, array in p.items()} for p in drawn)
    return Model(network, params, state, (2, 2), ("no", "yes"), 0.5, {"seed": seed})


@st.composite
def committees(draw: st.DrawFn) -> Committee:
    output = draw(st.sampled_from(["softmax", "sigmoid"]))
    seeds = draw(st.lists(st.integers(0, 99), min_size=1, max_size=12))
    sizes, dtypes = st.integers(1, 4), st.sampled_from([np.float32, np.float64])
    members = [model(seed, draw(sizes), draw(dtypes), output) for seed in seeds]
    views = draw(st.lists(st.sampled_from(["original", "deskew", "width-16"]),
                          min_size=len(seeds), max_size=len(seeds)))  # fmt: skip
    # Views may change the size: where no member sees the original, the shape is its own.
    shape = (2, 2) if "original" in views else (draw(st.integers(1, 9)), 2)
    return Committee(tuple(members), tuple(views), draw(st.sampled_from(["mean", "vote"])), shape)


def same(one: Committee, other: Committee) -> None:
    assert (one.views, one.combine, one.shape) == (other.views, other.combine, other.shape)
    assert len(one.members) == len(other.members)
    for a, b in zip(one.members, other.members, strict=True):
        assert a.network == b.network
        assert (a.shape, a.classes, a.scale) == (b.shape, b.classes, b.scale)
        assert a.provenance == b.provenance
        for ours, theirs in zip(a.params + a.state, b.params + b.state, strict=True):
            assert list(ours) == list(theirs)
            for name in ours:
                np.testing.assert_array_equal(ours[name], theirs[name], strict=True)


@settings(deadline=None, max_examples=40)
@given(committees())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, committee: Committee) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    save_model(committee, path)
    first = path.read_bytes()
    found = load_model(path)
    assert isinstance(found, Committee)
    same(committee, found)
    save_model(found, path)
    assert path.read_bytes() == first


def test_the_answers_are_the_same_to_the_bit(tmp_path: Path) -> None:
    members = tuple(model(seed, 3, np.float32, "softmax") for seed in range(11))
    x = np.random.default_rng(1).normal(size=(5, 2, 2))
    for combine in ("mean", "vote"):
        committee = Committee(members, (), combine)
        save_model(committee, tmp_path / "a")
        found = load_model(tmp_path / "a")
        assert isinstance(found, Committee)
        for ours, theirs in zip(committee.ask(x), found.ask(x), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    good = model(0, 3, np.float32, "softmax")
    half = dataclasses.replace(good, params=(*good.params[:4], {}, {}))
    vast = dataclasses.replace(good, provenance={"x": "y" * (1 << 18)})
    for bad, words in [
        (half, "lacks the array members.1.layers.4.w of shape (2, 3)"),
        (vast, "has in members.1 a model that must have a provenance of at most 262,144 bytes"),
    ]:
        with pytest.raises(ValueError, match=r"^the committee cannot be saved: it ") as caught:
            save_model(Committee((good, bad)), tmp_path / "a")
        assert words in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_name_that_looks_like_a_committee_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "is a deltarule 'committee' file"
    save_model(model(0, 3, np.float32, "softmax"), path)
    assert isinstance(load_model(path), Model)


# --- golden files: every version ever released loads for ever


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.name)
def test_golden_files_answer_as_they_did(path: Path) -> None:
    stored = json.loads(path.with_suffix(".json").read_text())
    committee = load_model(path)
    assert isinstance(committee, Committee)
    x = np.array(stored["x"], np.uint8)
    np.testing.assert_allclose(committee.outputs(x), stored["outputs"], rtol=0, atol=1e-6)
    assert committee.member_predictions(x).tolist() == stored["member_predictions"]
    assert 0 < committee.disagreement(x) < 1  # no constant could pass


def test_golden_files_are_the_committees_they_were_made_from(tmp_path: Path) -> None:
    assert len(GOLDEN_FILES) == 2 * files.COMMITTEE.version
    for name, committee in golden_committees().items():
        path = GOLDEN / f"committees/v1-{name}.safetensors"
        found = load_model(path)
        assert isinstance(found, Committee)
        same(found, committee)
        save_model(found, tmp_path / name)
        assert (tmp_path / name).read_bytes() == path.read_bytes()


# --- wrong files

HUGE = 10**15
WRONG = {
    "no members": (with_header(members=[], views=[]), "1 to 1,000 members, got 0"),
    "very many members": (
        with_header(members=[{}] * 20_000, views=["original"] * 20_000),
        "1 to 1,000 members, got 20,000",
    ),
    "members that are a number": (with_header(members=2), "must have a list of members, got 2"),
    "a member that is text": (with_header(members=[MEMBER, "x"]), "must have a list of members"),
    "a member too many": (with_header(members=[MEMBER] * 3), "the name of each member's view"),
    "a member without an array": (
        with_header(members=[MEMBER] * 3, views=["original"] * 3),
        "lacks the array members.2.layers.0.w of shape (2, 3)",
    ),
    "a member too few": (
        with_header(members=[MEMBER], views=["original"]),
        "the array members.1.layers.0.b of shape (2,), which its layers do not need",
    ),
    "an entry too many": (
        with_header(code="x"),
        "must have the entries combine, members, shape, views",
    ),
    **{f"no {field}": (without(field), "must have the entries") for field in HEADER},
    "no views": (with_header(views=[]), "the name of each member's view, got []"),
    "views that are text": (with_header(views="ab"), "the name of each member's view, got 'ab'"),
    "an unknown view": (with_header(views=["original", "os.system"]), "'os.system'"),
    "a view that is a number": (
        with_header(views=["original", 3]),
        "each member's view, got ['original', 3]",
    ),
    "a view that is a list": (
        with_header(views=["original", []]),
        "each member's view, got ['original', []]",
    ),
    "a shape that is a number": (with_header(shape=3), "list of sizes as shape, got 3"),
    "no size": (with_header(shape=[]), "list of sizes as shape, got None"),
    "another shape": (with_header(shape=[4]), "that of a member that sees the original, (3,)"),
    "an unknown way": (with_header(combine="men"), "did you mean 'mean'?"),
    "a way that is a list": (with_header(combine=["mean"]), "no committee that can be built"),
    # members that are no models, or do not go together
    "a member's entry too many": (with_member(code="x"), "has in members.1 a model that must have"),
    "a member of another version": (
        with_header(members=[{"combine": "mean", "members": [], "views": []}, MEMBER]),
        "has in members.0 a model that must have the entries",
    ),
    "an unknown layer": (
        with_member(layers=[{**DENSE, "layer": "Dens"}]),
        "has in members.1 a model that describes no network that can be built: layer must be one",
    ),
    "very many units": (with_member(layers=[{**DENSE, "units": HUGE}]), f"{HUGE:,} units"),
    "mixed classes": (with_member(classes=["a", "c"]), "the same classes; member 1 has ('a', 'b')"),
    "mixed scales": (with_member(scale=0.5), "the same scale; member 1 has 1.0, member 2 0.5"),
    "mixed outputs": (with_member(layers=[DENSE]), "the same output activation"),
    "mixed shapes": (with_member(shape=[1, 3], network_shape=[3]), "the same shape; member 1"),
    "a vote on numbers": (
        with_header(combine="vote", members=[{**MEMBER, "classes": []}] * 2),
        "combine 'vote' needs classes",
    ),
    # the arrays
    "a missing array": (
        with_arrays(**{"1_layers_0_b": None}),
        "lacks the array members.1.layers.0.b",
    ),
    "an extra array": (
        with_arrays(**{"1_layers_1_w": W}),
        "members.1.layers.1.w of shape (2, 3), which",
    ),
    "a model's array": (
        committee_file(HEADER, {**ARRAYS, "layers.0.w": W}),
        "has the array layers.0.w of shape (2, 3), which its layers do not need",
    ),
    "an array of nobody": (
        with_arrays(**{"2_layers_0_w": W}),
        "members.2.layers.0.w of shape (2, 3)",
    ),
    "a turned array": (
        with_arrays(**{"1_layers_0_w": W.T.copy()}),
        "members.1.layers.0.w of shape (3, 2), but its layers need (2, 3)",
    ),
    "two precisions in a member": (
        with_arrays(**{"1_layers_0_b": np.zeros(2)}),
        "all of float32 or all of float64, got float32, float64 in members.1.",
    ),
    "integers": (with_arrays(**{"0_layers_0_b": np.zeros(2, np.int64)}), "int64 in members.0."),
    "NaN": (with_arrays(**{"1_layers_0_b": B * np.nan}), "2 numbers in members.1.layers.0.b that"),
    # and the file around them
    "a newer version": (committee_file(HEADER, ARRAYS, version=2), "update deltarule"),
    "no header": (committee_file([], ARRAYS), "is damaged"),
    "a model file of members": (
        tensor_file(ARRAYS, {"format": "model", "version": 1, "header": HEADER}),
        "must have the entries classes",
    ),
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
    doubled = {k: a.astype(np.float64) for k, a in ARRAYS.items() if k.startswith("members.1")}
    for raw in (with_header(), with_header(combine="vote"), with_arrays(),
                committee_file(HEADER, ARRAYS | doubled)):  # fmt: skip
        path.write_bytes(raw)
        committee = load_model(path)
        assert isinstance(committee, Committee)
        # z = 1 + 2 + 3 for both outputs of both members
        np.testing.assert_allclose(committee.ask(np.array([[1, 2, 3]])).z, np.log([[0.5, 0.5]]))


def test_weights_that_are_not_finite_may_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_arrays(**{"1_layers_0_b": B * np.nan}))
    committee = load_model(path, allow_nonfinite=True)
    assert isinstance(committee, Committee)
    assert np.isnan(committee.members[1].params[0]["b"]).all()


def test_arrays_are_judged_before_memory_is_asked_for(tmp_path: Path) -> None:
    """A file that keeps its promise of a terabyte, but not what its layers say."""
    size = 1 << 40
    ours = {"format": "committee", "version": 1, "header": HEADER}
    ours |= {"tensors_sha256": "0" * 64, "sha256": "Z" * 64}
    entries: dict[str, Any] = {"__metadata__": {"deltarule": json.dumps(ours)}}
    entries["members.0.layers.0.w"] = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    path = tmp_path / "m.safetensors"
    path.write_bytes(summed(container(entries)))
    os.truncate(path, path.stat().st_size + size)
    with pytest.raises(ModelFileError, match=r"members\.0\.layers\.0\.w of shape \(1099511627776"):
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


EVIL = ("__import__('os').system('touch owned')", "os.system", "../../../../etc/passwd",
        "\x1b]0;owned\x07\x1b[2J\u202e", "{0.__class__}%s%n", "antigravity")  # fmt: skip


def test_loading_runs_imports_and_opens_nothing(tmp_path: Path) -> None:
    hostile = {"text everywhere": with_member(provenance={text: [text] for text in EVIL})}
    for number, text in enumerate(EVIL):
        hostile[f"view {number}"] = with_header(views=["original", text])
        hostile[f"way {number}"] = with_header(combine=text)
        hostile[f"entry {number}"] = with_header(**{text: text})
        hostile[f"class {number}"] = with_member(classes=["a", text])
        hostile[f"layer {number}"] = with_member(layers=[{**DENSE, "layer": text}])
    hostile |= {case: raw for case, (raw, _) in WRONG.items()}
    paths = []
    for number, raw in enumerate(hostile.values()):
        paths.append(str(tmp_path / f"{number}.safetensors"))
        Path(paths[-1]).write_bytes(raw)
    script = str(Path(__file__).with_name("audited_load.py"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script, str(GOLDEN_FILES[0]), *paths],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = dict(zip(hostile, done.stdout.splitlines(), strict=True))
    assert outcomes.pop("text everywhere") == "loaded"
    assert set(outcomes.values()) == {"refused"}
    assert not (tmp_path / "owned").exists()
