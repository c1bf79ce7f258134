"""From a file or frame to three data sets, and from raw rows to inputs of a trained network."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deltarule.choices import choose
from deltarule.data.dataset import Dataset, Splits, validation_size
from deltarule.data.tables.columns import Columns, refuse_missing
from deltarule.data.tables.delimited import DELIMITERS, read_delimited
from deltarule.data.tables.files import read_parquet, suffix_of
from deltarule.data.tables.frames import from_frame, library_of, like
from deltarule.data.tables.kinds import KINDS, Finding, Kind, find, numbers
from deltarule.data.tables.parts import (
    POLICIES,
    Category,
    Missing,
    Number,
    Target,
    category_column,
    moments,
    number_column,
)
from deltarule.data.tables.table import MISSING, Array, Field, Source, Table, joined, listed
from deltarule.data.tables.target import Question, Task, question
from deltarule.errors import DataError

SPLIT = 0  # chooses the rows of each part; not the seed of a run, so the parts stay the same
TEST, VALIDATION = 1 / 5, 1 / 8  # of all rows, and of the rest


@dataclass(frozen=True, eq=False)
class TableData:
    """A table ready to learn from.

    Args:
        splits: training, validation and test set; inputs float32 [n, inputs].
        columns: the preprocessing, to be stored with the model.
        rows: for "train", "validation" and "test" the rows of each part, counted from 0 in the
            order of the sources, before any was dropped.
        sources: name, size, rows and SHA-256 of each file; none for a frame.
        report: what was understood, in lines for a person to read.
    """

    splits: Splits
    columns: Columns
    rows: Mapping[str, Array]
    sources: tuple[Source, ...]
    report: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw rows as inputs ``x`` float32 [n, inputs], and the table they come from."""

    x: Array
    table: Table = field(repr=False)
    columns: Columns = field(repr=False)
    source: Any = field(repr=False)

    @property
    def has_target(self) -> bool:
        """Does the table have the target column, so that predictions can be judged?"""
        return self.columns.target.name in self.table.fields

    def dataset(self, name: str = "table") -> Dataset:
        """Return inputs and answers. Raises ``DataError`` if answers are not there or unknown."""
        answers, columns = self.columns.answers(self.table), self.columns
        return Dataset(self.x, answers, columns.classes, name=name, preparation=columns)

    def predictions(self, outputs: Array) -> Any:
        """Return what ``outputs`` [n, k] of a network mean, by name: a frame where one came in.

        The target as ``Columns.decode`` has it and, for classes, the output of each, "churned=no".
        """
        name = self.columns.target.name
        outputs = np.asarray(outputs)
        named = {name: self.columns.decode(outputs)}
        for place, label in enumerate(self.columns.classes):
            named[f"{name}={label}"] = outputs[:, place]
        return like(self.source, named)


def read_table(
    source: Any,
    target: str | None = None,
    *,
    task: Task | None = None,
    columns: Mapping[str, Kind] | None = None,
    drop: Sequence[str] = (),
    missing: Missing = "error",
    missing_values: Sequence[str] = MISSING,
    validation: float | None = None,
    test: float | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    decimal: str = ".",
) -> TableData:
    """Read a table, find out what its columns hold, and divide its rows into three data sets.

    ``source``: a file .csv, .tsv, .tab, .txt or .parquet, a list of such files with the same
    columns, or a frame of pandas, polars or pyarrow. ``target``: the column to predict; ``task``
    overrules whether its values are classes or quantities. ``columns`` overrules the kind of a
    column, "number" or "category"; ``drop`` leaves columns out.

    ``missing``: "error" names what is missing, "impute" fills numbers with their median and gives
    categories a level of their own, "drop" leaves the rows out; ``missing_values`` are the texts
    that stand for no value. ``test`` is a number of rows or a share of all, ``validation`` of the
    rest, 0 for none. ``delimiter``, ``encoding`` and ``decimal`` say how text is written.

    Numbers are standardised and categories one-hot encoded by what the training rows hold, see
    ``Columns``. The parts hold the classes in their proportions and do not depend on a run's seed.

    Raises ``DataError`` with column and line for anything that cannot be read or learned from.

    >>> import tempfile
    >>> lines = [f"{age},{'yes' if age > 30 else 'no'}" for age in [20, 41, 33, 28, 52, 23] * 4]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "customers.csv")
    ...     _ = path.write_text("\\n".join(["age,churned", *lines]))
    ...     data = read_table(path, "churned")
    >>> data.columns.input_names, data.columns.classes
    (('age',), ('no', 'yes'))
    >>> data.splits.test
    Dataset('customers': 5 examples of shape (1,), float32, 2 classes)
    """
    choose("missing", missing, dict.fromkeys(POLICIES))
    choose("decimal", decimal, dict.fromkeys((".", ",")))
    words, forced = _words(missing_values), dict(columns or {})
    table = load(source, delimiter=delimiter, encoding=encoding, missing_values=words)
    used = _used(table, target, forced, drop)
    assert target is not None  # or _used has refused it
    found = {n: find(table, table.fields[n], forced.get(n), decimal) for n in used}
    names = [name for name, finding in found.items() if finding.kind]
    if not names:
        raise DataError(
            f"no column is left to learn from: {_notes(found)}; keep one by "
            "columns={'its name': 'number' or 'category'} (--number or --category)."
        )
    table = replace(table, fields=table.fields | {n: found[n].field for n in names})
    rows = _without_holes(table, names, target, missing)
    kept = table.take(rows) if len(rows) < len(table) else table
    asked = question(kept, target, task, decimal)
    parts = _divide(asked, validation, test)
    preprocessing = Columns(
        _measured(kept, names, found, parts["train"], missing, decimal),
        _target(target, asked, parts["train"]),
        missing, words, decimal,
    )  # fmt: skip
    splits = _splits(kept, preprocessing, asked, parts, _title(table))
    report = _report(table, kept, found, asked, preprocessing, splits)
    return TableData(
        splits, preprocessing, {name: rows[part] for name, part in parts.items()},
        table.sources, report,
    )  # fmt: skip


