"""Folders of pictures through the command: their options, odd names, bounded memory."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_commands import Done, Run
from own_data import photos
from PIL import Image, ImageOps

import deltarule

SRC = Path(__file__).parents[2] / "src"
LEARN = ("--epochs", "30", "--learning-rate", "1", "--quiet", "--json")


def answers(done: Done) -> dict[str, str]:
    """Return the label of each file."""
    assert (done.code, done.err) == (0, "")
    return {row["file"]: row["label"] for row in csv.DictReader(io.StringIO(done.out))}


def coloured(folder: str, n: int = 20) -> None:
    """Write pictures that differ in brightness, and in a hue that says nothing."""
    rng = np.random.default_rng(0)
    for label, base in (("dark", 40), ("light", 200)):
        for i in range(n):
            path = Path(folder, label, f"{i:02d}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(rng.normal(base, 20, (6, 5, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)


def test_grey_is_learned_of_coloured_pictures(run: Run) -> None:
    coloured("photos")
    done = run("train", "photos", "--grey", *LEARN, "--out", "r")
    assert (done.code, done.err, done.json["test"]["accuracy"]) == (0, "", 1)
    model = deltarule.load_model("r/model.safetensors")
    assert model.shape == (6, 5, 1)
    assert "colour: grey, as asked" in json.loads(Path("r/data.json").read_text())["report"]
    said = answers(run("predict", "r", "photos"))
    assert said == {file: Path(file).parent.name for file in said}
    assert len(said) == 40
    grey = np.asarray(Image.open("photos/dark/03.png").convert("L"))[None, ..., None]
    line = run("predict", "r", "photos/dark/03.png").out.splitlines()[1]
    np.testing.assert_allclose(
        [float(value) for value in line.split(",")[2:]], model.outputs(grey)[0], atol=1e-5
    )


def test_parts_that_the_folder_has(run: Run) -> None:
    for part, n in (("train", 12), ("val", 3), ("test", 5)):
        photos(f"photos/{part}", n)
    done = run("train", "photos", *LEARN, "--out", "r")
    assert (done.code, done.err) == (0, "")
    assert (done.json["test"]["accuracy"], done.json["test"]["examples"]) == (1, 10)
    kept = json.loads(Path("r/data.json").read_text())
    for part, name in (("train", "train"), ("validation", "val"), ("test", "test")):
        files = [kept["files"][i][0] for i in kept["indices"][part]]
        assert {file.split("/")[0] for file in files} == {name}
    again = run("evaluate", "r", "photos", "--split", "validation", "--json")
    assert (again.code, again.json["examples"]) == (0, 6)
    said = answers(run("predict", "r", "photos/test"))
    assert said == {file: Path(file).parent.name for file in said}
    done = run("train", "photos", "--validation", "4")
    assert (done.code, "validation is a folder of its own here" in done.err) == (3, True)


@pytest.mark.parametrize("fit", ["crop", "pad", "exact"])
def test_pictures_of_another_size_are_treated_by_the_stored_rule(run: Run, fit: str) -> None:
    photos()
    assert run("train", "photos", "--fit", fit, *LEARN, "--out", "r").code == 0
    Path("new").mkdir()
    wide = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (12, 1))
    Image.fromarray(wide).save("new/wide.png")
    done = run("predict", "r", "new/wide.png")
    if fit == "exact":
        assert (done.code, done.out) == (3, "")
        assert "new/wide.png has 12 x 40 pixels instead of 6 x 5" in done.err
        return
    resize = {"crop": ImageOps.fit, "pad": ImageOps.pad}[fit]
    small = resize(Image.fromarray(wide), (5, 6), method=Image.Resampling.BILINEAR)
    x = np.asarray(small)[None, ..., None]
    model = deltarule.load_model("r/model.safetensors")
    row = done.out.splitlines()[1].split(",")
    assert row[:2] == ["new/wide.png", model.labels(x)[0]]
    np.testing.assert_allclose([float(each) for each in row[2:]], model.outputs(x)[0], atol=1e-5)


def test_hostile_names_of_folders_and_files(run: Run) -> None:
    photos()
    Path("photos/dark").rename("photos/da\x1b[2Jrk\n")
    Path("photos/light").rename("photos/\u202elight")
    Path("photos/\u202elight/00.png").rename("photos/\u202elight/0\n\x07\x1b[31m.png")
    done = run("train", "photos", "--epochs", "2", "--out", "r", pictures=True)
    assert done.code == 0
    more = [
        run("predict", "r", "photos"),
        run("predict", "r", "photos", "--json"),
        run("evaluate", "r", "photos"),
        run("show", "r"),
        run("train", "photos", "--dry-run"),
    ]
    assert [each.code for each in more] == [0] * 5
    Path("photos/\u202elight/bad\n\x1b[31m.png").write_bytes(b"")
    bad = [run("train", "photos"), run("predict", "r", "photos"), run("evaluate", "r", "photos")]
    assert [each.code for each in bad] == [3] * 3
    for each in (done, *more, *bad):
        assert (each.out + each.err).replace("\n", "").isprintable()
    assert all(r"bad\n\x1b[31m.png is empty" in each.err for each in bad)
    rows = list(csv.reader(io.StringIO(more[0].out)))
    assert rows[0] == ["file", "label", r"da\x1b[2Jrk\n", r"\u202elight"]
    assert [len(rows), {len(row) for row in rows}] == [41, {4}]  # no name has broken a line
    assert r"photos/\u202elight/0\n\x07\x1b[31m.png" in {row[0] for row in rows}
    assert {each["label"] for each in more[1].json} == {"da\x1b[2Jrk\n", "\u202elight"}


def test_a_dry_run_goes_by_the_headers_and_leaves_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from deltarule.data.pictures import read, rule

    photos()
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(read, "KEPT_IN_MEMORY", 10)  # else so few would stay in memory anyway
    monkeypatch.setattr(rule, "read_picture", None)  # nothing can be decoded
    before = sorted(Path("photos").rglob("*"))
    done = run("train", "photos", "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "classes: dark 20, light 20" in done.out
    assert "decoded: 0.0 MB, not yet; damage behind a header is found in training" in done.out
    assert "copies" not in done.out
    assert "Dense" in done.out
    told = run("train", "photos", "--dry-run", "--json").json
    assert (told["kind"], told["parameters"]) == ("pictures", 30 * 100 + 100 + 100 * 2 + 2)
    assert [len(told["indices"][part]) for part in ("train", "validation", "test")] == [28, 4, 8]
    assert run("train", "photos", "--explain-plan").code == 0
    assert not (tmp_path / "cache" / "pictures").exists()
    assert not Path("runs").exists()
    assert sorted(Path("photos").rglob("*")) == before


def test_every_file_of_no_use_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltarule.data import unread
    from deltarule.data.pictures import rule

    photos()
    assert run("train", "photos", *LEARN, "--out", "r").code == 0
    whole = run("predict", "r", "photos").out
    monkeypatch.setattr(unread, "PART", 100)  # three pictures
    monkeypatch.setattr(rule, "FILES_A_TASK", 2)
    assert run("predict", "r", "photos").out == whole
    for name in ("dark/03.png", "dark/04.png", "light/19.png"):
        path = Path("photos", name)
        path.write_bytes(path.read_bytes()[:-30])
    for command in ("predict", "evaluate"):
        done = run(command, "r", "photos")
        assert (done.code, done.out) == (3, "")
        assert done.err.startswith("error: 3 of 40 files cannot be used: photos/dark/03.png is")
        assert "photos/light/19.png is damaged" in done.err


SIDE, EACH = 256, 700  # pixels; pictures of a class

ASK = f"""
import contextlib, io, resource, sys
from deltarule.cli import main
from deltarule.data.pictures import Pictures

