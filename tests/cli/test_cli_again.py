"""``--split`` asks about the rows that a run has stored, whatever would be divided today."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from cli_commands import Run, write_images
from own_data import photos, table, write

import deltarule
from deltarule.data import arrays, digits, read_rows
from deltarule.data.pictures import survey
from deltarule.data.tables import reading

QUICK = ("--quiet", "--epochs", "2", "--json")
PARTS = ("train", "validation", "test")


def write_arrays(path: str = "set.npz", seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    y = np.arange(60) % 3
    np.savez(path, x=rng.normal(y[:, None], 1, (60, 4)), y=y)


SOURCES: dict[str, tuple[Callable[[], Any], tuple[str, ...], Any]] = {
    "table": (table, ("flowers.csv", "--target", "kind"), reading),
    "pictures": (photos, ("photos",), survey),
    "arrays": (write_arrays, ("set.npz",), arrays),
    "digits": (lambda: None, ("digits",), digits),
    "idx": (lambda: write_images(Path("images")), ("images",), None),
}


def counted(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("examples", "accuracy", "log_loss")}


def stored(change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what the run in r has stored of its data."""
    record = json.loads(Path("r/data.json").read_text())
    change(record)
    Path("r/data.json").write_text(json.dumps(record))


@pytest.mark.parametrize("kind", SOURCES)
def test_each_part_is_the_one_of_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    make, request, divides = SOURCES[kind]
    make()
    trained = run("train", *request, *QUICK, "--validation", "0.3", "--out", "r").json
    before = {part: run("evaluate", "r", request[0], "--split", part, "--json") for part in PARTS}
    assert counted(before["test"].json) == counted(trained["test"])
    last = trained["last_epoch"]["validation_accuracy"]
    assert before["validation"].json["accuracy"] == pytest.approx(last)
    if divides is not None:  # as if another version drew other rows
        monkeypatch.setattr(divides, "SPLIT", 1)
    for part in PARTS:
        again = run("evaluate", "r", request[0], "--split", part, "--json")
        assert (again.out, again.err) == (before[part].out, before[part].err)
    if kind not in ("table", "pictures"):
        assert run("evaluate", "r", request[0], "--json").out == before["test"].out


def test_the_stored_rows_themselves_are_asked_about(run: Run) -> None:
    table()
    run("train", "flowers.csv", "--target", "kind", *QUICK, "--out", "r")
    stored(lambda record: record.update(rows={"train": [5], "validation": [], "test": [59, 7, 0]}))
    asked = run("predict", "r", "flowers.csv", "--split", "test").out.splitlines()[1:]
    every = run("predict", "r", "flowers.csv").out.splitlines()[1:]
    assert [line.split(",", 1)[1] for line in asked] == [
        every[row].split(",", 1)[1] for row in (59, 7, 0)
    ]
    assert run("evaluate", "r", "flowers.csv", "--split", "test", "--json").json["examples"] == 3
    photos()
    run("train", "photos", *QUICK, "--out", "p")
    Path("r/data.json").write_text(Path("p/data.json").read_text())
    stored(lambda record: record.update(indices={"train": [0], "validation": [], "test": [39, 1]}))
    Path("p/data.json").write_text(Path("r/data.json").read_text())
    found = run("predict", "p", "photos", "--split", "test").out.splitlines()[1:]
    files = run("predict", "p", "photos/light/19.png", "photos/dark/01.png").out.splitlines()[1:]
    assert [line.split(",")[1:] for line in found] == [line.split(",")[1:] for line in files]


def rows_of(record: dict[str, Any]) -> Any:
    return record["indices" if "indices" in record else "rows"]


