"""``deltarule evaluate``, ``predict`` and ``show``: the numbers of the library, safe to print."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import Run, write_idx, write_images

import deltarule
from deltarule import data
from deltarule.learning.scores import class_scores

HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "one, two",
    'say "hi"',
    "\u202eltr\u202c",
    "line\nbreak",
    "tab\there\r",
    "\x9b2J",
    "zwei",
    "九",
)
SAFE = {  # what a terminal may be sent instead
    "\x1b[31mred\x1b[0m": r"\x1b[31mred\x1b[0m",
    "\u202eltr\u202c": r"\u202eltr\u202c",
    "line\nbreak": r"line\nbreak",
    "tab\there\r": r"tab\there\r",
    "\x9b2J": r"\x9b2J",
}


@pytest.fixture(scope="module")
def trained() -> deltarule.Model:
    recipe = deltarule.Recipe(epochs=4, learning_rate=0.5)
    return deltarule.fit(
        deltarule.Network([64, 20, 10]), data.load("digits").train, recipe=recipe
    ).model


@pytest.fixture
def model(trained: deltarule.Model) -> Path:
    folder = Path("run")
    folder.mkdir()
    deltarule.save_model(trained, folder / "model.safetensors")
    return folder


def save(model: deltarule.Model, **changes: Any) -> str:
    deltarule.save_model(replace(model, **changes), "changed.safetensors")
    return "changed.safetensors"


# ---- evaluate


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluate_gives_the_numbers_of_the_library(
    run: Run, model: Path, trained: deltarule.Model, split: str
) -> None:
    expected = deltarule.evaluate(trained, getattr(data.load("digits"), split))
    document = run("evaluate", str(model), "digits", "--split", split, "--json").json
    assert document["accuracy"] == expected.accuracy
    assert document["correct"] == expected.correct
    assert document["examples"] == expected.n
    assert document["cost"] == expected.cost
    assert document["interval_95"] == list(expected.interval)
    assert document["confusion"] == expected.confusion.tolist()
    assert document["most_confused"] == [list(each) for each in expected.most_confused()]


def test_evaluate_in_words(run: Run, model: Path, trained: deltarule.Model) -> None:
    expected = deltarule.evaluate(trained, data.load("digits").test)
    done = run("evaluate", str(model), "digits")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    low, high = expected.interval
    assert lines[0] == f"accuracy:       {100 * expected.accuracy:.2f} %, {expected.correct} of 360"
    assert lines[1] == f"95 % interval:  {100 * low:.2f} to {100 * high:.2f} %"
    assert lines[2] == f"cost:           {expected.cost:.4f}"
    scores = class_scores(expected)
    assert lines[3] == f"log loss:       {scores.log_loss:.4f}"
    assert lines[4] == f"ROC AUC:        {scores.roc_auc:.4f}"
    each = scores.classes[7]
    assert lines[13].split() == [
        "7", f"{100 * each.precision:.2f}", "%", f"{100 * each.recall:.2f}", "%", str(each.examples)
    ]  # fmt: skip
    true, said, count = expected.most_confused()[0]
    assert lines[16] == f"most confused:  {true} taken for {said}, {count} times"


def test_evaluate_takes_the_cost_of_the_recipe_unless_told(
    run: Run, trained: deltarule.Model
) -> None:
    test = data.load("digits").test
    path = save(trained, provenance={"recipe": {"cost": "quadratic"}})
    quadratic = deltarule.evaluate(trained, test, "quadratic").cost
    entropy = deltarule.evaluate(trained, test, "cross_entropy").cost
    assert run("evaluate", path, "digits", "--json").json["cost"] == quadratic
    told = run("evaluate", path, "digits", "--json", "--cost", "cross_entropy")
    assert told.json["cost"] == entropy
    silent = save(trained, provenance={})
    assert run("evaluate", silent, "digits", "--json").json["cost"] == entropy


@pytest.mark.parametrize("recipe", [None, 3, ["cost"], "cost", {"cost": ["quadratic"]}])
def test_a_provenance_of_another_kind_does_no_harm(
    run: Run, trained: deltarule.Model, recipe: Any
) -> None:
    path = save(trained, provenance={"recipe": recipe})
    assert run("show", path).code == 0
    assert run("evaluate", path, "digits").code == (2 if isinstance(recipe, dict) else 0)


def test_a_model_is_a_file_or_a_run_folder(run: Run, model: Path) -> None:
    for command in (["evaluate", "digits"], ["predict", "digits"], ["show"]):
        name, *rest = command
        by_folder = run(name, str(model), *rest)
        by_file = run(name, str(model / "model.safetensors"), *rest)
        assert by_folder == by_file
        assert by_folder.code == 0


# ---- predict


def test_predict_writes_a_row_an_example(run: Run, model: Path, trained: deltarule.Model) -> None:
    test = data.load("digits").test
    done = run("predict", str(model), "digits")
    assert (done.code, done.err) == (0, "")
    header, *rows = csv.reader(io.StringIO(done.out))
    assert header == ["index", "label", *"0123456789"]
    assert [int(row[0]) for row in rows] == list(range(360))
    assert [row[1] for row in rows] == trained.labels(test.x)
    printed = np.array([row[2:] for row in rows], float)
    np.testing.assert_allclose(printed, trained.outputs(test.x), rtol=1e-5)


def test_predict_as_json(run: Run, model: Path, trained: deltarule.Model) -> None:
    train = data.load("digits").train
    document = run("predict", str(model), "digits", "--split", "train", "--json").json
    assert [entry["label"] for entry in document] == trained.labels(train.x)
    assert list(document[0]["outputs"]) == list("0123456789")
    printed = np.array([list(entry["outputs"].values()) for entry in document])
    np.testing.assert_allclose(printed, trained.outputs(train.x), rtol=1e-5)


def test_predict_labels_by_the_largest_sum_also_where_outputs_round_to_one(
    run: Run, trained: deltarule.Model
) -> None:
    sure = [{name: array * 100 for name, array in layer.items()} for layer in trained.params]
    path = save(trained, params=(*sure,))
    x = data.load("digits").test.x
    loaded = deltarule.load_model(path)
    outputs = loaded.outputs(x)
    assert (outputs.argmax(axis=1) != loaded.predict(x)).any()  # else this tests nothing
    rows = list(csv.reader(io.StringIO(run("predict", path, "digits").out)))[1:]
    assert [row[1] for row in rows] == loaded.labels(x)


@pytest.mark.parametrize("packed", [False, True])
def test_predict_on_images_without_labels(
    run: Run, model: Path, trained: deltarule.Model, packed: bool
) -> None:
    import gzip

    images = data.load("digits").test.x[:7]
    write_idx(Path("images"), images)
    if packed:
        Path("images").write_bytes(gzip.compress(Path("images").read_bytes()))
    rows = list(csv.reader(io.StringIO(run("predict", str(model), "images").out)))[1:]
    assert [row[1] for row in rows] == trained.labels(images)


def test_a_model_without_classes_says_quantities(run: Run) -> None:
    network = deltarule.Network([64, 2], output="identity")
    params, state = network.init(np.random.default_rng(0))
    params = tuple({k: v.astype(np.float32) for k, v in layer.items()} for layer in params)
    model = deltarule.Model(network, params, state, (8, 8))
    deltarule.save_model(model, "regression")
    x = data.load("digits").test.x
    np.save("x.npy", x)
    lines = run("predict", "regression", "x.npy").out.splitlines()
    assert lines[0] == "index,output 0,output 1"
    said = [[float(field) for field in line.split(",")[1:]] for line in lines[1:]]
    np.testing.assert_allclose(said, model.outputs(x), rtol=1e-5)
    assert run("evaluate", "regression", "digits").code == 3
    assert "none (regression)" in run("show", "regression").out


# ---- what does not fit


def test_data_of_another_size_or_with_other_classes(run: Run, model: Path) -> None:
    write_images(Path("small"))
    write_images(Path("threes"), side=8)
    write_idx(Path("images"), np.zeros((2, 5, 5), np.uint8))
    for command, source, sentence in [
        (
            "evaluate",
            "small",
            "small must have examples of shape (8, 8), as the model takes, got (4, 4)",
        ),
        ("predict", "small", "got (4, 4)"),
        ("predict", "images", "got (5, 5)"),
        ("evaluate", "threes", "must have the classes that the model knows, 0, 1, 2"),
        ("predict", "threes", "it has 0, 1, 2."),
    ]:
        done = run(command, str(model), source)
        assert (done.code, done.out) == (3, "")
        assert sentence in done.err


@pytest.mark.parametrize("command", ["evaluate", "predict", "show"])
def test_files_that_are_no_models(run: Run, command: str) -> None:
    Path("pickle").write_bytes(b"\x80\x04\x95\x10\x00")
    Path("empty").touch()
    Path("folder").mkdir()
    for name, sentence in [
        ("pickle", "never loads pickles"),
        ("empty", "empty"),
        ("folder", "model.safetensors"),
        ("nowhere", "there is no file nowhere"),
    ]:
        done = run(command, name, *([] if command == "show" else ["digits"]))
        assert (done.code, done.out) == (5, "")
        assert sentence in done.err
        assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_damaged_model(run: Run, model: Path, share: float) -> None:
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert run("evaluate", str(model), "digits").code == 5
    place = int(share * (len(whole) - 1))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    done = run("evaluate", str(model), "digits")
    assert (done.code, done.out) == (5, "")
    assert "model.safetensors" in done.err


# ---- names that are not what they seem


@pytest.fixture
def hostile(trained: deltarule.Model, monkeypatch: pytest.MonkeyPatch) -> str:
    splits = data.load("digits")
    parts = {name: replace(getattr(splits, name), classes=HOSTILE)
             for name in ("train", "validation", "test")}  # fmt: skip
    monkeypatch.setattr("deltarule.cli.asking.load", lambda *_, **__: data.Splits(**parts))
    provenance = {"source": HOSTILE[1], HOSTILE[4]: HOSTILE[0], "recipe": {HOSTILE[7]: HOSTILE[5]}}
    return save(trained, classes=HOSTILE, provenance=provenance)


def test_hostile_names_as_csv(run: Run, hostile: str, trained: deltarule.Model) -> None:
    out = run("predict", hostile, "digits").out
    header, *rows = csv.reader(io.StringIO(out))
    safe = [SAFE.get(name, name) for name in HOSTILE]
    assert header == ["index", "label", *safe]
    x = data.load("digits").test.x
    assert [row[1] for row in rows] == [safe[int(label)] for label in trained.labels(x)]
    assert len(out.splitlines()) == 361
    assert_harmless(out)


def test_hostile_names_as_json_are_themselves(run: Run, hostile: str) -> None:
    done = run("predict", hostile, "digits", "--json")
    assert tuple(done.json[0]["outputs"]) == HOSTILE
    assert {entry["label"] for entry in done.json} == set(HOSTILE)
    assert_harmless(done.out)
    assert tuple(run("show", hostile, "--json").json["classes"]) == HOSTILE
    assert_harmless(run("evaluate", hostile, "digits", "--json").out)


def test_hostile_names_in_words(run: Run, hostile: str) -> None:
    for arguments in (["show", hostile], ["evaluate", hostile, "digits", "--cost", HOSTILE[1]],
                      ["evaluate", hostile, "digits"]):  # fmt: skip
        done = run(*arguments)
        assert_harmless(done.out)
        assert_harmless(done.err)
    shown = run("show", hostile).out
    assert r"\u202eltr\u202c" in shown
    assert "<script>alert(1)</script>" in shown  # text, and this is no browser


def test_both_names_of_a_mistake_are_escaped() -> None:
    from deltarule.cli.report import confusion_lines

    labels, said = np.array([0, 1, 1]), np.array([1, 0, 0])
    result = deltarule.Evaluation(3, 0.0, ("\x1b[31m", "\u202e"), labels, said, np.eye(2)[said])
    assert confusion_lines(result) == [
        r"most confused:  \u202e taken for \x1b[31m, 2 times",
        r"most confused:  \x1b[31m taken for \u202e, 1 time",
    ]


def assert_harmless(text: str) -> None:
    assert re.sub(r"[\n]", "", text).isprintable()


# ---- show


def test_show_says_layers_and_where_it_comes_from(run: Run) -> None:
    run("train", "digits", "--network", "64,20,10", "--epochs", "2", "--l2", "0.001")
    done = run("show", "runs/digits")
    assert (done.code, done.err) == (0, "")
    model = deltarule.load_model("runs/digits/model.safetensors")
    assert done.out.startswith(model.network.summary(model.shape))
    facts = dict(re.findall(r"^(\w[\w ]*?) {2,}(.+)$", done.out.split("\n\n", 1)[1], re.M))
    assert facts["input shape"] == "8 x 8"
    assert facts["classes"] == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert facts["precision"] == "float32"
    assert (facts["source"], facts["epochs"], facts["l2"]) == ("digits", "2", "0.001")


def test_show_as_json(run: Run, model: Path, trained: deltarule.Model) -> None:
    document = run("show", str(model), "--json").json
    assert document["parameters"] == 64 * 20 + 20 + 20 * 10 + 10
    assert document["layers"] == trained.network.describe()
    assert document["shape"] == [8, 8]
    assert document["scale"] == 1 / 16


def test_numbers_that_json_lacks_are_null(run: Run, trained: deltarule.Model) -> None:
    path = save(trained, provenance={"best": float("nan"), "worst": float("inf")})
    assert run("show", path, "--json").json["provenance"] == {"best": None, "worst": None}


def test_a_model_may_not_lie_about_itself(run: Run, trained: deltarule.Model) -> None:
    path = save(trained, provenance={"input shape": "2 x 2", "classes": "a, b"})
    out = run("show", path).out
    assert re.search(r"^input shape +8 x 8$", out, re.M)
    assert re.search(r"^classes +0, 1, 2", out, re.M)
