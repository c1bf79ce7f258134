"""``environment.json``: what a result may depend on, and what of it a resumed run compares."""

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltarule import Dataset, Network, Recipe, training
from deltarule.errors import CheckpointError
from deltarule.learning import Run
from deltarule.network import companion
from deltarule.runs import RunFolder

DATA = Dataset(np.arange(24.0).reshape(12, 2) / 24, np.arange(12) % 2)
NATIVE = "deltarule-native"
NOTED = ("scipy", NATIVE, "companion")


def keep(folder: Path, **options: Any) -> Run:
    return training.train(Network([2, 3, 2]), DATA, None, Recipe(epochs=2), folder, **options)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def test_it_names_all_that_computes(folder: Path) -> None:
    keep(folder)
    kept = json.loads((folder / "environment.json").read_text())
    packages = ("deltarule", "jax", "jaxlib", "numpy", "optax", "scikit-learn", "scipy", NATIVE)
    assert {name: kept[name] for name in packages} == {name: installed(name) for name in packages}
    assert kept["companion"] == companion.describe()
    assert set(kept) == {*packages, "python", "system", "device", "companion"}


def test_it_says_whether_the_companion_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTARULE_NATIVE", "0")
    assert training.environment()["companion"] == "not in use: DELTARULE_NATIVE is 0"
    monkeypatch.setattr(training, "version", missing)
    assert training.environment()[NATIVE] is None


def missing(package: str) -> str:
    if package == NATIVE:
        raise PackageNotFoundError(package)
    return "1.0"


def test_what_is_noted_only_does_not_stop_a_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = training.environment()
    before = {name: here[name] for name in here if name not in NOTED}  # as runs kept it once
    monkeypatch.setattr(training, "environment", lambda: before)
    keep(folder)
    other = before | dict.fromkeys(NOTED, "another")
    monkeypatch.setattr(training, "environment", lambda: other)
    keep(folder, resume=True)
    with RunFolder(folder) as run:
        found = run.latest_checkpoint()
    assert found is not None
    assert found.header["environment"] == other
    monkeypatch.setattr(training, "environment", lambda: here)
    keep(folder, resume=True)
    for name in set(here) - set(NOTED):
        monkeypatch.setattr(training, "environment", lambda name=name: here | {name: "another"})
        with pytest.raises(CheckpointError, match=f"environment.{name}: it was"):
            keep(folder, resume=True)
