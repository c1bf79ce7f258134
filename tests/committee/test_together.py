"""Members that could not answer together are refused before any of them is trained."""

import numpy as np
import pytest

from deltarule import Dataset, Network, Recipe, train_committee

X = np.random.default_rng(0).random((12, 3))
CLASSES = Dataset(X, np.arange(12) % 2)
NUMBERS = Dataset(X, X[:, :2])


def test_a_vote_needs_classes(tmp_path):
    network = Network([3, 2], output="identity")
    with pytest.raises(ValueError, match="combine 'vote' needs classes"):
        train_committee(network, NUMBERS, None, Recipe(cost="quadratic"), tmp_path / "run",
                        members=2, combine="vote")  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_members_end_alike(tmp_path):
    networks = [Network([3, 2], output="softmax"), Network([3, 2])]
    with pytest.raises(ValueError, match="the first has 'softmax', another 'sigmoid'"):
        train_committee(networks, CLASSES, None, Recipe(), tmp_path / "run", members=2)
    assert not (tmp_path / "run").exists()


def test_no_shape_is_no_input():
    for layers in (["Scale", "layers", [{"layer": "Flatten"}]], ["Concat", "branches", [[]]]):
        described = [{"layer": layers[0], layers[1]: layers[2]}]
        with pytest.raises(ValueError, match="shape must be given"):
            Network.from_description(described).init(None, ())
