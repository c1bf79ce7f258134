"""The recipe: plain data with ranges, and errors that help."""

import dataclasses
import json

import numpy as np
import pytest

from deltarule.learning import Recipe
from deltarule.learning.optimizers import OPTIMIZERS

NAN, INF = float("nan"), float("inf")

OUTSIDE = {
    "learning_rate": [-0.1, NAN, INF, "fast", True],
    "damping": [-0.1, NAN, INF, "much", True],
    "batch_size": [0, -1, 2.0, 2.5, True, "10", INF],
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
    "batch_size": [1, 10**9, None],
    "damping": [None],
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
    others = {
        "cost",
        "optimizer",
        "schedule",
        "precision",
        "monitor",
        "class_weight",
        "augment",
        "order",
    }
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


USUAL = {
    "sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "rmsprop": 0.001, "adam": 0.001,
    "adamw": 0.001, "diagonal_lm": 0.01, "adaptive_rate": 0.1,
}  # fmt: skip


def cost_for(optimizer):
    return "quadratic" if OPTIMIZERS[optimizer].quadratic else "cross_entropy"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_has_a_usual_rate_or_finds_its_steps(optimizer):
    assert Recipe(optimizer=optimizer, cost=cost_for(optimizer)).rate == USUAL.get(optimizer, 1.0)
    if optimizer in USUAL:
        assert Recipe(optimizer=optimizer, learning_rate=0.25).rate == 0.25
        assert Recipe(optimizer=optimizer, learning_rate=0).rate == 0
    else:
        with pytest.raises(ValueError, match=f"{optimizer} finds the length of its steps"):
            Recipe(optimizer=optimizer, cost=cost_for(optimizer), learning_rate=0.1)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"damping": 0.1}, "damping is not used by sgd"),
        ({"optimizer": "levenberg_marquardt"}, "is for sums of squares: choose cost='quadratic'"),
        ({"optimizer": "bfgs", "clip": 1.0}, "clip changes what bfgs compares"),
        ({"optimizer": "bfgs", "schedule": "cosine"}, "schedule"),
        ({"optimizer": "adam", "learning_rate": "auto"}, "auto"),
        ({"learning_rate": "automatic"}, "learning_rate must be a number"),
    ],
)
def test_what_an_optimizer_would_ignore_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**fields)


def test_damping_is_the_usual_one_unless_given():
    assert Recipe(optimizer="diagonal_lm").mu == 0.02
    assert Recipe(optimizer="diagonal_lm", damping=0).mu == 0
    assert Recipe().mu == 0


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
