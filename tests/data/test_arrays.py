"""Arrays in .npz and .npy files: parts, kinds of answers, and what is refused."""

import zipfile

import numpy as np
import pytest

from deltarule.data import arrays as arrays_module
from deltarule.data import load, load_inputs, open_source
from deltarule.data.arrays import load_array, load_arrays
from deltarule.errors import DataError

X = np.arange(120, dtype=np.float32).reshape(40, 3)
Y = np.arange(40) % 4


def saved(folder, **arrays):
    np.savez(folder / "set.npz", **arrays)
    return folder / "set.npz"


def test_x_and_y_are_divided_in_the_proportions_of_the_classes(tmp_path):
    splits, rows = load_arrays([saved(tmp_path, x=X, y=Y)])
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [28, 4, 8]
    assert np.bincount(splits.test.y).tolist() == [2, 2, 2, 2]
    assert sorted(rows["train"] + rows["validation"] + rows["test"]) == list(range(40))
    for part, chosen in rows.items():  # every example keeps its answer
        np.testing.assert_array_equal(getattr(splits, part).x, X[chosen])
        np.testing.assert_array_equal(getattr(splits, part).y, Y[chosen])
    assert load_arrays([tmp_path / "set.npz"])[1] == rows


def test_parts_that_are_there_are_taken_as_they_are(tmp_path):
    path = saved(tmp_path, x_train=X[:20], y_train=Y[:20], X_test=X[20:], y_test=Y[20:])
    splits, rows = load_arrays([path], validation=5)
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
    splits, rows = load_arrays([saved(tmp_path, x=X, y=y)])
    assert splits.train.classes == classes
    np.testing.assert_array_equal(splits.train.y, answers[rows["train"]])


def test_two_files(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    source = open_source([tmp_path / "x.npy", tmp_path / "y.npy"])
    np.testing.assert_array_equal(source.splits.test.x, X[source.record["rows"]["test"]])
    assert [file["name"] for file in source.record["files"]] == ["x.npy", "y.npy"]
    with pytest.raises(DataError, match=r"one .npz file, or in two .npy files"):
        load_arrays([tmp_path / "x.npy"])


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
