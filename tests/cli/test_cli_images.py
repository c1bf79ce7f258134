"""Named networks, augmentation, committees and moved copies, through the command."""

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from cli_commands import Run, slowly, start, write_images

import deltarule
from deltarule import Committee, data
from deltarule.committee import with_moved_copies
from deltarule.network import companion, kernels

DIGITS = ("train", "digits", "--network", "64,16,10", "--epochs", "3")


def train(run: Run, *options: str) -> str:
    done = run(*DIGITS, "--out", "run", *options)
    assert done.code == 0, done.err
    return done.out


def test_a_committee_is_one_file_and_a_folder_of_runs(run: Run) -> None:
    out = train(run, "--committee", "3", "--seed", "5", "--views", "original,deskew")
    model = deltarule.load_model("run/model.safetensors")
    assert isinstance(model, Committee)
    assert model.views == ("original", "deskew", "original")
    result = deltarule.evaluate(model, data.load("digits").test)
    assert f"{100 * result.accuracy:.2f} %" in out
    assert "members:        3, " in out
    assert f"disagreement:   {100 * result.disagreement:.2f} %" in out
    alone = deltarule.load_model("run/member-1/model.safetensors")
    assert np.array_equal(alone.params[0]["w"], model.members[0].params[0]["w"])
    assert alone.provenance["recipe"]["seed"] == 5
    asked = run("evaluate", "run", "digits")
    assert f"{result.correct} of 360" in asked.out
    assert "members:        3" in asked.out
    shown = run("show", "run")
    assert shown.code == 0
    assert "original, deskew, original" in shown.out
    answers = json.loads(run("predict", "run", "digits", "--json").out)
    assert [each["label"] for each in answers] == model.labels(data.load("digits").test.x)


def test_a_committee_in_json(run: Run) -> None:
    facts = json.loads(train(run, "--committee", "2", "--combine", "vote", "--json", "--quiet"))
    assert len(facts["test"]["member_accuracies"]) == 2
    assert 0 <= facts["test"]["disagreement"] <= 1
    assert len(facts["last_epoch"]) == 2


def test_a_committee_that_is_complete_says_so(run: Run) -> None:
    first = train(run, "--committee", "2")
    again = run("train", "--resume", "run")
    assert again.code == 0
    assert "already complete" in again.err
    assert again.out == first


def test_a_stopped_committee_goes_on_with_the_same_bits(run: Run) -> None:
    train(run, "--committee", "2", "--seed", "3")
    process = start(*DIGITS, "--out", "cut", "--committee", "2", "--seed", "3", prepare=slowly)
    process.until(lambda: any(Path("cut").glob("member-*/checkpoint-*")))
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert "resume with: deltarule train --resume cut" in process.err
    assert run("train", "--resume", "cut").code == 0
    whole, cut = (Path(folder, "model.safetensors").read_bytes() for folder in ("run", "cut"))
    assert whole == cut


def test_a_committee_that_diverges_keeps_what_its_members_learned(run: Run) -> None:
    done = run(*DIGITS, "--out", "run", "--committee", "2", "--learning-rate", "1e30")
    assert done.code == 4
    assert "training diverged" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--committee 0", "--committee must be a number of networks of at least 1"),
        ("--committee 2 --views a,b,c", "--views names 3 views, but --committee has 2"),
        ("--committee 2 --views widht-16", "view must be one of"),
        ("--committee 2 --combine median", "combine must be one of mean, vote"),
        ("--views deskew", "--views goes with --committee"),
        ("--combine vote", "--combine goes with --committee"),
        ("--augment shfit", "did you mean 'shift'?"),
        ("--augment rotation=much", "rotation must be a number"),
        ("--average 1", "average must be a number"),
        ("--network lenet6", "did you mean 'lenet5'?"),
        ("--network lenet5", "--network lenet5 cannot take these data"),
        ("--network resnet18 --output softmax", "--output goes with sizes"),
    ],
)
def test_wrong_requests(run: Run, options: str, message: str) -> None:
    done = run("train", "digits", *options.split())
    assert done.code == 2
    assert message in done.err
    assert not Path("runs").exists()


