"""The recipe: plain data with ranges, and errors that help."""

import dataclasses
import json

import numpy as np
import pytest

from deltarule.learning import Recipe
from deltarule.learning.optimizers import OPTIMIZERS, USUAL_LEARNING_RATE

NAN, INF = float("nan"), float("inf")

OUTSIDE = {
    "learning_rate": [-0.1, NAN, INF, "fast", True],
    "batch_size": [0, -1, 2.0, 2.5, None, True, "10", INF],
    "epochs": [0, -3, 1.5, None, 10_000_001],
    "l1": [-1e-9, NAN, INF, None],
    "l2": [-1e-9, NAN, INF, None],
    "momentum": [-0.1, 1.1, NAN, None],
    "beta1": [-0.1, 1.0, 2, NAN],
    "beta2": [-0.1, 1.0, 2, NAN],
    "epsilon": [-1e-9, NAN, INF],
    "weight_decay": [-1, NAN, INF],
    "clip": [0, -1, NAN, INF, "no"],
    "average": [-0.1, 1, NAN, "no"],
    "label_smoothing": [-0.1, 1.1, NAN],
    "decay": [-1, NAN, INF],
    "decay_every": [0, 1.5, None],
    "early_stopping": [0, -1, 2.5, True],
    "seed": [-1, 1.5, None, 2**63],
}
INSIDE = {
    "learning_rate": [0, 0.1, 1e6, None],
    "batch_size": [1, 10**9],
    "epochs": [1, 10_000_000],
    "l1": [0, 0.1],
    "l2": [0, 0.1],
    "momentum": [0, 1],
    "beta1": [0, 0.999999],
    "beta2": [0, 0.999999],
    "epsilon": [0, 1],
    "weight_decay": [0, 1],
    "clip": [1e-30, 1, None],
    "average": [0, 0.999],
    "label_smoothing": [0, 1],
    "decay": [0, 2, None],
    "decay_every": [1, 100],
    "early_stopping": [1, None],
    "seed": [0, 2**63 - 1],
}
EACH_OUTSIDE = [(name, value) for name, values in OUTSIDE.items() for value in values]
EACH_INSIDE = [(name, value) for name, values in INSIDE.items() for value in values]


def test_every_number_of_a_recipe_is_tested_here():
    others = {"cost", "optimizer", "schedule", "precision", "monitor", "class_weight", "augment"}
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert names == set(OUTSIDE) | others == set(INSIDE) | others


@pytest.mark.parametrize(("name", "value"), EACH_OUTSIDE)
def test_a_number_outside_its_range_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a (whole )?number of at least ") as told:
        Recipe(**{name: value})
    assert f"got {value!r}." in str(told.value)


@pytest.mark.parametrize(("name", "value"), EACH_INSIDE)
def test_a_number_inside_its_range_is_kept(name, value):
    assert getattr(Recipe(**{name: value}), name) == value


def test_numbers_become_pythons_own():
    """An int for a float, or a scalar of NumPy, would make another compiled program."""
    recipe = Recipe(learning_rate=1, l1=np.float32(0.5), batch_size=np.int64(5), momentum=0)
    kinds = [type(v) for v in (recipe.rate, recipe.l1, recipe.batch_size, recipe.momentum)]
    assert kinds == [float, float, int, float]
    assert recipe == Recipe(learning_rate=1.0, l1=0.5, batch_size=5, momentum=0.0)
    assert len({recipe, Recipe(learning_rate=1.0, l1=0.5, batch_size=5, momentum=0.0)}) == 1


CLOSE = {
    "cost": ("cross_entropi", "cross_entropy"),
    "optimizer": ("Adam", "adam"),
    "schedule": ("cosin", "cosine"),
    "precision": ("float", "float"),
    "monitor": ("val_accuracy", "validation_accuracy"),
}


@pytest.mark.parametrize("name", CLOSE)
def test_a_name_that_is_not_known_gets_a_hint(name):
    wrong, right = CLOSE[name]
    with pytest.raises(
        ValueError, match=rf"^{name} must be one of .*{wrong}.*did you mean '{right}"
    ):
        Recipe(**{name: wrong})


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize("value", ["zzzz", 3, ["zzzz"]])
def test_what_is_far_from_any_name_gets_the_list(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be one of ") as told:
        Recipe(**{name: value})
    assert "did you mean" not in str(told.value)


@pytest.mark.parametrize("value", ["balance", 3, ["a", "b"], [None]])
def test_class_weight_is_balanced_or_numbers(value):
    with pytest.raises(ValueError, match="class_weight must be 'balanced' or one number a class"):
        Recipe(class_weight=value)


@pytest.mark.parametrize("value", [[1, 2], (1.0, 2.0), np.array([1, 2])])
def test_class_weights_become_a_tuple(value):
    assert Recipe(class_weight=value).class_weight == (1.0, 2.0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_has_a_usual_rate(optimizer):
    assert Recipe(optimizer=optimizer).rate == USUAL_LEARNING_RATE[optimizer]
    assert Recipe(optimizer=optimizer, learning_rate=0.25).rate == 0.25
    assert Recipe(optimizer=optimizer, learning_rate=0).rate == 0


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(class_weight=(1, 2), early_stopping=3, monitor="train_cost", clip=1, decay=0.5),
        Recipe(class_weight="balanced", precision="float64", schedule="one_cycle", seed=2**63 - 1),
    ],
)
def test_described_stored_and_read_again(recipe):
    text = json.dumps(recipe.describe())
    assert Recipe.from_description(json.loads(text)) == recipe


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match=r"a recipe has no field 'lambda'; it has .*'l2'"):
        Recipe.from_description({"lambda": 5.0})
    assert Recipe.from_description({"epochs": 3}) == Recipe(epochs=3)


def test_a_recipe_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().epochs = 5
