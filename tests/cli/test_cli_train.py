"""``deltarule train``: what it says, what it leaves, and that every option reaches the network."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from cli_commands import Run, bits, history, write_images

import deltarule
from deltarule.data.augment import Augment
from deltarule.learning import Recipe
from deltarule.network import Decorrelate, Standardize

PICTURES = ["learning_curves.png", "first_layer_weights.png", "confusion.png", "worst_mistakes.png"]
SCORE = r"""^test accuracy:  (\d+\.\d\d) %, (\d+) of 360
95 % interval:  (\d+\.\d\d) to (\d+\.\d\d) %$"""


def test_results_on_stdout_progress_on_stderr_and_every_path_exists(run: Run) -> None:
    done = run("train", "digits", "--epochs", "4", pictures=True)
    assert done.code == 0
    score = re.search(SCORE, done.out, re.MULTILINE)
    assert score is not None, done.out
    accuracy, correct, low, high = map(float, score.groups())
    assert accuracy == pytest.approx(100 * correct / 360, abs=0.005)
    assert 80 < low < accuracy < high < 100
    confused = re.findall(r"^most confused:  (\d) taken for (\d), (\d+) times?$", done.out, re.M)
    assert 1 <= len(confused) <= 3
    assert all(true != said for true, said, _ in confused)
    paths = [Path(path) for path in re.findall(r"^(?:model|picture): +(.+)$", done.out, re.M)]
    assert [path.name for path in paths] == ["model.safetensors", *PICTURES]
    assert all(path.is_file() for path in paths)
    assert "epoch" not in done.out
    lines = done.err.splitlines()
    assert len(lines) == 4
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"epoch {number}/4  train cost [\d.]+ [\d.]+%, validation cost [\d.]+ [\d.]+%  "
            r"[\d,]+ examples/s",
            line,
        ), line


def test_the_run_folder(run: Run) -> None:
    run("train", "digits", "--epochs", "3", "--seed", "7", pictures=True)
    folder = Path("runs/digits")
    records = history(folder)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    assert set(records[0]) == {
        "epoch", "learning_rate", "train_cost", "train_accuracy", "validation_cost",
        "validation_accuracy", "penalty", "seconds",
    }  # fmt: skip
    assert records[-1]["train_cost"] < records[0]["train_cost"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["source"], config["options"]["seed"], config["recipe"]["seed"]) == (
        "digits",
        7,
        7,
    )
    assert config["training_data"]["examples"] == 1257
    assert config["validation_data"]["examples"] == 180
    environment = json.loads((folder / "environment.json").read_text())
    assert {"python", "system", "device", "deltarule", "jax", "numpy"} <= set(environment)
    for name in PICTURES:
        data = (folder / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert data.endswith(b"IEND\xaeB`\x82")
    model = deltarule.load_model(folder / "model.safetensors")
    assert model.provenance["epochs"] == 3
    assert model.provenance["source"] == "digits"
    assert Recipe.from_description(model.provenance["recipe"]) == Recipe(epochs=3, seed=7)


def test_json_is_one_document_and_nothing_else(run: Run) -> None:
    done = run("train", "digits", "--epochs", "2", "--json", pictures=True)
    document = done.json
    assert document["epochs"] == 2
    assert document["last_epoch"] == history(Path("runs/digits"))[-1]
    assert document["model"] == "runs/digits/model.safetensors"
    assert document["pictures"] == [f"runs/digits/{name}" for name in PICTURES]
    test = document["test"]
    assert test["accuracy"] == test["correct"] / test["examples"]
    assert sum(map(sum, test["confusion"])) == test["examples"] == 360
    assert sum(row[i] for i, row in enumerate(test["confusion"])) == test["correct"]
    assert done.err.count("epoch") == 2


def test_json_and_plain_text_say_the_same(run: Run) -> None:
    plain = run("train", "digits", "--epochs", "2")
    test = run("train", "digits", "--epochs", "2", "--json").json["test"]
    assert f"test accuracy:  {100 * test['accuracy']:.2f} %, {test['correct']} of 360" in plain.out
    for true, said, count in test["most_confused"]:
        assert f"{true} taken for {said}, {count} time" in plain.out


def test_quiet_says_nothing_on_stderr(run: Run) -> None:
    for flag in ("--quiet", "-q"):
        done = run("train", "digits", "--epochs", "2", flag)
        assert (done.code, done.err) == (0, "")
        assert "test accuracy" in done.out


def test_each_run_has_a_folder_of_its_own_and_the_same_seed_the_same_bits(run: Run) -> None:
    for seed in ("0", "0", "1"):
        run("train", "digits", "--epochs", "2", "--seed", seed)
    folders = [Path("runs", name) for name in ("digits", "digits-2", "digits-3")]
    assert sorted(Path("runs").iterdir()) == folders
    first, second, third = map(bits, folders)
    assert first == second
    assert first != third


def test_a_run_is_never_overwritten(run: Run) -> None:
    arguments = ("train", "digits", "--epochs", "2", "--out", "mine")
    assert run(*arguments).code == 0
    before = bits(Path("mine"))
    done = run(*arguments, "--seed", "1")
    assert done.code == 2
    assert "mine holds a run already" in done.err
    assert "--resume mine" in done.err
    assert bits(Path("mine")) == before


def test_a_folder_that_is_there_but_empty_is_taken(run: Run) -> None:
    Path("mine").mkdir()
    assert run("train", "digits", "--epochs", "1", "--out", "mine").code == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ["--network", "64,30,7"],
        ["--output", "relu"],
        ["--class-weight", "1,2"],
        ["--checkpoint-every", "0"],
    ],
)
def test_a_refused_request_leaves_no_folder(run: Run, wrong: list[str]) -> None:
    assert run("train", "digits", *wrong).code == 2
    assert not any(Path("runs").glob("*"))
    assert run("train", "digits", "--out", "mine", *wrong).code == 2
    assert not Path("mine").exists()
    Path("mine").mkdir()
    Path("mine", "precious.txt").touch()
    assert run("train", "digits", "--out", "mine", *wrong).code == 2
    assert Path("mine", "precious.txt").exists()


@pytest.mark.parametrize(
    ("source", "name"), [(".", "here"), ("../here/", "here"), (".secret", "secret")]
)
def test_the_folder_is_called_after_its_source(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str
) -> None:
    here = write_images(tmp_path / "here")
    write_images(here / ".secret")
    monkeypatch.chdir(here)
    assert run("train", source, "--epochs", "1").code == 0
    assert [path.name for path in Path("runs").iterdir()] == [name]


def test_early_stopping_says_so(run: Run) -> None:
    arguments = (
        "train",
        "digits",
        "--epochs",
        "30",
        "--learning-rate",
        "3",
        "--early-stopping",
        "2",
    )
    done = run(*arguments)
    assert re.search(r"^stopped early:  validation_accuracy has not improved since epoch \d+$",
                     done.out, re.M)  # fmt: skip
    document = run(*arguments, "--json").json
    assert document["stopped"].startswith("validation_accuracy")
    assert 2 < document["epochs"] < 30


def test_without_matplotlib_it_says_how_to_get_pictures(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("train", "digits", "--epochs", "1", "--json", pictures=True)
    assert done.code == 0
    assert done.json["pictures"] == []
    assert "no pictures: they need pip install 'deltarule[plot]'" in done.err
    assert not list(Path("runs/digits").glob("*.png"))


# ---- options

RECIPE: list[tuple[str, str, str, Any]] = [  # option, value, field of the recipe, expected
    ("--cost", "quadratic", "cost", "quadratic"),
    ("--optimizer", "adam", "optimizer", "adam"),
    ("--learning-rate", "0.25", "learning_rate", 0.25),
    ("--optimizer=nesterov --momentum", "0.5", "momentum", 0.5),
    ("--batch-size", "7", "batch_size", 7),
    ("--optimizer=newton --damping", "0.5", "damping", 0.5),
    ("--epochs", "11", "epochs", 11),
    ("--l1", "0.01", "l1", 0.01),
    ("--l2", "0.02", "l2", 0.02),
    ("--optimizer=adamw --weight-decay", "0.03", "weight_decay", 0.03),
    ("--clip", "1.5", "clip", 1.5),
    ("--label-smoothing", "0.1", "label_smoothing", 0.1),
    ("--class-weight", "balanced", "class_weight", "balanced"),
    ("--class-weight", "1,1,1,1,1,2,1,1,1,0.5", "class_weight", (1, 1, 1, 1, 1, 2, 1, 1, 1, 0.5)),
    ("--schedule", "cosine", "schedule", "cosine"),
    ("--schedule=exponential --decay", "0.9", "decay", 0.9),
    ("--schedule=step --decay-every", "3", "decay_every", 3),
    ("--early-stopping", "4", "early_stopping", 4),
    ("--seed", "12", "seed", 12),
    ("--precision", "float64", "precision", "float64"),
    ("--precision", "bfloat16", "precision", "bfloat16"),
    ("--average", "0.9", "average", 0.9),
    ("--order", "alternate", "order", "alternate"),
    ("--augment", "shift,rotation=5", "augment", Augment(shift=1, rotation=5)),
]
NETWORK: list[tuple[str, str, dict[str, Any]]] = [
    ("--network", "64,20,30,10", {"sizes": [64, 20, 30, 10]}),
    ("--activation", "tanh", {"activation": "tanh"}),
    ("--output", "softmax", {"output": "softmax"}),
    ("--init", "orthogonal", {"weight_init": "orthogonal"}),
    ("--dropout", "0.25", {"dropout": 0.25}),
    ("--inputs", "decorrelate", {"inputs": "decorrelate"}),
]


class Asked(BaseException):
    """Carries what ``train`` was called with, instead of training."""


@pytest.fixture
def asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    from deltarule.cli import running

    def catch(*arguments: Any, **named: Any) -> None:
        raise Asked(arguments, named)

    def ask(*options: str) -> Any:
        monkeypatch.setattr(running, "train", catch)
        with pytest.raises(Asked) as caught:
            run("train", "digits", *options)
        return caught.value.args

    return ask


def test_every_field_of_a_recipe_has_an_option_or_is_left_out_on_purpose() -> None:
    left_out = {"beta1", "beta2", "epsilon", "monitor"}
    assert {field for _, _, field, _ in RECIPE} | left_out == {f.name for f in fields(Recipe)}


@pytest.mark.parametrize(("option", "value", "field", "expected"), RECIPE, ids=lambda v: str(v))
def test_options_reach_the_recipe(
    asked: Any, option: str, value: str, field: str, expected: Any
) -> None:
    (_, _, _, recipe, _), named = asked(*option.split(), value)
    before = {f: v for each in option.split()[:-1] for f, v in [each.lstrip("-").split("=")]}
    assert recipe == Recipe(**{**before, field: expected})
    assert named["options"][field] == (value if field in ("class_weight", "augment") else expected)


@pytest.mark.parametrize(("option", "value", "expected"), NETWORK, ids=lambda v: str(v))
def test_options_reach_the_network(
    asked: Any, option: str, value: str, expected: dict[str, Any]
) -> None:
    (network, *_), _ = asked(option, value)
    sizes = expected.get("sizes", [64, 100, 10])
    settings = {name: setting for name, setting in expected.items() if name != "sizes"}
    assert network == deltarule.Network(sizes, **settings)


def test_inputs_can_be_prepared_for_a_network_with_a_name(asked: Any, run: Run) -> None:
    (plain, *_), _ = asked("--network", "ciresan2010")
    for inputs, layer in (("standardize", Standardize()), ("decorrelate", Decorrelate())):
        (network, *_), _ = asked("--network", "ciresan2010", "--inputs", inputs)
        assert network.layers == (layer, *plain.layers)
    done = run("train", "digits", "--network", "nielsen-conv", "--inputs", "decorrelate")
    assert done.code == 2
    assert "--inputs decorrelate makes a row of numbers of an image" in done.err


@pytest.mark.parametrize(("value", "count"), [("0", None), ("100", 100), ("0.2", 287), (None, 180)])
def test_validation_decides_how_much_is_held_out(
    asked: Any, value: str | None, count: int | None
) -> None:
    (_, training, validation, _, _), _ = asked(*(["--validation", value] if value else []))
    assert (None if validation is None else len(validation)) == count
    assert len(training) == 1437 - (count or 0)


def test_out_and_checkpoint_every_reach_the_run(asked: Any) -> None:
    (*_, folder), named = asked("--out", "mine", "--checkpoint-every", "5")
    assert (folder, named["every_epochs"], named["resume"]) == (Path("mine"), 5, False)


def test_many_options_at_once_end_in_the_configuration_and_the_model(run: Run) -> None:
    done = run(
        "train", "digits", "--network", "64,12,10", "--activation", "relu", "--output", "softmax",
        "--init", "glorot_uniform", "--dropout", "0.1", "--optimizer", "momentum", "--momentum",
        "0.8", "--learning-rate", "0.05", "--l1", "1e-5", "--l2", "1e-4", "--batch-size", "32",
        "--epochs", "3", "--schedule", "one_cycle", "--clip", "2", "--precision", "float64",
        "--class-weight", "balanced", "--label-smoothing", "0.05", "--validation", "0.1", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done.err
    config = json.loads(Path("runs/digits/config.json").read_text())
    recipe = {
        "optimizer": "momentum", "momentum": 0.8, "learning_rate": 0.05, "l1": 1e-5, "l2": 1e-4,
        "batch_size": 32, "epochs": 3, "schedule": "one_cycle", "clip": 2.0, "precision": "float64",
        "class_weight": "balanced", "label_smoothing": 0.05,
    }  # fmt: skip
    assert recipe.items() <= config["recipe"].items()
    assert config["validation_data"]["examples"] == 144
    model = deltarule.load_model("runs/digits/model.safetensors")
    assert str(model.dtype) == "float64"
    assert model.network.describe() == config["network"]["layers"]
    assert [layer["layer"] for layer in config["network"]["layers"]] == [
        "Dense", "Activation", "Dropout", "Dense", "Activation",
    ]  # fmt: skip
