"""Pictures that stay in their files: decoded anew each time a run asks for them."""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from deltarule.data.pictures.decode import LIMIT_PIXELS, Form, Pixels
from deltarule.data.pictures.folder import Listing, as_listed
from deltarule.data.pictures.rule import REMEDY, Bad, Pictures, decode, explain_bad, jobs_of
from deltarule.data.pictures.workers import in_order, workers_for
from deltarule.data.unread import Array, Unread
from deltarule.errors import DataError

CHANGED = "put them back as they were, or begin again"


class UnreadPictures(Unread):
    """The pictures [n, height, width, channels], uint8, of a folder's files at ``indices``.

    They are decoded ahead, by ``workers`` processes where that pays. A file that has changed since
    it was listed, or is gone, is a ``DataError`` when its turn comes; with ``name_all`` the files
    after it are tried too, so that all of no use are named.
    """

    def __init__(
        self,
        listing: Listing,
        indices: Array,
        form: Form,
        limit_pixels: int,
        pixels: int,
        workers: int | None,
        *,
        name_all: bool = False,
    ) -> None:
        super().__init__(np.uint8, (len(indices), *form.shape))
        self._rows = indices
        self._listing, self._form, self._limit = listing, form, limit_pixels
        self._pixels, self._workers = pixels, workers  # pixels of a file, on average
        self._name_all = name_all

    def _read(self, parts: Sequence[Array]) -> Generator[Pixels, None, None]:
        files, path = self._listing.files, self._listing.path
        jobs = (
            job
            for part in parts
            for job in jobs_of(
                [path(files[i]) for i in part], [files[i].seen for i in part],
                self._form, self._limit,
            )
        )  # fmt: skip
        n = sum(map(len, parts))
        count = workers_for(n, n * self._pixels, self._workers)
        bad: Bad = {}
        with closing(in_order(decode, jobs, count)) as decoded:
            for part in parts:
                x = np.empty((len(part), *self._form.shape), np.uint8)
                done = 0
                while done < len(part):
                    answer = next(decoded)
                    named = zip(part[done:], answer.reasons, strict=False)
                    bad |= {files[i].name: reason for i, reason in named if reason}
                    x[done : done + len(answer.x)] = answer.x
                    done += len(answer.x)
                if not bad:
                    yield x
                elif not self._name_all:
                    break
        if bad:
            remedy = REMEDY if self._name_all else CHANGED
            raise DataError(explain_bad(bad, len(self), remedy))


def unread_files(paths: Sequence[Path], pictures: Pictures) -> UnreadPictures:
    """Return picture files as inputs that a model can be asked about, decoded a part at a time.

    A ``DataError`` when they are read names the files that are of no use.
    """
    every = np.arange(len(paths))
    return UnreadPictures(
        as_listed(paths), every, pictures.form, LIMIT_PIXELS, 0, None, name_all=True
    )
