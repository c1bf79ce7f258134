"""Tables for the tests: small texts, and a table that can be learned from."""

import numpy as np

from deltarule.data.tables.delimited import read_delimited

PEOPLE = 60


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def parsed(path, *, encoding="utf-8", delimiter=None, missing_values=("",)):
    return read_delimited(
        path, encoding=encoding, delimiter=delimiter, missing_values=missing_values
    )


def contents(table):
    """The names and the rows of text of a table."""
    return list(table.names), list(
        zip(*(field.values.tolist() for field in table.fields.values()), strict=True)
    )


def people(n=PEOPLE, holes=()):
    """Columns of n people; ``holes`` are pairs of a column and a row without a value."""
    chance = np.random.default_rng(0)
    age = chance.integers(18, 80, n)
    columns = {
        "age": [str(value) for value in age],
        "income": [f"{value:.2f}" for value in chance.normal(3e4, 9e3, n)],
        "city": chance.choice(["Bonn", "Rome", "Oslo"], n).tolist(),
        "churned": ["yes" if value > 45 else "no" for value in age],
    }
    for name, row in holes:
        columns[name][row] = ""
    return columns


def as_csv(columns, delimiter=","):
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join(delimiter.join(row) + "\n" for row in rows)
