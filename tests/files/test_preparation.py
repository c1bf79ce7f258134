"""What makes inputs of raw rows or files travels in the model's file, and is checked as it does."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deltarule import Dataset, Network, Recipe, fit, load_model, save_model
from deltarule.committee import Committee
from deltarule.data import read_rows, read_table
from deltarule.data.pictures import Pictures
from deltarule.data.preparation import from_description
from deltarule.data.tables import Category, Columns, Number, Target
from deltarule.errors import DataError, ModelFileError
from deltarule.network import Model

COLUMNS = Columns(
    (Number("age", 40.0, 10.0, 38.5, True), Category("city", ("Bonn", "Rome"))),
    Target("churned", ("no", "yes")),
    "impute",
)
PRICE = Columns((Number("size", 90.0, 30.0),), Target("price", (), 2e5, 1e5))
PHOTOS = Pictures(3, 2, 3, ("cat", "dog"), "pad")


def model_for(preparation, seed=0):
    shape, k = preparation.shape, len(preparation.classes) or 1
    network = Network([int(np.prod(shape)), k], output="identity" if k == 1 else "softmax")
    params, state = network.init(np.random.default_rng(seed))
    return Model(network, params, state, shape, preparation.classes, preparation=preparation)


@pytest.mark.parametrize(
    "preparation", [COLUMNS, PRICE, PHOTOS], ids=["classes", "price", "photos"]
)
@pytest.mark.parametrize("members", [0, 2])
def test_a_model_keeps_what_its_inputs_are_made_of(tmp_path, preparation, members):
    model = model_for(preparation)
    if members:
        model = Committee(tuple(model_for(preparation, seed) for seed in range(members)))
    save_model(model, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").preparation == preparation


def test_a_model_of_plain_arrays_has_none(tmp_path):
    save_model(replace(model_for(PRICE), preparation=None), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").preparation is None


def test_training_passes_it_on(tmp_path):
    rows = "\n".join(f"{i * i},{'yes' if i > 9 else 'no'}" for i in range(20))
    (tmp_path / "t.csv").write_text("n,answer\n" + rows)
    table = read_table(tmp_path / "t.csv", "answer")
    run = fit(Network([1, 2]), table.splits.train, recipe=Recipe(epochs=1))
    assert run.model.preparation == table.columns
    assert table.splits.train.take(3).preparation is table.columns
    rows = read_rows(tmp_path / "t.csv", run.model.preparation)
    assert rows.dataset().preparation is table.columns


def wrong(description, kind, name, value):
    """Return a change of one entry of the rule, or of the kind."""
    changed = json.loads(json.dumps(description))
    (changed if kind else changed["rule"])[name] = value
    return changed


def described(preparation):
    from deltarule.data.preparation import describe

    return describe(preparation)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: None,
        lambda d: [],
        lambda d: {**d, "more": 1},
        lambda d: {"kind": "table"},
        lambda d: wrong(d, True, "kind", "pickle"),
        lambda d: wrong(d, True, "kind", ["table"]),
        lambda d: wrong(d, True, "kind", "pictures"),
        lambda d: wrong(d, False, "columns", []),
        lambda d: wrong(d, False, "decimal", "x"),
    ],
)
def test_a_foreign_description_is_refused(change):
    with pytest.raises(DataError):
        from_description(change(described(COLUMNS)))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (replace(model_for(COLUMNS), preparation=PHOTOS), "inputs of the shape"),
        (replace(model_for(PHOTOS), classes=("a", "b")), "the classes of the model"),
        (replace(model_for(PRICE), preparation=replace(PRICE, target=Target("p", ("a", "b")))),
         "the classes of the model"),
    ],
)  # fmt: skip
def test_a_preparation_that_does_not_fit_is_neither_written_nor_read(
    tmp_path, monkeypatch, model, said
):
    with pytest.raises(ValueError, match=said):
        save_model(model, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
    with monkeypatch.context() as unchecked:
        unchecked.setattr("deltarule.files.preparation.check", lambda *given: None)
        save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=said):
        load_model(tmp_path / "m.safetensors")


def test_a_description_beyond_the_limit_is_refused_with_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr("deltarule.data.preparation.MOST_BYTES", 100)
    with pytest.raises(DataError, match="the most is 100; leave columns"):
        save_model(model_for(COLUMNS), tmp_path / "m.safetensors")


def test_members_prepared_in_different_ways_are_no_committee():
    other = replace(COLUMNS, decimal=",")
    with pytest.raises(ValueError, match="preparation"):
        Committee((model_for(COLUMNS), model_for(other)))


def test_data_say_what_they_are_made_of():
    assert Dataset([[1.0]], [0]).preparation is None