def read_rows(
    source: Any,
    columns: Columns,
    *,
    delimiter: str | None = None,
    encoding: str = "utf-8",
    decimal: str | None = None,
) -> Rows:
    """Read raw rows to predict, or to evaluate if they have the target column.

    ``source`` is what ``read_table`` takes; its columns may stand in any order, further ones are
    ignored. ``delimiter``, ``encoding`` and ``decimal`` say how text is written; the last is by
    default as it was in training. Raises ``DataError`` for columns that are not there and values
    that do not fit.
    """
    if decimal is not None:
        choose("decimal", decimal, dict.fromkeys((".", ",")))
        columns = replace(columns, decimal=decimal)
    table = load(
        source, delimiter=delimiter, encoding=encoding, missing_values=columns.missing_values
    )
    return Rows(columns.encode(table), table, columns, source)


def load(
    source: Any, *, delimiter: str | None, encoding: str, missing_values: tuple[str, ...]
) -> Table:
    """Return the table in a file, in several with the same columns, or in a frame."""
    if library_of(source):
        return from_frame(source, missing_values)
    paths = [source] if isinstance(source, str | os.PathLike) else source
    if not isinstance(paths, list | tuple) or not paths:
        raise DataError(
            "source must be a file, a list of files, or a frame of pandas, polars or pyarrow, got "
            f"{type(source).__name__}."
        )
    tables = []
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise DataError(f"source must list paths of files, got {path!r:.80}.")
        if suffix_of(path) == ".parquet":
            tables.append(read_parquet(path, missing_values))
        else:
            tables.append(
                read_delimited(
                    path, encoding=encoding, delimiter=delimiter, missing_values=missing_values
                )
            )
    return joined(tables)


def _words(missing_values: Sequence[str]) -> tuple[str, ...]:
    texts = isinstance(missing_values, list | tuple) and all(
        isinstance(word, str) for word in missing_values
    )
    if not texts:
        raise DataError(f"missing_values must be a list of texts, got {missing_values!r:.80}.")
    return tuple(dict.fromkeys(missing_values))


def _used(
    table: Table, target: str | None, forced: Mapping[str, Kind], drop: Sequence[str]
) -> list[str]:
    """Return the columns to learn from, before those that turn out to be of no use."""
    if target is None:
        raise DataError(f"target must name the column to predict; there are {listed(table.names)}.")
    if isinstance(drop, str):
        raise DataError(f"drop must be a list of columns, got the single text {drop!r}.")
    table.column(target, "target")
    for argument, names in (("drop", drop), ("columns", forced)):
        for name in names:
            said = f"{argument}:" if argument == "drop" else "columns (--number, --category):"
            table.column(name, said)
            if name == target:
                raise DataError(
                    f"{argument} must not name the target {target!r}; leave it out there, or say "
                    "with task (--task) what is predicted."
                )
    for kind in forced.values():
        choose("columns", kind, dict.fromkeys(KINDS))
    return [name for name in table.names if name != target and name not in set(drop)]


def _without_holes(table: Table, names: list[str], target: str, missing: Missing) -> Array:
    """Return the rows to learn from; refuse values that are missing unless ``missing`` says how."""
    answers = table.fields[target].missing
    if answers.all():
        raise DataError(f"target {target!r} holds no value at all; choose another column.")
    if missing == "drop":
        return _complete(table, [*names, target], fillable=not answers.any())
    dropped = "train with missing='drop' (--missing drop)"
    either = "train with missing='impute' or 'drop' (--missing)"
    if missing == "impute":
        refuse_missing(table, [target], dropped)
    else:
        refuse_missing(table, [*names, target], dropped if answers.any() else either)
    return np.arange(len(table))


