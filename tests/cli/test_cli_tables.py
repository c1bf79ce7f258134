"""The options of tables, each through ``train`` to what the model answers about such files."""

import csv
import inspect
import io
import json
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_commands import Done, Run
from own_data import QUICK, table, write

from deltarule.data import read_rows, read_table
from deltarule.data.sources import TABLES
from deltarule.data.tables.files import SUFFIXES

LEARN = ("--quiet", "--optimizer", "adam", "--learning-rate", "0.03", "--epochs", "60")
KINDS = ("rosé", "lis", "iris")


def lab(path: str, *, delimiter: str, encoding: str, decimal: str) -> None:
    """Write 60 rows in which the width says the kind, as a laboratory might."""
    rng = np.random.default_rng(0)
    lines = [delimiter.join(("größe", "farbe", "art"))]
    for i in range(60):
        width = f"{i % 3 + rng.normal(0, 0.1):.3f}".replace(".", decimal)
        lines.append(delimiter.join((width, ("weiß", "rot")[i % 2], KINDS[i % 3])))
    Path(path).write_text("\n".join(lines), encoding)


PLAIN = {"delimiter": ",", "encoding": "utf-8", "decimal": "."}
WRITTEN: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    "encoding": ({"encoding": "latin-1"}, ("--encoding", "latin-1"), "(--encoding cp1252)"),
    "delimiter": ({"delimiter": "~"}, ("--delimiter", "~"), "lacks 2 of the 2 columns"),
    "semicolon": ({"delimiter": ";"}, ("--delimiter", ";"), ""),
    "decimal": (
        {"delimiter": ";", "decimal": ","},
        ("--decimal", ","),
        "say decimal=',' (--decimal ,)",
    ),
}


@pytest.mark.parametrize(("how", "options", "said"), WRITTEN.values(), ids=list(WRITTEN))
def test_how_a_text_is_written(
    run: Run, how: dict[str, str], options: tuple[str, ...], said: str
) -> None:
    lab("odd.csv", **{**PLAIN, **how})
    lab("plain.csv", **PLAIN)
    train = ("--target", "art", *LEARN, "--json")
    for name, others in (("odd", options), ("plain", ())):
        done = run("train", f"{name}.csv", *train, *others, "--out", name)
        assert (done.code, done.err) == (0, "")
        assert done.json["test"]["accuracy"] == 1
    answers = labels(run("predict", "plain", "plain.csv"))
    assert answers == [KINDS[i % 3] for i in range(60)]
    # the same numbers, whichever of the files a model learned from or is asked about
    assert labels(run("predict", "odd", "odd.csv", *options)) == answers
    assert labels(run("predict", "plain", "odd.csv", *options)) == answers
    usual = ("--decimal", ".") if "decimal" in how else ()
    assert labels(run("predict", "odd", "plain.csv", *usual)) == answers
    found = run("evaluate", "odd", "odd.csv", *options, "--json")
    assert (found.code, found.json["accuracy"], found.json["examples"]) == (0, 1, 60)
    again = run("evaluate", "odd", "odd.csv", "--split", "test", "--json")
    assert (again.code, again.json["examples"]) == (0, 12)  # read as it was in training
    for command in ("predict", "evaluate") if said else ():
        done = run(command, "plain", "odd.csv")
        assert (done.code, done.out) == (3, "")
        assert said in done.err


def labels(done: Done) -> list[str]:
    assert (done.code, done.err) == (0, "")
    return [row["label"] for row in csv.DictReader(io.StringIO(done.out))]


def test_the_decimal_mark_of_training_is_that_of_other_rows(run: Run) -> None:
    lab("odd.csv", **PLAIN | {"delimiter": ";", "decimal": ","})
    data = read_table("odd.csv", "art", decimal=",")
    x = read_rows("odd.csv", data.columns).x
    Path("more.csv").write_text(Path("odd.csv").read_text().replace(",", "."))
    np.testing.assert_array_equal(read_rows("more.csv", data.columns, decimal=".").x, x)
    with pytest.raises(ValueError, match="decimal must be one of"):
        read_rows("more.csv", data.columns, decimal=";")


