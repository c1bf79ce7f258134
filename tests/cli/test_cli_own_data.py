"""``train``, ``evaluate`` and ``predict`` on data of one's own: tables, pictures, arrays."""

import csv
import io
import json
import os
import platform
import re
import resource
import struct
import time
import zlib
from collections.abc import Callable
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import numpy as np
import pandas
import pytest
from cli_commands import Run, start
from own_data import QUICK, photos, table, write
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import deltarule
from deltarule.data import read_rows, read_table

# ---- tables


def test_a_table_from_raw_rows_to_predictions(run: Run) -> None:
    rows = table()
    options = ("--target", "kind", "--drop", "price", "--optimizer", "adam", "--epochs", "60")
    done = run("train", "flowers.csv", *options, "--learning-rate", "0.01", "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["test"]["accuracy"] > 0.9
    folder = "runs/flowers"
    new = [{name: rows[i][name] for name in ("colour", "length", "width")} for i in (0, 1, 2)]
    write("new.tsv", new, "\t")
    answers = run("predict", folder, "new.tsv").out.splitlines()
    assert answers[0] == "index,label,iris,lily,rose"
    assert [line.split(",")[1] for line in answers[1:]] == ["rose", "iris", "lily"]
    model = deltarule.load_model(f"{folder}/model.safetensors")
    outputs = model.outputs(read_rows("new.tsv", model.preparation).x)
    said = [[float(value) for value in line.split(",")[2:]] for line in answers[1:]]
    np.testing.assert_allclose(said, outputs, atol=1e-6)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-6)  # probabilities


def test_what_was_understood_is_said_and_kept(run: Run) -> None:
    table()
    done = run("train", "flowers.csv", "--target", "kind", "--epochs", "1", "--out", "r")
    assert "'colour': category, 4 different values -> " in done.err
    assert "classification of 'kind' into 3 classes" in done.err
    kept = json.loads(Path("r/data.json").read_text())
    expected = read_table("flowers.csv", "kind")
    assert kept["report"] == list(expected.report)
    assert kept["rows"] == {part: rows.tolist() for part, rows in expected.rows.items()}
    assert sorted(chain(*kept["rows"].values())) == list(range(60))
    assert [each["sha256"] for each in kept["files"]] == [expected.sources[0].sha256]
    environment = json.loads(Path("r/environment.json").read_text())
    for name in ("deltarule", "numpy", "scikit-learn"):
        assert environment[name] == version(name)
    assert environment["python"] == platform.python_version()


def test_a_dry_run_trains_nothing_and_leaves_nothing(run: Run) -> None:
    table()
    before = sorted(Path().rglob("*"))
    done = run("train", "flowers.csv", "--target", "kind", "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "classification of 'kind'" in done.out
    assert "Dense" in done.out
    told = run("train", "flowers.csv", "--target", "price", "--dry-run", "--json").json
    assert told["parameters"] == (2 + 5 + 4) * 100 + 100 + 100 + 1
    assert sorted(Path().rglob("*")) == before


def test_a_regression_is_told_in_the_unit_of_its_target(run: Run) -> None:
    rows = table()
    done = run("train", "flowers.csv", "--target", "price", "--epochs", "40", "--quiet",
               "--learning-rate", "0.05", "--out", "r", pictures=True)  # fmt: skip
    assert done.out.splitlines()[0].startswith("test RMSE:")
    assert {path.name for path in Path("r").glob("*.png")} == {
        "learning_curves.png", "first_layer_weights.png", "predictions.png",
    }  # fmt: skip
    lines = run("predict", "r", "flowers.csv").out.splitlines()
    assert lines[0] == "index,price"
    said = [float(line.split(",")[1]) for line in lines[1:]]
    true = [float(row["price"]) for row in rows]
    found = run("evaluate", "r", "flowers.csv", "--json").json["outputs"][0]
    assert found["name"] == "price"
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, said), rel=1e-4)
    assert found["mae"] == pytest.approx(mean_absolute_error(true, said), rel=1e-4)
    assert found["r2"] == pytest.approx(r2_score(true, said), rel=1e-4)
    assert found["r2"] > 0.9