def _complete(table: Table, names: Sequence[str], *, fillable: bool) -> Array:
    """Return the rows in which none of ``names`` is missing; all can be filled if ``fillable``."""
    complete = np.ones(len(table), bool)
    for name in names:
        complete &= ~table.fields[name].missing
    if not complete.any():
        impute = "use missing='impute' (--missing impute), or " if fillable else ""
        raise DataError(
            f"every row misses a value, so missing='drop' leaves none; {impute}drop (--drop) the "
            "columns with most holes."
        )
    return np.flatnonzero(complete)


def _divide(asked: Question, validation: float | None, test: float | None) -> dict[str, Array]:
    """Return the rows of each part: classes in their proportions, numbers at random."""
    n, k = len(asked.answers), max(len(asked.classes), 1)
    size = _size("test", test, n, max(k, round(TEST * n)))
    rest, cut = _cut(np.arange(n), size, asked, "test")
    default = max(k, round(VALIDATION * len(rest)))
    size = 0 if validation == 0 else _size("validation", validation, len(rest), default)
    train, held_out = _cut(rest, size, asked, "validation") if size else (rest, rest[:0])
    return {"train": train, "validation": held_out, "test": cut}


def _size(part: str, asked: float | None, n: int, default: int) -> int:
    try:
        size = validation_size(asked, n, default=default)
    except DataError:
        size = 0
    if not 0 < size < n:
        raise DataError(
            f"{part} must be a number of rows from 1 to {n - 1} or a share of {n}, got "
            f"{default if asked is None else asked!r}; a table needs rows for each part."
        )
    return size


def _cut(rows: Array, size: int, asked: Question, part: str) -> tuple[Array, Array]:
    from sklearn.model_selection import train_test_split

    labels = asked.answers[rows] if asked.classes else None
    try:
        rest, cut = train_test_split(rows, test_size=size, random_state=SPLIT, stratify=labels)
    except ValueError as error:
        raise DataError(
            f"{part} cannot take {size} of {len(rows)} rows with each of the "
            f"{len(asked.classes)} classes on both sides ({error}); add rows, or choose another "
            f"{'test=' if part == 'test' else 'validation= (--validation)'}."
        ) from None
    return np.sort(rest), np.sort(cut)


def _measured(
    table: Table, names: Sequence[str], found: Mapping[str, Finding], train: Array,
    missing: Missing, decimal: str,
) -> tuple[Number | Category, ...]:  # fmt: skip
    """Return what each column becomes, by its training rows."""

    def measured(name: str) -> Number | Category:
        part: Field = table.fields[name]
        if found[name].kind == "category":
            return category_column(part.take(train), missing)
        return number_column(name, numbers(table, part, decimal)[train], missing)

    return tuple(measured(name) for name in names)


def _target(name: str, asked: Question, train: Array) -> Target:
    if asked.classes:
        return Target(name, asked.classes)
    return Target(name, (), *moments(name, asked.answers[train]))


def _splits(
    table: Table, columns: Columns, asked: Question, parts: Mapping[str, Array], title: str
) -> Splits:
    x, y = columns.encode(table), asked.answers
    if not asked.classes:
        y = ((y - columns.target.mean) / columns.target.deviation)[:, None]
    whole = Dataset(x, y, columns.classes, name=title, preparation=columns)
    return Splits(**{name: whole[rows] for name, rows in parts.items()})


def _title(table: Table) -> str:
    return Path(table.sources[0].name).stem if table.sources else "table"


def _notes(found: Mapping[str, Finding]) -> str:
    return "; ".join(f"{name!r:.60} {finding.note}" for name, finding in list(found.items())[:10])


def _report(
    table: Table, kept: Table, found: Mapping[str, Finding], asked: Question,
    columns: Columns, splits: Splits,
) -> tuple[str, ...]:  # fmt: skip
    """Return what was understood, for a person to check."""
    marks = " and ".join(DELIMITERS.get(mark, repr(mark)) for mark in table.delimiters)
    lines = [f"{source.name}: {source.rows:,} rows" for source in table.sources]
    lines += [f"delimiter: {marks}"] if marks else []
    widths = {column.name: len(column.input_names) for column in columns.columns}
    for name, finding in found.items():
        holes = int(table.fields[name].missing.sum())
        tail = f", {holes:,} missing" if holes else ""
        became = f" -> {widths[name]} inputs" if widths.get(name, 1) > 1 else ""
        kind = f"{finding.kind}, " if finding.kind else ""
        lines.append(f"{name!r:.80}: {kind}{finding.note}{tail}{became}")
    policy = {
        "error": "none are missing",
        "impute": "numbers by their median, categories by a level of their own",
        "drop": f"{len(table) - len(kept):,} rows left out",
    }
    lines.append(f"missing values ({columns.missing}): {policy[columns.missing]}")
    lines.append(asked.sentence)
    sizes = ", ".join(f"{len(getattr(splits, p)):,} {p}" for p in ("train", "validation", "test"))
    how = "classes in their proportions" if asked.classes else "at random"
    return (*lines, f"rows: {sizes} ({how}); {len(columns.input_names)} inputs")
