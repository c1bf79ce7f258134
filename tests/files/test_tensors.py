"""Tensor files: what is written comes back, and nothing else is ever taken for one."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import container, flipped, summed, tensor_file
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save

from deltarule.errors import ModelFileError
from deltarule.storage import Format, open_tensors, printable, read_tensors, tensors, write_tensors

EXAMPLE = Format("example", 1)
ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b.c": np.array([7], np.int64)}
HEADER = {"steps": 3, "name": "drei"}
FIELDS = {"format": "example", "version": 1, "header": HEADER}
GOOD = tensor_file(ARRAYS, FIELDS)

# --- what is written comes back

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter("__float__".__ne__)
numbers = st.integers(-(2**64) + 1, 2**64 - 1) | st.floats(allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
dtypes = st.sampled_from(list(tensors._DTYPES.values()))
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
names = st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True)
arrays_of_all_kinds = st.dictionaries(names, hnp.arrays(dtypes, shapes), max_size=5)


@settings(deadline=None)
@given(arrays_of_all_kinds, st.dictionaries(texts, plain, max_size=4))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray], header: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip"
    write_tensors(path, arrays, header, EXAMPLE)
    first = path.read_bytes()
    found, found_header = read_tensors(path, EXAMPLE)
    assert found_header == header
    assert list(found) == sorted(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()  # to the bit, NaN too
        assert found[name].flags.writeable
    write_tensors(path, found, found_header, EXAMPLE)
    assert path.read_bytes() == first
    assert set(load_file(path)) == set(arrays)  # any safetensors reader can read it


def test_numbers_that_are_not_finite_come_back(tmp_path: Path) -> None:
    costs = [float("inf"), float("-inf"), float("nan"), 0.1]
    write_tensors(tmp_path / "a", {}, {"costs": costs}, EXAMPLE)
    _, header = read_tensors(tmp_path / "a", EXAMPLE)
    np.testing.assert_array_equal(header["costs"], costs)


def test_any_layout_in_memory_is_the_same_file(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    wide = np.zeros((8, 6), np.float32)
    wide[::2] = array
    layouts = [array, np.asfortranarray(array), wide[::2], array.astype(">f4")]
    files = set()
    for layout in layouts:
        write_tensors(tmp_path / "a", {"x": layout}, {}, EXAMPLE)
        files.add((tmp_path / "a").read_bytes())
    assert len(files) == 1


WRITE = """
import sys
import numpy as np
from deltarule.storage import Format, write_tensors
arrays = {name: np.arange(len(name)) for name in ("a", "bc", "def")}
write_tensors(sys.argv[1], arrays, {name: name for name in arrays}, Format("example", 1))
"""


def test_order_and_process_do_not_matter(tmp_path: Path) -> None:
    arrays = {name: np.arange(len(name)) for name in ("bc", "def", "a")}
    header = {name: name for name in arrays}
    write_tensors(tmp_path / "a", arrays, header, EXAMPLE)
    write_tensors(tmp_path / "b", _reversed(arrays), _reversed(header), EXAMPLE)
    for seed in "12":
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-c", WRITE, str(tmp_path / seed)]
        subprocess.run(command, env=environment, check=True)
    assert len({(tmp_path / name).read_bytes() for name in "ab12"}) == 1


def _reversed(some: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(some.items()))


def test_a_file_made_by_hand_is_read(tmp_path: Path) -> None:
    arrays, header = _read(tmp_path, GOOD)
    assert header == HEADER
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(arrays["b.c"], [7])


def _read(tmp_path: Path, raw: bytes, format: Format = EXAMPLE) -> Any:
    path = tmp_path / "file"
    path.write_bytes(raw)
    return read_tensors(path, format)


NOT_PLAIN = {
    "a tuple key": {(1, 2): 3},
    "a number as key": {1: 2},
    "half a character": {"a": "\ud800"},
    "half a character in a key": {"\ud800": 1},
    "an array": {"a": {"b": [np.zeros(2)]}},
    "a float32": {"a": np.float32(1)},
    "bytes": {"a": b"x"},
    "a set": {"a": {1}},
    "an enormous integer": {"a": 2**64},
    "our own mark": {"a": {"__float__": "nan"}},
}


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_a_header_that_is_not_plain_is_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(ValueError, match=r"^header.* must be plain data"):
        write_tensors(tmp_path / "a", {}, NOT_PLAIN[case], EXAMPLE)
    assert os.listdir(tmp_path) == []


def test_where_a_header_is_not_plain(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^header\.a\.b\[1\] must be plain data"):
        write_tensors(tmp_path / "a", {}, {"a": {"b": [1, b""]}}, EXAMPLE)


def test_other_things_that_cannot_be_written(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {"a": deep}, "nested more than 32 deep"),
        ({}, {"a": "x" * (1 << 20)}, "must fit in 1,048,576 bytes"),
        ({"../a": np.zeros(1)}, {}, "name of an array"),
        ({"": np.zeros(1)}, {}, "name of an array"),
        ({"x" * 257: np.zeros(1)}, {}, "name of an array"),
        ({"x": np.zeros(1, complex)}, {}, "booleans, integers or floats"),
        ({"x": np.zeros(1, object)}, {}, "booleans, integers or floats"),
        ({"x": np.array(["a"])}, {}, "booleans, integers or floats"),
        ({"x": np.zeros((1,) * 33)}, {}, "at most 32 axes"),
    ]
    for arrays, header, words in cases:
        with pytest.raises(ValueError, match=words):
            write_tensors(tmp_path / "a", arrays, header, EXAMPLE)
    assert os.listdir(tmp_path) == []


# --- damage


def test_cut_anywhere(tmp_path: Path) -> None:
    end = 8 + int.from_bytes(GOOD[:8], "little")
    cuts = {len(GOOD) * part // 64 for part in range(64)}
    cuts |= set(range(10)) | {end - 1, end, end + 1, len(GOOD) - 1}
    for cut in cuts:
        with pytest.raises(ModelFileError, match=r"is damaged|does not begin as one"):
            _read(tmp_path, GOOD[:cut])
    for longer in (GOOD + b"\0", GOOD + GOOD, GOOD[:end] + b"\0" + GOOD[end:]):
        with pytest.raises(ModelFileError, match="is damaged"):
            _read(tmp_path, longer)


def test_one_wrong_bit_anywhere(tmp_path: Path) -> None:
    for _ in flipped(tmp_path / "file", GOOD):
        with pytest.raises(ModelFileError):
            read_tensors(tmp_path / "file", EXAMPLE)
    assert _read(tmp_path, GOOD)[1] == HEADER


def test_a_wrong_byte_in_the_arrays_is_found_though_every_form_is_right(tmp_path: Path) -> None:
    raw = GOOD[:-1] + bytes([GOOD[-1] ^ 1])
    with pytest.raises(ModelFileError, match=r"is damaged .*sum of its arrays"):
        _read(tmp_path, raw)


def _entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}


def _our(entries: dict[str, Any], data: bytes = bytes(8)) -> bytes:
    """Return a container with these entries and a right header sum."""
    ours = json.dumps({**FIELDS, "tensors_sha256": "0" * 64, "sha256": "Z" * 64})
    return summed(container({"__metadata__": {"deltarule": ours}, **entries}, data))


def _inner(text: str) -> bytes:
    """Return a container whose header has ``text`` in place of its plain data, and right sums."""
    empty = hashlib.sha256(b"").hexdigest()
    sums = f'"tensors_sha256":"{empty}","sha256":"{"Z" * 64}"'
    return tensor_file(
        {}, {}, inner='{"format":"example","version":1,"header":' + text + "," + sums + "}"
    )


DAMAGED = {
    # the container: its length and its text
    "nothing": (b"", "it is empty"),
    "length 2^63": ((1 << 63).to_bytes(8, "little") + b"{}", "does not begin as one"),
    "length 2^64 - 1": (b"\xff" * 8 + b"{}", "does not begin as one"),
    "length beyond the file": ((1 << 19).to_bytes(8, "little") + b"{}", "header ends at byte"),
    "length beyond our limit": (container("{" + " " * (1 << 20) + "}"), "does not begin as one"),
    "no text": (bytes(8) + b"{}", "no valid JSON"),
    "not JSON": (container("{nothing}"), "no valid JSON"),
    "not a dictionary": (container("[1]"), "does not begin as one"),
    "not UTF-8": (container(b'{"\xff": 1}'), "not UTF-8"),
    "half a character, as bytes": (container('{"\ud800": 1}'), "not UTF-8"),
    "a key twice": (container('{"a": 1, "a": 1}'), "a key given twice"),
    "a key twice inside": (container('{"a": {"b": 1, "b": 1}}'), "a key given twice"),
    "NaN": (container('{"a": NaN}'), "the word NaN"),
    "Infinity": (container('{"a": -Infinity}'), "the word -Infinity"),
    "100,000 deep": (container('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "nested too deep"),
    "100,000 deep dictionaries": (container('{"a":' * 100_000 + "1" + "}" * 100_000), "too deep"),
    "a number of 100,000 digits": (container('{"a":' + "9" * 100_000 + "}"), "is damaged"),
    # the entries
    "a path as name": (_our({"../../x": _entry()}), "cannot be the name"),
    "an absolute path as name": (_our({"/etc/x": _entry()}), "cannot be the name"),
    "NUL in a name": (_our({"a\0": _entry()}), r"'a\\x00' cannot be the name"),
    "a name of 300 letters": (_our({"x" * 300: _entry()}), "cannot be the name"),
    "half a character in a name": (_our({"\ud800": _entry()}), r"'\\ud800' cannot be the name"),
    "an entry that is a list": (_our({"a": []}), "must have dtype, shape and data_offsets"),
    "an entry with more": (_our({"a": _entry(more=1)}), "must have dtype, shape"),
    "an entry with less": (_our({"a": {"dtype": "F32", "shape": [2]}}), "must have dtype, shape"),
    "an unknown dtype": (_our({"a": _entry(dtype="F33")}), "unknown dtype"),
    "a dtype that is a list": (_our({"a": _entry(dtype=["F32"])}), "unknown dtype"),
    "a negative size": (_our({"a": _entry(shape=[-2])}), "impossible shape"),
    "two negative sizes": (_our({"a": _entry(shape=[-1, -2])}), "impossible shape"),
    "a fractional size": (_our({"a": _entry(shape=[2.0])}), "impossible shape"),
    "a boolean size": (_our({"a": _entry(shape=[True, 2])}), "impossible shape"),
    "a shape that is a number": (_our({"a": _entry(shape=2)}), "impossible shape"),
    "too many axes": (_our({"a": _entry(shape=[2] + [1] * 32)}), "impossible shape"),
    "a product beyond 64 bits": (_our({"a": _entry(shape=[2**32] * 2)}), "cannot take 8 bytes"),
    "a product that wraps to right": (
        _our({"a": _entry(shape=[2**62 + 2])}),  # times 4 bytes is 8 modulo 2^64
        "cannot take 8 bytes",
    ),
    "a size beyond 64 bits": (_our({"a": _entry(shape=[2**70])}), "impossible shape"),
    "negative offsets": (_our({"a": _entry(data_offsets=[-8, 0])}), "impossible data_offsets"),
    "one offset": (_our({"a": _entry(data_offsets=[0])}), "impossible data_offsets"),
    "offsets turned round": (_our({"a": _entry(data_offsets=[8, 0])}), "cannot take -8 bytes"),
    "beyond the end": (_our({"a": _entry(data_offsets=[8, 16])}), "begins at byte 8, expected 0"),
    "overlapping": (
        _our({"a": _entry(), "b": _entry(data_offsets=[4, 12])}, bytes(12)),
        "array b begins at byte 4, expected 8",
    ),
    "the same place twice": (
        _our({"a": _entry(), "b": _entry()}, bytes(8)),
        "array b begins at byte 0, expected 8",
    ),
    "a hole": (
        _our({"a": _entry(), "b": _entry(data_offsets=[12, 20])}, bytes(20)),
        "array b begins at byte 12, expected 8",
    ),
    "bytes left over": (_our({"a": _entry()}, bytes(12)), "its arrays end at byte"),
    "wrong array sum": (_our({"a": _entry()}), "sum of its arrays is wrong"),
    # our own entry
    "no metadata": (save(ARRAYS), "deltarule did not write it"),
    "other metadata": (save(ARRAYS, {"format": "pt"}), "deltarule did not write it"),
    "metadata that is a list": (container({"__metadata__": [1]}), "did not write it"),
    "an entry that is no text": (container({"__metadata__": {"deltarule": 1}}), "not write it"),
    "an entry that is no JSON": (tensor_file({}, {}, inner="{"), "no valid JSON"),
    "our entry is a list": (tensor_file({}, {}, inner="[]"), "no version"),
    "no version": (tensor_file({}, {"format": "example"}), "no version"),
    "a version that is true": (tensor_file({}, {**FIELDS, "version": True}), "no version"),
    "version 0 of other fields": (tensor_file({}, {**FIELDS, "more": 1}), "not those of format 1"),
    "another format": (tensor_file({}, {**FIELDS, "format": "model"}), "a deltarule 'model' file"),
    "a format that is a list": (tensor_file({}, {**FIELDS, "format": []}), "expected a 'example'"),
    "a newer version": (
        tensor_file({}, {"format": "example", "version": 2, "unknown": 1}),
        "newer version of deltarule: its format is 2, this version reads up to 1",
    ),
    "a header that is a list": (tensor_file({}, {**FIELDS, "header": []}), "not those of format"),
    "a header that is no dictionary": (_inner('{"__float__": "nan"}'), "its header is a number"),
    "NaN in the header": (_inner('{"a": NaN}'), "the word NaN"),
    "a float too large": (_inner('{"a": 1e999}'), "a number too large"),
    "an integer too large": (_inner(f'{{"a": {2**64}}}'), "a number too large"),
    "a key twice in the header": (_inner('{"a": 1, "a": 2}'), "a key given twice"),
    "half a character": (_inner(r'{"a": "\ud800"}'), "half a character"),
    "half a character in a key": (_inner(r'{"\udfff": 1}'), "half a character"),
    "40 deep": (_inner('{"a": ' + "[" * 40 + "]" * 40 + "}"), "nested more than 32 deep"),
    "an unknown special number": (_inner('{"a": {"__float__": "1"}}'), "unknown number"),
    "a special number that is a list": (_inner('{"a": {"__float__": []}}'), "unknown number"),
    "a wrong sum": (GOOD.replace(b"drei", b"vier"), "sum of its header is wrong"),
    "no sum": (
        tensor_file({}, {}, inner=json.dumps({**FIELDS, "tensors_sha256": "", "sha256": ""})),
        "sum of its header is wrong",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_said_in_one_sentence(tmp_path: Path, case: str) -> None:
    raw, words = DAMAGED[case]
    with pytest.raises(ModelFileError, match=words) as caught:
        _read(tmp_path, raw)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "file"))
    assert message.endswith(".")
    assert message.isprintable()
    assert len(message) < 500


def test_handmade_damage_is_the_only_damage(tmp_path: Path) -> None:
    """The makers of the cases above make files that are read, when nothing is wrong in them."""
    assert _read(tmp_path, _inner('{"a": 1}'))[1] == {"a": 1}
    with pytest.raises(ModelFileError, match="sum of its arrays"):  # the header has passed
        _read(tmp_path, _our({"a": _entry(), "b": _entry(data_offsets=[8, 16])}, bytes(16)))


def test_a_claim_of_much_memory_costs_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 1 << 40
    path.write_bytes(_our({"a": _entry(shape=[size], dtype="U8", data_offsets=[0, size])}, b""))
    with pytest.raises(ModelFileError, match="its arrays end at byte"):
        read_tensors(path, EXAMPLE)
    os.truncate(path, path.stat().st_size + size)  # a sparse file that keeps the promise
    with open_tensors(path, EXAMPLE) as file:
        assert file.slots["a"].shape == (size,)


# --- reading while something happens


def test_a_disk_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, flags: int) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(tensors.os, "open", refuse)
    with pytest.raises(OSError, match=r"cannot read .*a: the disk reports a fault"):
        read_tensors(tmp_path / "a", EXAMPLE)


@pytest.mark.parametrize("change", ["shrink", "other header", "other arrays"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    header = {"name": "drei", "text": "x" * 20_000}  # more than is read at the first touch
    raw = tensor_file({"a": np.zeros(10_000)}, {**FIELDS, "header": header})
    path.write_bytes(raw)
    with open_tensors(path, EXAMPLE) as file:
        if change == "shrink":
            os.truncate(path, len(raw) - 4)
        elif change == "other header":
            path.write_bytes(raw.replace(b"drei", b"vier"))
        else:
            path.write_bytes(raw[:-1] + b"\1")
        words = "sum of its arrays" if change == "other arrays" else "changed while it was read"
        with pytest.raises(ModelFileError, match=words):
            file.read()


def test_a_file_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(GOOD)
    with open_tensors(path, EXAMPLE) as file:
        write_tensors(path, {}, {"name": "other"}, EXAMPLE)
        np.testing.assert_array_equal(file.read()["a"], ARRAYS["a"])


# --- text


@given(st.text())
def test_printable_text_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()
    shown.encode()


def test_what_terminals_act_on_is_escaped() -> None:
    assert printable("a\nb\r\t\x1b[2J\x07\x9b") == r"a\nb\r\t\x1b[2J\x07\x9b"
    assert printable("\u202eabc\u2066\u200f\u2028") == r"\u202eabc\u2066\u200f\u2028"
    assert printable("Ψ שלום 日本 é") == "Ψ שלום 日本 é"
