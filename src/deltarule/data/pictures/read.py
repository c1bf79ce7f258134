"""``read_images``: a folder of pictures becomes the three parts a network learns from.

Every picture is decoded once, so that a bad one is known before anything is trained. The pixels
then lie in memory, in a mapped file, or nowhere: ``UnreadPictures`` decode them again. To look at a
folder, as a dry run does, headers are enough.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deltarule.cache import cache_folder, cache_path
from deltarule.data.dataset import Dataset, Splits
from deltarule.data.pictures.decode import LIMIT_PIXELS, Fit, Pixels, check_limit, pillow, shown
from deltarule.data.pictures.folder import Listing, PictureFile, list_folder
from deltarule.data.pictures.rule import Bad, Pictures, decode, explain_bad, jobs_of
from deltarule.data.pictures.store import Rows, Store
from deltarule.data.pictures.survey import REMEDY, Indices, PictureFolder, survey_images
from deltarule.data.pictures.unread import UnreadPictures
from deltarule.data.pictures.workers import in_order, workers_for
from deltarule.errors import DataError

PARTS = ("train", "validation", "test")
KEPT_IN_MEMORY = 16 << 20  # bytes of pixels; more goes to the cache on disk
ROOM = 1.1  # times the pixels must be free on the disk


@dataclass(frozen=True)
class PictureSet:
    """A folder of pictures, decoded.

    Attributes:
        splits: the three parts; their ``x`` is uint8 [n, height, width, channels].
        pictures: what the pictures were made into: it belongs into the model's file.
        files: every file, in the order of the names.
        sha256: the SHA-256 of each file; "" for one that was skipped or not decoded.
        indices: for each part, the index in ``files`` of each of its examples.
        skipped: the files left out, and why.
        report: lines for a reader.
    """

    splits: Splits
    pictures: Pictures
    files: tuple[PictureFile, ...]
    sha256: tuple[str, ...]
    indices: Mapping[str, Indices]
    skipped: Bad
    report: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return as plain data what it takes to know later what was learned from."""
        return {
            "pictures": self.pictures.describe(),
            "files": [[file.name, sha] for file, sha in zip(self.files, self.sha256, strict=True)],
            "indices": {part: indices.tolist() for part, indices in self.indices.items()},
            "skipped": dict(self.skipped),
        }


@dataclass(frozen=True)
class _Outcome:
    """The rows of all parts, one after the other, and what they were made of."""

    x: Pixels | UnreadPictures
    pictures: Pictures
    parts: Mapping[str, Indices]
    sha256: tuple[str, ...]
    skipped: Bad
    report: tuple[str, ...]
    kept: str


def read_images(
    folder: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    fit: Fit | None = None,
    skip_bad: bool = False,
    cache: bool | str | os.PathLike[str] | None = None,
    stream: bool = False,
    limit_pixels: int = LIMIT_PIXELS,
    validation: float | None = None,
    test: float | None = None,
    workers: int | None = None,
    decode_all: bool = True,
) -> PictureSet:
    """Return the pictures of ``folder``, decoded, in three parts.

    ``folder``: one with a folder for each class, ``photos/cat/1.png``; or with ``train``, ``val``
    (or ``validation``) and ``test``, each with a folder for each class. PNG, JPEG, WebP and BMP
    are read; hidden files are passed over; folders inside a class belong to it.

    Args:
        folder: where the pictures are.
        size: a side or (height, width) in pixels; by default found from the pictures.
        colour: True for three channels, False for one; by default grey if every picture is.
        fit: what happens to pictures of another size: "crop" (usual), "pad", "exact".
        skip_bad: go on without files that cannot be decoded.
        cache: a folder to keep the decoded pictures in, True for the user's cache, False for
            memory; by default the user's cache if they take more than 16 MiB and it has room.
        stream: keep no pixels: the parts hold ``Unread`` pictures, decoded each time they are
            needed. Also done by default where the user's cache has no room.
        limit_pixels: no picture with more is decoded.
        validation, test: number (int) or share (float) of pictures to draw for these parts, where
            the folder has none; by default a tenth and a fifth of all.
        workers: processes that decode; by default several if that pays.
        decode_all: False to go by the headers: nothing is decoded before it is needed, and
            nothing kept. What is damaged behind its header is not known then.

    Raises:
        DataError: the folder or a file is not what it must be; the first ten are named.
        ImportError: Pillow is not installed.
    """
    pillow()
    check_limit(limit_pixels)
    listing = list_folder(folder)
    asked = {
        "size": size, "colour": colour, "fit": fit, "limit_pixels": limit_pixels,
        "validation": validation, "test": test,
    }  # fmt: skip

    def survey() -> PictureFolder:
        return survey_images(
            folder, size=size, colour=colour, fit=fit, limit_pixels=limit_pixels,
            validation=validation, test=test, workers=workers,
        )  # fmt: skip

    if stream and cache is not None:
        raise DataError(f"cache {cache!r} has no meaning with stream, which keeps no pixels; "
                        "leave one of them out.")  # fmt: skip
    if not decode_all:
        outcome = _looked_at(survey(), workers, skip_bad=skip_bad)
    elif stream:
        outcome = _streamed(survey(), workers, skip_bad=skip_bad)
    else:
        outcome = _outcome(listing, survey, asked, cache, workers, skip_bad=skip_bad)
    return _picture_set(listing, outcome)