def test_a_named_network_learns_images(run: Run) -> None:
    write_images(Path("images"), side=28)
    done = run("train", "images", "--network", "nielsen-conv", "--epochs", "1", "--out", "run",
               "--augment", "affine,elastic", "--average", "0.9")  # fmt: skip
    assert done.code == 0, done.err
    model = deltarule.load_model("run/model.safetensors")
    assert model.shape == (28, 28)
    assert model.network.shape == (28, 28, 1)
    assert model.provenance["recipe"]["augment"]["rotation"] == 15
    assert run("evaluate", "run", "images", "--tta", "shift").code == 0


def test_pictures_of_convolutions_and_committees(run: Run) -> None:
    write_images(Path("images"), side=28)
    done = run("train", "images", "--network", "lenet5", "--epochs", "1", "--out", "run",
               "--committee", "2", pictures=True)  # fmt: skip
    assert done.code == 0, done.err
    names = {Path(line.split()[-1]).name for line in done.out.splitlines() if "picture:" in line}
    assert names == {
        "learning_curves_1.png", "learning_curves_2.png", "first_layer_weights.png",
        "confusion.png", "worst_mistakes.png",
    }  # fmt: skip
    assert all(Path("run", name).stat().st_size > 1000 for name in names)


def explained(run: Run, *options: str) -> list[str]:
    done = run("train", *options, "--explain-plan")
    assert (done.code, done.err) == (0, "")
    assert not Path("runs").exists()  # nothing is trained
    return done.out.splitlines()


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_a_plan_is_explained_and_nothing_trained(
    run: Run, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    write_images(Path("images"), side=28)
    options = ("images", "--network", "lenet5", "--precision", precision, "--batch-size", "50")
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    lines = explained(run, *options)
    assert lines[:3] == [
        "device: cpu",
        "convolution: patches and one matrix product; the CPU backend's own operator is many times "
        "slower",
        "companion: not in use: DELTARULE_NATIVE is 0",
    ]
    assert ("products: operands of 16 bits, sums of 32; weights stay in 32" in lines) == (
        precision == "bfloat16"
    )
    assert "batch: worked on whole" in lines  # 50 fit the cache
    monkeypatch.setenv("DELTARULE_NATIVE", "1")
    used = companion.has_bfloat16() and precision == "bfloat16"
    again = explained(run, *options)
    assert again[1].startswith("convolution: the companion's") == used
    assert again[2].startswith("companion: deltarule-native") == used


def test_the_plan_of_a_method_with_curvature(run: Run) -> None:
    write_images(Path("images"), side=28)
    options = ("images", "--network", "mcdnn-column", "--committee", "1", "--views", "pad-29")
    lines = explained(run, *options, "--optimizer", "newton")
    assert any("only it has the second derivatives" in line for line in lines)
    assert not any("fast there" in line or "deltarule-native, " in line for line in lines)


def test_the_plan_of_a_dense_network_has_no_convolution(run: Run) -> None:
    assert not any(line.startswith("convolution") for line in explained(run, "digits"))


def test_the_plan_of_a_committee_has_all_its_members(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("digits", "--committee", "3", "--views", "original,pad-29")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    lines = explained(run, *options)
    assert lines[0] == "committee: 3 members, 2 at a time: a thread each, which share the cores"
    assert [line for line in lines if line.startswith("member")] == ["members 1, 3", "member 2"]
    assert lines.count("  device: cpu") == 2
    calls = [line for line in lines if line.startswith("  calls")]
    assert len(calls) == 2
    assert calls[0] != calls[1]  # 841 pixels are more than 64
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert explained(run, *options)[0] == "committee: 3 members, one after another"
    three = explained(run, *options, "--jobs", "3")[0]
    assert three == "committee: 3 members, 3 at a time: a thread each, which share the cores"
    monkeypatch.setattr(kernels, "current_backend", lambda: "gpu")
    mapped = "committee: 3 members, 1, 3 in one program, mapped over them; one after another"
    assert explained(run, *options)[0] == mapped


@pytest.mark.parametrize(
    ("name", "here", "paper"),
    [
        ("mcdnn-column", 44_983, 74_983),  # of three classes: 7 x 151 fewer
        ("simard2003", 86_833, 131_833),
        ("ciresan2010", 11_969_003, 12_111_503),
    ],
)
def test_images_of_another_size_than_the_papers_are_said_aloud(
    run: Run, name: str, here: int, paper: int
) -> None:
    write_images(Path("images"), side=28)
    dry = ("train", "images", "--network", name, "--dry-run", "--json")
    small = run(*dry)
    assert small.err == (
        f"{name} is fitted to images of 28 x 28, with {here:,} parameters; its paper's are of "
        "29 x 29, as the view pad-29 makes these (--committee 1 --views pad-29).\n"
    )
    assert small.json["parameters"] == here
    padded = run(*dry, "--committee", "2", "--views", "pad-29")
    assert (padded.code, padded.err) == (0, "")
    assert padded.json["parameters"] == paper
    assert run(*dry, "--quiet").err == ""


def test_of_a_committee_each_size_is_said_once(run: Run) -> None:
    write_images(Path("images"), side=28)
    done = run("train", "images", "--network", "mcdnn-column", "--committee", "3", "--dry-run",
               "--views", "original,pad-29,pad-32")  # fmt: skip
    assert done.err.count("of 28 x 28") == done.err.count("of 32 x 32") == 1
    assert len(done.err.splitlines()) == 2
    assert "pad-29 makes these" in done.err.splitlines()[0]
    assert "pad-29" not in done.err.splitlines()[1]  # which are larger already


def test_images_of_the_papers_size_need_no_words(run: Run) -> None:
    write_images(Path("images"), side=28)
    assert run("train", "images", "--network", "lenet5", "--dry-run").err == ""
    assert run("train", "images", "--dry-run").err == ""


def test_moved_copies_are_averaged(run: Run) -> None:
    train(run)
    model, test = deltarule.load_model("run/model.safetensors"), data.load("digits").test
    expected = deltarule.evaluate(with_moved_copies(model, "shift,rotate"), test)
    out = run("evaluate", "run", "digits", "--tta", "shift,rotate").out
    assert re.match(rf"accuracy: +{100 * expected.accuracy:.2f} %", out)
    assert "members" not in out
    wrong = run("evaluate", "run", "digits", "--tta", "turn")
    assert wrong.code == 2
    assert "--tta must be one of shift, rotate, flip" in wrong.err


def guo(outputs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """The expected calibration error (Guo et al. 2017, equation 3), bin by bin."""
    sure, right = outputs.max(axis=1), outputs.argmax(axis=1) == labels
    error = 0.0
    for m in range(1, bins + 1):
        inside = ((m - 1) / bins < sure) & (sure <= m / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return error


@pytest.mark.parametrize("committee", [(), ("--committee", "2")], ids=["alone", "committee"])
def test_calibration_is_printed_and_in_the_document(run: Run, committee: tuple[str, ...]) -> None:
    train(run, "--output", "softmax", *committee)
    test = data.load("digits").test
    error = guo(deltarule.load_model("run/model.safetensors").outputs(test.x), test.y)
    assert error > 0.001
    lines = run("evaluate", "run", "digits").out.splitlines()
    assert f"calibration:    off by {100 * error:.2f} % on average" in lines
    facts = run("evaluate", "run", "digits", "--json").json
    assert facts["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_outputs_that_are_no_probabilities_have_no_calibration(run: Run) -> None:
    train(run, "--output", "tanh", "--cost", "quadratic")
    assert "calibration" not in run("evaluate", "run", "digits").out
    assert run("evaluate", "run", "digits", "--json").json["calibration_error"] is None


def test_a_refused_resume_changes_nothing(run: Run) -> None:
    train(run, "--committee", "2")
    before = Path("run/config.json").read_bytes()
    assert run("train", "--resume", "run", "--epochs", "4").code == 5
    assert Path("run/config.json").read_bytes() == before
    assert run("train", "--resume", "run").code == 0
    assert run("train", "--resume", "run", "--epochs", "4", "--force").code == 0
    assert json.loads(Path("run/config.json").read_text())["options"]["epochs"] == 4


def test_a_member_that_cannot_be_is_refused_before_any_is_trained(run: Run) -> None:
    options = ("--network", "64,10", "--committee", "2", "--views", "original,pad-12")
    done = run("train", "digits", *options, "--out", "five")
    assert done.code == 2
    assert "the network expects inputs of shape (64,)" in done.err
    assert not Path("five").exists()