@pytest.mark.parametrize("suffix", [".txt", ".tab", ".TXT", ".tsv"])
def test_text_by_other_names(run: Run, suffix: str) -> None:
    rows = table()
    write(f"t{suffix}", rows, "\t" if suffix != ".TXT" else ";")
    done = run("train", f"t{suffix}", "--target", "kind", *QUICK, "--out", "r", "--json")
    assert (done.code, done.err) == (0, "")
    plain = run("train", "flowers.csv", "--target", "kind", *QUICK, "--out", "p", "--json")
    assert done.json["last_epoch"]["train_cost"] == plain.json["last_epoch"]["train_cost"]
    assert run("predict", "r", f"t{suffix}").out == run("predict", "p", "flowers.csv").out


def test_every_ending_that_is_a_table_is_read() -> None:
    assert set(TABLES) == set(SUFFIXES)


# ---- what columns are, and what is asked


def codes(path: str = "codes.csv") -> None:
    """Write codes from 0 to 9 and whether they are odd, which no quantity says."""
    rows = [{"code": str(i % 10), "odd": ("no", "yes")[i % 2]} for i in range(200)]
    write(path, rows)


def test_a_category_is_learned_as_one(run: Run) -> None:
    codes()
    options = ("codes.csv", "--target", "odd", *LEARN, "--json")
    as_number = run("train", *options, "--epochs", "30", "--out", "n").json["test"]["accuracy"]
    done = run("train", *options, "--epochs", "30", "--category", "code", "--out", "c")
    assert (done.code, done.json["test"]["accuracy"]) == (0, 1)
    assert as_number < 0.9
    assert "'code': category, as asked for -> 11 inputs" in kept("c")["report"]
    assert labels(run("predict", "c", "codes.csv")) == ["no", "yes"] * 100


def kept(folder: str) -> Any:
    return json.loads(Path(folder, "data.json").read_text())


