"""A sheet of examples holds every image it was given, in order, on one scale."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from deltarule import plots


def drawn(ax):
    return [np.asarray(image.get_array()) for image in ax.images]


def positions(ax):
    """Return the left and top edges of the images."""
    extents = [image.get_extent() for image in ax.images]
    return [left for left, *_ in extents], [top for *_, top in extents]


@pytest.mark.parametrize("shape", [(4, 4), (7, 5), (7, 5, 1), (6, 8, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_image_is_there_in_order(shape, dtype):
    images = np.arange(6 * np.prod(shape)).reshape(6, *shape).astype(dtype)
    ax = plots.examples(images, rows=2)
    low, high = float(images.min()), float(images.max())
    for tile, image in zip(drawn(ax), images, strict=True):
        expected = (image.astype(float) - low) / (high - low)
        np.testing.assert_allclose(tile.reshape(shape), expected, atol=1e-6)
    left, top = positions(ax)
    assert left[:3] == left[3:] == sorted(set(left))
    assert top[0] == top[1] == top[2] < top[3] == top[4] == top[5]


def test_black_is_the_smallest_and_white_the_largest_of_all():
    ax = plots.examples(np.array([[[-3.0, 0.0]], [[1.0, 5.0]]]))
    assert [tile.ravel().tolist() for tile in drawn(ax)] == [[0, 0.375], [0.5, 1]]
    assert {image.get_clim() for image in ax.images} == {(0, 1)}
    assert {image.get_cmap().name for image in ax.images} == {"gray"}
    assert drawn(plots.examples(np.full((1, 2, 2), 7)))[0].max() == 0  # nothing to tell apart


def test_titles_and_heading():
    names = ["original", "$x$", "a name so long that it must be cut in the middle"]
    ax = plots.examples(np.zeros((3, 4, 4)), names, heading="Views")
    assert [text.get_text() for text in ax.texts][:2] == names[:2]
    assert len(ax.texts[2].get_text()) == 24
    assert ax.get_title("left") == "Views"
    assert plots.examples(np.zeros((3, 4, 4))).get_title("left") == "Examples: 3"
    assert not plots.examples(np.zeros((3, 4, 4))).texts


def test_it_draws_on_the_axes_it_is_given(tmp_path):
    mine = Figure().subplots()
    assert plots.examples(np.zeros((2, 3, 3)), ax=mine) is mine
    assert plots.save(mine, tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_the_data_stay_as_they_are():
    images = np.random.default_rng(0).random((3, 5, 5))
    before = images.copy()
    plots.examples(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("images", "titles", "rows"),
    [
        (np.zeros((4, 4)), (), None),
        (np.zeros((0, 4, 4)), (), None),
        (np.zeros((2, 4, 4, 2)), (), None),
        (np.zeros((2, 4, 4)), ("one",), None),
        (np.zeros((2, 4, 4)), (), -1),
        (np.zeros((401, 1, 1)), (), None),
    ],
)
def test_what_does_not_fit(images, titles, rows):
    with pytest.raises(ValueError, match=r"images and titles must be .*, got shape \("):
        plots.examples(images, titles, rows=rows)
