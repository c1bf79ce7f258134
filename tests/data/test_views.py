"""Views are what they are called, of the same type and number, and the same every time."""

import numpy as np
import pytest

from deltarule.data import Dataset, views
from deltarule.data.views import shifted_copies, view, viewed
from deltarule.errors import DataError

VIEWS = [
    "original",
    "deskew",
    "width-10",
    "width-17",
    "pad-29",
    "width-16+pad-29",
    "deskew+width-9",
]

every_view = pytest.mark.parametrize("name", VIEWS)


def strokes(n=40, h=28, w=28, seed=0):
    """Return images of bright slanted bars of many widths and places, uint8 [n, h, w]."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n, h, w), np.uint8)
    rows, columns = np.indices((h, w))
    for image in images:
        top, slope, thick = rng.integers(4, 9), rng.uniform(-0.6, 0.6), rng.uniform(1, 4)
        middle = w / 2 + slope * (rows - h / 2) + rng.uniform(-2, 2)
        inside = (rows >= top) & (rows < h - top)
        bright = np.clip(thick - np.abs(columns - middle), 0, 1) * inside
        image[:] = np.rint(255 * bright)
    return images


def box_width(image):
    columns = np.flatnonzero((image != 0).any(axis=0))
    return columns[-1] - columns[0] + 1


def slant(image):
    """Return sum I dx dy / sum I dy^2 about the mean."""
    y, x = np.indices(image.shape)
    mass = image / image.sum()
    dy, dx = y - (mass * y).sum(), x - (mass * x).sum()
    return (mass * dx * dy).sum() / (mass * dy**2).sum()


# ---- every view


@every_view
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
def test_type_and_number_stay(name, dtype):
    x = strokes().astype(dtype)
    before = x.copy()
    got = view(name)(x)
    side = 29 if "pad" in name else 28
    assert (got.shape, got.dtype) == ((40, side, side), dtype)
    assert got.min() >= 0
    assert got.max() <= 255.001  # floats round
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(view(name)(x), got)
    np.testing.assert_array_equal(view(name)(x[..., None]), got[..., None])


@every_view
def test_each_image_by_itself_gives_the_same(name, monkeypatch):
    x = strokes(7)
    got = view(name)(x)
    for i in range(7):
        np.testing.assert_array_equal(view(name)(x[i : i + 1])[0], got[i])
    monkeypatch.setattr("deltarule.data.views.AT_ONCE", 3)
    np.testing.assert_array_equal(view(name)(x), got)


@every_view
def test_nothing_stays_nothing(name):
    assert not view(name)(np.zeros((2, 28, 28), np.uint8)).any()
    assert view(name)(np.zeros((0, 28, 28), np.uint8)).shape[0] == 0
    assert view(name)(np.zeros((0, 28, 28))).shape == view(name)(np.zeros((5, 28, 28))[:0]).shape


# ---- each of them


def test_the_original_is_the_original():
    for x in (strokes(2), np.arange(6.0).reshape(2, 3)):  # of anything, not of images only
        np.testing.assert_array_equal(view("original")(x), x)


@pytest.mark.parametrize("width", [1, 5, 10, 14, 20, 27, 28])
def test_the_width_is_as_asked(width):
    x = 255 * (strokes() > 100).astype(np.uint8)
    got = view(f"width-{width}")(x)
    assert {box_width(image) for image in got} == {width}
    columns = np.flatnonzero((got != 0).any(axis=(0, 1)))
    assert columns[0] == (28 - width) // 2  # in the middle
    np.testing.assert_array_equal((got != 0).any(axis=2), (x != 0).any(axis=2))  # the height stays


def test_ink_that_has_the_width_is_only_moved():
    x = np.zeros((1, 6, 10), np.uint8)
    x[0, 1:5, 6:9] = np.arange(1, 13).reshape(4, 3)
    moved = np.zeros_like(x)
    moved[0, 1:5, 3:6] = x[0, 1:5, 6:9]  # (10 - 3) // 2 = 3 columns before it
    np.testing.assert_array_equal(view("width-3")(x), moved)


def test_widths_by_hand():
    x = np.array([[[0, 0, 40, 81, 0, 0]]], np.uint8)
    # Twice as wide: new centres lie at -1/4, 1/4, 3/4 and 5/4 of the old, the ends held;
    # 40 + 41/4 = 50.25 and 40 + 3/4 41 = 70.75 are rounded.
    assert view("width-4")(x).tolist() == [[[0, 40, 50, 71, 81, 0]]]
    x = np.array([[[0, 96, 48, 24, 24, 0]]], np.uint8)
    # A quarter as wide: all four count, by 1 - distance / 4 from 3/2, so 5/8, 7/8, 7/8 and 5/8:
    # (60 + 42 + 21 + 15) / 3 = 46.
    assert view("width-1")(x).tolist() == [[[0, 0, 46, 0, 0, 0]]]


def test_deskewing_takes_the_slant_out():
    x = strokes()
    before = [abs(slant(image)) for image in x]
    after = [abs(slant(image)) for image in view("deskew")(x)]
    assert max(before) > 0.4
    assert max(after) < 0.02
    exact = view("deskew")(x.astype(np.float64))
    assert max(abs(slant(image)) for image in exact) < 1e-4
    np.testing.assert_allclose(exact.sum(axis=2), x.sum(axis=2), rtol=1e-4)  # rows are only moved


def test_what_stands_upright_is_not_deskewed():
    x = np.zeros((1, 9, 9), np.uint8)
    x[0, 2:7, 4] = 200
    np.testing.assert_array_equal(view("deskew")(x), x)
    np.testing.assert_array_equal(view("deskew")(x.swapaxes(1, 2)), x.swapaxes(1, 2))  # a dash


def test_a_sheared_image_is_made_upright():
    upright = np.zeros((1, 15, 21))
    upright[0, 2:13, 9:12] = 100.0
    sheared = np.stack([np.roll(row, i - 7) for i, row in enumerate(upright[0])])[None]
    np.testing.assert_allclose(view("deskew")(sheared), upright, atol=1e-3)


def test_padding():
    x = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3)
    assert view("pad-3")(x).tolist() == [[[1, 2, 3], [4, 5, 6], [0, 0, 0]]]
    assert view("pad-4")(x).tolist() == [[[0] * 4, [1, 2, 3, 0], [4, 5, 6, 0], [0] * 4]]
    assert view("pad-29")(strokes(1)).shape == (1, 29, 29)


def test_several_are_done_one_after_the_other():
    x = strokes()
    expected = view("pad-31")(view("width-12")(view("deskew")(x)))
    np.testing.assert_array_equal(view("deskew+width-12+pad-31")(x), expected)


def test_a_data_set_keeps_all_but_its_images():
    data = Dataset(strokes(3), [0, 1, 0], ("a", "b"), 1 / 255, "bars")
    seen = viewed(data, "width-10")
    np.testing.assert_array_equal(seen.x, view("width-10")(data.x))
    np.testing.assert_array_equal(seen.y, data.y)
    assert (seen.classes, seen.scale, seen.name) == (data.classes, data.scale, data.name)
    assert viewed(data, "original").fingerprint() == data.fingerprint()


@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_shifted_copies(pixels, channels):
    x = np.random.default_rng(0).integers(1, 256, (4, 6, 5, *channels)).astype(np.uint8)
    data = Dataset(x, [0, 1, 2, 1], ("a", "b", "c"), 1 / 255)
    copies = shifted_copies(data, pixels)
    assert (len(copies), copies.shape, copies.x.dtype) == (20, data.shape, np.uint8)
    np.testing.assert_array_equal(copies.y, [0, 1, 2, 1] * 5)
    assert (copies.classes, copies.scale) == (data.classes, data.scale)
    np.testing.assert_array_equal(copies.x[:4], x)
    for part, (axis, by) in enumerate([(1, -1), (1, 1), (2, -1), (2, 1)], 1):
        rolled = np.roll(x, by * pixels, axis)
        entered = slice(-pixels, None) if by < 0 else slice(0, pixels)
        rolled[(slice(None),) * axis + (entered,)] = 0
        np.testing.assert_array_equal(copies.x[4 * part : 4 * part + 4], rolled)


def test_shifted_copies_of_numbers_to_predict():
    data = Dataset(strokes(2), np.array([[0.5, 1.0], [2.0, 3.0]]))
    np.testing.assert_array_equal(shifted_copies(data).y, np.concatenate([data.y] * 5))


# ---- what is wrong


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deskw", r"view must be one of original, deskew, .*got 'deskw' \(did you mean 'deskew'"),
        ("width-", "got 'width-'"),
        ("width-0", "got 'width-0'"),
        ("width--3", "got 'width--3'"),
        ("width-1.5", "got 'width-1.5'"),
        ("width-14+", "got ''"),
        ("", "got ''"),
        (None, "got 'None'"),
    ],
)
def test_unknown_views(name, said):
    with pytest.raises(ValueError, match=said):
        view(name)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("width-29", (1, 28, 28), "'width-29' does not fit: it needs 29 pixels and has 28"),
        ("pad-27", (1, 28, 20), "'pad-27' does not fit: it needs 28 pixels and has 27"),
        ("deskew", (1, 28), r"'deskew' is of images, .* got shape \(1, 28\); give them this"),
        ("deskew", (1, 28, 28, 3), r"grey images, .* got shape \(1, 28, 28, 3\); choose a view"),
        ("width-9", (1, 28, 28, 3), "view 'width-9' looks for the ink of grey images"),
        ("flip", (1, 28), r"'flip' is of images, .* got shape \(1, 28\)"),
        ("left-1", (1, 8, 8, 3, 1), r"view 'left-1' is of images, .* got shape \(1, 8, 8, 3, 1\)"),
    ],
)
def test_images_that_do_not_fit(name, shape, said):
    with pytest.raises(DataError, match=said):
        view(name)(np.zeros(shape))


@pytest.mark.parametrize(("shape", "pixels"), [((3, 4), 1), ((3, 4, 4), 0), ((3, 4, 4), 4)])
def test_copies_that_cannot_be_shifted(shape, pixels):
    with pytest.raises(DataError, match=r"shifted copies are made of images .* got shape"):
        shifted_copies(Dataset(np.zeros(shape), [0, 1, 0]), pixels)


def test_moves_by_hand():
    image = np.array([[[1, 2], [3, 4]]], np.uint8)
    assert view("up-1")(image).tolist() == [[[3, 4], [0, 0]]]
    assert view("down-1")(image).tolist() == [[[0, 0], [1, 2]]]
    assert view("left-1")(image).tolist() == [[[2, 0], [4, 0]]]
    assert view("right-1")(image).tolist() == [[[0, 1], [0, 3]]]
    assert view("up-1+left-1")(image).tolist() == [[[4, 0], [0, 0]]]
    with pytest.raises(DataError, match="'shift-2' does not fit"):
        view("up-2")(image)


def test_turns_go_round_and_back():
    bar = np.zeros((1, 9, 9), np.uint8)
    bar[0, 4, 1:8] = 200  # lying; turned by a right angle it stands
    assert np.array_equal(view("clockwise-90")(bar), bar.transpose(0, 2, 1))
    dot = np.zeros((1, 9, 9), np.uint8)
    dot[0, 1, 4] = 200  # at the top; a right angle clockwise it is on the right
    assert view("clockwise-90")(dot)[0, 4, 7] == 200
    assert view("anticlockwise-90")(dot)[0, 4, 1] == 200
    assert np.array_equal(view("clockwise-90+anticlockwise-90")(dot), dot)


def test_flipped_by_hand():
    assert view("flip")(np.array([[[1, 2, 3], [4, 5, 6]]])).tolist() == [[[3, 2, 1], [6, 5, 4]]]


@pytest.mark.parametrize(
    "name", ["flip", "up-1", "right-2", "clockwise-7", "pad-12", "flip+left-1", "original"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_changed_one_by_one(name, channels):
    x = np.random.default_rng(3).integers(0, 256, (5, 9, 8, channels)).astype(np.uint8)
    got = view(name)(x)
    side = (12, 12) if name == "pad-12" else (9, 8)
    assert (got.shape, got.dtype) == ((5, *side, channels), np.uint8)
    for channel in range(channels):
        np.testing.assert_array_equal(got[..., channel], view(name)(x[..., channel]))
    assert got.flags.c_contiguous
    assert view(name)(x[:0]).shape == (0, *side, channels)


@pytest.mark.parametrize("name", ["left-1", "clockwise-7"])
def test_parts_of_any_size_give_the_same(name, monkeypatch):
    x = np.random.default_rng(4).integers(0, 256, (7, 6, 5, 3)).astype(np.uint8)
    whole = view(name)(x)
    for numbers in (1, 90, 200):  # one image at a time, one, two
        monkeypatch.setattr(views, "AT_ONCE", numbers)
        np.testing.assert_array_equal(view(name)(x), whole)


def test_what_is_true_or_false_is_rounded():
    bar = np.zeros((1, 9, 9), bool)
    bar[0, 4, 1:8] = True
    turned = view("clockwise-7")(bar)
    assert turned.dtype == bool
    np.testing.assert_array_equal(turned, view("clockwise-7")(255 * bar.astype(np.uint8)) > 127)