def _outcome(
    listing: Listing,
    survey: Callable[[], PictureFolder],
    asked: dict[str, Any],
    cache: bool | str | os.PathLike[str] | None,
    workers: int | None,
    *,
    skip_bad: bool,
) -> _Outcome:
    """Return what the cache holds, or else decode, and keep it if asked to or if it is much."""
    asked = {"folder": str(listing.folder.resolve()), "pillow": pillow().__version__, **asked}
    text = json.dumps(asked, default=str)
    asked, name = json.loads(text), hashlib.sha256(text.encode()).hexdigest()[:24]
    home = cache_path("pictures") if cache is None or cache is True else Path(cache or "")
    if cache is not False and (kept := _from_store(Store(home, name), listing, asked)):
        if kept.skipped and not skip_bad:
            raise DataError(explain_bad(kept.skipped, len(listing.files), REMEDY))
        return kept
    found = survey()
    form = found.pictures.form
    wanted = int(np.prod(form.shape)) * sum(map(len, found.parts.values()))
    if cache is False or (cache is None and wanted <= KEPT_IN_MEMORY):
        return _decoded(found, _InMemory(wanted, form.shape), workers, skip_bad=skip_bad)
    home = cache_folder("pictures") if home == cache_path("pictures") else home
    home.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(home).free) < ROOM * wanted:
        if cache is None:
            return _streamed(found, workers, skip_bad=skip_bad)
        raise DataError(
            f"the decoded pictures take {_megabytes(wanted)}, and {shown(home)} has "
            f"{_megabytes(free)} free; choose a smaller size, another cache, or stream=True."
        )
    store = Store(home, name)
    with store.writing(form.shape) as (rows, keep):
        made = _decoded(found, rows, workers, skip_bad=skip_bad)
        keep({"asked": asked, **_facts(listing, made)})
    return replace(made, x=store.mapped(), kept=f"in {shown(store.array)}")


def _streamed(found: PictureFolder, workers: int | None, *, skip_bad: bool) -> _Outcome:
    """Decode every file once, to know that it can be, and keep no pixels."""
    made = _decoded(found, None, workers, skip_bad=skip_bad)
    x = _unread(found, made.parts, workers)
    return replace(made, x=x, kept="anew each time they are needed")


def _looked_at(found: PictureFolder, workers: int | None, *, skip_bad: bool) -> _Outcome:
    """Decode nothing: what is known is what the headers say."""
    parts = _without_bad(found, found.bad, skip_bad=skip_bad)
    return _Outcome(
        _unread(found, parts, workers), found.pictures, parts, ("",) * len(found.listing.files),
        found.bad, _said(found), "not yet; damage behind a header is found in training",
    )  # fmt: skip


def _unread(
    found: PictureFolder, parts: Mapping[str, Indices], workers: int | None
) -> UnreadPictures:
    listing, indices = found.listing, np.concatenate([parts[part] for part in PARTS])
    pixels = found.pixels // len(listing.files)
    form, limit = found.pictures.form, found.limit_pixels
    return UnreadPictures(listing, indices, form, limit, pixels, workers)


def _decoded(
    found: PictureFolder, rows: "Rows | _InMemory | None", workers: int | None, *, skip_bad: bool
) -> _Outcome:
    """Decode every file into ``rows``, if any, part by part, leaving out those that are bad."""
    files, form = found.listing.files, found.pictures.form
    order = [int(i) for part in PARTS for i in found.parts[part] if files[i].name not in found.bad]
    paths, seen = [found.listing.path(files[i]) for i in order], [files[i].seen for i in order]
    bad, sums, done = dict(found.bad), [""] * len(files), 0
    jobs = jobs_of(paths, seen, form, found.limit_pixels)
    for answer in in_order(decode, jobs, workers_for(len(order), found.pixels, workers)):
        chosen = order[done : done + len(answer.x)]
        for index, digest, reason in zip(chosen, answer.sha256, answer.reasons, strict=True):
            sums[index] = digest
            if reason:
                bad[files[index].name] = reason
        good = np.array([not reason for reason in answer.reasons])
        if rows is not None:
            rows.add(answer.x if good.all() else answer.x[good])
        done += len(answer.x)
    bad = dict(sorted(bad.items()))
    parts = _without_bad(found, bad, skip_bad=skip_bad)
    x = rows.x if isinstance(rows, _InMemory) else np.zeros((0, *form.shape), np.uint8)
    return _Outcome(x, found.pictures, parts, tuple(sums), bad, _said(found), "in memory")


