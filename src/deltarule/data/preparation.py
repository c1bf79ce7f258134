"""What makes inputs of raw rows or files: found once, kept with the model as plain data.

A ``Columns`` does so for the rows of a table, a ``Pictures`` for picture files.
"""

import json
import math
from typing import Any

from deltarule.data.pictures import Pictures
from deltarule.data.tables import Columns
from deltarule.errors import DataError

Preparation = Columns | Pictures

KINDS: dict[str, type[Columns] | type[Pictures]] = {"table": Columns, "pictures": Pictures}
MOST_BYTES = 8 << 20  # of a description: it is read before anything else of a model


def describe(preparation: Preparation) -> dict[str, Any]:
    """Return a preparation as plain data; ``from_description`` gives it back.

    Raises ``DataError`` if it is longer than a model file may hold.

    >>> from_description(describe(Pictures(28, 28, 1, ("cat", "dog")))).shape
    (28, 28, 1)
    """
    kind = next(name for name, kind in KINDS.items() if isinstance(preparation, kind))
    rule = preparation.describe()
    if (size := len(json.dumps(rule))) > MOST_BYTES:
        raise DataError(
            f"the description of the data takes {size:,} bytes, the most is {MOST_BYTES:,}; leave "
            "columns with many or long levels out."
        )
    return {"kind": kind, "rule": rule}


def from_description(description: Any) -> Preparation:
    """Return what ``describe`` described. Raises ``DataError`` for anything else."""
    entries = set(description) if isinstance(description, dict) else None
    kind = description["kind"] if entries == {"kind", "rule"} else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(
            f"a preparation must have a kind, {' or '.join(KINDS)}, and a rule; "
            f"got {description!r:.200}."
        )
    return KINDS[kind].from_description(description["rule"])


def check(preparation: Preparation, shape: tuple[int, ...], classes: tuple[str, ...]) -> None:
    """Raise ``DataError`` unless it makes inputs of ``shape`` and answers of ``classes``."""
    if math.prod(preparation.shape) != math.prod(shape):
        raise DataError(
            f"a preparation must make inputs of the shape {shape}, this one makes "
            f"{preparation.shape}."
        )
    if preparation.classes != classes:
        raise DataError(
            f"a preparation must know the classes of the model, {classes!r:.200}, this one knows "
            f"{preparation.classes!r:.200}."
        )
