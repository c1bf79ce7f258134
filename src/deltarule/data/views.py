"""Other views of the same images, by name, for the members of a committee; and shifted copies.

A view changes every image in one fixed way: a digit made 14 pixels wide, or with its slant taken
out. Networks that see different views make different mistakes (Ciresan, Meier and Schmidhuber,
"Multi-column Deep Neural Networks for Image Classification", CVPR 2012). Changes at random, drawn
anew in every epoch, are in ``augment.py``.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from deltarule.choices import choose
from deltarule.data.dataset import Dataset
from deltarule.errors import DataError

Images = npt.NDArray[Any]  # [n, h, w] or [n, h, w, channels]
View = Callable[[Images], Images]

NAMES = ("original", "deskew", "width-14", "pad-29", "up-1", "down-1", "left-1", "right-1",
         "clockwise-7", "anticlockwise-7", "flip")  # the numbers as examples  # fmt: skip
OF_INK = ("deskew", "width")  # what they do depends on where an image is bright: grey images only
AT_ONCE = 1 << 21  # numbers worked on together, so that those in between need little memory


def view(name: str) -> View:
    """Return the function from images, [n, h, w] or [n, h, w, channels], to the view ``name``.

    "original" changes nothing, and takes any array. "width-14" makes what is not 0 in an image 14
    pixels wide and puts it in the middle, its height unchanged. "deskew" takes the slant out.
    "pad-29" adds zeros around up to 29 x 29. "up-1", "down-1", "left-1" and "right-1" move the
    image by a pixel, what moves in being 0; "clockwise-7" and "anticlockwise-7" turn it by 7
    degrees; "flip" mirrors left and right, which is not for digits. Several are joined, the first
    one first: "deskew+pad-29". Values keep their type, integers are rounded. Colour images have
    all views but those that look for ink, "width-14" and "deskew".

    Raises ``ValueError`` for another name, and ``DataError`` if the images do not fit.

    >>> image = np.array([[[0, 9, 9, 0], [0, 9, 9, 0]]], np.uint8)
    >>> view("width-4")(image).tolist()
    [[[9, 9, 9, 9], [9, 9, 9, 9]]]
    """
    parts = [_view(part) for part in str(name).split("+")]
    return lambda x: reduce(lambda images, part: part(images), parts, np.asarray(x))


def viewed(dataset: Dataset, name: str) -> Dataset:
    """Return the data set with each image replaced by its view called ``name``.

    >>> data = Dataset(np.eye(4, dtype=np.uint8)[None], [0])
    >>> viewed(data, "pad-6").shape
    (6, 6)
    """
    if name == NAMES[0]:
        return dataset  # which may be larger than memory
    return replace(dataset, x=view(name)(dataset.x))


def shifted_copies(dataset: Dataset, pixels: int = 1) -> Dataset:
    """Return the images and four copies, shifted up, down, left and right: five times as many.

    The ``dataset`` comes first, then each of the copies in its order. What moves in is 0.
    (Nielsen, chapter 3, "expand_mnist".) Raises ``DataError`` unless the examples are images.

    >>> data = Dataset(np.array([[[1, 2], [3, 4]]]), [0])
    >>> shifted_copies(data).x.tolist()
    ... # doctest: +NORMALIZE_WHITESPACE
    [[[1, 2], [3, 4]], [[3, 4], [0, 0]], [[0, 0], [1, 2]], [[2, 0], [4, 0]], [[0, 1], [0, 3]]]
    """
    x = dataset.x
    if x.ndim not in (3, 4) or not 1 <= pixels < min(x.shape[1:3]):
        raise DataError(
            "shifted copies are made of images [n, h, w] or [n, h, w, channels], by at least 1 "
            f"pixel and less than their size, got shape {x.shape} and pixels={pixels}."
        )
    copies = np.zeros((5, *x.shape), x.dtype)
    copies[0] = x
    copies[1, :, :-pixels] = x[:, pixels:]
    copies[2, :, pixels:] = x[:, :-pixels]
    copies[3, :, :, :-pixels] = x[:, :, pixels:]
    copies[4, :, :, pixels:] = x[:, :, :-pixels]
    y = np.tile(dataset.y, (5, *(1,) * (dataset.y.ndim - 1)))
    return replace(dataset, x=copies.reshape(-1, *x.shape[1:]), y=y)


def _view(name: str) -> View:
    """Return one view; of ``name`` "width-14" the 14 is a number of pixels."""
    numbered = re.fullmatch(r"([a-z]+)-([1-9]\d{0,3})", name)
    if numbered and numbered[1] in _NUMBERED:
        return partial(_on_images, name, partial(_NUMBERED[numbered[1]], size=int(numbered[2])))
    choose("view", name, dict.fromkeys(NAMES))
    return partial(_on_images, name, _NAMED[name]) if name in _NAMED else lambda x: x


def _on_images(name: str, change: View, x: Images) -> Images:
    """Return ``change`` of images as floats, part by part, in the type and shape they came."""
    _check_images(name, x)
    if not len(x):  # what an empty set becomes, is seen from one image
        return _on_images(name, change, np.zeros((1, *x.shape[1:]), x.dtype))[:0]
    parts, at_once = [], max(1, AT_ONCE // max(1, x[0].size))
    for first in range(0, len(x), at_once):
        planes = _planes(x[first : first + at_once]).astype(np.result_type(x, np.float32))
        changed = change(planes)
        changed = np.rint(changed) if x.dtype.kind in "uib" else changed
        parts.append(_put_together(changed.astype(x.dtype), x.shape[3:]))
    return np.concatenate(parts)


def _check_images(name: str, x: Images) -> None:
    if x.ndim == 4 and x.shape[3] > 1 and name.startswith(OF_INK):
        raise DataError(
            f"view {name!r} looks for the ink of grey images, [n, h, w] or [n, h, w, 1], got shape "
            f"{x.shape}; choose a view that moves, turns or flips images."
        )
    if x.ndim not in (3, 4):
        raise DataError(
            f"view {name!r} is of images, [n, h, w] or [n, h, w, channels], got shape {x.shape}; "
            "give them this shape first."
        )


def _planes(x: Images) -> Images:
    """Return each channel of each image as an image of its own, [n channels, h, w]."""
    return x if x.ndim == 3 else np.moveaxis(x, 3, 1).reshape(-1, *x.shape[1:3])


def _put_together(planes: Images, channels: tuple[int, ...]) -> Images:
    """Return the images of which ``planes`` are the channels."""
    if not channels:
        return planes
    images = np.moveaxis(planes.reshape(-1, *channels, *planes.shape[1:]), 1, 3)
    return np.ascontiguousarray(images)


def _padded(x: Images, size: int) -> Images:
    h, w = x.shape[1:]
    _check_room("pad", size, max(h, w), size)
    above, left = (size - h) // 2, (size - w) // 2
    return np.pad(x, ((0, 0), (above, size - h - above), (left, size - w - left)))


def _of_width(x: Images, size: int) -> Images:
    """Return images in which what is not 0 is ``size`` columns wide, in the middle."""
    n, _, w = x.shape
    _check_room("width", size, size, w)
    inked = (x != 0).any(axis=1)  # [n, w] columns that are not empty
    left = inked.argmax(axis=1)
    width = np.where(inked.any(axis=1), w - inked[:, ::-1].argmax(axis=1) - left, w)
    boxes, which = np.unique(np.stack([left, width]), axis=1, return_inverse=True)
    matrices = np.zeros((boxes.shape[1], w, w), np.float32)  # few boxes occur, many times each
    start = (w - size) // 2
    for matrix, (first, old) in zip(matrices, boxes.T, strict=True):
        matrix[first : first + old, start : start + size] = _resizing(int(old), size)
    return np.asarray(x @ matrices[which.reshape(n)])


def _resizing(old: int, new: int) -> Images:
    """Return the matrix [old, new] that resamples a row linearly, averaging where it shrinks."""
    ratio = old / new
    places = (np.arange(new) + 0.5) * ratio - 0.5  # centres of the new pixels among the old
    distance = np.abs(np.arange(old)[:, None] - np.clip(places, 0, old - 1))
    weights = np.maximum(1 - distance / max(ratio, 1), 0)
    return np.asarray(weights / weights.sum(axis=0))


def _deskewed(x: Images) -> Images:
    """Return images whose rows are moved until x and y of the ink are uncorrelated.

    The slant is sum I (x - mean x)(y - mean y) / sum I (y - mean y)^2, I the brightness.
    """
    _, h, w = x.shape
    ink = np.maximum(x.sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    rows, columns = np.arange(h, dtype=np.float32), np.arange(w, dtype=np.float32)
    of_rows = x.sum(axis=2)  # [n, h]
    from_mean = rows - (of_rows @ rows / ink)[:, None]  # [n, h] y - mean y
    spread = (of_rows * from_mean**2).sum(axis=1)
    # The mean of x needs no taking away: sum I (y - mean y) is 0.
    together = ((x @ columns) * from_mean).sum(axis=1)
    slant = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 1e-3 * ink)
    moved = slant[:, None] * from_mean  # [n, h] to read each row so far to the right
    whole = np.floor(moved)
    share = (moved - whole)[..., None]
    index = np.clip(columns.astype(int) + whole[..., None].astype(int), -1, w) + 1
    beside = np.clip(columns.astype(int) + whole[..., None].astype(int) + 1, -1, w) + 1
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    near, next_ = (np.take_along_axis(framed, place, axis=2) for place in (index, beside))
    return np.asarray(near + share * (next_ - near))


def _moved(x: Images, size: int, axis: int, sign: int) -> Images:
    """Return images moved by ``size`` pixels along ``axis``, forwards or backwards."""
    _check_room("shift", size, size + 1, x.shape[axis])
    moved = np.zeros_like(x)
    kept, gone = [slice(None)] * 3, [slice(None)] * 3
    kept[axis], gone[axis] = (
        (slice(size, None), slice(None, -size)) if sign > 0 else
        (slice(None, -size), slice(size, None))
    )  # fmt: skip
    moved[tuple(kept)] = x[tuple(gone)]
    return moved


def _turned(x: Images, size: int, sign: int) -> Images:
    """Return images turned about their centre by ``size`` degrees, read bilinearly."""
    from scipy.ndimage import rotate

    return np.asarray(rotate(x, sign * size, axes=(1, 2), reshape=False, order=1))


def _flipped(x: Images) -> Images:
    return x[:, :, ::-1]


_NAMED: dict[str, View] = {"deskew": _deskewed, "flip": _flipped}
_NUMBERED: dict[str, Callable[..., Images]] = {
    "width": _of_width,
    "pad": _padded,
    "up": partial(_moved, axis=1, sign=-1),
    "down": partial(_moved, axis=1, sign=1),
    "left": partial(_moved, axis=2, sign=-1),
    "right": partial(_moved, axis=2, sign=1),
    "clockwise": partial(_turned, sign=-1),
    "anticlockwise": partial(_turned, sign=1),
}


def _check_room(name: str, size: int, needed: int, room: int) -> None:
    if needed > room:
        raise DataError(
            f"view '{name}-{size}' does not fit: it needs {needed} pixels and has {room}; "
            "choose another number."
        )
