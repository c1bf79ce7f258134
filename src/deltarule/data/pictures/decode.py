"""One picture file becomes numbers: what is refused, and what each kind of picture turns into.

Pillow does the decoding, of four formats only. A file is read whole and once, so that what is
hashed is what is decoded, and a file that changes is noticed (a mapped one would end the process).
"""

import contextlib
import hashlib
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from deltarule.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Fit = Literal["crop", "pad", "exact"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
KINDS = "PNG, JPEG, WebP or BMP"
LIMIT_PIXELS = 25_000_000
MOST_PIXELS = 178_956_970  # above this Pillow refuses whatever we say
BYTES_A_PIXEL = 8  # no format takes more: four channels of 16 bits
UPRIGHT_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that exchange height and width
ORIENTATION = 0x0112

# What Pillow raises for one damaged file or another.
DAMAGE = (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError)
DAMAGE_BELOW = (struct.error, zlib.error, EOFError, AttributeError)

_BEGINNINGS = {  # of files that are often found among pictures
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"%!PS": "EPS",
    b"SIMPLE": "FITS",
}
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"avif": "AVIF", b"WEBP": "WebP"}


_STRICTLY = threading.Lock()


class BadPictureError(Exception):
    """Why one file is of no use; the text goes on from its name: "is empty"."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself before anything is decoded; height and width upright."""

    height: int
    width: int
    grey: bool
    animated: bool
    format: str


@dataclass(frozen=True)
class Form:
    """What every picture is made into: its size in pixels, its channels, and how it is fitted."""

    height: int
    width: int
    channels: int
    fit: Fit

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one decoded picture: height, width, channels."""
        return self.height, self.width, self.channels


def pillow() -> Any:
    """Return the module ``PIL.Image``, or raise an ``ImportError`` that says how to get it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "pictures are read with Pillow, which is not installed; pip install deltarule[images]."
        ) from error
    return Image


def read_header(path: Path, limit: int = LIMIT_PIXELS) -> Header:
    """Return what the header says, without decoding; raise ``BadPictureError`` if it is bad."""
    _regular(path, limit)
    with _reasons(), _strictly(), open(path, "rb") as file, _opened(file, limit) as image:
        height, width = image.height, image.width
        # The plain method: that of PNG files decodes everything to look behind the pixels.
        if pillow().Image.getexif(image).get(ORIENTATION) in UPRIGHT_SIDEWAYS:
            height, width = width, height
        animated = bool(getattr(image, "is_animated", False))
        return Header(height, width, _is_grey(image), animated, str(image.format))


def read_picture(
    path: Path, form: Form, limit: int = LIMIT_PIXELS, seen: tuple[int, int] | None = None
) -> tuple[Pixels, str]:
    """Return the picture in ``form``, uint8 [height, width, channels], and its file's SHA-256.

    ``seen``: the size and the time of change (ns) the file had when it was listed. Raises
    ``BadPictureError`` if it has others now, or cannot be decoded to its end.
    """
    data = _whole(path, limit, seen)
    with _reasons(), _strictly(), _opened(BytesIO(data), limit) as image:
        if image.format == "PNG":
            _verify(data, limit)
        fitted = _fitted(_plain(image, form.channels), form)
        pixels = np.asarray(fitted, np.uint8).reshape(form.shape)
    return pixels, hashlib.sha256(data).hexdigest()


