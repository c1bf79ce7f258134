"""What columns are taken for, what is refused, and what the target asks."""

import numpy as np
import pytest
from tables_help import as_csv, people, write

from deltarule.data.tables import Category, Number, read_table
from deltarule.errors import DataError

N = 60
CYCLE = [i % 7 for i in range(N)]


def with_column(values, name="x", n=N):
    return {**people(n), name: [str(value) for value in values]}


def read(tmp_path, table, target="churned", delimiter=",", **options):
    path = write(tmp_path / "people.csv", as_csv(table, delimiter))
    return read_table(path, target, **options)


def column(data, name="x"):
    return next((each for each in data.columns.columns if each.name == name), None)


def line(data, name="x"):
    return next(text for text in data.report if text.startswith(f"{name!r}:"))


NUMBERS = {
    "whole": CYCLE,
    "points": [i / 4 for i in CYCLE],
    "signs and powers": [["-1e3", "+2", " .5 ", "1E-2"][i % 4] for i in range(N)],
    "very small": [["0", "1e-320", "3e-310"][i % 3] for i in range(N)],
    "very large": [["-1.7e308", "1.7e308", "0"][i % 3] for i in range(N)],
    "not quite one after the other": [*range(N - 1), N],
}
CATEGORIES = {
    "names": (["ab", "c", "d e"], ("ab", "c", "d e")),
    "truth values": (["True", "FALSE"], ("false", "true")),
    "codes": (["01234", "2345"], ("01234", "2345")),
    "names and few numbers": (["a", "b", "3"], ("3", "a", "b")),
    "grouped digits": (["1_000", "2_000"], ("1_000", "2_000")),
    "dates and others": (["2024-01-31", "later"], ("2024-01-31", "later")),
    "telephones": (["030 1234567", "0171 22"], ("0171 22", "030 1234567")),
    "infinite words among names": (["inf", "a", "b"], ("a", "b", "inf")),
}


@pytest.mark.parametrize("values", NUMBERS.values(), ids=NUMBERS)
def test_numbers(values, tmp_path):
    data = read(tmp_path, with_column(values))
    assert isinstance(column(data), Number)
    assert np.isfinite(data.splits.train.x).all()
    assert line(data).startswith("'x': number")


@pytest.mark.parametrize(("cycle", "levels"), CATEGORIES.values(), ids=CATEGORIES)
def test_categories(cycle, levels, tmp_path):
    data = read(tmp_path, with_column([cycle[i % len(cycle)] for i in range(N)]))
    assert column(data) == Category("x", levels)
    assert line(data).startswith("'x': category")


USELESS = {
    "one number": ([5] * N, "left out: always 5"),
    "one name": (["a"] * N, "left out: always 'a'"),
    "row numbers": (list(reversed(range(10, 10 + N))), "left out: numbers the rows, 10 to 69"),
    "different names": ([f"id{i}" for i in range(N)], "left out: different in every row"),
    "long text": ([f"{'x' * 201}{i % 3}" for i in range(N)], "left out: text of more than 200"),
}


@pytest.mark.parametrize(("values", "note"), USELESS.values(), ids=USELESS)
def test_what_says_nothing_is_left_out_and_pointed_out(values, note, tmp_path):
    data = read(tmp_path, with_column(values))
    assert column(data) is None
    assert note in line(data)


def test_what_was_left_out_is_kept_when_named(tmp_path):
    columns = with_column(range(N), "order") | with_column(["a"] * N)
    data = read(tmp_path, columns, columns={"order": "number", "x": "category"})
    assert (column(data, "order").name, column(data).levels) == ("order", ("a",))


def test_few_rows_may_all_differ(tmp_path):
    columns = with_column([f"id{i}" for i in range(12)], n=12)
    columns["churned"] = ["yes", "no"] * 6
    assert column(read(tmp_path, columns)) == Category("x", ())  # each seen once: all are "other"