def test_a_number_is_kept_as_one(run: Run) -> None:
    rows = [{"day": str(i), "price": f"{3 * i + 0.5}"} for i in range(100)]
    write("prices.csv", rows)
    options = ("prices.csv", "--target", "price")
    done = run("train", *options)
    assert (done.code, done.out) == (3, "")
    assert "'day' left out: numbers the rows" in done.err
    assert "(--number or --category)" in done.err
    done = run("train", *options, *LEARN, "--number", "day", "--out", "r", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["test"]["outputs"][0]["r2"] > 0.95
    assert "'day': number, as asked for" in kept("r")["report"]
    done = run("train", *options, "--number", "day", "--category", "day")
    assert (done.code, "must be a number or a category, got both" in done.err) == (3, True)
    done = run("train", *options, "--number", "dya")
    assert (done.code, "did you mean 'day'" in done.err) == (3, True)


def test_the_task_is_what_was_asked_for(run: Run) -> None:
    codes()
    rows = [{"code": str(i % 10), "half": f"{i % 10 >= 5:d}"} for i in range(200)]
    write("halves.csv", rows)
    options = ("halves.csv", "--target", "half", *LEARN, "--json")
    done = run("train", *options, "--out", "found")
    assert (done.code, done.json["test"]["accuracy"]) == (0, 1)  # 0 and 1 are classes
    done = run("train", *options, "--task", "regression", "--out", "r")
    assert (done.code, done.err) == (0, "")
    assert done.json["test"]["outputs"][0]["r2"] > 0.8
    assert run("predict", "r", "halves.csv").out.startswith("index,half\n")
    done = run("train", *options, "--task", "classification", "--out", "c")
    assert "(as asked for)" in " ".join(kept("c")["report"])
    assert labels(run("predict", "c", "halves.csv")) == [row["half"] for row in rows]


# ---- missing values


def holes() -> list[dict[str, str]]:
    rows = table()
    for row in rows[::10]:
        row["width"] = "NA"
    rows[5]["kind"] = ""
    write("holes.csv", rows)
    return rows


def test_rows_with_holes_are_dropped(run: Run) -> None:
    rows = holes()
    done = run("train", "holes.csv", "--target", "kind", *LEARN, "--missing", "drop",
               "--out", "r", "--json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.json["test"]["accuracy"] > 0.9
    assert "missing values (drop): 7 rows left out" in kept("r")["report"]
    whole = [i for i in range(60) if i % 10 and i != 5]
    assert sorted(chain(*kept("r")["rows"].values())) == whole
    done = run("predict", "r", "holes.csv")
    assert (done.code, done.out) == (3, "")
    assert "values are missing in 'width' (6), first in line 2" in done.err
    assert "(--missing impute)" in done.err
    assert "drop" not in done.err  # it was trained so, and rows to predict are not left out
    write("whole.csv", [rows[i] for i in whole])
    right = np.array(labels(run("predict", "r", "whole.csv"))) == [rows[i]["kind"] for i in whole]
    assert right.mean() > 0.9


def test_holes_are_filled(run: Run) -> None:
    rows = holes()
    options = ("holes.csv", "--target", "kind", *LEARN, "--missing", "impute")
    done = run("train", *options)
    assert (done.code, done.out) == (3, "")
    assert "values are missing in 'kind' (1), first in line 7" in done.err
    assert done.err.rstrip().endswith("missing='drop' (--missing drop).")
    write("holes.csv", [row for row in rows if row["kind"]])
    done = run("train", *options, "--out", "r", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["test"]["accuracy"] > 0.9
    answers = labels(run("predict", "r", "holes.csv"))
    assert len(answers) == 59
    right = np.array(answers) == [row["kind"] for row in rows if row["kind"]]
    assert right.mean() > 0.9


# ---- what an error advises can be done

MIXED = [str(i % 7) for i in range(59)]


def one_column(*values: str) -> list[dict[str, str]]:
    return [{"a": value, "b": ("x", "y")[i % 2]} for i, value in enumerate(values)]


ADVICE: dict[str, tuple[Callable[[], object], tuple[str, ...], str]] = {
    "a word": (lambda: one_column(*MIXED, "n.a."), (), "--category"),
    "a decimal comma": (lambda: one_column(*MIXED, "1,5"), (), "--decimal"),
    "nothing to learn from": (lambda: one_column(*["1"] * 60), (), "--number or --category"),
    "a hole": (lambda: one_column(*MIXED, ""), (), "--missing"),
    "no value": (lambda: one_column(*[""] * 60), (), "--drop"),
    "every row": (
        lambda: [{"c": "", **row} if i else {"c": "1", **row, "a": ""}
                 for i, row in enumerate(one_column(*MIXED, "1"))],
        ("--missing", "drop"), "--missing impute",
    ),
    "a word for a number": (
        lambda: one_column(*MIXED, "n.a."), ("--number", "a"), "among numbers; correct it."
    ),
    "a word in the target": (
        lambda: [{"a": row["b"], "b": row["a"]} for row in one_column(*MIXED, "n.a.")], (), "--task"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "options", "said"), ADVICE.values(), ids=list(ADVICE))
def test_advice_can_be_followed(
    run: Run, rows: Callable[[], Any], options: tuple[str, ...], said: str
) -> None:
    write("t.csv", rows())
    done = run("train", "t.csv", "--target", "b", *options)
    assert (done.code, done.out) == (3, "")
    assert said in done.err
    known = set(re.findall(r"--[a-z-]+", run("train", "--help").out))
    assert set(re.findall(r"--[a-z-]+", done.err)) <= known
    arguments = set(inspect.signature(read_table).parameters)
    assert set(re.findall(r"\b([a-z_]+)=", done.err)) <= arguments


@pytest.mark.parametrize("missing", ["error", "drop", "impute"])
def test_a_target_without_a_value_is_no_target(run: Run, missing: str) -> None:
    write("t.csv", [{"a": str(i % 7), "b": ""} for i in range(60)])
    done = run("train", "t.csv", "--target", "b", "--missing", missing)
    assert (done.code, done.out) == (3, "")
    assert done.err == "error: target 'b' holds no value at all; choose another column.\n"


def test_of_other_rows_only_what_helps_is_advised(run: Run) -> None:
    write("t.csv", one_column(*MIXED, "3"))
    assert run("train", "t.csv", "--target", "b", *QUICK, "--out", "r").code == 0
    write("word.csv", one_column("1", "n.a."))
    done = run("predict", "r", "word.csv")
    assert done.err == ("error: line 3: column 'a' holds 'n.a.' among numbers; correct it.\n")
    write("answer.csv", [{"a": "1", "b": ""}])
    done = run("evaluate", "r", "answer.csv")
    assert (done.code, done.out) == (3, "")
    assert done.err.rstrip().endswith("fill them, or leave those rows out.")


def test_training_reports_what_evaluating_its_test_rows_reports(run: Run) -> None:
    table()
    trained = run("train", "flowers.csv", "--target", "kind", *LEARN, "--out", "run").out
    for line in run("evaluate", "run", "flowers.csv", "--split", "test").out.splitlines():
        if not line.startswith(("accuracy:", "cost:")):
            assert line in trained.splitlines()
    assert len([line for line in trained.splitlines() if re.match("(iris|lily|rose) ", line)]) == 3
    assert "calibration:" in trained
