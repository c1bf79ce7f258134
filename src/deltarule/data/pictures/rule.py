"""``Pictures``: what every picture of a set is made into, found once and kept with the model."""

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.data.pictures.decode import (
    LIMIT_PIXELS,
    BadPictureError,
    Fit,
    Form,
    Header,
    Pixels,
    check_limit,
    read_header,
    read_picture,
    shown,
)
from deltarule.data.pictures.folder import list_pictures
from deltarule.data.pictures.workers import in_order, workers_for
from deltarule.errors import DataError

KIND = "pictures"
FITS = ("crop", "pad", "exact")
LARGEST_KEPT = 512  # pixels of the longer side: pictures that are all of one size stay as they are
LARGEST_SIDE = 128  # pixels of the square that pictures of several sizes become
MOST_SIDE = 16_384
BYTES_A_TASK = 4 << 20
FILES_A_TASK = 256
NAMED = 10  # bad files that an error names
REMEDY = "mend or remove them"

Bad = dict[str, str]  # the name of a file: why it is of no use


@dataclass(frozen=True)
class Job:
    """Files to decode together, in one process; ``seen`` as in ``read_picture``."""

    paths: tuple[Path, ...]
    seen: tuple[tuple[int, int] | None, ...]
    form: Form
    limit: int


@dataclass(frozen=True)
class Decoded:
    """The pictures [n, height, width, channels] of a job, zeros where there is a reason."""

    x: Pixels
    sha256: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """What pictures are made into before a network sees them: plain data, stored with the model.

    Attributes:
        height, width: of every picture, in pixels.
        channels: 1 for grey, 3 for red, green and blue.
        classes: the names of the classes.
        fit: what is done to pictures of another size. "crop": resized, keeping proportions, until
            they cover it, and cut at the centre. "pad": until they fit into it, with black
            around. "exact": they are refused.

    Raises ``DataError`` if a value is not what it must be.

    >>> pictures = Pictures(28, 28, 1, ("cat", "dog"))
    >>> Pictures.from_description(pictures.describe()) == pictures
    True
    """

    height: int
    width: int
    channels: int
    classes: tuple[str, ...] = ()
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MOST_SIDE:
                raise DataError(f"{name} must be 1 to {MOST_SIDE} pixels, got {value!r}.")
        if type(self.channels) is not int or self.channels not in (1, 3):
            raise DataError(f"channels must be 1 (grey) or 3 (colour), got {self.channels!r}.")
        if self.fit not in FITS:
            raise DataError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}.")
        classes = self.classes
        if not isinstance(classes, tuple) or not all(isinstance(name, str) for name in classes):
            raise DataError(f"classes must be a tuple of names, got {classes!r}.")
        if len(set(classes)) < len(classes):
            raise DataError(f"classes must be different names, got {classes}.")

    @property
    def form(self) -> Form:
        """Size, channels and fit, without the classes."""
        return Form(self.height, self.width, self.channels, self.fit)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one picture."""
        return self.form.shape

    def describe(self) -> dict[str, Any]:
        """Return these choices as plain data, for JSON."""
        return {
            "kind": KIND,
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "classes": list(self.classes),
            "fit": self.fit,
        }

    @classmethod
    def from_description(cls, described: object) -> "Pictures":
        """Return the choices that ``describe`` described; ``DataError`` if it is anything else."""
        keys = {"kind", "height", "width", "channels", "classes", "fit"}
        if not isinstance(described, dict) or set(described) != keys or described["kind"] != KIND:
            raise DataError(
                f"a description of pictures must have kind {KIND!r} and exactly "
                f"{', '.join(sorted(keys))}; this one is damaged or of another kind."
            )
        classes, fit = described["classes"], described["fit"]
        if not isinstance(classes, list) or not isinstance(fit, str):
            raise DataError(f"classes must be a list and fit a text, got {classes!r} and {fit!r}.")
        h, w, channels = (described[key] for key in ("height", "width", "channels"))
        return cls(h, w, channels, tuple(classes), fit)  # type: ignore[arg-type]  # checked there

    def encode(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        limit_pixels: int = LIMIT_PIXELS,
        workers: int | None = None,
    ) -> Pixels:
        """Return pictures as uint8 [n, height, width, channels], as the network expects them.

        ``paths``: a file, a folder (its files in the order of ``list_pictures``), or several
        files. Raises ``DataError`` with the files that cannot be read, and why.
        """
        limit = check_limit(limit_pixels)
        if isinstance(paths, str | os.PathLike):
            files = list_pictures(paths)
        else:
            files = [Path(path) for path in paths]
        x = np.zeros((len(files), *self.form.shape), np.uint8)
        jobs = jobs_of(files, [None] * len(files), self.form, limit)
        bad: Bad = {}
        count = 0
        for decoded in in_order(decode, jobs, workers_for(len(files), 0, workers)):
            x[count : count + len(decoded.x)] = decoded.x
            for path, reason in zip(files[count:], decoded.reasons, strict=False):
                bad |= {str(path): reason} if reason else {}
            count += len(decoded.x)
        if bad:
            raise DataError(explain_bad(bad, len(files)))
        return x


def decode(job: Job) -> Decoded:
    """Decode the files of ``job``; a file that cannot be leaves its reason."""
    x = np.zeros((len(job.paths), *job.form.shape), np.uint8)
    sums, reasons = [], []
    for row, path, seen in zip(x, job.paths, job.seen, strict=True):
        digest = reason = ""
        try:
            row[...], digest = read_picture(path, job.form, job.limit, seen)
        except BadPictureError as error:
            reason = str(error)
        sums.append(digest)
        reasons.append(reason)
    return Decoded(x, tuple(sums), tuple(reasons))


def headers(job: tuple[tuple[Path, ...], int]) -> list[Header | str]:
    """Return the header of each file, or why it has none."""
    paths, limit = job
    found: list[Header | str] = []
    for path in paths:
        try:
            found.append(read_header(path, limit))
        except BadPictureError as error:
            found.append(str(error))
    return found


def jobs_of(
    paths: Sequence[Path],
    seen: Sequence[tuple[int, int] | None],
    form: Form,
    limit: int,
    at_once: int | None = None,
) -> Iterator[Job]:
    """Yield the files in jobs of ``at_once``, or of a few megabytes of pixels."""
    each = form.height * form.width * form.channels
    at_once = at_once or max(1, min(FILES_A_TASK, BYTES_A_TASK // each))
    pairs = iter(zip(paths, seen, strict=True))
    while some := list(islice(pairs, at_once)):
        few, times = zip(*some, strict=True)
        yield Job(few, times, form, limit)


def explain_bad(bad: Bad, total: int, remedy: str = REMEDY) -> str:
    """Return the sentence on files that cannot be used: how many, and the first of them."""
    named = [f"{shown(name)} {reason}" for name, reason in islice(bad.items(), NAMED)]
    more = f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
    return f"{len(bad):,} of {total:,} files cannot be used: {'; '.join(named)}{more}; {remedy}."


def choose_form(
    found: Sequence[Header], size: object, colour: bool | None, fit: Fit | None
) -> tuple[Form, list[str]]:
    """Return what pictures with these headers are made into, and lines that say why.

    Pictures of one size keep it, up to 512 pixels of the longer side. Others become squares, as
    wide as the median of the short sides, at most 128. They are grey if every picture is.
    """
    sizes = [(header.height, header.width) for header in found]
    least, most = min(sizes), max(sizes)
    one = least == most
    if size is not None:
        height, width = _checked_size(size)
        why = "as asked"
    elif one and max(most) <= LARGEST_KEPT:
        (height, width), why = most, "that of every picture"
    else:
        middle = round(statistics.median(min(pair) for pair in sizes))
        height = width = min(middle, LARGEST_SIDE)
        bound = f", which is {middle}, at most {LARGEST_SIDE}" if middle > LARGEST_SIDE else ""
        why = f"the median of the short sides{bound}"
    if fit not in (None, *FITS):
        raise DataError(f"fit must be one of {', '.join(FITS)}, got {fit!r}.")
    fit = fit or "crop"
    others = sum(pair != (height, width) for pair in sizes)
    lines = [f"size: {height} x {width} pixels, {why}"]
    if others:
        does = {"crop": "resized and cut at the centre", "pad": "resized, with black around",
                "exact": "refused"}[fit]  # fmt: skip
        span = f"{_by(least)}" if one else f"{_by(least)} to {_by(most)}"
        lines.append(f"fit: {fit}: {others:,} pictures of other sizes ({span}) are {does}")
    grey = sum(header.grey for header in found)
    if colour is not None:
        channels, why = (3 if colour else 1), "as asked"
    elif grey == len(found):
        channels, why = 1, "as every picture is"
    else:
        channels, why = 3, f"as {len(found) - grey:,} of {len(found):,} pictures are"
    lines.append(f"colour: {'grey' if channels == 1 else 'red, green and blue'}, {why}")
    return Form(height, width, channels, fit), lines


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _checked_size(size: object) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else size
    if isinstance(pair, tuple | list) and len(pair) == 2:
        height, width = pair
        if all(type(side) is int and 1 <= side <= MOST_SIDE for side in (height, width)):
            return height, width
    raise DataError(
        f"size must be a side or (height, width) of 1 to {MOST_SIDE} pixels, got {size!r}."
    )