BAD = {
    "ISO dates": ([f"2024-01-{i + 1:02}" for i in CYCLE], "'x' holds dates .'2024-01-01'.*drop="),
    "times": (["2024-01-31T12:00:05Z"] * N, "holds dates"),
    "German dates": ([f"{i + 1}.12.2024" for i in CYCLE], "holds dates"),
    "English dates": ([f"{i + 1}/12/24 10:15 PM" for i in CYCLE], "holds dates"),
    "months by name": ([f"{i + 1} March 2024" for i in CYCLE], "holds dates"),
    "months first": ([f"Sept {i + 1} 2024" for i in CYCLE], "holds dates"),
    "months alone": ([f"2024-{i + 1:02}" for i in CYCLE], "holds dates"),
    "a word": (
        [*CYCLE[:-1], "seven"],
        "line 61: column 'x' holds 'seven' among numbers.*--category",
    ),
    "too large": ([*CYCLE[:15], "1e400", *CYCLE[16:]], "line 17: .* '1e400', beyond the range"),
    "infinity": ([*CYCLE[:-1], "-inf"], "line 61: .*'-inf', beyond the range"),
    "nothing": ([""] * N, "column 'x' holds no value at all.*--drop"),
    "only NA": (["NA"] * N, "column 'x' holds no value at all"),
}


@pytest.mark.parametrize(("values", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_learned_from(values, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence) as caught:
        read(tmp_path, with_column(values))
    assert "\n" not in str(caught.value)
    assert column(read(tmp_path, with_column(values), drop=["x"])) is None


COMMAS = {
    "all": [f"{i},5" for i in CYCLE],
    "some": [*CYCLE[:40], *[f"{i},25" for i in CYCLE[:20]]],
    "spaces": [f"{i + 1} 250" for i in CYCLE],
    "apostrophes": [f"{i + 1}'000'250.5" for i in CYCLE],
    "narrow spaces": [f"{i + 1}\u202f250,5" for i in CYCLE],
    "thousands": [f"{i + 1},000,000" for i in CYCLE],
}


@pytest.mark.parametrize("values", COMMAS.values(), ids=COMMAS)
def test_commas_in_numbers_are_pointed_at(values, tmp_path):
    with pytest.raises(
        DataError, match=r"line \d+: .* decimal comma.*--decimal.*thousands.*--category"
    ):
        read(tmp_path, with_column(values), delimiter=";")


def test_decimal_commas_are_read_when_named(tmp_path):
    columns = with_column(COMMAS["all"])
    columns["income"] = [value.replace(".", ",") for value in columns["income"]]
    data = read(tmp_path, columns, delimiter=";", decimal=",")
    assert column(data).mean == pytest.approx(3.5, abs=1)
    columns["x"][7] = "1.5"
    with pytest.raises(DataError, match=r"line 9: .*'1.5' among numbers; correct it"):
        read(tmp_path, columns, delimiter=";", decimal=",")


def test_kinds_are_overruled(tmp_path):
    data = read(tmp_path, with_column(CYCLE), columns={"x": "category"})
    assert column(data).levels == tuple("0123456")
    assert line(data) == "'x': category, as asked for -> 8 inputs"
    with pytest.raises(DataError, match=r"line \d+: column 'city' holds .* among numbers"):
        read(tmp_path, people(), columns={"city": "number"})
    with pytest.raises(ValueError, match="columns must be one of number, category; got 'numbr'"):
        read(tmp_path, people(), columns={"city": "numbr"})


NAMES = {
    "target": ({"target": "Churned"}, "target 'Churned' is not in .* .did you mean 'churned'"),
    "no target": ({"target": None}, "target must name the column.*'age', 'income', 'city'"),
    "drop": ({"drop": ["agee"]}, "drop: 'agee' is not in the table .did you mean 'age'"),
    "drop as text": ({"drop": "age"}, "drop must be a list"),
    "columns": ({"columns": {"ctiy": "category"}}, "columns .*: 'ctiy' is not .*mean 'city'"),
    "target dropped": ({"drop": ["churned"]}, "drop must not name the target"),
    "target's kind": ({"columns": {"churned": "number"}}, "columns must not name the target"),
    "all dropped": ({"drop": ["age", "income", "city"]}, "no column is left to learn from"),
    "words": ({"missing_values": "NA"}, "missing_values must be a list of texts"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "sentence"), NAMES.values(), ids=NAMES)
def test_names_that_do_not_fit(options, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, people(), **options)


@pytest.mark.parametrize("option", ["missing", "decimal", "task"])
def test_options_have_few_values(option, tmp_path):
    with pytest.raises(ValueError, match=f"{option} must be one of"):
        read(tmp_path, people(), **{option: "other"})


HOLES = [("age", 9), ("city", 4), ("city", 30), ("income", 50)]


def test_missing_values_are_named(tmp_path):
    sentence = (
        r"'age' \(1\), 'income' \(1\), 'city' \(2\), first in line 6; .*missing='impute' or 'drop'"
    )
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, people(holes=HOLES))


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "?"])
def test_words_for_no_value(word, tmp_path):
    columns = people()
    columns["age"][5] = word
    with pytest.raises(DataError, match=r"'age' \(1\), first in line 7"):
        read(tmp_path, columns)


