"""Which question a table asks: a class or a number, decided from its target column."""

from collections import Counter
from typing import Literal, NamedTuple

import numpy as np

from deltarule.choices import choose
from deltarule.data.tables.columns import class_names
from deltarule.data.tables.kinds import LONGEST_LEVEL, MOSTLY, has_codes, numbers, parsed
from deltarule.data.tables.table import Array, Field, Table, listed
from deltarule.errors import DataError

Task = Literal["classification", "regression"]
TASKS = ("classification", "regression")

FEW = 20  # different whole numbers, at most, that are taken for classes
ROWS_A_CLASS = 5  # on average, for whole numbers to be classes
MOST_CLASSES = 1000
LEAST_ROWS = 3  # of each class: one for each part


class Question(NamedTuple):
    """What is asked: ``classes`` (none for regression), the answers [n], and a sentence."""

    classes: tuple[str, ...]
    answers: Array  # class indices, or numbers as they stand in the table
    sentence: str

    @property
    def task(self) -> Task:
        """What is predicted."""
        return "classification" if self.classes else "regression"


def question(table: Table, target: str, task: str | None, decimal: str) -> Question:
    """Decide what to predict. Raises ``DataError`` if the target cannot be predicted."""
    if task is not None:
        choose("task", task, dict.fromkeys(TASKS))
    field = table.column(target, "target")
    if field.date:
        raise DataError(f"target {target!r} holds dates; predict a number, as days since an event.")
    values, wrong = parsed(field, decimal)
    if task == "regression" or (task is None and 0 < wrong.mean() < MOSTLY):
        _check_numbers(table, field, wrong)
    if task == "regression" or (
        task is None and not wrong.any() and not has_codes(field, values) and _quantity(values)
    ):
        answers = numbers(table, field, decimal)
        if answers.min() == answers.max():
            raise _constant(target, f"{answers[0]:g}")
        why = "as asked for" if task else _why(values)
        return Question((), answers, f"regression of {target!r}: {why}")
    return _classification(table, field, task, decimal)


def _check_numbers(table: Table, field: Field, wrong: Array) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{table.where(row)}: target {field.name!r} holds {field.texts()[row]!r:.60} among "
            "numbers; correct it, or say task='classification' (--task) if the numbers "
            "are names."
        )


def _quantity(values: Array) -> bool:
    """Are these numbers a quantity rather than the numbers of classes?"""
    different = len(np.unique(values))
    whole = bool((values == np.round(values)).all())
    return not (whole and different <= FEW and different * ROWS_A_CLASS <= len(values))


def _why(values: Array) -> str:
    different = len(np.unique(values))
    overrules = "task='classification' or --task classification overrules"
    return f"it holds numbers, {different:,} different ones ({overrules})"


def _classification(table: Table, field: Field, task: str | None, decimal: str) -> Question:
    texts = class_names(table, field, decimal)
    values, wrong = parsed(field, decimal)
    counts = Counter(texts)
    name = field.name
    if len(counts) == 1:
        raise _constant(name, repr(texts[0])[:80])
    if len(counts) > MOST_CLASSES or max(map(len, counts)) > LONGEST_LEVEL:
        raise DataError(
            f"target {name!r} holds {len(counts):,} different texts, the longest of "
            f"{max(map(len, counts)):,} characters; classes are at most {MOST_CLASSES:,} names of "
            f"{LONGEST_LEVEL} characters: choose another target, or task='regression' (--task) for "
            "numbers."
        )
    classes = tuple(sorted(counts, key=_in_order))
    rare = [text for text in classes if counts[text] < LEAST_ROWS]
    if rare:
        raise DataError(
            f"target {name!r} has classes of fewer than {LEAST_ROWS} rows, {listed(rare)}, which "
            "cannot be divided into training, validation and test; gather more rows, join classes "
            "or leave those rows out (task='regression' or --task regression if they are "
            "quantities)."
        )
    places = {text: place for place, text in enumerate(classes)}
    answers = np.array([places[text] for text in texts], np.int32)
    names = wrong.any() or has_codes(field, values)
    overrules = "task='regression' or --task regression overrules"
    why = "names" if names else f"only {len(counts)} whole numbers, {overrules}"
    why = "as asked for" if task else why
    sizes = ", ".join(f"{text!r:.40} ({counts[text]:,})" for text in classes[:10])
    more = f" and {len(classes) - 10} more" if len(classes) > 10 else ""
    return Question(
        classes,
        answers,
        f"classification of {name!r} into {len(classes)} classes ({why}): {sizes}{more}",
    )


def _in_order(name: str) -> tuple[float, str]:
    """Sort numbers as numbers, before other names."""
    try:
        return float(name), name
    except ValueError:
        return np.inf, name


def _constant(name: str, value: str) -> DataError:
    return DataError(
        f"target {name!r} is {value} in every row, so there is nothing to learn; choose another "
        "column or add rows with other answers."
    )