def shown(text: object) -> str:
    r"""Return ``str(text)`` with every character escaped that a terminal would act on.

    >>> print(shown("two\nlines"))
    two\nlines
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )


def check_limit(limit_pixels: object) -> int:
    """Return ``limit_pixels`` if it is a number of pixels that Pillow will go along with."""
    if isinstance(limit_pixels, int) and 0 < limit_pixels <= MOST_PIXELS:
        return int(limit_pixels)
    raise DataError(
        f"limit_pixels must be a whole number from 1 to {MOST_PIXELS:,}, got {limit_pixels!r}."
    )


# ---- files


def _regular(path: Path, limit: int) -> os.stat_result:
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadPictureError(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadPictureError("is not a regular file")
    if not status.st_size:
        raise BadPictureError("is empty (0 bytes)")
    if status.st_size > BYTES_A_PIXEL * limit + (1 << 20):
        raise BadPictureError(
            f"takes {status.st_size:,} bytes, more than a picture of {limit:,} pixels can"
        )
    return status


def _whole(path: Path, limit: int, seen: tuple[int, int] | None) -> bytes:
    status = _regular(path, limit)
    seen = seen or (status.st_size, status.st_mtime_ns)
    try:
        with open(path, "rb") as file:
            data = file.read(seen[0] + 1)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise BadPictureError(f"cannot be read: {error.strerror}") from None
    if (len(data), after.st_mtime_ns) != seen:
        raise BadPictureError("was changed while it was read")
    return data


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever Pillow raises for a damaged file into a ``BadPictureError``."""
    try:
        yield
    except DAMAGE + DAMAGE_BELOW as error:
        text = shown(error) if isinstance(error, OSError | SyntaxError | ValueError) else ""
        raise BadPictureError(f"is damaged ({text or type(error).__name__})") from None


@contextlib.contextmanager
def _strictly() -> Iterator[None]:
    """Refuse files that are cut off, also where a program has told Pillow to fill them in.

    The switch is one for the whole process, so one file at a time is decoded in it.
    """
    pillow()
    from PIL import ImageFile

    with _STRICTLY:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextlib.contextmanager
def _opened(file: IO[bytes], limit: int) -> Iterator["Image.Image"]:
    image_module = pillow()
    with warnings.catch_warnings():
        # Of bombs, which are refused below by our own limit; of EXIF data that is damaged.
        warnings.simplefilter("ignore")
        try:
            image = image_module.open(file, formats=FORMATS)
        except image_module.UnidentifiedImageError:
            raise BadPictureError(_unidentified(file)) from None
        except image_module.DecompressionBombError:
            raise BadPictureError(f"has more pixels than the limit, {limit:,}") from None
        with image:
            if image.width * image.height > limit:
                raise BadPictureError(
                    f"has {image.height:,} x {image.width:,} pixels, more than the limit, {limit:,}"
                )
            yield image


def _unidentified(file: IO[bytes]) -> str:
    file.seek(0)
    start = file.read(16)
    kind = next((name for mark, name in _BEGINNINGS.items() if start.startswith(mark)), None)
    kind = kind or _BRANDS.get(start[8:12])
    if kind and kind.upper() in FORMATS:
        return f"is damaged (it begins as a {kind} file, but its header makes no sense)"
    like = f"; it looks like {kind}, so convert it" if kind else ""
    return f"is not a {KINDS} picture{like}"


def _verify(data: bytes, limit: int) -> None:
    """Check the CRC of every chunk: decoding alone passes over those of the pixels."""
    with _opened(BytesIO(data), limit) as image:
        image.verify()


# ---- pixels


def _is_grey(image: "Image.Image") -> bool:
    if image.mode == "P" and image.palette is not None:
        rgb = np.frombuffer(bytes(image.palette.getdata()[1]), np.uint8)
        if image.palette.mode != "RGB" or rgb.size % 3:
            return False
        return bool((rgb.reshape(-1, 3) == rgb.reshape(-1, 3)[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _plain(image: "Image.Image", channels: int) -> "Image.Image":
    """Return the first frame upright, opaque on white, in 8 bits of grey or of RGB."""
    from PIL import Image, ImageOps

    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits: the high byte, as Pillow takes it of 16-bit RGB
        high = np.asarray(upright).astype(np.int64) >> 8
        upright = Image.fromarray(high.clip(0, 255).astype(np.uint8))
    elif upright.has_transparency_data:
        page = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(page, upright.convert("RGBA"))
    if upright.mode not in ("1", "L"):
        upright = upright.convert("RGB")
    return upright.convert("L" if channels == 1 else "RGB")


def _fitted(image: "Image.Image", form: Form) -> "Image.Image":
    from PIL import Image, ImageOps

    size = form.width, form.height
    if image.size == size:
        return image
    if form.fit == "exact":
        raise BadPictureError(
            f"has {image.height} x {image.width} pixels instead of {form.height} x {form.width}"
        )
    resize = ImageOps.fit if form.fit == "crop" else ImageOps.pad
    return resize(image, size, method=Image.Resampling.BILINEAR)
