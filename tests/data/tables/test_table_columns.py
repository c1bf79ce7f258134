"""Columns turn rows into inputs, whatever their order, and travel as plain data."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from tables_help import as_csv, people, write

from deltarule.data.tables import Category, Columns, Number, Target, parts, read_rows, read_table
from deltarule.data.tables import columns as columns_module
from deltarule.data.tables.table import TEXT, Table, text_field
from deltarule.errors import DataError

AGE = Number("age", 40.0, 10.0)
CITY = Category("city", ("Bonn", "Rome"))
CLASSES = Target("churned", ("no", "yes"))
SIMPLE = Columns((AGE, CITY), CLASSES)
FILLED = Columns(
    (Number("age", 40.0, 10.0, 38.0, True), Category("city", ("Bonn", "Rome"), True)),
    CLASSES, "impute", ("", "NA"),
)  # fmt: skip


def table(missing_values=("",), **columns):
    return Table(
        {
            name: text_field(name, np.array(values, TEXT), missing_values)
            for name, values in columns.items()
        }
    )


def test_rows_become_inputs_by_hand():
    # (50 - 40) / 10 = 1, (25 - 40) / 10 = -1.5; Oslo was never seen: "other"
    x = SIMPLE.encode(table(age=["50", "25"], city=["Rome", "Oslo"]))
    assert x.tolist() == [[1, 0, 1, 0], [-1.5, 0, 0, 1]]
    assert x.dtype == np.float32
    assert SIMPLE.input_names == ("age", "city=Bonn", "city=Rome", "city other")


def test_missing_values_become_inputs_by_hand():
    # filled by 38: (38 - 40) / 10 = -0.2
    x = FILLED.encode(table(FILLED.missing_values, age=["NA", "40"], city=["Bonn", ""]))
    assert x == pytest.approx(np.array([[-0.2, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]]))
    assert FILLED.input_names[-2:] == ("city other", "city missing")


def test_a_value_missing_only_in_new_rows_counts_as_other_or_the_median():
    columns = Columns((Number("age", 40.0, 10.0, 38.0), CITY), CLASSES, "impute")
    x = columns.encode(table(age=[""], city=[""]))
    assert x == pytest.approx(np.array([[-0.2, 0, 0, 1]]))


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_missing_values_are_refused_where_none_were_learned(missing):
    columns = Columns((AGE, CITY), CLASSES, missing)
    with pytest.raises(DataError, match=r"'age' \(2\), 'city' \(1\), first in row 1 .*impute"):
        columns.encode(table(age=["1", "", ""], city=["Bonn", "Rome", ""]))


def test_columns_that_are_not_there_are_named():
    with pytest.raises(DataError, match=r"lacks 1 of the 2 .*'city' \(did you mean 'City'\?\)"):
        SIMPLE.encode(table(age=["1"], City=["Bonn"]))


def test_only_tables_and_frames_are_encoded():
    with pytest.raises(DataError, match=r"table must be a frame .* got str; read_rows reads files"):
        SIMPLE.encode("people.csv")


def test_truth_values_are_one_in_any_case():
    columns = Columns((Category("x", ("false", "true")),), CLASSES)
    assert columns.encode(table(x=["TRUE", "False"])).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_numbers_are_levels_however_they_are_stored():
    columns = Columns((Category("zip", ("3", "3.5")),), CLASSES)
    field = np.array([3.0, 3.5, 4.0])
    numbers = Table({"zip": text_field("zip", field, ())})
    assert columns.encode(numbers).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_a_number_too_far_away_is_named():
    columns = Columns((Number("age", 0.0, 1e-300),), CLASSES)
    with pytest.raises(DataError, match=r"row 1 .*'age' holds 1e.200, too far"):
        columns.encode(table(age=["0", "1e200"]))


def test_numbers_near_the_end_of_the_range_are_encoded():
    columns = Columns((Number("x", -1e308, 1e308),), CLASSES)
    assert columns.encode(table(x=["1.5e308"])) == pytest.approx(2.5)  # (1.5 + 1) / 1


def test_memory_is_reckoned_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(columns_module, "MOST_BYTES", 31)
    with pytest.raises(DataError, match=r"2 rows of 4 inputs .* 'city' alone becomes 3 inputs"):
        SIMPLE.encode(table(age=["0", "1"], city=["Bonn", "Rome"]))


def test_levels_are_those_seen_twice_and_a_hundred_at_most():
    often = [f"{i:03}x" for i in range(120) for _ in range(2 if i < 30 else 3)]
    field = table(city=[*often, "once"]).fields["city"]
    levels = parts.category_column(field, "error").levels
    assert len(levels) == parts.MOST_LEVELS
    assert levels == tuple(f"{i:03}x" for i in [*range(10), *range(30, 120)])


def test_moments():
    # 1, 2, 3, 6: mean 3, squared distances 4 + 1 + 0 + 9 = 14, deviation sqrt(14 / 4)
    assert parts.moments("x", np.array([1.0, 2, 3, 6])) == pytest.approx((3, 3.5**0.5))
    assert parts.moments("x", np.array([0.1] * 3)) == (0.1, 1.0)
    assert parts.moments("x", np.zeros(2)) == (0.0, 1.0)
    assert parts.moments("x", np.array([-1e308, 1e308])) == pytest.approx((0, 1e308))


def test_answers():
    rows = table(churned=["yes", "no"])
    assert SIMPLE.answers(rows).tolist() == [1, 0]
    with pytest.raises(DataError, match=r"row 1 .*'maybe', not one of the classes 'no', 'yes'"):
        SIMPLE.answers(table(churned=["yes", "maybe"]))
    with pytest.raises(DataError, match="target 'churned' is not in the table"):
        SIMPLE.answers(table(age=["1"]))
    price = Columns((AGE,), Target("price", (), 100.0, 50.0))
    assert price.answers(table(price=["200", "75"])).tolist() == [[2.0], [-0.5]]
    assert price.decode([[2.0], [-0.5]]).tolist() == [200, 75]
    assert SIMPLE.decode([[0.2, 0.8], [3, 1]]).tolist() == ["yes", "no"]


def test_raw_rows_are_encoded_as_in_training(tmp_path):
    columns = people(holes=[("age", 9), ("city", 4)])
    path = write(tmp_path / "people.csv", as_csv(columns))
    data = read_table(path, "churned", missing="impute")
    turned = {"extra": ["x"] * len(columns["age"]), **dict(reversed(columns.items()))}
    rows = read_rows(write(tmp_path / "new.tsv", as_csv(turned, "\t")), data.columns)
    assert rows.has_target
    for part, places in data.rows.items():
        split = getattr(data.splits, part)
        assert np.array_equal(rows.x[places], split.x)
        assert np.array_equal(rows.dataset()[places].y, split.y)


def test_rows_to_predict_need_no_target(tmp_path):
    data = read_table(write(tmp_path / "people.csv", as_csv(people())), "churned")
    columns = people()
    del columns["churned"]
    rows = read_rows(write(tmp_path / "new.csv", as_csv(columns)), data.columns)
    assert not rows.has_target
    assert len(rows.x) == len(columns["age"])
    with pytest.raises(DataError, match="target 'churned' is not in the table"):
        rows.dataset()
    outputs = np.tile([0.25, 0.75], (len(rows.x), 1))
    named = rows.predictions(outputs)
    assert list(named) == ["churned", "churned=no", "churned=yes"]
    assert (named["churned"][0], named["churned=yes"][0]) == ("yes", 0.75)


def test_only_training_rows_are_measured(tmp_path):
    columns = people()
    first = read_table(write(tmp_path / "a.csv", as_csv(columns)), "churned")
    for row in [*first.rows["test"], *first.rows["validation"]]:
        columns["income"][row], columns["city"][row] = "999999.5", "elsewhere"
    second = read_table(write(tmp_path / "b.csv", as_csv(columns)), "churned")
    assert second.columns == first.columns


EXAMPLES = [SIMPLE, FILLED, Columns((AGE,), Target("price", (), 1.5, 2.0), decimal=",")]


@pytest.mark.parametrize("columns", EXAMPLES)
def test_columns_travel_as_json(columns):
    text = json.dumps(columns.describe(), allow_nan=False)
    assert Columns.from_description(json.loads(text)) == columns


BAD = {
    "nothing": ((), None, "columns must have the entries"),
    "newer": (("version",), 2, "made by a newer deltarule"),
    "version": (("version",), "1", "version of columns must be 1"),
    "version true": (("version",), True, "version of columns must be 1"),
    "extra": (("more",), 1, "must have the entries"),
    "no list": (("columns",), {}, "columns must be a list"),
    "no columns": (("columns",), [], "columns must be a list of 1 to 10,000"),
    "too many": (("columns",), [{}] * 10_001, "columns must be a list of 1 to 10,000"),
    "kind": (("columns", 0, "kind"), "os.system", r"columns\[0\] must be a number or a category"),
    "kind list": (("columns", 0, "kind"), [], r"columns\[0\] must be a number or a category"),
    "entry": (("columns", 0), 3, r"columns\[0\] must be a number or a category"),
    "extra entry": (("columns", 0, "path"), "/", r"columns\[0\] must have the entries"),
    "name": (("columns", 0, "name"), 3, "must hold text"),
    "empty name": (("columns", 0, "name"), " ", "must not be empty"),
    "long name": (("columns", 0, "name"), "x" * 1001, "at most 1000 characters"),
    "half a character": (("columns", 0, "name"), "\ud800", "must hold text"),
    "name twice": (("columns", 0, "name"), "city", "must have different names"),
    "the target's name": (("columns", 0, "name"), "churned", "must have different names"),
    "mean": (("columns", 0, "mean"), "40", r"columns\[0\].mean must be a finite number"),
    "mean true": (("columns", 0, "mean"), True, "must be a finite number"),
    "infinite": (("columns", 0, "mean"), float("inf"), "must be a finite number"),
    "large": (("columns", 0, "mean"), 10**400, "must be a finite number"),
    "NaN": (("columns", 0, "fill"), float("nan"), "must be a finite number"),
    "deviation 0": (("columns", 0, "deviation"), 0, "deviation must be above 0"),
    "deviation -1": (("columns", 0, "deviation"), -1.0, "deviation must be above 0"),
    "indicator": (("columns", 0, "indicator"), 1, "indicator must be true or false"),
    "levels": (("columns", 1, "levels"), "ab", "levels must be a list"),
    "level": (("columns", 1, "levels", 0), None, "must hold text of at most 200"),
    "long level": (("columns", 1, "levels", 0), "x" * 201, "must hold text of at most 200"),
    "level twice": (("columns", 1, "levels", 0), "Rome", "must be different texts"),
    "too many levels": (("columns", 1, "levels"), ["x"] * 101, "a list of 0 to 100"),
    "target": (("target",), "churned", "target must have the entries"),
    "target extra": (("target", "mean"), 1.0, "target must have the entries classes, name"),
    "one class": (("target", "classes"), ["no"], "a list of 2 to"),
    "class twice": (("target", "classes"), ["no", "no"], "must be different texts"),
    "missing": (("missing",), "guess", "missing must be one of error, impute, drop"),
    "missing list": (("missing",), ["error"], "missing must be one of"),
    "words": (("missing_values",), ["x"] * 101, "missing_values must be a list of 0 to 100"),
    "decimal": (("decimal",), ";", "decimal must be one of"),
}


@pytest.mark.parametrize(("place", "value", "sentence"), BAD.values(), ids=BAD)
def test_descriptions_of_strangers_are_held_to_the_schema(place, value, sentence):
    described = copy.deepcopy(FILLED.describe())
    if place:
        *path, last = place
        entry = described
        for step in path:
            entry = entry[step]
        entry[last] = value
    else:
        described = value
    with pytest.raises(DataError, match=sentence) as caught:
        Columns.from_description(described)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("place", [("mean",), ("kind",), ("name",), ("indicator",), ("fill",)])
def test_every_entry_is_needed(place):
    described = SIMPLE.describe()
    del described["columns"][0][place[0]]
    with pytest.raises(DataError, match=r"columns\[0\] must"):
        Columns.from_description(described)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(PLAIN, st.sampled_from([*SIMPLE.describe(), "name"]))
def test_no_description_does_anything_but_raise_data_error(value, name):
    for described in (value, {**SIMPLE.describe(), name: value}):
        try:
            read = Columns.from_description(described)
        except DataError:
            continue
        assert Columns.from_description(read.describe()) == read


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.tuples(FLOATS, st.text("abXY é", max_size=3), st.booleans())


@given(
    cells=st.lists(CELLS, min_size=6, max_size=30),
    order=st.permutations(["number", "text", "flag", "answer"]),
)
def test_the_order_of_columns_changes_nothing_and_inputs_are_finite(tmp_path_factory, cells, order):
    folder = tmp_path_factory.getbasetemp()
    number, text, flag = zip(*cells, strict=True)
    columns = {
        "number": [repr(value) for value in number],
        "text": list(text),
        "flag": [str(value) for value in flag],
        "answer": [repr(0.5 + i) for i in range(len(cells))],
    }
    path = write(folder / "first.csv", as_csv(columns))
    kinds = {"number": "number", "text": "category", "flag": "category"}
    options = {"columns": kinds, "missing": "impute", "missing_values": ["é"], "delimiter": ","}
    try:
        data = read_table(path, "answer", **options)
    except DataError:  # no value in a column, or one too far from all others
        reject()
    turned = {name: columns[name] for name in order}
    rows = read_rows(write(folder / "second.csv", as_csv(turned)), data.columns, delimiter=",")
    assert np.isfinite(rows.x).all()
    assert rows.x.shape == (len(cells), len(data.columns.input_names))
    for part, places in data.rows.items():
        assert np.array_equal(getattr(data.splits, part).x, rows.x[places])
