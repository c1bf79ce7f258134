"""What docs/augmentation.md says of seconds and memory is what was measured and stored."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other

costs = importlib.import_module("augmentation")
STORED = json.loads(costs.PATH.read_text("utf-8"))


@pytest.mark.parametrize("size", ["128", "512"])
def test_an_epoch_of_affine_and_elastic_costs_no_more_than_the_page_says(size: str) -> None:
    assert STORED["epochs"]["affine,elastic"][size]["processor_seconds"] < 2
    assert 0 < costs.added_mib(STORED, "affine,elastic", size) < 200


def test_the_page_shows_what_is_stored() -> None:
    page = costs.PAGE.read_text("utf-8")
    assert costs.tables(STORED) in page
    assert "less than 2 s of processor time and 200 MiB" in page
    assert "shared with other work" in page or not STORED["shared"]


def test_one_measurement(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(costs, "IMAGES", 40)
    monkeypatch.setattr(costs, "ROUNDS", 2)
    monkeypatch.setattr(sys, "argv", ["augmentation.py", "--one", "affine", "20"])
    costs.main()
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == STORED["epochs"]["affine"]["512"].keys()
    assert all(value > 0 for value in found.values())