def test_other_words_for_no_value(tmp_path):
    columns = people()
    columns["age"][5], columns["city"][7] = "-999", ""
    data = read(tmp_path, columns, missing="drop", missing_values=["-999"])
    assert sum(map(len, data.rows.values())) == N - 1
    assert data.columns.missing_values == ("-999",)


def test_rows_with_holes_are_dropped(tmp_path):
    holes = [*HOLES, ("churned", 20)]
    data = read(tmp_path, people(holes=holes), missing="drop")
    kept = np.sort(np.concatenate(list(data.rows.values())))
    assert kept.tolist() == [row for row in range(N) if row not in {4, 9, 20, 30, 50}]
    assert "missing values (drop): 5 rows left out" in data.report


def test_dropping_looks_only_at_columns_in_use(tmp_path):
    data = read(tmp_path, people(holes=HOLES), missing="drop", drop=["city"])
    assert sum(map(len, data.rows.values())) == N - 2


def test_nothing_is_left_when_every_row_has_a_hole(tmp_path):
    holes = [("age" if row % 2 else "income", row) for row in range(N)]
    with pytest.raises(DataError, match=r"every row misses a value.*use missing='impute'"):
        read(tmp_path, people(holes=holes), missing="drop")
    with pytest.raises(DataError, match=r"leaves none; drop .--drop. the columns"):
        read(tmp_path, people(holes=[*holes, ("churned", 3)]), missing="drop")


def test_holes_are_filled(tmp_path):
    columns = people(holes=HOLES)
    data = read(tmp_path, columns, missing="impute")
    train = data.rows["train"]
    for name, places in (("age", {9}), ("income", {50})):
        present = [float(columns[name][row]) for row in train if row not in places]
        number = column(data, name)
        assert number.fill == np.median(present)
        assert number.mean == pytest.approx(np.mean(present))
        assert number.deviation == pytest.approx(np.std(present))
        assert number.indicator == bool(places & set(train.tolist()))
    assert column(data, "city") == Category("city", ("Bonn", "Oslo", "Rome"), indicator=True)
    names = data.columns.input_names
    for part, rows in data.rows.items():
        x = getattr(data.splits, part).x
        for row, inputs in zip(rows, x, strict=True):
            assert inputs[names.index("city missing")] == (row in {4, 30})


def test_answers_are_never_filled(tmp_path):
    columns = people(holes=[("churned", 8), ("churned", 3)])
    for missing in ("error", "impute"):
        with pytest.raises(DataError, match=r"missing in 'churned' \(2\), first in line 5"):
            read(tmp_path, columns, missing=missing)


