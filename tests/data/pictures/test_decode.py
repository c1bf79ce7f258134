"""One picture file: what each kind becomes, and every way a file can be bad."""

import contextlib
import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from deltarule.data.pictures.decode import (
    BadPictureError,
    Form,
    read_header,
    read_picture,
)

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREYS = RNG.integers(0, 256, (5, 7), np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def decoded(path, channels=3, h=5, w=7, fit="exact", **options):
    return read_picture(path, Form(h, w, channels, fit), **options)[0]


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(height, width):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + (
        png_chunk(b"IEND", b"")
    )  # fmt: skip


# ---- what each kind becomes (row 70)


@pytest.mark.parametrize("ending", ["png", "bmp", "webp"])
def test_lossless_formats_come_back_to_the_byte(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    path = saved(tmp_path / f"a.{ending}", Image.fromarray(COLOURS), **options)
    np.testing.assert_array_equal(decoded(path), COLOURS)


def test_jpeg_is_near(tmp_path):
    smooth = np.add.outer(np.arange(16) * 8, np.arange(16) * 8).astype(np.uint8)
    path = saved(tmp_path / "a.jpg", Image.fromarray(smooth), quality=95)
    near = decoded(path, 1, 16, 16)[..., 0].astype(int)
    assert np.abs(near - smooth).max() <= 4


def test_grey_to_colour_repeats_and_back_is_exact(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(GREYS))
    np.testing.assert_array_equal(decoded(path), np.repeat(GREYS[..., None], 3, axis=2))
    assert read_header(path).grey
    repeated = saved(tmp_path / "b.png", Image.fromarray(np.repeat(GREYS[..., None], 3, axis=2)))
    np.testing.assert_array_equal(decoded(repeated, 1)[..., 0], GREYS)
    assert not read_header(repeated).grey


def test_colour_to_grey_weighs_as_the_eye(tmp_path):
    # ITU-R 601: 0.299 of 255 is 76, 0.587 is 150, 0.114 is 29
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(rgb))
    assert decoded(path, 1, 1, 3).ravel().tolist() == [76, 150, 29]


def test_of_16_bits_the_high_byte_is_taken(tmp_path):
    deep = np.array([[0, 255, 256, 0x1234, 0xFFFF]], np.uint16)
    path = saved(tmp_path / "a.png", Image.fromarray(deep))
    assert decoded(path, 1, 1, 5).ravel().tolist() == [0, 0, 1, 0x12, 255]
    assert read_header(path).grey


def test_cmyk_is_what_is_left_of_white(tmp_path):
    # (255 - ink)(255 - black)/255: full cyan leaves no red, half black halves everything
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 0], inks[..., 3] = 255, 127
    path = saved(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100)
    assert np.abs(decoded(path, 3, 16, 16)[8, 8].astype(int) - [0, 128, 128]).max() <= 2
    assert not read_header(path).grey


def test_palette_and_its_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path = saved(tmp_path / "a.png", image)
    assert decoded(path, 3, 1, 3).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert not read_header(path).grey
    path = saved(tmp_path / "b.png", image, transparency=1)
    assert decoded(path, 3, 1, 3).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    image.putpalette([10, 10, 10, 40, 40, 40, 70, 70, 70])
    path = saved(tmp_path / "c.png", image)
    assert read_header(path).grey
    assert decoded(path, 1, 1, 3).ravel().tolist() == [10, 40, 70]


def test_alpha_lies_on_white(tmp_path):
    # 100 at an opacity of 51/255 = 0.2 is 0.2*100 + 0.8*255 = 224
    rgba = np.array([[[100, 100, 100, 0], [100, 100, 100, 51], [100, 100, 100, 255]]], np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(rgba))
    assert decoded(path, 1, 1, 3).ravel().tolist() == [255, 224, 100]
    grey = saved(tmp_path / "b.png", Image.fromarray(rgba).convert("LA"))
    assert decoded(grey, 1, 1, 3).ravel().tolist() == [255, 224, 100]
    assert read_header(grey).grey


