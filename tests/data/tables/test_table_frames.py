"""Parquet files and frames say the same as the CSV file with the same rows."""

import datetime
import decimal
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tables_help import as_csv, people, write

import deltarule
from deltarule.data.tables import files as files_module
from deltarule.data.tables import read_rows, read_table
from deltarule.errors import DataError

HOLES = [("age", 9), ("city", 4), ("income", 50)]
TYPES = {"age": int, "income": float, "city": str, "churned": str, "member": bool}


def values(n=60):
    """The people of the other tests, as Python has them, with None for what is missing."""
    columns = people(n, holes=HOLES) | {"member": ["x" if i % 3 else "" for i in range(n)]}
    return {
        name: [None if value == "" and name != "member" else TYPES[name](value) for value in column]
        for name, column in columns.items()
    }


def pandas_frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def polars_frame(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def arrow_table(columns):
    return pytest.importorskip("pyarrow").table(columns)


FRAMES = {"pandas": pandas_frame, "polars": polars_frame, "pyarrow": arrow_table}


@pytest.fixture
def from_csv(tmp_path):
    columns = {
        name: ["" if value is None else str(value) for value in column]
        for name, column in values().items()
    }
    path = write(tmp_path / "people.csv", as_csv(columns))
    return read_table(path, "churned", missing="impute")


def same(first, second):
    assert first.columns == second.columns
    for part in first.rows:
        assert np.array_equal(first.rows[part], second.rows[part])
        one, other = getattr(first.splits, part), getattr(second.splits, part)
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.y, other.y)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_say_what_the_file_says(frame, from_csv):
    same(read_table(frame(values()), "churned", missing="impute"), from_csv)


def test_a_parquet_file_says_what_the_csv_file_says(from_csv, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "people.parquet"
    parquet.write_table(arrow_table(values()), path)
    data = read_table(path, "churned", missing="impute")
    same(data, from_csv)
    assert [source.rows for source in data.sources] == [60]
    rows = read_rows(path, data.columns)
    assert np.array_equal(rows.x[data.rows["test"]], data.splits.test.x)


def test_parquet_and_csv_are_read_together(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow_table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "first.parquet")
    second = write(tmp_path / "second.csv", "b,a\nx,3\ny,\n")
    with pytest.raises(DataError, match=r"'a' \(1\), first in \S*second.csv line 3"):
        read_table([tmp_path / "first.parquet", second], "b")


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_come_out_where_frames_went_in(frame):
    table = frame(values())
    data = read_table(table, "churned", missing="impute")
    rows = read_rows(table, data.columns)
    found = rows.predictions(np.tile([0.75, 0.25], (60, 1)))
    assert type(found) is type(table)
    assert list(np.asarray(found["churned"])) == ["no"] * 60
    assert list(np.asarray(found["churned=yes"])) == [0.25] * 60


def test_the_index_of_a_frame_stays():
    table = pandas_frame(values())
    table.index = [f"p{i}" for i in range(60)]
    data = read_table(table, "age", missing="drop")
    rows = read_rows(table.dropna().iloc[5:8], data.columns)
    outputs = np.array([[0.0], [1.0], [-1.0]])
    found = rows.predictions(outputs)
    assert found.index.tolist() == table.dropna().index[5:8].tolist()
    target = data.columns.target
    assert found["age"].tolist() == [target.mean + z * target.deviation for z in outputs[:, 0]]


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize(
    "value", [datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31), datetime.timedelta(3)]
)
def test_dates_are_refused(frame, value):
    with pytest.raises(DataError, match=r"column 'since' holds dates .*drop="):
        read_table(frame(values() | {"since": [value] * 60}), "churned", missing="impute")
    with pytest.raises(DataError, match="target 'since' holds dates"):
        read_table(frame(values() | {"since": [value] * 60}), "since", missing="impute")


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_columns_of_other_things_are_refused(frame):
    with pytest.raises(DataError, match=r"column 'x' holds values of type (list|ndarray)"):
        read_table(frame(values() | {"x": [[1, 2]] * 60}), "churned", missing="impute")


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_frames_without_rows_are_refused(frame):
    for columns in ({"a": [], "b": []}, {}):
        with pytest.raises(DataError, match="no data rows"):
            read_table(frame(columns), "a")


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_long_whole_numbers_stay_apart(frame):
    ids = [2**53 + i % 3 for i in range(60)]
    columns = values() | {"id": ids}
    data = read_table(frame(columns), "churned", missing="impute", columns={"id": "category"})
    levels = next(column.levels for column in data.columns.columns if column.name == "id")
    assert levels == tuple(str(2**53 + i) for i in range(3))


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_infinite_numbers_are_refused(frame):
    columns = values() | {"x": [*[1.5, 2.5] * 29, float("inf"), 1.0]}
    with pytest.raises(DataError, match=r"row 58 .*'x' holds 'inf', beyond the range"):
        read_table(frame(columns), "churned", missing="impute")


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_decimals_are_numbers(frame):
    columns = values() | {"x": [decimal.Decimal(i % 4) / 4 for i in range(60)]}
    data = read_table(frame(columns), "churned", missing="impute")
    assert "'x': number, 0 to 0.75" in data.report


def test_types_of_pandas_with_missing_values():
    pandas = pytest.importorskip("pandas")
    columns = values()
    plain = read_table(pandas_frame(columns), "churned", missing="impute")
    types = {"age": "Int64", "income": "Float64", "city": "category", "member": "boolean"}
    frame = pandas.DataFrame(columns).astype(types)
    same(read_table(frame, "churned", missing="impute"), plain)


def test_names_of_a_frame_are_checked():
    frame = pandas_frame({"a": [1, 2], "b": [1, 2]})
    frame.columns = ["a", "a"]
    with pytest.raises(DataError, match="columns 1 and 2 are both called 'a'"):
        read_table(frame, "a")


def test_a_frame_is_left_as_it_was():
    table = pandas_frame(values())
    before = table.copy(deep=True)
    read_table(table, "churned", missing="impute")
    assert table.equals(before)


DAMAGED = {
    "empty": b"",
    "text": b"a,b\n1,2\n",
    "no end": b"PAR1" + b"\0" * 50,
    "a lie about its end": b"PAR1" + b"\0" * 50 + b"\xff\xff\xff\x7fPAR1",
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_damaged_parquet_is_refused(raw, tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="is no Parquet file that can be read") as caught:
        read_table(write(tmp_path / "t.parquet", raw), "a")
    assert "\n" not in str(caught.value)


def test_truncated_parquet_is_refused(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    parquet.write_table(arrow_table(values()), path)
    raw = path.read_bytes()
    for part in range(16):
        with pytest.raises(DataError, match="is no Parquet file"):
            read_table(write(path, raw[: len(raw) * part // 16]), "churned")


def test_parquet_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow_table(values()), tmp_path / "t.parquet")
    monkeypatch.setattr(files_module, "MOST_CELLS", 299)
    with pytest.raises(DataError, match="declares 300 fields, the most is 299"):
        read_table(tmp_path / "t.parquet", "churned")


def test_without_pyarrow_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow.*pip install 'deltarule\[tables\]'"):
        read_table(write(tmp_path / "t.parquet", b""), "a")


def test_importing_loads_no_library_of_frames():
    code = (
        "import sys, deltarule.data.tables\n"
        "libraries = 'jax', 'sklearn', 'pandas', 'polars', 'pyarrow'\n"
        "print([name for name in libraries if name in sys.modules])"
    )
    source = str(Path(deltarule.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
