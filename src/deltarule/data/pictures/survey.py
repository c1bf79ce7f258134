"""What a folder of pictures holds, from names and headers alone; nothing is decoded."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from deltarule.data.dataset import validation_size
from deltarule.data.pictures.decode import (
    KINDS,
    LIMIT_PIXELS,
    Fit,
    Header,
    check_limit,
    pillow,
    shown,
)
from deltarule.data.pictures.folder import Listing, list_folder
from deltarule.data.pictures.rule import (
    FILES_A_TASK,
    Bad,
    Pictures,
    choose_form,
    explain_bad,
    headers,
)
from deltarule.data.pictures.workers import in_order, workers_for
from deltarule.errors import DataError
from deltarule.seeds import generator

Indices = npt.NDArray[np.int64]

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1  # of all pictures, where the folder has no such part
SPLIT = 0  # chooses the pictures of each part; not the seed of a run, so the test is everyone's
REMEDY = "mend or remove them, or pass skip_bad=True (--skip-bad-images) to go on without them"
SHOWN_CLASSES = 20


@dataclass(frozen=True)
class PictureFolder:
    """A folder of pictures, looked at and not yet decoded.

    Attributes:
        listing: its files and classes.
        pictures: what they are made into (``Pictures``).
        parts: the indices of files in "train", "validation" and "test", in a fixed random order.
        bad: files whose headers are of no use, and why.
        report: lines for a reader.
        pixels: how many there are in all files together.
    """

    listing: Listing
    pictures: Pictures
    parts: Mapping[str, Indices]
    bad: Bad
    report: tuple[str, ...]
    limit_pixels: int
    pixels: int


def survey_images(
    folder: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    fit: Fit | None = None,
    limit_pixels: int = LIMIT_PIXELS,
    validation: float | None = None,
    test: float | None = None,
    workers: int | None = None,
) -> PictureFolder:
    """Return what ``folder`` holds and what its pictures would become; decode nothing.

    The arguments are those of ``read_images``. Files with bad headers are listed, not refused.
    Raises ``DataError`` if the folder cannot be learned from at all.
    """
    pillow()
    limit, listing = check_limit(limit_pixels), list_folder(folder)
    parts, said = split(listing, validation, test)
    found, bad = _headers(listing, limit, workers)
    if not found:
        raise DataError(f"no file of {shown(folder)} is a {KINDS} picture: "
                        f"{explain_bad(bad, len(listing.files))}")  # fmt: skip
    form, lines = choose_form(found, size, colour, fit)
    pictures = Pictures(form.height, form.width, form.channels, listing.classes, form.fit)
    formats = Counter(header.format for header in found)
    counted = ", ".join(f"{name} {n:,}" for name, n in formats.most_common())
    report = [
        f"folder: {shown(folder)}: {len(found):,} pictures ({counted}) of "
        f"{len(listing.classes)} classes",
        _class_line(listing), *lines, said, *listing.notes,
    ]  # fmt: skip
    if animated := sum(header.animated for header in found):
        report.append(f"animated: {animated:,}; the first picture of each is taken")
    if bad:
        report.append(f"bad: {explain_bad(bad, len(listing.files))}")
    pixels = sum(header.height * header.width for header in found)
    return PictureFolder(listing, pictures, parts, bad, tuple(report), limit, pixels)


def _headers(listing: Listing, limit: int, workers: int | None) -> tuple[list[Header], Bad]:
    paths = iter([listing.path(file) for file in listing.files])
    tasks = iter(lambda: (tuple(islice(paths, FILES_A_TASK)), limit), ((), limit))
    answers = in_order(headers, tasks, workers_for(len(listing.files), 0, workers))
    found: list[Header] = []
    bad: Bad = {}
    for file, header in zip(listing.files, (h for few in answers for h in few), strict=True):
        if isinstance(header, str):
            bad[file.name] = header
        else:
            found.append(header)
    return found, bad


def _class_line(listing: Listing) -> str:
    counts = Counter(file.label for file in listing.files)
    named = [f"{shown(name)} {counts[i]:,}" for i, name in enumerate(listing.classes)]
    more = ", ..." if len(named) > SHOWN_CLASSES else ""
    return f"classes: {', '.join(named[:SHOWN_CLASSES])}{more}"


# ---- parts


def split(
    listing: Listing, validation: float | None, test: float | None
) -> tuple[dict[str, Indices], str]:
    """Return the indices of the files of each part, and a line that says how they were chosen.

    A part that the folder has is taken as it is; what it lacks is drawn from the rest, in the
    proportions of the classes: a fifth of all for test, a tenth for validation.
    """
    labels = np.array([file.label for file in listing.files])
    given = np.array([file.part or "train" for file in listing.files])
    parts = {part: np.flatnonzero(given == part) for part in ("train", "validation", "test")}
    drawn = []
    for part, wanted, share in (
        ("test", test, TEST_SHARE),
        ("validation", validation, VALIDATION_SHARE),
    ):
        if len(parts[part]) and wanted is not None:
            raise DataError(f"{part} is a folder of its own here, so pass no share for it.")
        if not len(parts[part]):
            usual = max(round(share * len(labels)), len(listing.classes))
            rest = parts["train"]
            if part == "test" and wanted is not None and not wanted:
                raise DataError("test must not be 0: what is never tested is not known.")
            count = validation_size(wanted, len(rest), default=min(usual, len(rest) - 1))
            parts["train"], parts[part] = _cut(rest, labels, count, part)
            drawn += [part] if count else []
    parts = {part: generator(SPLIT, "order", part).permutation(parts[part]) for part in parts}
    sizes = ", ".join(f"{part} {len(indices):,}" for part, indices in parts.items())
    how = f"{' and '.join(drawn)} drawn in the proportions of the classes" if drawn else (
        "as the folders say"
    )  # fmt: skip
    return parts, f"split: {sizes}; {how}"


def _cut(
    rest: Indices, labels: Sequence[int] | Indices, count: int, part: str
) -> tuple[Indices, Indices]:
    if not count:
        return rest, rest[:0]
    from sklearn.model_selection import train_test_split

    try:
        kept, cut = train_test_split(
            rest, test_size=count, random_state=SPLIT, stratify=np.asarray(labels)[rest]
        )
    except ValueError as error:
        raise DataError(
            f"{part} cannot be drawn as {count} of {len(rest)} pictures: "
            f"{str(error).rstrip('.')}; add pictures, or give folders train, val and test."
        ) from None
    return kept, cut