def to_lists(record: dict[str, Any]) -> None:
    for part, rows in rows_of(record).items():
        if isinstance(rows, dict):
            rows_of(record)[part] = list(range(rows["start"], rows["stop"]))


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no rows": (lambda r: r.update(rows=None, indices=None), "are not those of three parts"),
    "out of range": (lambda r: rows_of(r)["test"].append(10**6), "for test do not fit the "),
    "twice": (lambda r: rows_of(r)["train"].append(rows_of(r)["train"][0]), "or twice in one"),
    "a learned one": (
        lambda r: rows_of(r)["validation"].append(rows_of(r)["train"][0]), "in more than one part",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_stored_rows_that_are_damaged(run: Run, kind: str) -> None:
    make, request, _ = SOURCES[kind]
    make()
    run("train", *request, *QUICK, "--out", "r")
    stored(to_lists)
    whole = Path("r/data.json").read_text()
    assert run("evaluate", "r", request[0], "--split", "test").code == 0
    for change, said in WRONG.values():
        Path("r/data.json").write_text(whole)
        stored(change)
        done = run("evaluate", "r", request[0], "--split", "test")
        assert (done.code, done.out) == (3, "")
        assert "the rows that the run has stored" in done.err
        assert said in done.err.replace("\n", " ")
    for text in ("{", "[]", "[" * 100_000):
        Path("r/data.json").write_text(text)
        done = run("evaluate", "r", request[0], "--split", "test")
        assert (done.code, "r/data.json is damaged" in done.err) == (5, True)
    Path("r/data.json").write_text(whole)
    stored(lambda record: record.update(files=3, parts=3))
    done = run("evaluate", "r", request[0], "--split", "test")
    assert (done.code, "stored of its data is damaged" in done.err) == (3, True)


def test_rows_that_are_not_the_examples_of_the_run(run: Run) -> None:
    write_arrays()
    run("train", "set.npz", *QUICK, "--out", "r")
    stored(lambda record: record["rows"].update(test=record["rows"]["validation"], validation=[]))
    done = run("evaluate", "r", "set.npz", "--split", "test")
    assert (done.code, "its rows of test are not the examples" in done.err) == (3, True)


def test_other_arrays_are_not_divided_as_if_they_were_those_of_the_run(run: Run) -> None:
    write_arrays()
    run("train", "set.npz", *QUICK, "--out", "r")
    model = "r/model.safetensors"
    of_file = run("evaluate", model, "set.npz", "--split", "test", "--json")
    assert of_file.out == run("evaluate", "r", "set.npz", "--split", "test", "--json").out
    os.rename("set.npz", "moved.npz")  # the content counts
    assert run("evaluate", "r", "moved.npz", "--split", "test", "--json").out == of_file.out
    write_arrays(seed=1)
    done = run("evaluate", "r", "set.npz", "--split", "test")
    assert (done.code, "is not what the run in r learned from" in done.err) == (3, True)
    assert run("evaluate", model, "set.npz", "--split", "test", "--json").json["examples"] == 12
    assert run("evaluate", "r", "digits", "--split", "test").code == 3  # of another shape


def test_other_pictures_are_refused(run: Run) -> None:
    photos()
    run("train", "photos", *QUICK, "--out", "r")
    record = json.loads(Path("r/data.json").read_text())
    name = record["files"][record["indices"]["test"][0]][0]
    raw = Path("photos", name).read_bytes()
    other = Path("photos", record["files"][record["indices"]["train"][0]][0]).read_bytes()
    assert other != raw
    for path, content in ((Path("photos", name), other), (Path("photos/dark/more.png"), raw)):
        path.write_bytes(content)
        done = run("evaluate", "r", "photos", "--split", "test")
        assert (done.code, "is not what the run in r learned from" in done.err) == (3, True)
        Path("photos", name).write_bytes(raw)
        assert run("evaluate", "r", "photos").code == 0


def test_a_run_of_two_files(run: Run) -> None:
    write_arrays()
    for name, array in np.load("set.npz").items():
        np.save(name, array)
    trained = run("train", "x.npy", "y.npy", *QUICK, "--out", "r").json
    found = run("evaluate", "r", "x.npy", "y.npy", "--split", "test", "--json").json
    assert counted(found) == counted(trained["test"])
    assert run("evaluate", "r", "x.npy", "y.npy", "--json").json == found


def test_rows_that_were_dropped_are_not_counted_anew(run: Run) -> None:
    rows = table()
    rows[3]["width"] = rows[10]["kind"] = ""
    write("flowers.csv", rows)
    options = ("--target", "kind", "--missing", "drop")
    trained = run("train", "flowers.csv", *options, *QUICK, "--out", "r").json
    for part, accuracy in (("test", trained["test"]["accuracy"]), ("validation", None)):
        found = run("evaluate", "r", "flowers.csv", "--split", part, "--json").json
        assert accuracy in (None, found["accuracy"])
    kept = json.loads(Path("r/data.json").read_text())["rows"]
    assert not {3, 10} & {row for part in PARTS for row in kept[part]}
    columns = deltarule.load_model("r/model.safetensors").preparation
    expected = read_rows(pandas.DataFrame([rows[row] for row in kept["test"]]), columns)
    asked = run("predict", "r", "flowers.csv", "--split", "test", "--json").json
    model = deltarule.load_model("r/model.safetensors")
    assert [each["label"] for each in asked] == model.labels(expected.x)


def test_a_run_of_a_version_that_stored_no_rows(run: Run) -> None:
    trained = run("train", "digits", *QUICK, "--out", "r").json
    stored(lambda record: [record.pop(name) for name in ("rows", "files", "versions")])
    found = run("evaluate", "r", "digits", "--split", "test", "--json").json
    assert counted(found) == counted(trained["test"])


def test_the_record_of_arrays(run: Run) -> None:
    write_arrays()
    run("train", "set.npz", *QUICK, "--out", "r")
    record = json.loads(Path("r/data.json").read_text())
    raw = Path("set.npz").read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    assert record["files"] == [{"name": "set.npz", "bytes": len(raw), "sha256": sha256}]
    assert sorted(chain(*record["rows"].values())) == list(range(60))
    config = json.loads(Path("r/config.json").read_text())
    assert record["parts"]["train"] == config["training_data"]


@pytest.mark.parametrize("name", ["pipe.npz", "pipe.npy"])
def test_a_pipe_for_arrays_is_told_at_once(run: Run, name: str) -> None:
    write_arrays()
    np.save("y.npy", np.arange(3))
    run("train", "set.npz", *QUICK, "--out", "r")
    os.mkfifo(name)
    sources = [name] if name.endswith("z") else [name, "y.npy"]
    for command in (["train", *sources], ["evaluate", "r", *sources], ["predict", "r", name]):
        start = time.monotonic()
        done = run(*command)
        assert (done.code, done.out) == (3, "")
        assert f"{name} is a device, pipe or socket" in done.err
        assert time.monotonic() - start < 2
