"""``deltarule predict MODEL SOURCE``: labels and probabilities, as CSV or JSON on stdout."""

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deltarule.cli.options import Device, Json, ModelPath, Source, Split, model_file, ready

if TYPE_CHECKING:
    import numpy as np

    from deltarule.committee import Committee
    from deltarule.network import Model


def predict(
    model: ModelPath,
    source: Source,
    split: Split = "test",
    device: Device = None,
    json_: Json = False,
) -> None:
    """Say what MODEL makes of each example of SOURCE: its label and every class's probability.

    SOURCE may also be one IDX file of images, without labels. In CSV the characters of a class
    name that a terminal would act on are escaped.
    """
    ready(device)
    from deltarule.cli.report import document
    from deltarule.errors import ModelFileError
    from deltarule.files import load_model
    from deltarule.storage import printable

    loaded = load_model(model_file(model))
    if not loaded.classes:
        raise ModelFileError(f"{model} knows no classes; use it with deltarule.load_model.")
    x = _inputs(source, split, loaded)
    labels = loaded.labels(x)
    rows = [[f"{p:.6g}" for p in row] for row in loaded.outputs(x)]
    if json_:
        facts = [
            {"label": label, "outputs": dict(zip(loaded.classes, map(float, row), strict=True))}
            for label, row in zip(labels, rows, strict=True)
        ]
        typer.echo(document(facts))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["index", "label", *map(printable, loaded.classes)])
    writer.writerows(
        [i, printable(label), *row] for i, (label, row) in enumerate(zip(labels, rows, strict=True))
    )


def _inputs(source: str, split: str, model: "Model | Committee") -> "np.ndarray":
    from deltarule.cli.options import check_inputs, take_split
    from deltarule.data import load_inputs

    if not Path(source).is_file():
        return take_split(source, split, model).x
    images = load_inputs(source)
    check_inputs(source, images.shape[1:], model)
    return images
