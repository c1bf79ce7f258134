"""The record of what was learned from: the files, and the rows of each part."""

import hashlib
import json
from importlib.metadata import version
from itertools import chain

import numpy as np
import pytest
from idx_files import STEMS, write_set
from sklearn.datasets import load_digits

from deltarule.data import open_source
from deltarule.data.whole import described, stored_rows
from deltarule.errors import DataError


def test_the_record_of_digits_finds_every_part_again():
    source = open_source("digits", validation=100)
    record = json.loads(json.dumps(source.record))
    assert (record["kind"], record["files"]) == ("known", [])
    assert record["versions"] == {"scikit-learn": version("scikit-learn")}
    bundled = load_digits()
    for part in ("train", "validation", "test"):
        data = getattr(source.splits, part)
        np.testing.assert_array_equal(data.x, bundled.images[record["rows"][part]])
        np.testing.assert_array_equal(data.y, bundled.target[record["rows"][part]])
        assert record["parts"][part] == {"examples": len(data), "fingerprint": data.fingerprint()}
    assert sorted(chain(*record["rows"].values())) == list(range(1797))


@pytest.mark.parametrize("ending", ["-ubyte.gz", "-ubyte"])
def test_the_record_of_idx_files_has_their_sha256_and_the_rows(tmp_path, ending):
    write_set(tmp_path, ending=ending)
    source = open_source(tmp_path)
    names = [f"{stem}{ending}" for stem in STEMS]
    raw = [(tmp_path / name).read_bytes() for name in names]
    assert source.record["files"] == [
        {"name": name, "bytes": len(each), "sha256": hashlib.sha256(each).hexdigest()}
        for name, each in zip(names, raw, strict=True)
    ]
    assert source.record["rows"] == {
        "train": {"start": 0, "stop": 50},
        "validation": {"start": 50, "stop": 60},
        "test": {"start": 0, "stop": 10},  # of the test files
    }


ROWS = {"train": [0, 3, 4], "validation": [], "test": [1, 2]}
DAMAGED = {
    "none": (None, "not those of three parts"),
    "a part too few": ({"train": [0], "test": [1]}, "not those of three parts"),
    "out of range": (ROWS | {"test": [1, 5]}, "for test do not fit the 5"),
    "negative": (ROWS | {"test": [-1]}, "for test do not fit"),
    "no numbers": (ROWS | {"train": ["0"]}, "for train do not fit"),
    "truth values": (ROWS | {"train": [True]}, "for train do not fit"),
    "text": (ROWS | {"test": "1"}, "for test do not fit"),
    "twice in one": (ROWS | {"test": [1, 1]}, "in more than one part, or twice in one"),
    "in two parts": (ROWS | {"test": [1, 3]}, "in more than one part, or twice in one"),
    "a range in two parts": (ROWS | {"test": {"start": 0, "stop": 2}}, "in more than one part"),
    "a range too long": (ROWS | {"test": {"start": 1, "stop": 6}}, "for test do not fit"),
    "a range without an end": (ROWS | {"test": {"start": 1}}, "for test do not fit"),
    "a range of text": (ROWS | {"test": {"start": "1", "stop": 2}}, "for test do not fit"),
}


@pytest.mark.parametrize(("stored", "said"), DAMAGED.values(), ids=list(DAMAGED))
def test_rows_that_cannot_be_those_of_the_data(stored, said):
    with pytest.raises(DataError, match=f"the rows that the run has stored .*{said}"):
        stored_rows(stored, {"train": 5})


def test_stored_rows_are_those_that_were_described():
    rows = {"train": np.array([4, 0, 3]), "validation": range(1, 3), "test": range(5)}
    again = stored_rows(json.loads(json.dumps(described(rows))), {"train": 5, "test": 5})
    assert {part: list(each) for part, each in again.items()} == {
        part: list(each) for part, each in rows.items()
    }  # the test part has examples of its own, so that its rows may be called as those of train
