"""Rows are divided once and for all, classes in their proportions."""

import hashlib

import numpy as np
import pytest
from tables_help import as_csv, people, write

from deltarule.data.tables import read_table
from deltarule.errors import DataError


def read(tmp_path, columns, **options):
    return read_table(write(tmp_path / "people.csv", as_csv(columns)), "churned", **options)


def sizes(data):
    return {part: len(rows) for part, rows in data.rows.items()}


def test_every_row_is_in_one_part(tmp_path):
    data = read(tmp_path, people())
    assert sizes(data) == {"train": 42, "validation": 6, "test": 12}
    assert sorted(np.concatenate(list(data.rows.values()))) == list(range(60))
    for part, rows in data.rows.items():
        split = getattr(data.splits, part)
        answers = [people()["churned"][row] for row in rows]
        assert [data.columns.classes[index] for index in split.y] == answers


def test_the_parts_are_those_they_have_always_been(tmp_path):
    data = read(tmp_path, people() | {"churned": ["yes", "no", "no"] * 20})
    parts = [0, 1, 5, 9, 10, 14]
    assert data.rows["test"][:6].tolist() == parts


def test_classes_keep_their_proportions(tmp_path):
    columns = people(200)
    columns["churned"] = ["yes"] * 20 + ["no"] * 180
    data = read(tmp_path, columns)
    for part in ("train", "validation", "test"):
        assert np.mean(getattr(data.splits, part).y) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"validation": 0}, (48, 0, 12)),
        ({"validation": 10, "test": 5}, (45, 10, 5)),
        ({"validation": 0.5, "test": 0.5}, (15, 15, 30)),
    ],
)
def test_sizes_are_chosen(options, expected, tmp_path):
    assert tuple(sizes(read(tmp_path, people(), **options)).values()) == expected


BAD = {
    "no test": ({"test": 0}, "test must be a number of rows from 1 to 59"),
    "share 1": ({"test": 1.0}, "test must be"),
    "text": ({"test": "all"}, "test must be"),
    "all": ({"test": 60}, "test must be"),
    "validation": ({"validation": 48}, "validation must be a number of rows from 1 to 47"),
    "below a class": ({"test": 1}, "test cannot take 1 of 60 rows with each of the 2 classes"),
    "nothing left": ({"test": 57, "validation": 2}, "validation cannot take 2 of 3 rows"),
}


@pytest.mark.parametrize(("options", "sentence"), BAD.values(), ids=BAD)
def test_sizes_that_cannot_be(options, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, people(), **options)


def test_small_tables_are_divided_too(tmp_path):
    columns = people(6)
    columns["churned"] = ["yes", "no"] * 3
    assert sizes(read(tmp_path, columns)) == {"train": 2, "validation": 2, "test": 2}


def test_one_row_is_not_enough(tmp_path):
    with pytest.raises(DataError, match="no column is left to learn from"):
        read(tmp_path, people(1))


def test_files_are_recorded(tmp_path):
    data = read(tmp_path, people())
    raw = (tmp_path / "people.csv").read_bytes()
    (source,) = data.sources
    assert (source.size, source.rows) == (len(raw), 60)
    assert source.sha256 == hashlib.sha256(raw).hexdigest()
