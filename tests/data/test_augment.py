"""Augmentation: what is read where, what is drawn, and that nothing else happens to an image.

Every ``Augment`` of the table inherits every law; the parts are checked against SciPy and by hand.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deltarule.data import augment
from deltarule.data.augment import Augment, augmentation, elastic_field

RNG = np.random.default_rng(0)
KEY = jax.random.key(7)
AMOUNTS = {
    "shift": Augment(shift=2.5),
    "rotation": Augment(rotation=30),
    "half a turn": Augment(rotation=180),
    "shear": Augment(shear=20),
    "either": Augment(rotation=15, shear=15, rotate_or_shear=True),
    "scale": Augment(scale=0.3),
    "elastic": Augment(elastic_alpha=36, elastic_sigma=6),
    "rough elastic": Augment(elastic_alpha=8, elastic_sigma=1.5),
    "crop": Augment(crop=3),
    "flip": Augment(flip=True),
    "everything": Augment(2, 15, 15, True, 0.15, 36, 6, 2, True),
}
SHAPE = (5, 12, 9)  # of most tests, because JAX compiles anew for every other
SHAPES = [(3, 28, 28, 1), (1, 1, 5), (4, 7, 8, 3)]

changed = jax.jit(Augment.apply, static_argnums=0)
resample = jax.jit(augment.resample)


every_augment = pytest.mark.parametrize("wanted", AMOUNTS.values(), ids=AMOUNTS)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def images(shape, dtype=np.uint8):
    return np.random.default_rng(1).integers(0, 256, shape).astype(dtype)


def grid(n, h, w):
    """Return each pixel's own place: rows and columns [n, h, w]."""
    return np.broadcast_to(np.indices((h, w))[:, None], (2, n, h, w)).astype(np.float32)


def whole_maps(wanted, n=2000):
    """Return the maps of n images as [n, 3, 3] matrices of (y, x, 1)."""
    maps = np.asarray(wanted._maps(KEY, n)).transpose(2, 0, 1)
    return np.concatenate([maps, np.broadcast_to([[[0, 0, 1]]], (n, 1, 3))], axis=1)


