"""``deltarule train --resume``: the same bits as without an interruption, or a clear refusal."""

import json
from pathlib import Path

import pytest
from cli_commands import Run, bits, checkpoints, files, history, slowly, start, write_images

from deltarule import training

DIGITS = ("train", "digits", "--network", "64,16,10", "--seed", "3")
MORE = ("--epochs", "9", "--force")


def short(run: Run, folder: str = "run", *options: str) -> Path:
    """Train for five epochs."""
    assert run(*DIGITS, "--epochs", "5", "--out", folder, *options).code == 0
    return Path(folder)


# ---- what goes on


def test_a_finished_run_is_already_complete(run: Run) -> None:
    folder = short(run)
    before = files(folder)
    score, *_ = run("evaluate", "run", "digits").out.removeprefix("accuracy:").splitlines()
    for _ in range(2):
        done = run("train", "--resume", "run")
        assert done.code == 0
        assert done.err == "the run in run is already complete.\n"
        assert score.strip() in done.out
        assert files(folder) == before


def test_a_run_stopped_early_is_complete(run: Run) -> None:
    arguments = ("--epochs", "30", "--learning-rate", "3", "--early-stopping", "2", "--out", "run")
    first = run(*DIGITS, *arguments)
    assert "stopped early" in first.out
    before = files(Path("run"))
    done = run("train", "--resume", "run")
    assert (done.code, done.out) == (0, first.out)
    assert "already complete" in done.err
    assert files(Path("run")) == before


def test_a_run_made_longer_equals_one_that_was_long_from_the_start(run: Run) -> None:
    short(run)
    assert run(*DIGITS, "--epochs", "9", "--out", "long").code == 0
    assert run("train", "--resume", "run", *MORE).code == 0
    assert bits(Path("run")) == bits(Path("long"))
    config = json.loads(Path("run/config.json").read_text())
    assert config == json.loads(Path("long/config.json").read_text())
    assert run("train", "--resume", "run").err == "the run in run is already complete.\n"


def test_options_given_again_must_only_agree(run: Run) -> None:
    short(run)
    assert run(*DIGITS, "--resume", "run").code == 0
    same = ("--epochs", "5", "--cost", "cross_entropy")
    assert run("train", "digits", "--resume", "run", *same).code == 0


def test_the_newest_checkpoint_may_be_damaged(run: Run) -> None:
    assert run(*DIGITS, "--epochs", "36", "--checkpoint-every", "1", "--out", "run").code == 0
    folder = Path("run")
    older, newest = checkpoints(folder)
    assert (older, newest) == (32 * 126, 36 * 126)  # 32 epochs of tiny data are one call
    path = folder / f"checkpoint-{newest:08d}.safetensors"
    whole = bits(folder)
    data = path.read_bytes()
    for damaged in (data[:-1], data[:200], data[:-9] + bytes(9)):
        path.write_bytes(damaged)
        done = run("train", "--resume", "run")
        assert done.code == 0
        warning, *rest = done.err.splitlines()
        assert warning.startswith(f"warning: checkpoint {newest} is passed over: ")
        assert path.name in warning
        assert len(rest) == 4  # the last epochs once more
        assert bits(folder) == whole


def test_with_no_checkpoint_whole_it_refuses(run: Run) -> None:
    folder = short(run)
    for path in folder.glob("checkpoint-*"):
        path.write_bytes(b"")
    done = run("train", "--resume", "run")
    assert done.code == 5
    assert "no checkpoint in run can be read" in done.err


def test_a_run_killed_before_its_first_checkpoint_begins_again(run: Run) -> None:
    folder = short(run)
    whole = bits(folder)
    for name in ("checkpoint-00000630.safetensors", "model.safetensors", "environment.json"):
        (folder / name).unlink()
    (folder / "history.jsonl").write_text('{"epoch": 1, "train_cost"')
    done = run("train", "--resume", "run")
    assert done.code == 0
    assert "complete" not in done.err
    assert bits(folder) == whole


def test_a_run_killed_before_its_model_was_written(run: Run) -> None:
    folder = short(run)
    whole = bits(folder)
    (folder / "model.safetensors").unlink()
    assert run("train", "--resume", "run").code == 0
    assert bits(folder) == whole