def test_several_files_are_one_table(run: Run) -> None:
    rows = table()
    write("a.csv", rows[:30])
    write("b.csv", [dict(reversed(row.items())) for row in rows[30:]])
    done = run("train", "a.csv", "b.csv", "--target", "kind", *QUICK, "--out", "r", "--json")
    whole = run("train", "flowers.csv", "--target", "kind", *QUICK, "--out", "w", "--json")
    assert done.json["last_epoch"]["train_cost"] == whole.json["last_epoch"]["train_cost"]
    assert [each["name"] for each in json.loads(Path("r/data.json").read_text())["files"]] == [
        "a.csv", "b.csv",
    ]  # fmt: skip
    both = run("predict", "r", "a.csv", "b.csv")
    assert both.out == run("predict", "r", "flowers.csv").out


def test_a_parquet_file_is_a_table_as_any(run: Run) -> None:
    table()
    pandas.read_csv("flowers.csv").to_parquet("flowers.parquet")
    options = ("--target", "price", *QUICK, "--json")
    one = run("train", "flowers.parquet", *options, "--out", "one")
    other = run("train", "flowers.csv", *options, "--out", "other")
    assert one.json["test"] == other.json["test"]
    kept = json.loads(Path("one/data.json").read_text())
    assert kept["versions"] == {"pyarrow": version("pyarrow")}
    assert run("predict", "one", "flowers.parquet").out == run("predict", "one", "flowers.csv").out


