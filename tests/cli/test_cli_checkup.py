"""``deltarule doctor RUN``: a verdict on a run folder."""

import json
import shutil
from pathlib import Path

import pytest
from cli_commands import Run, write_images

TRAIN = ("--network", "16,8,3", "--output", "softmax", "--activation", "tanh", "--epochs", "12",
         "--learning-rate", "0.3", "--validation", "12", "-q", "--out", "run")  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def source(run: Run, trained: Path) -> str:
    """The images; the run on them is trained once and copied for each test."""
    source = str(write_images(Path("images")))
    if not (trained / "run").exists():
        assert run("train", source, *TRAIN).code == 0
        shutil.copytree("run", trained / "run")
    else:
        shutil.copytree(trained / "run", "run")
    return source


def test_a_healthy_run(run: Run, source: str) -> None:
    done = run("doctor", "run")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("healthy     No sign of inputs not scaled, shared examples,\n")
    assert max(map(len, done.out.splitlines())) <= 60
    said = run("doctor", "run", "--json").json
    assert said == {"run": "run", "healthy": True, "same_data": True, "findings": []}


def test_an_illness_is_a_result_and_no_failure(run: Run, source: str) -> None:
    images = Path("images")
    for kind in ("images-idx3", "labels-idx1"):  # the test set is the training set
        shutil.copy(images / f"train-{kind}-ubyte", images / f"t10k-{kind}-ubyte")
    done = run("doctor", "run")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "ill         shared examples\n            Of the 60 test examples 48"
    )
    assert "\nremedy      Remove them from the training data" in done.out
    assert max(map(len, done.out.splitlines())) <= 60
    said = run("doctor", "run", "--json").json
    assert not said["healthy"]
    assert {each["name"] for each in said["findings"]} == {"shared examples"}
    assert set(said["findings"][0]) == {"name", "severity", "sentence", "remedy"}


def test_data_that_moved(run: Run, source: str) -> None:
    shutil.move("images", "moved")
    done = run("doctor", "run")
    assert done.code == 3
    assert "say where with --source" in done.err
    done = run("doctor", "run", "--source", "moved", "--json")
    assert (done.code, done.err, done.json["same_data"]) == (0, "", True)


def test_other_data_are_noticed(run: Run, source: str) -> None:
    write_images(Path("other"), seed=1)
    done = run("doctor", "run", "--source", "other", "--json")
    assert (done.code, done.json["same_data"]) == (0, False)
    assert done.err == "warning: these are not the data that the run learned from.\n"
    done = run("doctor", "run", "--source", "digits")
    assert done.code == 3
    assert "digits must have examples of shape (4, 4)" in done.err


def test_a_run_that_diverged(run: Run, source: str) -> None:
    folder = Path("run")
    (folder / "model.safetensors").unlink()
    assert (
        "has no model yet; finish it with deltarule train --resume run" in run("doctor", "run").err
    )
    history = folder / "history.jsonl"
    last = json.dumps({"epoch": 13, "train_cost": None, "penalty": 0.0})
    history.write_text(f"{history.read_text()}{last}\n")
    done = run("doctor", "run")
    assert done.code == 0
    assert done.out.startswith(
        "ill         diverged\n            The cost of epoch 13 is not finite."
    )


def test_what_is_no_run_is_refused(run: Run) -> None:
    done = run("doctor", "nowhere")
    assert done.code == 5
    assert "nowhere has no config.json" in done.err
    Path("bad").mkdir()
    Path("bad/config.json").write_text("[]")
    assert "is damaged or of another version" in run("doctor", "bad").err
    done = run("doctor", "--source", "digits")
    assert done.code == 2
    assert "go with RUN" in done.err


def test_members_of_a_committee_are_examined_one_by_one(run: Run) -> None:
    source = str(write_images(Path("images")))
    assert run("train", source, *TRAIN, "--committee", "2").code == 0
    done = run("doctor", "run")
    assert done.code == 2
    assert "run holds a committee" in done.err
    assert run("doctor", "run/member-1").code == 0
