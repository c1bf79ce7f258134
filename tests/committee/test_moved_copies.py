"""Test-time augmentation: one model, asked about moved copies, answers as a committee."""

import numpy as np
import pytest
from scipy.ndimage import rotate

from deltarule.committee import Committee, with_moved_copies
from deltarule.data import Dataset
from deltarule.data.views import view
from deltarule.learning import evaluate
from deltarule.network import Activation, Dense, Flatten, Model, Network


def model(seed=0):
    network = Network([16, 3], output="softmax")
    params, state = network.init(np.random.default_rng(seed))
    return Model(network, params, state, (4, 4), classes=("a", "b", "c"))


X = np.random.default_rng(1).integers(0, 3, (20, 4, 4)).astype(np.uint8)


@pytest.mark.parametrize(
    ("names", "copies"),
    [("shift", 9), ("rotate", 3), ("flip", 2), ("shift,rotate", 27), ("shift,flip", 18)],
)
def test_every_copy_is_asked_once_and_the_image_itself_too(names, copies):
    asked = with_moved_copies(model(), names)
    assert len(asked.members) == len(set(asked.views)) == copies
    assert "original" in asked.views


def test_the_answer_is_the_mean_over_the_moved_images():
    moved = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            framed = np.pad(X, ((0, 0), (1, 1), (1, 1)))
            moved.append(framed[:, 1 - down : 5 - down, 1 - right : 5 - right])
    mean = np.mean([model().outputs(x) for x in moved], axis=0)
    np.testing.assert_allclose(with_moved_copies(model(), "shift").outputs(X), mean, rtol=1e-6)
    assert np.abs(mean - model().outputs(X)).max() > 0.01


def test_turned_copies_are_turned_by_seven_degrees_both_ways():
    turned = [np.rint(rotate(X.astype(np.float32), degrees, axes=(2, 1), reshape=False, order=1))
              for degrees in (-7, 0, 7)]  # fmt: skip
    assert not np.array_equal(turned[0], turned[2])
    mean = np.mean([model().outputs(x.astype(np.uint8)) for x in turned], axis=0)
    np.testing.assert_allclose(with_moved_copies(model(), "rotate").outputs(X), mean, rtol=1e-6)


def test_a_committee_that_votes_lets_every_copy_vote():
    asked = with_moved_copies(Committee((model(0), model(1)), combine="vote"), "shift")
    votes = np.stack([
        each.predict(view(name)(X)) for each, name in zip(asked.members, asked.views, strict=True)
    ])  # fmt: skip
    assert len(votes) == 18
    shares = (votes[:, :, None] == np.arange(3)).mean(axis=0)
    np.testing.assert_allclose(asked.outputs(X), shares)
    assert (shares.max(axis=1) < 1).any()  # they do not all agree


def test_a_committee_keeps_its_views_and_how_it_decides():
    committee = Committee((model(0), model(1)), ("original", "deskew"), "vote")
    asked = with_moved_copies(committee, "rotate")
    assert asked.combine == "vote"
    assert asked.views[:3] == ("original", "clockwise-7+original", "anticlockwise-7+original")
    assert asked.views[3:] == ("deskew", "clockwise-7+deskew", "anticlockwise-7+deskew")


def test_it_is_evaluated_as_any_model():
    data = Dataset(X, np.arange(20) % 3, classes=("a", "b", "c"))
    asked = with_moved_copies(model(), "shift")
    result = evaluate(asked, data)
    np.testing.assert_allclose(result.probabilities, asked.outputs(X), rtol=1e-12)
    assert result.correct == (asked.predict(X) == data.y).sum()
    right = asked.outputs(X)[np.arange(20), data.y]
    assert result.cost == pytest.approx(-np.log(right).mean(), rel=1e-9)
    assert len(result.member_accuracies) == 9


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"--tta must be one of shift, rotate, flip; got 'turn'"):
        with_moved_copies(model(), "turn")


def test_colour_images_are_moved_and_mirrored_too():
    network = Network(Flatten(), Dense(2), Activation("softmax"), shape=(4, 4, 3))
    params, state = network.init(np.random.default_rng(0))
    colours = np.random.default_rng(1).integers(0, 3, (20, 4, 4, 3)).astype(np.uint8)
    asked = Model(network, params, state, (4, 4, 3), classes=("a", "b"))
    mean = (asked.outputs(colours) + asked.outputs(colours[:, :, ::-1])) / 2
    np.testing.assert_allclose(with_moved_copies(asked, "flip").outputs(colours), mean, rtol=1e-6)
    assert np.abs(mean - asked.outputs(colours)).max() > 0.01
    assert with_moved_copies(asked, "shift,rotate").outputs(colours).shape == (20, 2)
