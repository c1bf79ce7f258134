"""Pictures that stay in their files: decoded anew each time a run asks for them."""

from collections.abc import Generator, Sequence
from contextlib import closing

import numpy as np

from deltarule.data.pictures.decode import Form, Pixels
from deltarule.data.pictures.folder import Listing
from deltarule.data.pictures.rule import decode, explain_bad, jobs_of
from deltarule.data.pictures.workers import in_order, workers_for
from deltarule.data.unread import Array, Unread
from deltarule.errors import DataError

CHANGED = "put them back as they were, or begin again"


class UnreadPictures(Unread):
    """The pictures [n, height, width, channels], uint8, of a folder's files at ``indices``.

    They are decoded ahead, by ``workers`` processes where that pays. A file that has changed since
    it was listed, or is gone, is a ``DataError`` when its turn comes.
    """

    def __init__(
        self,
        listing: Listing,
        indices: Array,
        form: Form,
        limit_pixels: int,
        pixels: int,
        workers: int | None,
    ) -> None:
        super().__init__(np.uint8, (len(indices), *form.shape))
        self._rows = indices
        self._listing, self._form, self._limit = listing, form, limit_pixels
        self._pixels, self._workers = pixels, workers  # pixels of a file, on average

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
        with closing(in_order(decode, jobs, count)) as decoded:
            for part in parts:
                x = np.empty((len(part), *self._form.shape), np.uint8)
                done = 0
                while done < len(part):
                    answer = next(decoded)
                    self._check(part[done:], answer.reasons)
                    x[done : done + len(answer.x)] = answer.x
                    done += len(answer.x)
                yield x

    def _check(self, part: Array, reasons: Sequence[str]) -> None:
        named = zip(part, reasons, strict=False)
        if bad := {self._listing.files[i].name: reason for i, reason in named if reason}:
            raise DataError(explain_bad(bad, len(self), CHANGED))