def test_a_table_is_resumed_bit_for_bit(run: Run) -> None:
    table()
    options = ("--target", "kind", "--quiet", "--output", "sigmoid")
    run("train", "flowers.csv", *options, "--epochs", "4", "--out", "whole")
    run("train", "flowers.csv", *options, "--epochs", "2", "--out", "half")
    assert run("train", "--resume", "half", "--epochs", "4", "--force", "--quiet").code == 0
    whole, half = (deltarule.load_model(f"{name}/model.safetensors") for name in ("whole", "half"))
    assert whole.network == half.network  # with the output that was asked for
    for one, other in zip(whole.params, half.params, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_another_table_is_not_resumed(run: Run) -> None:
    table()
    run("train", "flowers.csv", "--target", "kind", *QUICK, "--out", "r")
    kept = Path("r/data.json").read_bytes()
    table(seed=1)
    done = run("train", "--resume", "r", "--quiet")
    assert done.code == 5
    assert "was another one" in done.err
    assert Path("r/data.json").read_bytes() == kept


def test_the_part_that_was_divided_off_is_found_again(run: Run) -> None:
    table()
    trained = run("train", "flowers.csv", "--target", "kind", *QUICK, "--out", "r", "--json").json
    again = run("evaluate", "r", "flowers.csv", "--split", "test", "--json").json
    assert {name: again[name] for name in ("examples", "accuracy", "log_loss")} == {
        name: trained["test"][name] for name in ("examples", "accuracy", "log_loss")
    }
    assert run("evaluate", "r", "flowers.csv", "--json").json["examples"] == 60
    done = run("evaluate", "r/model.safetensors", "flowers.csv", "--split", "test")
    assert (done.code, "name the run folder as MODEL" in done.err) == (5, True)
    table(seed=1)
    done = run("evaluate", "r", "flowers.csv", "--split", "test")
    assert (done.code, "is not what the run in r learned from" in done.err) == (3, True)


def test_a_committee_keeps_the_columns(run: Run) -> None:
    table()
    done = run("train", "flowers.csv", "--target", "kind", *QUICK, "--committee", "2", "--out", "c")
    assert (done.code, done.err) == (0, "")
    assert run("predict", "c", "flowers.csv").out.startswith("index,label,iris,lily,rose\n")
    assert json.loads(Path("c/data.json").read_text())["kind"] == "table"


def test_doctor_finds_the_table_of_a_run(run: Run) -> None:
    table()
    run("train", "flowers.csv", "--target", "kind", *QUICK, "--out", "r")
    done = run("doctor", "r", "--json")
    assert (done.code, done.err, done.json["same_data"]) == (0, "", True)
    table(seed=1)
    done = run("doctor", "r", "--json")
    assert (done.code, done.json["same_data"]) == (0, False)


def test_show_says_what_a_model_takes(run: Run, models: Path) -> None:
    of_table = run("show", str(models / "tables")).out
    assert re.search(r"^target +kind$", of_table, re.MULTILINE)
    assert re.search(r"^columns +width, length, colour, price$", of_table, re.MULTILINE)
    assert re.search(
        r"^pictures +6 x 5, grey, crop$", run("show", str(models / "pictures")).out, re.MULTILINE
    )
    assert run("show", str(models / "tables"), "--json").json["preparation"]["kind"] == "table"


WRONG = [
    ("train flowers.csv", 3, "--target is missing: target must name the column"),
    ("train flowers.csv --target kin", 3, "did you mean 'kind'"),
    ("train flowers.csv --target kind --size 8", 3, "size goes with a folder of pictures"),
    ("train flowers.csv --target kind --missing guess", 2, "missing must be one of"),
    ("train flowers.csv --target kind --task regression", 3, "among numbers"),
    ("train flowers.csv --target kind --drop widht", 3, "did you mean 'width'"),
    ("train flowers.csv --target kind --encoding utf-99", 3, "utf-99"),
    ("train flowers.csv --target kind --network lenet5", 2, "lenet5"),
    ("train flowers.csv --target price --network lenet5", 2, "tells classes apart"),
    ("train flowers.csv photos --target kind", 3, "several sources must be tables"),
    ("train digits --target kind", 3, "target goes with a table"),
    ("train photos --size big", 2, "--size must be a side in pixels"),
    ("train photos --fit squeeze", 3, "fit must be one of crop, pad, exact"),
    ("train photos --target kind", 3, "target goes with a table"),
    ("train data.foo", 3, "must be one of digits"),
    ("evaluate tables photos", 3, "must be a table"),
    ("predict tables x.npy", 3, "must be a table"),
    ("predict tables lacking.csv", 3, "lacks 2 of the 4 columns"),
    ("predict tables flowers.csv --decimal ;", 2, "decimal must be one of"),
    ("predict tables flowers.csv --delimiter ||", 3, "delimiter must be one character"),
    ("predict pictures more --encoding latin-1", 3, "--encoding goes with a table"),
    ("evaluate pictures more --delimiter ;", 3, "--delimiter goes with a table"),
    ("evaluate tables flowers.csv --split test --decimal .", 3, "--decimal goes with other rows"),
    ("predict pictures flowers.csv", 3, "is not a PNG, JPEG, WebP or BMP picture"),
    ("predict pictures nowhere", 3, "cannot be read"),
    ("evaluate pictures more", 3, "holds the class 'grey'"),
    ("tune flowers.csv", 3, "target must name the column"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model of a table and one of pictures, hardly trained."""
    place = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        table()
        photos()
        photos("more", 3)
        Path("more/light").rename("more/grey")
        for name, splits in (
            ("tables", read_table("flowers.csv", "kind").splits),
            ("pictures", deltarule.data.read_images("photos").splits),
        ):
            network = deltarule.Network([splits.train.x[0].size, len(splits.train.classes)])
            run = deltarule.fit(network, splits.train, recipe=deltarule.Recipe(epochs=1))
            deltarule.save_model(run.model, name)
        Path("data.foo").touch()
        Path("lacking.csv").write_text("width,price\n1,2\n")
        np.save("x.npy", np.zeros((2, 4)))
    return place


@pytest.mark.parametrize(("line", "code", "sentence"), WRONG, ids=[line for line, *_ in WRONG])
def test_a_wrong_request(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: int, sentence: str
) -> None:
    monkeypatch.chdir(models)
    done = run(*line.split())
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert not Path("runs").exists()


BAD_TABLES: dict[str, tuple[bytes, str]] = {
    "ragged": (b'a,b\n1,x\n"2\n3",y,z\n', "line 3"),
    "latin-1": ("a,b\n1,caf\u00e9\n".encode("latin-1"), "--encoding"),
    "a zero byte": (b"a,b\n1,x\x00\n", "line 2"),
    "open quote": (b'a,b\n1,x\n2,"y\n3,z\n', "line 3"),
    "constant": (b"a,b\n" + b"1.5,x\n2.5,x\n" * 30, "is 'x' in every row"),
    "twice the same name": (b"b,b\n1,x\n", "'b'"),
    "no name": (b"a,,b\n1,2,x\n", "has no name"),
    "header only": (b"a,b\n", "no data rows"),
    "empty": (b"", "no data rows|is empty"),
    "beyond a number": (b"a,b\n" + b"1e400,x\n2,y\n" * 20, "line 2"),
    "decimal comma": (b"a;b\n" + b"1,5;x\n2,5;y\n" * 20, "decimal"),
    "dates": (b"a,b\n" + b"2024-01-31,x\n2024-02-01,y\n" * 20, "date"),
}


@pytest.mark.parametrize(("data", "said"), BAD_TABLES.values(), ids=list(BAD_TABLES))
def test_a_table_that_cannot_be_learned_from(run: Run, data: bytes, said: str) -> None:
    Path("bad.csv").write_bytes(data)
    done = run("train", "bad.csv", "--target", "b")
    assert (done.code, done.out) == (3, "")
    assert re.search(said, done.err), done.err
    assert len(done.err.splitlines()) <= 3
    assert not Path("runs").exists()


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "target goes with a table"),
    "pipe": (os.mkfifo, "t.csv is a device, pipe or socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "t.csv is a device, pipe or socket"),
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "nowhere": (lambda path: path.symlink_to("gone"), "neither a known set nor a folder or file"),
}


@pytest.mark.parametrize(("make", "said"), NO_FILES.values(), ids=list(NO_FILES))
def test_a_table_that_is_no_file(make: Callable[[Path], object], said: str) -> None:
    make(Path("t.csv"))
    begun = time.monotonic()
    command = start("train", "t.csv", "--target", "b", prepare=little_memory)
    assert (command.wait(), command.out) == (3, "")
    assert time.monotonic() - begun < 30  # a pipe would be waited for, a device read for ever
    assert said in command.err
    assert len(command.err.splitlines()) == 1
    assert not Path("runs").exists()


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))


# ---- pictures


def test_a_bomb_is_refused_by_its_header(run: Run) -> None:
    photos(n=3)
    path = Path("photos/dark/00.png")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 50_000, 50_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    done = run("train", "photos")
    assert (done.code, done.out) == (3, "")
    assert "dark/00.png has" in done.err
    assert "more than the limit" in done.err or "than the limit, 25,000,000" in done.err


def test_a_folder_of_pictures_from_files_to_predictions(run: Run) -> None:
    photos()
    done = run("train", "photos", "--epochs", "30", "--learning-rate", "1", "--quiet", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["test"]["accuracy"] == 1
    folder = "runs/photos"
    out = run("predict", folder, "photos/dark/00.png", "photos/light").out.splitlines()
    assert out[0] == "file,label,dark,light"
    assert [line.split(",")[:2] for line in out[1:4]] == [
        ["photos/dark/00.png", "dark"],
        ["photos/light/00.png", "light"],
        ["photos/light/01.png", "light"],
    ]
    assert len(out) == 22
    assert run("evaluate", folder, "photos", "--json").json["examples"] == 40
    again = run("evaluate", folder, "photos", "--split", "test", "--json").json
    assert again["examples"] == done.json["test"]["examples"] == 8
    kept = json.loads(Path(folder, "data.json").read_text())
    assert len(kept["files"]) == 40
    assert kept["versions"] == {"pillow": version("pillow")}
    assert sorted(chain(*kept["indices"].values())) == list(range(40))


def test_pictures_that_are_not_kept_train_the_same_network(run: Run) -> None:
    photos()
    options = ("--epochs", "3", "--quiet", "--json")
    kept = run("train", "photos", *options, "--out", "kept")
    streamed = run("train", "photos", *options, "--stream", "--out", "streamed", pictures=True)
    assert streamed.code == 0
    assert Path("streamed/worst_mistakes.png").exists()
    assert streamed.json["test"] == kept.json["test"]
    one, other = (
        Path(name, "history.jsonl").read_text().splitlines() for name in ("kept", "streamed")
    )
    for line, same in zip(one, other, strict=True):
        assert {**json.loads(line), "seconds": 0} == {**json.loads(same), "seconds": 0}
    part = ("photos", "--split", "test", "--json")
    assert run("evaluate", "streamed", *part).json == run("evaluate", "kept", *part).json
    assert run("train", "photos", *options, "--stream", "--committee", "2", "--out", "c").code == 0


def test_options_of_pictures(run: Run) -> None:
    photos()
    Path("photos/dark/broken.png").write_bytes(b"no picture")
    done = run("train", "photos", "--dry-run")
    assert (done.code, "dark/broken.png" in done.err) == (3, True)
    options = ("--skip-bad-images", "--size", "4x3", "--colour", "--fit", "pad")
    done = run("train", "photos", *options, "--dry-run", "--json")
    wanted = {"height": 4, "width": 3, "channels": 3, "fit": "pad"}
    assert wanted.items() <= done.json["pictures"].items()
    assert list(done.json["skipped"]) == ["dark/broken.png"]


def test_hostile_names_in_every_outlet(run: Run) -> None:
    rows = table()
    for row in rows:
        row["ki\x1b[2Jnd"] = row.pop("kind") + "\u202e"
    write("flowers.csv", rows)
    done = run("train", "flowers.csv", "--target", "ki\x1b[2Jnd", "--epochs", "1", "--out", "r")
    assert done.code == 0
    more = [
        run("predict", "r", "flowers.csv"),
        run("evaluate", "r", "flowers.csv"),
        run("show", "r"),
    ]
    for each in (done, *more):
        assert (each.out + each.err).replace("\n", "").isprintable()
    header = next(csv.reader(io.StringIO(more[0].out)))
    assert header == ["index", "label", *(rf"{name}\u202e" for name in ("iris", "lily", "rose"))]


# ---- arrays


def test_arrays_in_one_file_or_two(run: Run) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = rng.normal(y[:, None] * 4.0, 1, (40, 3)).astype(np.float32)
    np.savez("both.npz", x=x, y=np.array(["no", "yes"])[y])
    np.save("x.npy", x)
    np.save("y.npy", y)
    one = run("train", "both.npz", *QUICK, "--json", "--out", "a")
    two = run("train", "x.npy", "y.npy", *QUICK, "--json", "--out", "b")
    assert (one.code, two.code) == (0, 0)
    assert one.json["last_epoch"]["train_cost"] == two.json["last_epoch"]["train_cost"]
    assert deltarule.load_model("a/model.safetensors").classes == ("no", "yes")
    said = run("predict", "a", "x.npy").out.splitlines()
    assert said[0] == "index,label,no,yes"
    assert len(said) == 41
    assert run("evaluate", "a", "both.npz", "--json").json["examples"] == 8
