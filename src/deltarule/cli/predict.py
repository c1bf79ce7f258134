"""``deltarule predict MODEL SOURCE``: what a model makes of each example, as CSV or JSON."""

import csv
import sys
from typing import TYPE_CHECKING, Any

import typer

from deltarule.cli.options import (
    Decimal,
    Delimiter,
    Device,
    Encoding,
    Json,
    ModelPath,
    Sources,
    Split,
    Written,
    model_file,
    ready,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from deltarule.committee import Committee
    from deltarule.data.unread import Unread
    from deltarule.network import Model


def predict(
    model: ModelPath,
    source: Sources,
    split: Split = None,
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    decimal: Decimal = None,
    device: Device = None,
    json_: Json = False,
) -> None:
    """Say what MODEL makes of each example of SOURCE: its label and every class's probability.

    SOURCE is raw: rows of a table in any order of columns, picture files or their folders, an IDX
    or .npy file, a known set. Of a regression the quantity is said. In CSV the characters of a
    name that a terminal would act on are escaped.
    """
    ready(device)
    from deltarule.cli.asking import questions
    from deltarule.cli.report import document
    from deltarule.files import load_model
    from deltarule.storage import printable

    loaded = load_model(model_file(model))
    asked = questions(source, split, loaded, model, Written(delimiter, encoding, decimal))
    outputs, labels = _answers(loaded, asked.x)
    facts = _facts(loaded, outputs, labels)
    files = not isinstance(asked.names, range)
    if json_:
        named = zip(asked.names, facts, strict=True)
        typer.echo(document([{"file": name, **each} if files else each for name, each in named]))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    first = "file" if files else "index"
    writer.writerow([first, *map(printable, _header(loaded, outputs))])
    for name, each in zip(asked.names, facts, strict=True):
        told = [printable(each["label"])] if loaded.classes else []
        writer.writerow([name, *told, *(f"{value:.6g}" for value in each["outputs"].values())])


def _answers(
    model: "Model | Committee", x: "np.ndarray | Unread"
) -> "tuple[np.ndarray, list[str] | None]":
    """Return outputs [n, k] and labels; of pictures in their files a part at a time is decoded."""
    import numpy as np

    from deltarule.data.unread import in_parts

    parts = in_parts(x) if len(x) else iter((np.zeros((0, *model.shape), np.float32),))
    asked = [(model.outputs(part), model.labels(part) if model.classes else []) for part in parts]
    outputs = np.concatenate([each for each, _ in asked])
    return outputs, [label for _, each in asked for label in each] if model.classes else None


def _header(model: "Model | Committee", outputs: "np.ndarray") -> list[str]:
    return [*(["label"] if model.classes else []), *_output_names(model, outputs.shape[1])]


def _output_names(model: "Model | Committee", count: int) -> list[str]:
    """Return what each output says: the probability of a class, or a quantity."""
    from deltarule.data import Columns

    if model.classes:
        return list(model.classes)
    if isinstance(model.preparation, Columns):
        return [model.preparation.target.name]
    return [f"output {i}" for i in range(count)]


def _facts(
    model: "Model | Committee", outputs: "np.ndarray", labels: list[str] | None
) -> "Iterator[dict[str, Any]]":
    """Yield the label and the outputs by name of each example, quantities in their own unit."""
    from deltarule.data import Columns

    names = _output_names(model, outputs.shape[1])
    if labels is None and isinstance(model.preparation, Columns):
        outputs = model.preparation.decode(outputs)[:, None]
    for i, row in enumerate(outputs):
        label = {} if labels is None else {"label": labels[i]}
        yield {**label, "outputs": dict(zip(names, map(float, row), strict=True))}
