"""Read text in columns: fields between commas, semicolons, tabs or bars (RFC 4180).

Python's ``csv`` module splits the text; here stand the sentences that say what is wrong with a
file and where. Lines are counted as an editor counts them, from 1, also inside quoted fields.
"""

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from itertools import islice

import numpy as np

from deltarule.data.tables.files import TABS, whole_file
from deltarule.data.tables.table import TEXT, Array, Source, Table, check_names, text_field
from deltarule.errors import DataError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LONGEST_LINE = 1 << 24  # characters
SAMPLE = 20  # records by which the delimiter is chosen
SAMPLE_BYTES = 1 << 20
CELLS = 1 << 19  # fields turned into columns at once
WIDE = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_delimited(
    path: str | os.PathLike[str],
    *,
    encoding: str,
    delimiter: str | None,
    missing_values: tuple[str, ...],
) -> Table:
    """Return the table in a text file whose first line names the columns.

    Raises ``DataError`` with the line for anything that is not one.
    """
    name = os.fspath(path)
    raw, digest = whole_file(path)
    encoding = _codec(name, raw, encoding)
    if delimiter is None:
        delimiter = "\t" if str(name).lower().endswith(TABS) else _detected(raw, encoding)
    try:
        names, columns, lines = _Parser(str(name), raw, encoding, delimiter).parse()
    except UnicodeDecodeError as error:
        raise _undecodable(str(name), raw, encoding) from error
    fields = {
        column: text_field(column, values, missing_values)
        for column, values in zip(names, columns, strict=True)
    }
    source = Source(str(name), len(raw), len(lines), digest)
    return Table(fields, (source,), (0,), lines, (delimiter,))


def _codec(name: str | os.PathLike[str], raw: bytes, encoding: str) -> str:
    """Return the encoding to read with: that asked for, less a byte-order mark of UTF-8."""
    try:
        codec = codecs.lookup(encoding).name
        "".encode(codec)
    except (LookupError, ValueError) as error:
        raise DataError(
            f"encoding {encoding!r} is not one that Python knows for text; use utf-8, latin-1, "
            "cp1252, utf-16 ..."
        ) from error
    if codec == "utf-8":
        for mark, wide in WIDE.items():
            if raw.startswith(mark):
                raise DataError(
                    f"{name} is not UTF-8: at byte 0 stands the mark of {wide}; say "
                    f"encoding={wide!r} (--encoding {wide})."
                )
        return "utf-8-sig"
    return codec


def _undecodable(name: str, raw: bytes, encoding: str) -> DataError:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        start = error.start
        if encoding == "utf-8-sig" and raw.startswith(codecs.BOM_UTF8):
            start += len(codecs.BOM_UTF8)  # which the codec has cut off before it counts
        line = len(re.findall(rb"\r\n|\r|\n", raw[:start])) + 1
        return DataError(
            f"{name} line {line}: byte {start} (0x{raw[start]:02x}) is not "
            f"{encoding.removesuffix('-sig')}; say how the text is encoded, often "
            "encoding='cp1252' or 'latin-1' (--encoding cp1252)."
        )
    raise AssertionError("text that was refused can be decoded")


def _detected(raw: bytes, encoding: str) -> str:
    """Return the delimiter that divides the first records most evenly, a comma in doubt.

    Of those that find several fields in the first record: the one with most records of as many
    fields, then the one with most fields.
    """
    start = raw[:SAMPLE_BYTES].decode(encoding, errors="replace")
    best, most = ",", (0, 1)
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(start, newline=""), delimiter=delimiter)
        widths: list[int] = []
        try:
            for record in islice(filter(None, reader), SAMPLE):
                widths.append(len(record))
        except csv.Error:
            pass  # judged by the records before; reading says what is wrong
        if widths and widths[0] > 1 and (score := (widths.count(widths[0]), widths[0])) > most:
            best, most = delimiter, score
    return best


