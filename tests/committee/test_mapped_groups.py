"""Who learns in one program with whom, and what is said of it."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deltarule import Dataset, Network, Recipe
from deltarule.committee_members import in_one_program, wanted_members
from deltarule.committee_training import side_by_side
from deltarule.data.unread import Unread
from deltarule.network import kernels

X = np.random.default_rng(0).normal(size=(70, 4))
TRAIN = Dataset(X[:50], (X[:50, 0] > 0).astype(int), ("no", "yes"))
VALIDATION = Dataset(X[50:], (X[50:, 0] > 0).astype(int), ("no", "yes"))
NETWORK = Network([4, 5, 2], dropout=0.2)
RECIPE = Recipe(epochs=6, optimizer="momentum", batch_size=4, seed=7)


def grouped(
    most: int = 9, validation: Dataset | None = VALIDATION, **asked: Any
) -> list[list[int]]:
    options = {"networks": NETWORK, "recipes": RECIPE, "views": "original", "members": 4} | asked
    training = options.pop("training", TRAIN)
    members = list(enumerate(wanted_members(**options), 1))
    groups = in_one_program(members, most, training, validation)
    return [[number for number, _ in group] for group in groups]


def test_groups() -> None:
    assert grouped() == [[1, 2, 3, 4]]
    assert grouped(most=3) == [[1, 2, 3], [4]]
    other = Network([4, 6, 2])
    assert grouped(networks=[NETWORK, other, NETWORK, other], members=4) == [[1, 3], [2, 4]]
    assert grouped(views=["original", "deskew"] * 2) == [[1, 3], [2, 4]]
    slower = replace(RECIPE, learning_rate=0.001)
    recipes = [RECIPE, slower, replace(RECIPE, seed=8), replace(slower, seed=9)]
    assert grouped(recipes=recipes) == [[1, 3], [2, 4]]


class OnDisk(Unread):
    def _read(self, parts: Any) -> Any:
        yield from ()


def test_examples_that_stay_on_the_disk_are_not_shared() -> None:
    unread = replace(TRAIN, x=OnDisk(np.float64, X[:50].shape))
    assert grouped(training=unread) == [[1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"recipes": Recipe(optimizer="lbfgs")}, "its searches are of different lengths"),
        ({"recipes": Recipe(early_stopping=2), "validation": None}, "each cuts off its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_stays_alone(options: dict[str, Any], why: str) -> None:
    assert grouped(**options) == [[1], [2], [3], [4]]


def words(**asked: Any) -> str:
    options = {"networks": NETWORK, "recipes": RECIPE, "members": 4, **asked}
    return side_by_side(options.pop("networks"), TRAIN, options.pop("validation", VALIDATION),
                        options.pop("recipes"), **options)  # fmt: skip


def test_accelerators_map_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = f"4 members, {min(os.cpu_count() or 1, 4)} at a time: a thread each"
    assert words().startswith(threads) or os.cpu_count() == 1
    monkeypatch.setattr(kernels, "current_backend", lambda: "gpu")
    assert words() == "4 members, 1, 2, 3, 4 in one program, mapped over them"
    assert words(mapped=False) == words(recipes=Recipe(optimizer="lbfgs"))
    assert words(mapped=False) == "4 members, one after another"
    assert words(mapped=False, jobs=3).startswith("4 members, 3 at a time: a thread each")
    assert words(members=1) == "1 member"
    two = words(networks=[NETWORK, NETWORK, Network([4, 6, 2]), NETWORK])
    assert two == "4 members, 1, 2, 4 in one program, mapped over them; one after another"
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        words(jobs=0)


def test_how_many_learn_in_one_program() -> None:
    assert [len(group) for group in grouped(most=None, members=70)] == [32, 32, 6]
    wide = Network([4, 8000, 8000, 2])  # half a gigabyte each with what the layers hand on
    assert [len(group) for group in grouped(most=None, networks=wide)] == [4]
    huge = Network([4, 16_000, 16_000, 2])
    assert [len(group) for group in grouped(most=None, networks=huge)] == [1] * 4
    assert [len(group) for group in grouped(most=2, networks=huge)] == [2, 2]
