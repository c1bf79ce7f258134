"""Arrays in .npz and .npy files: parts, kinds of answers, and what is refused."""

import hashlib
import io
import os
import random
import signal
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

from deltarule.data import arrays as arrays_module
from deltarule.data import load, load_inputs, open_source, regular
from deltarule.data.arrays import load_array
from deltarule.errors import DataError

X = np.arange(120, dtype=np.float32).reshape(40, 3)
Y = np.arange(40) % 4


def parts_and_rows(source, **options):
    """Return the three parts, and the rows of each as a list."""
    opened = open_source(source, **options)
    rows = {
        part: list(range(each["start"], each["stop"])) if isinstance(each, dict) else each
        for part, each in opened.record["rows"].items()
    }
    return opened.splits, rows


def saved(folder, **arrays):
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def test_x_and_y_are_divided_in_the_proportions_of_the_classes(tmp_path):
    splits, rows = parts_and_rows(saved(tmp_path, x=X, y=Y))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [28, 4, 8]
    assert np.bincount(splits.test.y).tolist() == [2, 2, 2, 2]
    assert sorted(rows["train"] + rows["validation"] + rows["test"]) == list(range(40))
    for part, chosen in rows.items():  # every example keeps its answer
        np.testing.assert_array_equal(getattr(splits, part).x, X[chosen])
        np.testing.assert_array_equal(getattr(splits, part).y, Y[chosen])
    assert parts_and_rows(tmp_path / "set.npz")[1] == rows


def test_parts_that_are_there_are_taken_as_they_are(tmp_path):
    path = saved(tmp_path, x_train=X[:20], y_train=Y[:20], X_test=X[20:], y_test=Y[20:])
    splits, rows = parts_and_rows(path, validation=5)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [15, 5, 20]
    np.testing.assert_array_equal(splits.test.x, X[20:])
    assert rows["test"] == list(range(20))
    path = saved(tmp_path, x_train=X[:20], y_train=Y[:20], x_validation=X[20:25],
                 y_validation=Y[20:25], x_test=X[25:], y_test=Y[25:])  # fmt: skip
    assert len(load(path).validation) == 5
    with pytest.raises(DataError, match="validation is in the file already"):
        load(path, validation=3)


@pytest.mark.parametrize(
    ("y", "classes", "answers"),
    [
        (Y, ("0", "1", "2", "3"), Y),
        (Y[:, None], ("0", "1", "2", "3"), Y),
        (Y - 2, ("-2", "-1", "0", "1"), Y),
        (Y.astype(np.uint8) * 50, ("0", "50", "100", "150"), Y),
        (Y > 1, ("False", "True"), Y > 1),
        (np.array(["b", "a", "d", "c"])[Y], ("a", "b", "c", "d"), np.array([1, 0, 3, 2])[Y]),
        (Y / 4, (), Y[:, None] / 4),
        (np.c_[Y, Y] / 4, (), np.c_[Y, Y] / 4),
    ],
)
def test_answers(tmp_path, y, classes, answers):
    splits, rows = parts_and_rows(saved(tmp_path, x=X, y=y))
    assert splits.train.classes == classes
    np.testing.assert_array_equal(splits.train.y, answers[rows["train"]])


def test_two_files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    source = open_source([tmp_path / "x.npy", tmp_path / "y.npy"])
    np.testing.assert_array_equal(source.splits.test.x, X[source.record["rows"]["test"]])
    assert [file["name"] for file in source.record["files"]] == ["x.npy", "y.npy"]
    with pytest.raises(DataError, match=r"one .npz file, or in two .npy files"):
        load(tmp_path / "x.npy")


def test_bytes_of_images_become_shares_and_nothing_else_does(tmp_path):
    images = np.full((40, 2, 2), 255, np.uint8)
    assert load(saved(tmp_path, x=images, y=Y)).train.scale == 1 / 255
    assert load(saved(tmp_path, x=images[:, 0], y=Y)).train.scale == 1
    assert load(saved(tmp_path, x=X, y=Y)).train.scale == 1