TURNS = {  # EXIF orientation: what the stored array needs
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_exif_turns_upright(tmp_path, orientation, mode):
    stored = {"L": GREYS, "RGB": COLOURS, "I;16": GREYS.astype(np.uint16) << 8}[mode]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", Image.fromarray(stored), exif=exif)
    upright = TURNS[orientation](COLOURS if mode == "RGB" else GREYS)
    header = read_header(path)
    assert (header.height, header.width) == upright.shape[:2]
    pixels = decoded(path, 3 if mode == "RGB" else 1, header.height, header.width)
    np.testing.assert_array_equal(pixels.reshape(upright.shape), upright)


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_turns_a_jpeg_upright(tmp_path, orientation):
    stored = np.zeros((16, 24), np.uint8)  # of four corners, three are told apart
    stored[:8, :8], stored[8:, 16:] = 100, 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", Image.fromarray(stored), quality=100, exif=exif)
    upright = TURNS[orientation](stored)
    header = read_header(path)
    assert (header.height, header.width) == upright.shape
    pixels = decoded(path, 1, *upright.shape)[..., 0]
    assert np.abs(pixels.astype(int) - upright).max() <= 2


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_of_an_animation_the_first_picture(tmp_path, ending):
    first, second = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    options = {"lossless": True} if ending == "webp" else {}
    path = tmp_path / f"a.{ending}"
    first.save(path, save_all=True, append_images=[second], **options)
    assert read_header(path).animated
    np.testing.assert_array_equal(decoded(path), COLOURS)


# ---- fitting (row 72)


def test_crop_keeps_the_centre_and_pad_adds_black(tmp_path):
    # 2 x 4 of 9s with a 5 in the outer columns: cropped to 2 x 2 the 5s go
    wide = np.array([[5, 9, 9, 5]] * 2, np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(wide))
    assert decoded(path, 1, 2, 2, "crop")[..., 0].tolist() == [[9, 9], [9, 9]]
    assert decoded(path, 1, 4, 4, "pad")[..., 0].tolist() == [
        [0] * 4, [5, 9, 9, 5], [5, 9, 9, 5], [0] * 4,
    ]  # fmt: skip
    with pytest.raises(BadPictureError, match="has 2 x 4 pixels instead of 2 x 2"):
        decoded(path, 1, 2, 2, "exact")


# ---- bad files (rows 68, 69, 73)


def jpeg_bytes():
    out = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (32, 32, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


def png_bytes(array=COLOURS):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def bad_pixel_crc():
    data = bytearray(png_bytes())
    data[data.index(b"IEND") - 5] ^= 1  # the last byte of the CRC of the pixels
    return bytes(data)


BAD = {
    "cut.jpg": (jpeg_bytes()[:-200], "is damaged .*truncated"),
    "cut.png": (png_bytes()[:-40], "is damaged"),
    "crc.png": (bad_pixel_crc(), "is damaged .*broken PNG"),
    "empty.png": (b"", r"is empty \(0 bytes\)"),
    "text.jpg": (b"this is no picture", "is not a PNG, JPEG, WebP or BMP picture$"),
    "a.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "looks like HEIC, so convert it"),
    "a.gif": (b"GIF89a" + b"\0" * 20, "looks like GIF"),
    "eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "looks like EPS, so convert"),
    "a.fits": (b"SIMPLE  =                    T", "looks like FITS"),
    "head.png": (png_bytes()[:20], "is damaged"),
    "bomb.png": (png_of_size(50_000, 50_000), "more pixels than the limit, 25,000,000"),
    "large.png": (png_of_size(5001, 5000), "has 5,001 x 5,000 pixels, more than the limit"),
    "warn.png": (png_of_size(10_000, 10_000), "more than the limit"),  # Pillow would warn
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_says_why(tmp_path, name):
    data, reason = BAD[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(BadPictureError, match=reason):
        decoded(path, fit="crop")


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "crc.png"])
def test_a_program_that_lets_pillow_fill_in_changes_nothing(tmp_path, name, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = tmp_path / name
    path.write_bytes(BAD[name][0])
    Image.open(path).load()  # Pillow takes it
    with pytest.raises(BadPictureError, match="is damaged"):
        decoded(path, fit="crop")
    assert ImageFile.LOAD_TRUNCATED_IMAGES  # it is theirs


def test_other_decoders_are_never_asked(tmp_path):
    for kind in ("TIFF", "EPS"):
        path = saved(tmp_path / "a.png", Image.fromarray(GREYS), format=kind)
        for read in (read_header, decoded):
            with pytest.raises(BadPictureError, match=f"looks like {kind}"):
                read(path)


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with open(path, "wb") as file:
        file.write(png_bytes())
        file.truncate(1 << 33)  # sparse
    with pytest.raises(BadPictureError, match=r"takes 8,589,934,592 bytes"):
        decoded(path)


def test_a_file_that_changed_is_noticed(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS))
    status = os.stat(path)
    seen = (status.st_size, status.st_mtime_ns)
    assert decoded(path, seen=seen).shape == (5, 7, 3)
    for wrong in [(seen[0] + 1, seen[1]), (seen[0] - 1, seen[1]), (seen[0], seen[1] + 1)]:
        with pytest.raises(BadPictureError, match="was changed while it was read"):
            decoded(path, seen=wrong)


def test_what_is_no_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone")
    for name, reason in [("pipe.png", "not a regular file"), ("nowhere.png", "No such file")]:
        with pytest.raises(BadPictureError, match=reason):
            read_header(tmp_path / name)
        with pytest.raises(BadPictureError, match=reason):
            decoded(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP"]))
def test_damage_is_a_reason_and_nothing_else(tmp_path_factory, data, kind):
    out = io.BytesIO()
    Image.fromarray(COLOURS).save(out, kind)
    content = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_header, lambda path: decoded(path, fit="crop")):
            with contextlib.suppress(BadPictureError):
                read(path)