class _Lines:
    """The lines of a text, one by one, and those of the record being read."""

    def __init__(self, name: str, raw: bytes, encoding: str) -> None:
        self.name, self.number = name, 0
        self.record: list[str] = []
        # newline="" splits at CR, LF and CRLF, and keeps them inside quoted fields.
        self._text = io.TextIOWrapper(io.BytesIO(raw), encoding, newline="")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(
                f"{self.name} line {self.number}: the line has more than {LONGEST_LINE:,} "
                "characters; is this a table with line ends?"
            )
        if "\0" in line:
            raise DataError(
                f"{self.name} line {self.number}: a NUL byte; a table in text has none, so the "
                "file is damaged, binary, or in UTF-16 (encoding='utf-16')."
            )
        self.record.append(line)
        return line


class _Parser:
    """From the bytes of a file to columns of text."""

    def __init__(self, name: str, raw: bytes, encoding: str, delimiter: str) -> None:
        if len(delimiter) != 1 or delimiter in '"\r\n\0':
            raise DataError(f"delimiter must be one character like ',', got {delimiter!r}.")
        self.name, self.delimiter = name, delimiter
        self.lines = _Lines(name, raw, encoding)

    def parse(self) -> tuple[list[str], list[Array], Array]:
        """Return the names, the columns of text [n] and the first line [n] of each row."""
        records = self._records()
        line, names = next(records, (1, []))
        if names:
            self._check_header(names, line)
        blocks: list[list[Array]] = []
        starts: list[int] = []
        at_once = max(1, CELLS // max(len(names), 1))
        while block := list(islice(records, at_once)):
            for line, row in block:
                if len(row) != len(names):
                    raise self._ragged(line, len(names), len(row))
            starts += [line for line, _ in block]
            columns = zip(*(row for _, row in block), strict=True)
            blocks.append([np.array(column, TEXT) for column in columns])
        if not blocks:
            raise DataError(
                f"{self.name} has no data rows: {'only a header' if names else 'it is empty'}; "
                "expected names in the first line and a row in each line after it."
            )
        return (
            names,
            [np.concatenate(parts) for parts in zip(*blocks, strict=True)],
            np.array(starts),
        )

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Give each record that is not an empty line, with the line it begins in."""
        reader = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        start = 1
        try:
            for record in reader:
                if record:
                    yield start, record
                self.lines.record.clear()
                start = self.lines.number + 1
        except csv.Error as error:
            raise self._bad_quote(start, error) from error

    def _check_header(self, names: list[str], line: int) -> None:
        if all(_is_number(name) for name in names):
            raise DataError(
                f"{self.name} line {line}: the first line must name the columns, but holds only "
                "numbers; put a line of names in front."
            )
        check_names(names, f"{self.name} line {line}")

    def _ragged(self, line: int, expected: int, got: int) -> DataError:
        return DataError(
            f"{self.name} line {line}: expected {expected} fields, as the first line has, got "
            f"{got}; mend the row, put quotes around a field that holds "
            f"{self.delimiter!r}, or name another delimiter (--delimiter)."
        )

    def _bad_quote(self, start: int, error: csv.Error) -> DataError:
        """Name the line of the quote that opened the field the reader could not take."""
        field = rf'(?:\A|(?<=[\r\n{re.escape(self.delimiter)}]))"(?:[^"]|"")*("?)'
        text = "".join(self.lines.record)
        ends = ("", "\r", "\n", self.delimiter)
        bad = (
            m
            for m in re.finditer(field, text)
            if not m[1] or text[m.end() : m.end() + 1] not in ends
        )
        found = next(bad, None)
        opened = start + len(re.findall(r"\r\n|\r|\n", text[: found.start()])) if found else 0
        where = f"{self.name} line {opened or start}"
        if "field limit" in str(error):
            hint = "; is the quote that opens it never closed?" if opened else ""
            return DataError(
                f"{where}: a field has more than {csv.field_size_limit():,} characters{hint}"
                f"{'' if hint else '; leave such a column out of the file.'}"
            )
        if found and not found[1]:
            return DataError(f"{where}: a quote opens here and is never closed; close it.")
        return DataError(
            f"{where}: a quoted field opens here and text follows its closing quote in line "
            f"{self.lines.number}; close it where it ends, and write a quote inside it twice."
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