def test_inputs_alone(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.testing.assert_array_equal(load_inputs(tmp_path / "x.npy"), X)
    np.testing.assert_array_equal(load_array(saved(tmp_path, x=X, y=Y)), X)
    np.testing.assert_array_equal(load_array(saved(tmp_path, pixels=X)), X)
    with pytest.raises(DataError, match="must hold the inputs as x; it holds a, b"):
        load_array(saved(tmp_path, a=X, b=Y))


FEW = np.array([0, 1, 2, 2])
WRONG = {
    "no arrays": ({}, "must hold x and y, or x_train"),
    "no answers": ({"x": X}, "lack y; a file holds x and y"),
    "other names": ({"data": X, "labels": Y}, "it holds data, labels"),
    "other lengths": ({"x": X, "y": Y[:5]}, "the same number of examples"),
    "text as inputs": ({"x": np.full((40, 2), "a"), "y": Y}, "x must hold real numbers"),
    "objects": ({"x": X, "y": np.array([{}] * 40)}, "Object arrays cannot be loaded"),
    "not finite": ({"x": X * np.nan, "y": Y}, "must be finite"),
    "one axis": ({"x": Y, "y": Y}, "a row for each example"),
    "tables of classes": ({"x": X, "y": np.c_[Y, Y]}, "a class an example"),
    "complex": ({"x": X, "y": Y * 1j}, "a class an example"),
    "never seen": (
        {"x_train": X, "y_train": Y, "x_test": X[:1], "y_test": np.array([9])},
        "y_test holds 9, a class that training never sees",
    ),
    "classes of one example": ({"x": X[:4], "y": FEW}, "test cannot take"),
}


@pytest.mark.parametrize(("arrays", "said"), WRONG.values(), ids=list(WRONG))
def test_arrays_that_do_not_go_together(tmp_path, arrays, said):
    with pytest.raises(DataError, match=said):
        load(saved(tmp_path, **arrays))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 broken", b"\x93NUMPY", b"no array at all"])
@pytest.mark.parametrize("name", ["set.npz", "set.npy"])
def test_files_that_hold_none(tmp_path, data, name):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        load_inputs(tmp_path / name)


def test_what_unpacks_to_more_than_is_allowed_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays_module, "MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(2 << 20))
    assert (tmp_path / "set.npz").stat().st_size < 1 << 14
    with pytest.raises(DataError, match="unpacks to 2,097,152 bytes"):
        load(tmp_path / "set.npz")
    monkeypatch.setattr(arrays_module, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="the most is 100; take a part of it"):
        load(tmp_path / "set.npz")


# ---- files that are none, are damaged, or change


@contextmanager
def soon(seconds=2):
    """Fail what takes longer, also where it waits for a file."""

    def late(*_):
        raise AssertionError(f"no answer within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


NO_FILES = {
    "FIFO": (os.mkfifo, "is a device, pipe or socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, pipe or socket"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("read", [load, load_inputs])
@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
@pytest.mark.parametrize(("make", "said"), NO_FILES.values(), ids=list(NO_FILES))
def test_what_is_no_file_is_never_waited_for(tmp_path, make, said, name, read):
    np.save(tmp_path / "y.npy", Y)
    make(tmp_path / name)
    source = tmp_path / name
    if read is load and name == "x.npy":
        source = [tmp_path / name, tmp_path / "y.npy"]
    if read is load and source == tmp_path / name and source.is_dir():
        said = "must hold four IDX files"  # a folder is never arrays, whatever it is called
    with soon(), pytest.raises(DataError, match=f"{name}.*{said}"):
        read(source)


@pytest.mark.parametrize("change", [lambda raw: raw[:-8], lambda raw: raw + b"more"])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, change):
    path = saved(tmp_path, x=X, y=Y)
    fstat = os.fstat

    def just_before(number):
        found = fstat(number)
        path.write_bytes(change(path.read_bytes()))
        return found

    monkeypatch.setattr(regular.os, "fstat", just_before)
    with pytest.raises(DataError, match=r"set.npz changed while it was read: it had .* bytes"):
        load(path)


def test_the_sha256_is_that_of_the_bytes_that_were_learned_from(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    paths = [tmp_path / "x.npy", tmp_path / "y.npy"]
    expected = [
        {"name": path.name, "bytes": path.stat().st_size,
         "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in paths
    ]  # fmt: skip
    assert open_source(paths).record["files"] == expected
    numpy_load = np.load

    def replaced_meanwhile(*arguments, **options):
        np.save(tmp_path / "x.npy", X + 1)  # of the same size
        return numpy_load(*arguments, **options)

    monkeypatch.setattr(np, "load", replaced_meanwhile)
    source = open_source(paths)
    np.testing.assert_array_equal(source.splits.test.x, X[source.record["rows"]["test"]])
    assert source.record["files"] == expected


def test_one_array_under_the_name_of_several(tmp_path):
    raw = io.BytesIO()
    np.save(raw, X)
    (tmp_path / "set.npz").write_bytes(raw.getvalue())
    with pytest.raises(DataError, match=r"set\.npz holds one array without a name; call it \.npy"):
        load(tmp_path / "set.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_bytes_that_were_exchanged_are_told_or_harmless(tmp_path, save):
    save(tmp_path / "set.npz", x=X, y=Y)
    whole = (tmp_path / "set.npz").read_bytes()
    told = 0
    for seed in range(300):
        chance = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / "set.npz").write_bytes(damaged)
        try:
            load_inputs(tmp_path / "set.npz")
        except DataError as error:
            told += "set.npz" in str(error)
    assert told > 100


def test_a_header_that_names_more_than_memory_holds(tmp_path):
    described = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50, 3)}
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, described)
    with pytest.raises(DataError, match=r"x\.npy cannot be read as arrays of numbers"):
        load_inputs(tmp_path / "x.npy")


def test_a_header_that_never_ends(tmp_path):
    np.save(tmp_path / "x.npy", X)
    raw = (tmp_path / "x.npy").read_bytes().replace(b"(40, 3)", b"(40, 3(")
    (tmp_path / "x.npy").write_bytes(raw)
    with pytest.raises(DataError, match=r"x\.npy cannot be read as arrays of numbers"):
        load_inputs(tmp_path / "x.npy")