def asked(*arguments):
    sys.argv = ["deltarule", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            main()
    except SystemExit as left:
        assert not left.code, left.code
    return said.getvalue()

for command in ("predict", "evaluate"):
    asked(command, "r", "few")  # libraries are loaded, threads started
now = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
most = now + {2 * EACH * SIDE * SIDE * 3} // 3
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
try:
    Pictures({SIDE}, {SIDE}, 3, ("dark", "light")).encode("photos")
except MemoryError:
    print("too much to be held")
print(len(asked("predict", "r", "photos").splitlines()))
print(asked("evaluate", "r", "photos"))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright pictures of 275 MB, links to one file a class, and a run on a few."""
    place = tmp_path_factory.mktemp("large")
    # both leave 14 pictures for the last part, so that nothing is compiled under the limit
    for label, name in enumerate(("dark", "light")):
        for folder, n in (("photos", EACH), ("few", 28)):
            first = place / folder / name / "first.bmp"
            first.parent.mkdir(parents=True)
            Image.new("RGB", (SIDE, SIDE), (40 + 160 * label,) * 3).save(first)
            for i in range(1, n):
                os.link(first, first.with_name(f"{i}.bmp"))
    return place


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it needs Linux's /proc")
def test_a_folder_is_asked_about_in_bounded_memory(
    run: Run, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(large)
    network = ("--network", f"{SIDE * SIDE * 3},2", "--learning-rate", "1e-4", "--epochs", "1")
    assert run("train", "few", *network, "--quiet", "--out", "r").code == 0
    # one arena: how many the allocator opens depends on chance, and each keeps what was freed
    environment = {**os.environ, "PYTHONPATH": str(SRC), "MALLOC_ARENA_MAX": "1"}
    environment["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    held, rows, *evaluation = done.stdout.splitlines()
    assert held == "too much to be held"  # so the limit is one
    assert int(rows) == 1 + 2 * EACH
    assert f"{2 * EACH:,}" in evaluation[0], evaluation