CLASSES = {
    "names": (["b", "a"], ("a", "b")),
    "truth values": (["True", "false", "FALSE"], ("false", "true")),
    "whole numbers": ([10, 9, "9.0"], ("9", "10")),
    "codes": (["01", "2"], ("01", "2")),
    "numbers and names": (["1", "2", "more", "none"], ("1", "2", "more", "none")),
}
QUANTITIES = {
    "points": [i + 0.5 for i in range(3)],
    "whole numbers of more than 20 kinds": list(range(21)),
    "whole numbers of few rows each": list(range(15)),
}


@pytest.mark.parametrize(("cycle", "classes"), CLASSES.values(), ids=CLASSES)
def test_targets_that_are_classes(cycle, classes, tmp_path):
    data = read(tmp_path, with_column([cycle[i % len(cycle)] for i in range(N)]), "x")
    assert data.columns.classes == classes == data.splits.train.classes
    assert f"classification of 'x' into {len(classes)} classes" in "\n".join(data.report)


@pytest.mark.parametrize("cycle", QUANTITIES.values(), ids=QUANTITIES)
def test_targets_that_are_quantities(cycle, tmp_path):
    n = 210 if len(cycle) == 21 else N  # ten rows for each of 21, four for each of 15
    values = [cycle[i % len(cycle)] for i in range(n)]
    data = read(tmp_path, with_column(values, n=n), "x")
    assert data.columns.classes == ()
    assert "regression of 'x'" in "\n".join(data.report)
    train = np.array(values)[data.rows["train"]]
    y = data.splits.train.y
    assert (y.shape, data.columns.target.task) == ((len(train), 1), "regression")
    assert y[:, 0] == pytest.approx((train - train.mean()) / train.std())
    assert data.columns.decode(y) == pytest.approx(train)


def test_the_task_is_overruled(tmp_path):
    assert read(tmp_path, with_column(CYCLE), "x", task="regression").columns.classes == ()
    halves = with_column([i / 2 for i in CYCLE])
    assert read(tmp_path, halves, "x", task="classification").columns.classes[1] == "0.5"


BAD_TARGETS = {
    "one name": (["a"] * N, None, "target 'x' is 'a' in every row"),
    "one number": (["2.50"] * N, None, "target 'x' is 2.5 in every row"),
    "one whole number": ([2] * N, None, "target 'x' is '2' in every row"),
    "missing everywhere": ([""] * N, None, "target 'x' holds no value at all; choose another"),
    "a rare class": (["a", "b"] * 29 + ["c", "c"], None, "fewer than 3 rows, 'c', which"),
    "names for regression": (["a", "b"] * 30, "regression", "line 2: target 'x' holds 'a' among"),
    "a word among numbers": ([*CYCLE[:-1], "?!"], None, "line 61: target 'x' holds '.!' among"),
    "infinite": ([*[i / 3 for i in CYCLE[:-1]], "1e999"], None, "line 61: .* beyond the range"),
    "prose": (["a" * 201, "b"] * 30, None, "the longest of 201 characters"),
}


@pytest.mark.parametrize(("values", "task", "sentence"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_targets_that_cannot_be_predicted(values, task, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, with_column(values), "x", task=task)


def test_the_report_says_everything(tmp_path):
    columns = people(holes=[("city", 4)]) | {"row": [str(i) for i in range(N)]}
    data = read(tmp_path, columns, missing="impute", delimiter="|")
    report = "\n".join(data.report)
    for part in ("people.csv: 60 rows", "delimiter: bar", "'age': number, 18 to 79",
                 "'city': category, 3 different values, 1 missing -> 5 inputs",
                 "'row': left out: numbers the rows, 0 to 59",
                 "missing values (impute): numbers by their median", "'no' (", "'yes' (",
                 "rows: 42 train, 6 validation, 12 test (classes in their proportions); 7 inputs",
                 ):  # fmt: skip
        assert part in report, report


def test_lines_are_those_of_the_file_when_rows_were_dropped(tmp_path):
    columns = with_column([*CYCLE[:-1], "word"]) | {"y": [*[""] * 5, *map(str, CYCLE[5:])]}
    with pytest.raises(DataError, match="line 61: target 'x' holds 'word'"):
        read(tmp_path, columns, "x", missing="drop")
