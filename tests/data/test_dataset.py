"""Datasets refuse what contradicts itself, and a part of a set is a set."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltarule.data import Dataset, Splits
from deltarule.data.dataset import validation_size
from deltarule.errors import DataError

X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 1])


def nan_at(row):
    x = X.copy()
    x[row, 1] = np.nan
    return x


BAD = {
    "lengths": ({"x": X, "y": Y[:3]}, "got 4 inputs and 3 answers"),
    "complex x": ({"x": X + 1j, "y": Y}, "x must hold real numbers, got complex128"),
    "text in x": ({"x": X.astype(str), "y": Y}, "x must hold real numbers"),
    "objects in x": ({"x": X.astype(object), "y": Y}, "x must hold real numbers, got object"),
    "ragged x": ({"x": [[1], [1, 2]], "y": [0, 1]}, "x must be one array of numbers"),
    "one axis": ({"x": Y, "y": Y}, r"x must have a row for each example.*\(4,\).*reshape"),
    "scalar": ({"x": 1.0, "y": Y}, "x must have a row for each example"),
    "no features": ({"x": X[:, :0], "y": Y}, "x must have a row for each example"),
    "NaN in x": ({"x": nan_at(2), "y": Y}, "example 2 holds NaN or infinity"),
    "infinity in x": (
        {"x": np.where(X == 4, np.inf, X), "y": Y},
        "example 1 holds NaN or infinity",
    ),
    "float labels": ({"x": X, "y": Y.astype(float)}, "y must be .n. integers.*float64 of shape"),
    "bool labels": ({"x": X, "y": Y > 0}, "y must be .n. integers"),
    "text labels": ({"x": X, "y": ["a", "b", "c", "b"]}, "y must be .n. integers"),
    "label column": ({"x": X, "y": Y[:, None]}, "y must be .n. integers"),
    "no targets": ({"x": X, "y": X[:, :0]}, "y must be .n. integers"),
    "NaN target": ({"x": X, "y": nan_at(3)}, "answer 3 holds NaN or infinity"),
    "negative label": ({"x": X, "y": Y - 1}, r"y\[0\] is -1"),
    "label = k": ({"x": X, "y": Y, "classes": ("a", "b")}, r"from 0 to 1, but y\[2\] is 2"),
    "huge label": ({"x": X, "y": Y + 2**62}, r"y\[0\] is 4611686018427387904; numpy.unique"),
    "same names": ({"x": X, "y": Y, "classes": ("a", "b", "a")}, "3 different names"),
    "names as text": ({"x": X, "y": Y, "classes": "abc"}, "sequence of names"),
    "regression classes": ({"x": X, "y": X, "classes": ("a",)}, "left out for regression"),
    "scale 0": ({"x": X, "y": Y, "scale": 0}, "scale must be a finite number above 0, got 0"),
    "scale NaN": ({"x": X, "y": Y, "scale": float("nan")}, "scale must be"),
    "scale text": ({"x": X, "y": Y, "scale": "1"}, "scale must be"),
}


@pytest.mark.parametrize(("fields", "sentence"), BAD.values(), ids=BAD)
def test_contradictions_are_named(fields, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        Dataset(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float16, np.float32, bool])
def test_inputs_stay_as_they_came(kind):
    x = np.ones((4, 3), kind)
    assert Dataset(x, Y).x is x


def test_names_are_made_up_only_where_none_are_given():
    assert Dataset(X, Y).classes == ("0", "1", "2")
    assert Dataset(X, Y, classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")
    assert Dataset(X, X).classes == ()
    assert Dataset(X[:0], []).classes == ()


def test_shape_length_and_text():
    data = Dataset(np.zeros((5, 8, 6), np.uint8), np.zeros((5, 2)), name="two targets")
    assert (len(data), data.shape) == (5, (8, 6))
    assert repr(data) == "Dataset('two targets': 5 examples of shape (8, 6), uint8, 2 targets)"


def test_a_part_keeps_the_classes_it_does_not_contain():
    part = Dataset(X, Y, scale=0.5, name="abc")[[0]]
    assert (part.classes, part.scale, part.name) == (("0", "1", "2"), 0.5, "abc")


@given(st.lists(st.integers(-4, 3), max_size=9))
def test_a_part_pairs_inputs_with_their_answers(indices):
    part = Dataset(X, Y).subset(indices)
    assert part.x.tolist() == [X[i].tolist() for i in indices]
    assert part.y.tolist() == [Y[i] for i in indices]
    assert len(part) == len(indices)


def test_slices_masks_and_the_first_few():
    data = Dataset(X, Y)
    assert data[1:3].y.tolist() == [1, 2]
    assert data[Y == 1].x.tolist() == [X[1].tolist(), X[3].tolist()]
    assert data.take(0).y.tolist() == []
    assert data.take(4).y.tolist() == Y.tolist()
    for n in (-1, 5):
        with pytest.raises(DataError, match="n must lie between 0 and the 4 examples"):
            data.take(n)
    with pytest.raises(DataError, match=r"one example is the set data\[3:4\]"):
        data[2]
    with pytest.raises(IndexError):
        data[[4]]


CHANGES = {
    "a pixel": {"x": np.vstack([X[:3], X[3:] + 1])},
    "the order": {"x": X[::-1]},
    "the type": {"x": X.astype(np.float32)},
    "the shape": {"x": X.reshape(4, 3, 1)},
    "a label": {"y": np.array([0, 1, 2, 2])},
    "a class name": {"classes": ("0", "1", "two")},
    "another class": {"classes": ("0", "1", "2", "3")},
    "the scale": {"scale": 0.5},
    "the number": {"x": X[:3], "y": Y[:3], "classes": ("0", "1", "2")},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprint_sees(change):
    data = Dataset(X, Y)
    assert dataclasses.replace(data, **change).fingerprint() != data.fingerprint()


def test_fingerprint_does_not_see_name_or_memory_layout():
    print_ = Dataset(X, Y).fingerprint()
    assert Dataset(np.asfortranarray(X), Y, name="other").fingerprint() == print_
    assert Dataset(np.repeat(X, 2, axis=0)[::2], Y).fingerprint() == print_
    assert len(print_) == 16
    assert Dataset(X, Y).take(0).fingerprint() != print_


def test_splits_belong_together():
    data = Dataset(X, Y)
    splits = Splits(data, data.take(0), data)
    assert len(splits.validation) == 0
    others = {
        "shape": Dataset(X[:, :2], Y),
        "classes": Dataset(X, Y, classes=("a", "b", "c")),
        "scale": Dataset(X, Y, scale=2.0),
    }
    for trait, other in others.items():
        with pytest.raises(DataError, match=f"test must have the {trait} of train"):
            Splits(data, data, other)
        with pytest.raises(DataError, match=f"validation must have the {trait} of train"):
            Splits(data, other.take(0), data)
    for part in ({"train": data.take(0)}, {"test": data.take(0)}):
        with pytest.raises(DataError, match=f"{next(iter(part))} holds no examples"):
            dataclasses.replace(splits, **part)


@pytest.mark.parametrize(
    ("validation", "size"),
    [(None, 7), (0, 0), (12, 12), (np.int64(3), 3), (0.0, 0), (0.25, 15), (np.float32(0.5), 30)],
)
def test_validation_size(validation, size):
    assert validation_size(validation, 60, default=7) == size


@pytest.mark.parametrize(
    "validation", [60, -1, 1.0, -0.1, 0.999, float("nan"), True, "10", 10**30, np.inf]
)
def test_validation_that_leaves_nothing_or_is_no_number(validation):
    with pytest.raises(DataError, match="below 60 or a share in"):
        validation_size(validation, 60, default=7)
