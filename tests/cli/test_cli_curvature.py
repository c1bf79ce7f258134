"""``deltarule curvature MODEL SOURCE``: a table, a picture, a document."""

from pathlib import Path

import numpy as np
import pytest
from cli_commands import Run, write_images

from deltarule.data import load
from deltarule.files import load_model
from deltarule.learning.curvature import spectrum

TRAIN = ("train", "--network", "16,4,3", "--epochs", "2", "-q", "--out", "run")


@pytest.fixture
def source(run: Run) -> str:
    source = str(write_images(Path("images")))
    assert run(TRAIN[0], source, *TRAIN[1:]).code == 0
    return source


def test_the_document_holds_the_spectrum(run: Run, source: str) -> None:
    done = run("curvature", "run", source, "--largest", "3", "--json")
    assert (done.code, done.err) == (0, "")
    said = done.json
    model = load_model("run/model.safetensors")
    expected = spectrum(model, load(source).train, most=3)
    assert (said["parameters"], said["examples"], said["of"]) == (83, 50, "50 (train)")
    np.testing.assert_allclose(said["all"], expected.all, atol=1e-12)
    assert said["largest"] == said["all"][:3]
    assert said["lambda_max"] == said["largest"][0]
    assert said["limit"] == pytest.approx(2 / said["lambda_max"])
    assert said["best_rate"] == pytest.approx(1 / said["lambda_max"])
    assert (said["learning_rate"], said["optimizer"]) == (0.1, "sgd")
    assert said["optimizer_limit"] == said["limit"]
    assert said["picture"] == "curvature.png"
    assert Path("curvature.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_is_narrow_and_says_the_rates(run: Run, source: str) -> None:
    done = run("curvature", "run/model.safetensors", source, "--examples", "20", "--out", "a.png")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0] == "examples       20 of 50 (train)"
    heads = [line[:15].strip() for line in lines if line[0] != " "]
    assert heads == ["examples", "parameters", "eigenvalues", "lambda max", "best rate",
                     "stable below", "spectrum", "learning rate", "picture"]  # fmt: skip
    assert "learning rate  0.1 with sgd, " in done.out
    assert Path("a.png").exists()


def test_another_split_has_another_curvature(run: Run, source: str) -> None:
    said = [run("curvature", "run", source, "--split", split, "--json").json
            for split in ("train", "test")]  # fmt: skip
    assert said[1]["of"] == "30 (test)"
    assert said[0]["lambda_max"] != said[1]["lambda_max"]


def test_a_committee_is_refused(run: Run) -> None:
    source = str(write_images(Path("images")))
    assert run("train", source, *TRAIN[1:], "--committee", "2").code == 0
    done = run("curvature", "run", source)
    assert done.code == 2
    assert "MODEL is a committee" in done.err
    assert run("curvature", "run/member-1", source).code == 0


@pytest.mark.parametrize("flag", ["--largest", "--examples"])
def test_numbers_are_checked(run: Run, flag: str) -> None:
    done = run("curvature", "none", "digits", flag, "0")
    assert done.code == 2
    assert f"{flag} must be at least 1, got 0." in done.err
