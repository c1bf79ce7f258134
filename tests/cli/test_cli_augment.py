"""``deltarule show --augment``: a sheet of images, and of what augmentation makes of them."""

import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_commands import Run, write_images

from deltarule import plots
from deltarule.committee import Committee
from deltarule.files import save_model
from deltarule.network import Model, Network

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, int, str]]:
    """What the command gives to be drawn: images, rows and heading."""
    given: list[tuple[np.ndarray, int, str]] = []
    draw = plots.examples

    def keep(images: np.ndarray, *, rows: int, heading: str) -> object:
        given.append((images, rows, heading))
        return draw(images, rows=rows, heading=heading)

    monkeypatch.setattr(plots, "examples", keep)
    return given


def test_a_sheet_of_digits(run: Run, sheets: list[tuple[np.ndarray, int, str]]) -> None:
    done = run("show", "digits", "--augment", "affine,elastic,rotation=10")
    assert (done.code, done.err) == (0, "")
    assert done.out.split() == ["picture", "augmented.png"]
    assert [path.name for path in Path().iterdir()] == ["augmented.png"]
    data = Path("augmented.png").read_bytes()
    assert data.startswith(PNG)
    width, height = struct.unpack(">II", data[16:24])
    assert min(width, height) > 600
    ((images, rows, heading),) = sheets
    assert (images.shape, rows) == ((100, 8, 8), 10)
    assert heading.endswith("affine,elastic,rotation=10")


def test_each_row_is_an_image_of_its_class_and_its_copies(
    run: Run, sheets: list[tuple[np.ndarray, int, str]]
) -> None:
    folder = write_images(Path("images"), side=6)
    assert run("show", str(folder), "--augment", "shift=0", "--out", "same.png").code == 0
    assert run("show", str(folder), "--augment", "crop=2", "--out", "moved.png").code == 0
    (same, rows, _), (moved, _, _) = sheets
    assert (same.shape, rows) == ((30, 6, 6), 3)
    same, moved = same.reshape(3, 10, 6, 6), moved.reshape(3, 10, 6, 6)
    assert (same == same[:, :1]).all()
    np.testing.assert_array_equal(moved[:, 0], same[:, 0])
    for row in range(3):
        assert same[row, 0, row].mean() > 100  # in these images row c is bright in class c
        assert len(np.unique(moved[row], axis=0)) > 5


def test_the_seed_decides(run: Run, sheets: list[tuple[np.ndarray, int, str]]) -> None:
    for seed in ("0", "0", "1"):
        run("show", "digits", "--augment", "shift", "--seed", seed)
    run("show", "digits", "--augment", "shift")
    (first, *_), (again, *_), (other, *_), (usual, *_) = sheets
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(usual, first)
    assert not np.array_equal(other, first)


def test_as_json(run: Run) -> None:
    document = run("show", "digits", "--augment", "flip", "--out", "f.png", "--json").json
    assert document["picture"] == "f.png"
    assert document["augment"]["flip"] is True
    assert document["augment"]["rotation"] == 0


WRONG = [
    (["digits", "--augment", "afine"], 2, "got 'afine' (did you mean 'affine'?)"),
    (["digits", "--augment", "rotation=fast"], 2, "rotation must be a number, got 'fast'"),
    (["digits", "--augment", "scale=3"], 2, "scale must be a number from 0 to 0.9, got 3"),
    (["digits", "--augment", "flip", "--seed=-1"], 2, "--seed must be a whole number"),
    (["digits", "--augment", "flip", "--out", "no/such/folder.png"], 6, "No such file"),
    (["digit", "--augment", "flip"], 3, "did you mean 'digits'?"),
    (["digits", "--augment"], 2, "--augment"),
    (["model", "--out", "picture.png"], 2, "--out and --seed go with --augment"),
    (["model", "--seed", "0"], 2, "--out and --seed go with --augment"),
    (["digits"], 5, "there is no file digits"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), WRONG)
def test_wrong_requests_leave_a_sentence_and_nothing_else(
    run: Run, arguments: list[str], code: int, said: str
) -> None:
    done = run("show", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err
    assert list(Path().iterdir()) == []


def test_without_matplotlib_it_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("show", "digits", "--augment", "flip")
    assert (done.code, done.out) == (6, "")
    assert "pictures need matplotlib; install it with: pip install 'deltarule[plot]'" in done.err


# ---- without --augment: a committee is shown too


def test_a_committee_shows_its_members(run: Run) -> None:
    network = Network([4, 3, 2], output="softmax")
    members = []
    for seed in (0, 1):
        params, state = network.init(np.random.default_rng(seed))
        members.append(Model(network, params, state, (4,), ("cat", "dog")))
    save_model(Committee(tuple(members), combine="vote"), "both.safetensors")
    done = run("show", "both.safetensors")
    assert (done.code, done.err) == (0, "")
    assert done.out.count(network.summary((4,))) == 1  # equal networks once
    facts = dict(re.findall(r"^(\w[\w ]*?) {2,}(.+)$", done.out.split("\n\n")[-1], re.M))
    assert (facts["members"], facts["combine"]) == ("2", "vote")
    assert facts["views"] == "original, original"
    document = run("show", "both.safetensors", "--json").json
    assert document["layers"] == [network.describe()] * 2
    assert document["parameters"] == 2 * (4 * 3 + 3 + 3 * 2 + 2)
    assert (document["members"], document["combine"]) == (2, "vote")