# ---- reading images anywhere


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32, np.bool_])
@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (2, 7, 10, 3), (2, 1, 4, 1), (1, 1, 1, 2)])
def test_bilinear_reading_agrees_with_scipy(shape, dtype):
    x = images(shape).astype(dtype)
    n, h, w, channels = shape
    places = RNG.uniform(-4, max(h, w) + 4, (2, n, 13, 11)).astype(np.float32)
    places[:, :, 0] = np.round(places[:, :, 0])  # whole places and the border itself too
    got = np.asarray(resample(jnp.asarray(x), *places))
    assert got.dtype == np.float32
    assert got.shape == (n, 13, 11, channels)
    for i in range(n):
        for c in range(channels):
            expected = ndimage.map_coordinates(
                x[i, ..., c].astype(np.float64), places[:, i], order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(got[i, ..., c], expected, atol=2e-3)


def test_bilinear_reading_by_hand():
    x = jnp.array([[[10.0, 20.0], [30.0, 50.0]]])[..., None]
    # row 1/4, column 1/2: above (10 + 20) / 2 = 15, below (30 + 50) / 2 = 40, and 15 + 25/4 = 21.25
    # row 1, column 1 1/2: half of 50, half of what is outside
    got = resample(x, jnp.array([[[0.25, 1.0]]]), jnp.array([[[0.5, 1.5]]]))
    assert got.ravel().tolist() == [21.25, 25.0]


@pytest.mark.parametrize("size", [(28, 28), (7, 10)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_whole_moves_are_exact(size, dtype):
    x = images((2, *size, 2), dtype)
    y, at = grid(2, *size)
    np.testing.assert_array_equal(resample(jnp.asarray(x), y, at), x)
    np.testing.assert_array_equal(resample(jnp.asarray(x), y, at[:, :, ::-1]), x[:, :, ::-1])
    moved = np.roll(x, (2, -3), axis=(1, 2))
    moved[:, :2], moved[:, :, -3:] = 0, 0  # what comes in is background, not the other side
    np.testing.assert_array_equal(resample(jnp.asarray(x), y - 2, at + 3), moved)
    np.testing.assert_array_equal(resample(jnp.asarray(x), y + 1000, at), np.zeros_like(x))


@pytest.mark.parametrize("side", [8, 9])
def test_a_quarter_turn_is_exact(side):
    x = images((3, side, side, 1))
    y, at = grid(3, side, side) - (side - 1) / 2  # from the centre
    got = resample(jnp.asarray(x), at + (side - 1) / 2, -y + (side - 1) / 2)
    np.testing.assert_array_equal(got, np.rot90(x, axes=(1, 2), k=1))


# ---- the maps that are drawn


def test_each_part_draws_what_it_says():
    one = np.eye(3)
    for degrees in (30, 180):
        turn = whole_maps(Augment(rotation=degrees))
        np.testing.assert_allclose(np.swapaxes(turn, 1, 2) @ turn, one[None] + 0 * turn, atol=1e-5)
        angles = np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
        assert_uniform(angles, degrees)
        np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-5)
    slant = whole_maps(Augment(shear=20)) - one
    assert_uniform(np.degrees(np.arctan(slant[:, 1, 0])), 20)  # columns move with the rows
    slant[:, 1, 0] = 0
    np.testing.assert_array_equal(slant, 0)
    scale = whole_maps(Augment(scale=0.2))
    for axis in (0, 1):
        assert_uniform(1 / scale[:, axis, axis] - 1, 0.2)
    assert abs(np.corrcoef(scale[:, 0, 0], scale[:, 1, 1])[0, 1]) < 0.1
    moved = whole_maps(Augment(shift=3)) - one
    for axis in (0, 1):
        assert_uniform(moved[:, axis, 2], 3)
    np.testing.assert_array_equal(moved[:, :, :2], 0)


def assert_uniform(values, limit):
    assert np.abs(values).max() <= limit * 1.0001
    assert np.std(values) == pytest.approx(limit / np.sqrt(3), rel=0.06)
    assert np.mean(values) == pytest.approx(0, abs=0.06 * limit)


def test_crops_and_flips_draw_every_case():
    cropped = whole_maps(Augment(crop=2)) - np.eye(3)
    for axis in (0, 1):
        assert set(cropped[:, axis, 2]) == {-2, -1, 0, 1, 2}
    flipped = whole_maps(Augment(flip=True))
    assert set(flipped[:, 1, 1]) == {-1, 1}
    assert flipped[:, 1, 1].mean() == pytest.approx(0, abs=0.1)
    assert (flipped[:, 0] == [1, 0, 0]).all()


def test_rotation_or_shear_draws_one_of_the_two():
    either = whole_maps(AMOUNTS["either"])
    turned, slanted = either[:, 0, 1] != 0, (either[:, 0, 1] == 0) & (either[:, 1, 0] != 0)
    assert (turned ^ slanted).all()
    assert turned.mean() == pytest.approx(0.5, abs=0.06)


def test_the_parts_follow_each_other_as_documented():
    """The parts draw the same whether alone or together, so the whole is their product."""
    alone = [
        Augment(flip=True), Augment(crop=2), Augment(rotation=40), Augment(shear=20),
        Augment(scale=0.3), Augment(shift=3),
    ]  # fmt: skip
    together = whole_maps(Augment(3, 40, 20, False, 0.3, crop=2, flip=True))
    expected = np.eye(3)
    for part in alone:
        expected = expected @ whole_maps(part)
    np.testing.assert_allclose(together, expected, atol=1e-4)


def test_an_image_is_read_where_its_map_says():
    wanted = Augment(2, 30, 20, False, 0.2, crop=1, flip=True)
    x = images((4, 11, 14))
    got = np.asarray(changed(wanted, KEY, jnp.asarray(x)))
    maps = np.asarray(wanted._maps(jax.random.split(KEY)[0], 4), np.float64)
    centre = np.array([5.0, 6.5])
    for i in range(4):
        matrix, origin = maps[:, :2, i], maps[:, 2, i]
        expected = ndimage.affine_transform(
            x[i].astype(np.float64), matrix, origin + centre - matrix @ centre,
            order=1, mode="grid-constant",
        )  # fmt: skip
        np.testing.assert_allclose(got[i], expected, atol=0.01)


# ---- the elastic field


@pytest.mark.parametrize(
    ("sigma", "alpha", "pixels"),
    [(4, 34, 1.38), (5, 36, 1.17), (5, 38, 1.24), (6, 36, 0.98), (6, 38, 1.03)],
)
def test_the_field_is_as_strong_as_derived(sigma, alpha, pixels):
    # U(-1, 1) has variance 1/3; a Gaussian of unit sum keeps 1 / (4 pi sigma^2) of it.
    assert alpha / (np.sqrt(12 * np.pi) * sigma) == pytest.approx(pixels, abs=0.006)
    field = np.asarray(elastic_field(KEY, 4000, (28, 28), alpha, sigma))
    assert field.shape == (2, 4000, 28, 28)
    rms = np.sqrt((field**2).mean(axis=(0, 1)))
    assert rms[13:15, 13:15].mean() == pytest.approx(pixels, rel=0.04)
    # In a corner a quarter of the noise is left, and all that is on the pixel's own row or column.
    corner = pixels / 2 * (1 + 1 / (np.sqrt(np.pi) * sigma))
    assert rms[[0, 0, -1, -1], [0, -1, 0, -1]].mean() == pytest.approx(corner, rel=0.04)
    assert np.abs(field.mean(axis=(0, 1))).max() < 0.06 * pixels


def test_the_field_is_smooth_and_each_image_has_its_own():
    field = np.asarray(elastic_field(KEY, 4000, (31, 29), 10, 4))
    y, x = field[0, :, 15, 14], field[1, :, 15, 14]
    for other in (field[0, :, 19, 14], field[0, :, 15, 10]):  # four pixels apart, down and left
        assert np.corrcoef(y, other)[0, 1] == pytest.approx(np.exp(-(4**2) / (4 * 4**2)), abs=0.05)
    assert abs(np.corrcoef(y, x)[0, 1]) < 0.06
    assert abs(np.corrcoef(y[1:], y[:-1])[0, 1]) < 0.06
    assert not np.array_equal(field, elastic_field(jax.random.key(8), 4000, (31, 29), 10, 4))


@pytest.mark.parametrize(("n", "sigma"), [(28, 6.0), (9, 1.0), (1, 2.0)])
def test_the_matrix_smooths_as_scipy_does(n, sigma):
    expected = ndimage.gaussian_filter1d(np.eye(n), sigma, mode="constant", truncate=8, axis=0)
    np.testing.assert_allclose(augment._gaussian(n, sigma), expected, atol=1e-6)


# ---- laws of every Augment


def check_shape_type_and_range(wanted, x):
    got = np.asarray(changed(wanted, KEY, jnp.asarray(x)))
    assert (got.shape, got.dtype) == (x.shape, np.float32)
    assert np.isfinite(got).all()
    assert got.min() >= 0
    assert got.max() <= x.max()
    # Floats take another way.
    np.testing.assert_array_equal(changed(wanted, KEY, jnp.asarray(x, jnp.float32)), got)


@every_augment
def test_shape_type_and_range_stay(wanted):
    check_shape_type_and_range(wanted, images(SHAPE))


@every_shape
def test_they_stay_for_any_size_and_channels(shape):
    check_shape_type_and_range(AMOUNTS["everything"], images(shape))


@every_augment
def test_the_key_decides_and_nothing_else(wanted):
    x = jnp.asarray(images(SHAPE))
    got = np.asarray(changed(wanted, KEY, x))
    np.testing.assert_array_equal(changed(wanted, KEY, x), got)
    assert not np.array_equal(changed(wanted, jax.random.key(8), x), got)
    assert not np.array_equal(got, x)


def test_compiled_or_not_it_is_the_same():
    x = jnp.asarray(images(SHAPE))
    wanted = AMOUNTS["everything"]
    np.testing.assert_allclose(wanted.apply(KEY, x), changed(wanted, KEY, x), atol=0.05)


@every_augment
def test_images_do_not_touch_each_other(wanted):
    x = np.zeros(SHAPE, np.uint8)
    x[2] = 255
    got = np.asarray(changed(wanted, KEY, jnp.asarray(x)))
    assert got[2].max() > 0
    assert got[[0, 1, 3, 4]].max() == 0
    others = images(SHAPE)
    others[2] = 255
    np.testing.assert_array_equal(changed(wanted, KEY, jnp.asarray(others))[2], got[2])


@every_augment
def test_equal_images_become_different_ones(wanted):
    x = jnp.asarray(np.repeat(images(SHAPE)[:1], SHAPE[0], axis=0))
    assert len(np.unique(np.asarray(changed(wanted, KEY, x)), axis=0)) > 1


def test_channels_move_together():
    wanted = AMOUNTS["everything"]
    x = images(SHAPE)
    got = np.asarray(changed(wanted, KEY, jnp.asarray(np.stack([x, x, 255 - x], axis=-1))))
    plain = np.asarray(changed(wanted, KEY, jnp.asarray(x)))
    np.testing.assert_array_equal(got[..., 0], plain)
    np.testing.assert_array_equal(got[..., 1], plain)


def test_double_precision_elsewhere_changes_nothing():
    wanted = dataclasses.replace(AMOUNTS["everything"], crop=0)  # randint draws by the width of int
    x = images(SHAPE)
    plain = changed(wanted, KEY, jnp.asarray(x))
    with jax.enable_x64(True):
        got = changed(wanted, jax.random.key(7), jnp.asarray(x))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, plain, atol=0.05)


@every_shape
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_nothing_asked_nothing_done(shape, dtype):
    x = images(shape, dtype)
    for nothing in (Augment(), Augment(rotate_or_shear=True)):  # the second goes all the way
        got = np.asarray(changed(nothing, KEY, x))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("n", [3, 7, 20])
def test_many_images_are_worked_on_part_by_part(n, monkeypatch):
    monkeypatch.setattr(augment, "PIXELS_AT_ONCE", 3 * 8 * 9)
    x = images((n, 8, 9, 2))
    got = jax.jit(Augment(rotate_or_shear=True).apply)(KEY, jnp.asarray(x))
    np.testing.assert_array_equal(got, x)  # each in its place
    equal = jnp.asarray(np.repeat(x[:1], n, axis=0))
    assert (
        len(np.unique(jax.jit(Augment(shift=3).apply)(KEY, equal), axis=0)) == n
    )  # each with its own draw


def test_one_image_may_be_larger_than_a_part(monkeypatch):
    monkeypatch.setattr(augment, "PIXELS_AT_ONCE", 10)
    x = images((3, 8, 8))
    got = jax.jit(Augment(rotate_or_shear=True).apply)(KEY, jnp.asarray(x))
    np.testing.assert_array_equal(got, x)


@settings(max_examples=20, deadline=None)
@given(
    st.builds(
        Augment, shift=st.floats(0, 50), rotation=st.floats(0, 180), shear=st.floats(0, 80),
        rotate_or_shear=st.booleans(), scale=st.floats(0, 0.9), crop=st.integers(0, 40),
        flip=st.booleans(),
    ),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_amounts_stay_within_the_range_of_the_image(wanted, seed):
    x = images(SHAPE)
    got = np.asarray(wanted.apply(jax.random.key(seed), jnp.asarray(x)))  # compiled op by op
    assert np.isfinite(got).all()
    assert got.min() >= 0
    assert got.max() <= x.max()


# ---- the value and its description


@every_augment
def test_a_description_makes_an_equal_one(wanted):
    again = Augment(**wanted.describe())
    assert again == wanted
    assert hash(again) == hash(wanted)
    assert set(wanted.describe()) == {field.name for field in dataclasses.fields(Augment)}


@pytest.mark.parametrize(
    ("amounts", "said"),
    [
        ({"shift": -1}, "shift must be a number from 0 to 1000, got -1"),
        ({"rotation": 181}, "rotation must be a number from 0 to 180, got 181"),
        ({"rotation": True}, "rotation must be a number"),
        ({"shear": 90}, "shear must be a number from 0 to 80, got 90"),
        ({"scale": 1}, "scale must be a number from 0 to 0.9, got 1"),
        ({"scale": float("nan")}, "got nan"),
        ({"shift": float("inf")}, "got inf"),
        ({"shift": "2"}, "got '2'"),
        ({"crop": 1.5}, "crop must be a whole number of pixels, at least 0, got 1.5"),
        ({"crop": -1}, "got -1"),
        ({"crop": True}, "got True"),
        ({"flip": 1}, "flip must be True or False, got 1"),
        ({"rotate_or_shear": None}, "rotate_or_shear must be True or False, got None"),
        ({"elastic_alpha": 36}, "elastic_sigma must be given together, got 36 and 0.0"),
        ({"elastic_sigma": 6}, "must be given together"),
    ],
)
def test_wrong_amounts(amounts, said):
    with pytest.raises(ValueError, match=said):
        Augment(**amounts)


@pytest.mark.parametrize("shape", [(5,), (5, 784), (2, 3, 4, 5, 6)])
def test_what_is_no_image(shape):
    with pytest.raises(ValueError, match=r"augment changes images, .* got shape \("):
        Augment(shift=1).apply(KEY, jnp.zeros(shape))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shift", Augment(shift=1)),
        ("affine", Augment(rotation=15, shear=15, rotate_or_shear=True, scale=0.15, shift=2)),
        ("elastic", Augment(elastic_alpha=36, elastic_sigma=6)),
        ("crop,flip", Augment(crop=4, flip=True)),
        ("flip , shift=0.5", Augment(flip=True, shift=0.5)),
        ("rotation=10", Augment(rotation=10)),
        ("affine,rotation=10,rotate_or_shear=no", Augment(2, 10, 15, False, 0.15)),
        ("crop=2", Augment(crop=2)),
        ("elastic,elastic_alpha=30", Augment(elastic_alpha=30, elastic_sigma=6)),
        ("elastic_alpha=0,elastic_sigma=0", Augment()),
        ("affine,shift", Augment(1, 15, 15, True, 0.15)),
    ],
)
def test_texts(text, expected):
    assert augmentation(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "augment must be one of shift, affine, elastic, crop, flip; got ''"),
        ("afine", r"got 'afine' \(did you mean 'affine'\?\)"),
        ("affine,,flip", "got ''"),
        ("rotatoin=3", r"got 'rotatoin' \(did you mean 'rotation'\?\)"),
        ("rotation=fast", "rotation must be a number, got 'fast'"),
        ("rotation=-1", "rotation must be a number from 0 to 180, got -1"),
        ("rotation=inf", "got inf"),
        ("crop=1.5", "crop must be a whole number"),
        ("flip=maybe", "flip must be one of yes, no; got 'maybe'"),
        ("elastic_alpha=3", "must be given together"),
    ],
)
def test_wrong_texts(text, said):
    with pytest.raises(ValueError, match=said):
        augmentation(text)
