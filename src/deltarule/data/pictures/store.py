"""Decoded pictures on disk: an array that is mapped, and beside it what it was made of.

``NAME.npy`` holds the pixels, ``NAME.json`` the rest with the SHA-256 of both. Both are written
under other names first. What is not whole, or of other files, is as if it were not there.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.data.pictures.decode import Pixels

FORMAT = "deltarule pictures 1"


class Rows:
    """An ``.npy`` file that grows by rows; ``finish`` writes how many there are."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape, self.count = path, shape, 0
        self._file = open(path, "w+b")  # noqa: SIM115
        self._header()

    def add(self, rows: Pixels) -> None:
        """Append rows [m, ...]."""
        self._file.write(np.ascontiguousarray(rows).data)
        self.count += len(rows)

    def finish(self) -> None:
        """Complete the file and see it onto the disk."""
        end = self._file.tell()
        self._file.seek(0)
        self._header()  # as long as the first: NumPy leaves room for the number of rows
        assert end == self._file.tell() + self.count * int(np.prod(self.shape))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()

    def _header(self) -> None:
        described = {"descr": "|u1", "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, described)


class Store:
    """The two files of one set of decoded pictures."""

    def __init__(self, folder: Path, name: str) -> None:
        self.array, self.facts = folder / f"{name}.npy", folder / f"{name}.json"

    def read(self, expected: Callable[[dict[str, Any]], bool]) -> tuple[Pixels, Any] | None:
        """Return (the mapped pixels, the facts) if they are whole and as expected, else None."""
        try:
            digest, text = self.facts.read_bytes().split(b"\n", 1)
            if hashlib.sha256(text).hexdigest().encode() != digest:
                return None
            facts = json.loads(text)
            if facts["format"] != FORMAT or not expected(facts):
                return None
            with open(self.array, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != facts["array"]:
                    return None
            return self.mapped(), facts
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def mapped(self) -> Pixels:
        """Return the pixels, which stay on the disk until they are looked at."""
        x: Pixels = np.load(self.array, mmap_mode="r", allow_pickle=False)
        return x

    @contextmanager
    def writing(self, shape: tuple[int, ...]) -> Iterator[tuple[Rows, Callable[[Any], None]]]:
        """Give (rows to add to, a function that keeps them together with facts).

        What is not kept, for whatever reason, leaves nothing behind.
        """
        folder = self.array.parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".pictures-") as temporary:
            rows = Rows(Path(temporary, "rows.npy"), shape)

            def keep(facts: dict[str, Any]) -> None:
                rows.finish()
                with open(rows.path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                text = json.dumps({"format": FORMAT, "array": digest, **facts}).encode()
                part = Path(temporary, "facts.json")
                part.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
                with suppress(FileNotFoundError):
                    self.facts.unlink()  # never facts of one array beside another
                os.replace(rows.path, self.array)
                os.replace(part, self.facts)

            try:
                yield rows, keep
            finally:
                rows.close()