def test_lines_beyond_the_checkpoint_are_written_once_more(run: Run) -> None:
    folder = short(run)
    whole = bits(folder)
    late = '{"epoch": 6, "train_cost": 1.0}\n{"epoch": 7, "tr'
    with (folder / "history.jsonl").open("a") as file:
        file.write(late)
    assert run("train", "--resume", "run").code == 0
    assert bits(folder) == whole


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--seed", "4"], "--seed was 3, now 4"),
        (["--batch-size", "20"], "--batch-size was not given, now 20"),
        (["--network", "64,10"], "--network was 64,16,10, now 64,10"),
        (["--precision", "float64"], "--precision was float32, now float64"),
        (["--learning-rate", "0.1"], "--learning-rate was not given, now 0.1"),
        (["--optimizer", "adam", "--seed", "9"], "--optimizer was sgd, now adam; --seed was 3"),
        (["mnist"], "SOURCE was digits, now mnist"),
    ],
    ids=str,
)
def test_other_options_are_refused(run: Run, options: list[str], difference: str) -> None:
    folder = short(run)
    before = files(folder)
    for force in ([], ["--force"]):
        done = run("train", "--resume", "run", *options, *force)
        assert (done.code, done.out) == (5, "")
        assert difference in done.err
        assert len(done.err.splitlines()) == 1
    assert files(folder) == before


def test_more_epochs_need_force(run: Run) -> None:
    folder = short(run)
    before = files(folder)
    done = run("train", "--resume", "run", "--epochs", "9")
    assert done.code == 5
    assert "(config.recipe.epochs: it was 5, now 9); force resumes all the same" in done.err
    assert files(folder) == before


def test_other_versions_need_force(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = short(run)
    before = files(folder)
    here = training.environment()
    other = {**here, "jax": "99.0", "device": "NVIDIA"}
    monkeypatch.setattr(training, "environment", lambda: other)
    done = run("train", "--resume", "run")
    assert done.code == 5
    assert f"environment.device: it was '{here['device']}', now 'NVIDIA'" in done.err
    assert f"environment.jax: it was '{here['jax']}', now '99.0'" in done.err
    assert "force resumes all the same" in done.err
    assert files(folder) == before
    assert run("train", "--resume", "run", "--force").code == 0
    assert json.loads((folder / "environment.json").read_text()) == other


def test_other_data_are_refused_even_with_force(run: Run) -> None:
    write_images(Path("images"))
    assert run("train", "images", "--epochs", "2", "--out", "run").code == 0
    before = files(Path("run"))
    write_images(Path("images"), seed=1)
    for force in ([], ["--force"]):
        done = run("train", "--resume", "run", *force)
        assert done.code == 5
        assert "config.training_data.fingerprint: it was" in done.err
        assert "force" not in done.err
    assert files(Path("run")) == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"options": 3}', '{"options": {"source": "digits"}}', "\xff"]
)
def test_a_damaged_configuration(run: Run, text: str) -> None:
    folder = short(run)
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    done = run("train", "--resume", "run")
    assert done.code == 5
    assert "config.json is damaged or of another version" in done.err


def test_a_folder_that_only_has_a_model(run: Run) -> None:
    folder = short(run)
    (folder / "config.json").unlink()
    assert "run is no run folder" in run("train", "--resume", "run").err


def test_a_checkpoint_of_another_run(run: Run) -> None:
    folder = short(run)
    assert run("train", "digits", "--network", "64,10", "--epochs", "9", "--out", "other").code == 0
    name = "checkpoint-00001134.safetensors"
    (folder / name).write_bytes(Path("other", name).read_bytes())
    done = run("train", "--resume", "run", "--force")
    assert done.code == 5
    assert "config.network.layers" in done.err


def test_a_run_of_float64_with_early_stopping_and_dropout_goes_on(run: Run) -> None:
    options = ("--precision", "float64", "--dropout", "0.2", "--optimizer", "adam",
               "--early-stopping", "3", "--schedule", "cosine", "--epochs", "6")  # fmt: skip
    assert run(*DIGITS, *options, "--out", "whole").code == 0
    command = start(*DIGITS, *options, "--out", "run", prepare=slowly)
    command.until(lambda: Path("run").is_dir() and max(checkpoints(Path("run")), default=0) > 200)
    command.process.kill()
    command.wait()
    assert len(history(Path("run"))) < 6
    assert run("train", "--resume", "run").code == 0
    assert bits(Path("run")) == bits(Path("whole"))
