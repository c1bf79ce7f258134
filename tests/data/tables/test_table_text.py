"""Text in columns: what RFC 4180 allows is read, everything else is refused with its line."""

import csv
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_help import as_csv, contents, parsed, people, write

from deltarule.data import regular
from deltarule.data.tables import delimited, files, read_table
from deltarule.errors import DataError

FAULTS = {
    # 58: lines are physical ones, counted from 1, also behind quoted fields of several lines
    "too few": ("a,b\n1,2\n3\n", r"line 3: expected 2 fields.*got 1"),
    "too many": ("a,b\n1,2\n3,4,5\n", r"line 3: expected 2 fields.*got 3"),
    "after lines in quotes": ('a,b\n"x\ny\r\nz",2\n\n3\n', r"line 6: expected 2 fields.*got 1"),
    "the first line of the row": ('a,b\n1,2\n"x\ny",2,3\n', r"line 3: expected 2 fields.*got 3"),
    "after lone CRs": ("a,b\r1,2\r3\r", r"line 3: expected 2"),
    # 59
    "UTF-16 LE": ("a,b\n1,2\n".encode("utf-16"), r"at byte 0 .*utf-16.*--encoding utf-16"),
    "UTF-16 BE": ("\ufeffa,b\n".encode("utf-16-be"), r"at byte 0 .*--encoding utf-16"),
    "Latin-1": (b"a,b\n1,2\n3,caf\xe9\n", r"line 3: byte 13 \(0xe9\) is not utf-8.*--encoding"),
    "Latin-1 after a BOM": (b"\xef\xbb\xbfa\n\xe9\n", r"line 2: byte 5 \(0xe9\)"),
    # 60
    "NUL": ("a,b\n1,2\n3,\0\n", r"line 3: a NUL byte"),
    "NUL in quotes": ('a,b\n1,2\n3,"\n\0"\n', r"line 4: a NUL byte"),
    # 61: the line of the opening quote
    "open at the end": ('a,b\n1,"2\n3,4\n5,6\n', r"line 2: a quote opens here and is never closed"),
    "open in a later line of its row": (
        'a,b\n1,2\n"x\ny","z\n3,4\n',
        r"line 4: a quote opens here and is never closed",
    ),
    "open after doubled quotes": ('a,b\n1,"x\n""y""\n', r"line 2: a quote opens here"),
    "closed by the next one": (
        'a,b\n1,"2\n3,"4"\n',
        r"line 2: a quoted field opens here and text follows .* line 3",
    ),
    "text behind a quote": ('a,b\n"x" y,2\n', r"line 2: a quoted field opens here and text"),
    "one never closed, long": (
        'a,b\n1,2\n3,"4\n' + "5,6\n" * 40_000,
        r"line 3: a field has more than 131,072 characters; is the quote",
    ),
    # 63
    "same names": ("a,b,a\n1,2,3\n", r"line 1: columns 1 and 3 are both called 'a'"),
    "no name": (",b\n1,2\n", r"line 1: column 1 has no name.*index=False"),
    "blank name": ("a, \n1,2\n", r"column 2 has no name"),
    "no header": ("1,2\n3,4\n", r"line 1: the first line must name the columns"),
    "header only": ("a,b\n", r"no data rows: only a header"),
    "header without end": ("a,b", r"no data rows: only a header"),
    "empty": ("", r"no data rows: it is empty"),
    "only a BOM": (b"\xef\xbb\xbf", r"no data rows: it is empty"),
    "blank lines": ("\n\r\n\n", r"no data rows: it is empty"),
    # 65
    "a huge field": ("a,b\n1,2\n3," + "x" * 200_000, r"line 3: a field has more than 131,072"),
    "a field of 8 MB": ("a,b\n1,2\n3," + "x" * 8_000_000, r"line 3: a field has more than 131,072"),
    "a line of 17 MB": (
        "a,b\n1,2\n" + "x," * (1 << 23) + "y\n",
        r"line 3: the line has more than 16,777,216 characters",
    ),
    "a huge name": ("a," + "b" * 1001 + "\n1,2", r"the name of column 2 has 1,001 characters"),
    "100,000 columns": (
        ",".join(f"c{i}" for i in range(100_000)) + "\n",
        r"line 1 names 100,000 columns, the most is 10,000",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named_with_their_line(text, sentence, tmp_path):
    path = write(tmp_path / "table.csv", text)
    with pytest.raises(DataError, match=sentence) as caught:
        parsed(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


PLAIN = (["a", "b"], [("1", "x"), ("2", "y")])


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_make_no_difference(end, last, tmp_path):
    text = end.join(["a,b", "1,x", "2,y"]) + end * last
    table = parsed(write(tmp_path / "t.csv", text))
    assert contents(table) == PLAIN
    assert table.lines.tolist() == [2, 3]


def test_mixed_line_ends_and_blank_lines(tmp_path):
    table = parsed(write(tmp_path / "t.csv", "\r\na,b\r1,x\r\n\n2,y\n\r"))
    assert contents(table) == PLAIN
    assert table.lines.tolist() == [3, 5]


def test_a_byte_order_mark_belongs_to_no_name(tmp_path):
    assert contents(parsed(write(tmp_path / "t.csv", "a,b\n1,x\n2,y", "utf-8-sig"))) == PLAIN


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"])
def test_other_encodings_are_read_when_named(encoding, tmp_path):
    text = "a,b\n1,café\n2,y\n"
    table = parsed(write(tmp_path / "t.csv", text, encoding), encoding=encoding)
    assert contents(table)[1] == [("1", "café"), ("2", "y")]


@pytest.mark.parametrize("encoding", ["utf-9", "rot13", "hex", ""])
def test_encodings_that_are_none(encoding, tmp_path):
    with pytest.raises(DataError, match=r"encoding .* is not one that Python knows"):
        parsed(write(tmp_path / "t.csv", "a\n1\n"), encoding=encoding)


def test_quotes_are_those_of_rfc_4180(tmp_path):
    table = parsed(write(tmp_path / "t.csv", 'a,b\n"1,5","say ""hi"""\n"",5" pipe\n'))
    assert contents(table)[1] == [("1,5", 'say "hi"'), ("", '5" pipe')]


@pytest.mark.parametrize("delimiter", delimited.DELIMITERS)
def test_delimiters_are_found(delimiter, tmp_path):
    rows = [["a", "b"], ["1.5", "x, y; z"], ["2", "p|q"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    table = parsed(write(tmp_path / "t.csv", text.getvalue()))
    assert table.delimiters == (delimiter,)
    assert contents(table) == (rows[0], [tuple(row) for row in rows[1:]])


def test_a_decimal_comma_is_no_delimiter(tmp_path):
    table = parsed(write(tmp_path / "t.csv", "a;b\n1,5;2,5\n3,5;4,5\n"))
    assert (table.delimiters, table.names) == ((";",), ("a", "b"))


def test_the_delimiter_that_divides_evenly_is_taken(tmp_path):
    table = parsed(write(tmp_path / "t.csv", "price;size, shape, colour\n1;2\n3;4\n"))
    assert table.names == ("price", "size, shape, colour")


def test_a_wrong_guess_is_overruled(tmp_path):
    path = write(tmp_path / "t.csv", "a|b\n1|2\n")
    assert parsed(path, delimiter=",").names == ("a|b",)
    assert parsed(path, delimiter="|").names == ("a", "b")
    with pytest.raises(DataError, match="delimiter must be one character"):
        parsed(path, delimiter="||")


@pytest.mark.parametrize("suffix", ["tsv", "tab", "TAB"])
def test_some_endings_mean_tabs(suffix, tmp_path):
    path = write(tmp_path / f"t.{suffix}", "a,x,y\tb\n1,2,3\t2\n")
    assert parsed(path).names == ("a,x,y", "b")


def test_a_txt_is_divided_as_found(tmp_path):
    path = write(tmp_path / "t.txt", as_csv(people(), ";"))
    data = read_table(path, "churned")
    assert "delimiter: semicolon" in data.report


def test_a_line_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "LONGEST_LINE", 1000)
    rows = "a,b\n1,2\n" + "x," * 500 + "y\n"
    with pytest.raises(DataError, match="line 3: the line has more than 1,000 characters"):
        parsed(write(tmp_path / "t.csv", rows))


def test_time_grows_with_the_width_and_no_faster(tmp_path):
    def seconds(width):
        rows = [",".join(f"c{i}" for i in range(width)), *[",".join(["1.5"] * width)] * 3]
        path = write(tmp_path / "t.csv", "\n".join(rows))
        times = []
        for _ in range(5):
            start = time.process_time()
            assert len(parsed(path).names) == width
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(10_000) < 8 * seconds(2500)  # 4 times as wide; with its square it were 16


def test_blocks_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "CELLS", 6)  # three rows of two fields
    path = write(tmp_path / "t.csv", "a,b\n" + "".join(f"{i},x{i}\n" for i in range(10)))
    assert contents(parsed(path))[1] == [(str(i), f"x{i}") for i in range(10)]


UNREADABLE = {
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "FIFO": (os.mkfifo, "is a device, pipe or socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, pipe or socket"),
    "loop": (lambda path: path.symlink_to(path), "cannot be read: Too many levels"),
    "nothing": (lambda path: None, "cannot be read: No such file"),
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize(("make", "sentence"), UNREADABLE.values(), ids=UNREADABLE)
def test_only_files_are_read_and_nothing_hangs(make, sentence, suffix, tmp_path):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"table{suffix}"
    make(path)
    start = time.monotonic()
    with pytest.raises(DataError, match=sentence):
        read_table(path, "a")
    assert time.monotonic() - start < 2


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv", "a\n1\n")
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything
        monkeypatch.setattr(regular.io, "FileIO", _refused)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        parsed(path)


def _refused(path):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("change", [-3, 3])
def test_a_file_that_changes_while_it_is_read(change, tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv", "a,b\n1,2\n")
    true = os.fstat

    def earlier(number):
        size = os.stat_result((*true(number)[:6], 8, 0, 0, 0))
        os.truncate(path, 8 + change)  # after its size was asked for
        return size

    monkeypatch.setattr(regular.os, "fstat", earlier)
    with pytest.raises(DataError, match=f"changed while it was read: it had 8 bytes, {8 + change}"):
        parsed(path)


def test_a_file_too_large_for_memory(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    with open(path, "wb") as file:
        file.truncate(files.MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(DataError, match="the most is"):
        parsed(path)


@pytest.mark.parametrize("source", ["table.xlsx", "table", Path("a.csv.gz")])
def test_other_endings_are_refused(source):
    with pytest.raises(DataError, match=r"must end in \.csv, \.tsv, \.tab, \.txt or \.parquet"):
        read_table(source, "a")


@pytest.mark.parametrize("source", [None, 3, [], [3], {"a": 1}, np.zeros((2, 2))])
def test_other_sources_are_refused(source):
    with pytest.raises(DataError, match="source must"):
        read_table(source, "a")


def test_files_with_the_same_columns_are_joined(tmp_path):
    first = write(tmp_path / "first.csv", as_csv(people()))
    turned = dict(reversed(people().items()))
    second = write(tmp_path / "second.csv", as_csv(turned, ";"))
    data = read_table([first, second], "churned")
    assert [(Path(source.name).name, source.rows) for source in data.sources] == [
        ("first.csv", 60),
        ("second.csv", 60),
    ]
    every = np.concatenate([data.rows[part] for part in data.rows])
    assert sorted(every) == list(range(120))
    assert "delimiter: comma and semicolon" in data.report


def test_files_with_other_columns_are_not(tmp_path):
    first = write(tmp_path / "first.csv", "a,b\n1,2\n")
    second = write(tmp_path / "second.csv", "a,c\n1,2\n")
    with pytest.raises(DataError, match=r"second.csv must have the columns.*'b', 'c'"):
        read_table([first, second], "a")


def test_messages_name_the_file_among_several(tmp_path):
    first = write(tmp_path / "first.csv", as_csv(people()))
    second = write(tmp_path / "second.csv", as_csv(people(holes=[("age", 4)])))
    with pytest.raises(DataError, match=r"'age' \(1\), first in \S*second.csv line 6"):
        read_table([first, second], "churned")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAMES = st.text("abcdefgh ,;|\t\"'\n\rÄé", min_size=1, max_size=6).filter(str.strip)


@st.composite
def tables(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    row = st.lists(TEXTS, min_size=len(names), max_size=len(names))
    return [names, *draw(st.lists(row, min_size=1, max_size=8))]


@given(
    table=tables(),
    delimiter=st.sampled_from(list(delimited.DELIMITERS)),
    end=st.sampled_from(["\n", "\r", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_writer_wrote_is_read_back(
    tmp_path_factory, table, delimiter, end, quoting, encoding
):
    if end != "\r\n":
        quoting = csv.QUOTE_ALL  # a writer that ends lines in LF leaves a CR bare
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(table)
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    write(path, text.getvalue(), encoding)
    asked = "utf-8" if encoding == "utf-8-sig" else encoding
    found = parsed(path, encoding=asked, delimiter=delimiter)
    assert contents(found) == (table[0], [tuple(row) for row in table[1:]])