def _without_bad(found: PictureFolder, bad: Bad, *, skip_bad: bool) -> dict[str, Indices]:
    """Return the parts without ``bad`` files, or refuse these."""
    files = found.listing.files
    if bad and not skip_bad:
        raise DataError(explain_bad(bad, len(files), REMEDY))
    return {
        part: np.array([i for i in found.parts[part] if files[i].name not in bad], np.int64)
        for part in PARTS
    }


def _said(found: PictureFolder) -> tuple[str, ...]:
    return tuple(line for line in found.report if not line.startswith("bad: "))


class _InMemory:
    """Rows as ``Rows`` takes them, kept in one array."""

    def __init__(self, size: int, shape: tuple[int, int, int]) -> None:
        self._x = np.empty((size // int(np.prod(shape)), *shape), np.uint8)
        self.count = 0

    def add(self, rows: Pixels) -> None:
        """Append rows [m, ...]."""
        self._x[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    @property
    def x(self) -> Pixels:
        """The rows so far."""
        return self._x[: self.count]


def _listed(listing: Listing) -> list[list[Any]]:
    return [[f.name, f.label, f.part, f.bytes, f.modified] for f in listing.files]


def _facts(listing: Listing, made: _Outcome) -> dict[str, Any]:
    return {
        "files": _listed(listing),
        "pictures": made.pictures.describe(),
        "parts": {part: indices.tolist() for part, indices in made.parts.items()},
        "sha256": list(made.sha256),
        "skipped": made.skipped,
        "report": list(made.report),
    }


def _from_store(store: Store, listing: Listing, asked: dict[str, Any]) -> _Outcome | None:
    """Return what ``store`` kept of exactly these files, unchanged since, or None."""

    def expected(facts: dict[str, Any]) -> bool:
        return bool(facts["asked"] == asked and facts["files"] == _listed(listing))

    if (kept := store.read(expected)) is None:
        return None
    x, facts = kept
    parts = {part: np.array(facts["parts"][part], np.int64) for part in PARTS}
    return _Outcome(
        x, Pictures.from_description(facts["pictures"]), parts, tuple(facts["sha256"]),
        facts["skipped"], tuple(facts["report"]), f"found in {shown(store.array)}",
    )  # fmt: skip


# ---- what is handed over


def _picture_set(listing: Listing, made: _Outcome) -> PictureSet:
    labels = np.array([file.label for file in listing.files], np.int32)
    _check_classes(listing, labels[made.parts["train"]])
    datasets, start = {}, 0
    for part in PARTS:
        indices = made.parts[part]
        datasets[part] = Dataset(
            x=_without_reading(made.x, slice(start, start + len(indices))),
            y=labels[indices],
            classes=listing.classes,
            scale=1 / 255,
            name=listing.folder.name or "pictures",
            preparation=made.pictures,
        )
        start += len(indices)
    report = [*made.report, f"decoded: {_megabytes(made.x.nbytes)}, {made.kept}"]
    if made.skipped:
        report.append(f"skipped: {explain_bad(made.skipped, len(listing.files), 'left out')}")
    report += _copies(made)
    return PictureSet(
        splits=Splits(datasets["train"], datasets["validation"], datasets["test"]),
        pictures=made.pictures,
        files=listing.files,
        sha256=made.sha256,
        indices=made.parts,
        skipped=made.skipped,
        report=tuple(report),
    )


def _without_reading(x: Pixels | UnreadPictures, rows: slice) -> Any:
    """Return ``rows`` of ``x``: of a mapped file a view, which stays on the disk."""
    return x.at(rows) if isinstance(x, UnreadPictures) else x[rows]


def _check_classes(listing: Listing, learned: npt.NDArray[np.int32]) -> None:
    counts = np.bincount(learned, minlength=len(listing.classes))
    if (empty := np.flatnonzero(counts == 0)).size:
        raise DataError(
            f"class {shown(listing.classes[empty[0]])!r} has no usable picture to learn from; "
            "mend its files or remove its folder."
        )


def _copies(made: _Outcome) -> Iterator[str]:
    """Yield a line if a picture to be judged was learned: the result would flatter."""
    learned = {made.sha256[i] for i in made.parts["train"]} - {""}
    for part in ("validation", "test"):
        if copies := sum(made.sha256[i] in learned for i in made.parts[part]):
            yield f"copies: {copies:,} files of {part} are byte for byte in train too"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
