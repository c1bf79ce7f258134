"""``deltarule predict MODEL SOURCE``: labels and probabilities, as CSV or JSON on stdout."""

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deltarule.cli.options import Device, Json, ModelPath, Source, Split, model_file, ready

if TYPE_CHECKING:
    import numpy as np


def predict(
    model: ModelPath,
    source: Source,
    split: Split = "test",
    device: Device = None,
    json_: Json = False,
) -> None:
    """Say what MODEL makes of each example of SOURCE: its label and every class's probability.

    SOURCE may also be one IDX file of images, without labels.
    """
    ready(device)
    from deltarule.files import load_model

    loaded = load_model(model_file(model))
    outputs = loaded.outputs(_inputs(source, split))
    labels = [loaded.classes[index] for index in outputs.argmax(axis=1)]
    rows = [[f"{p:.6g}" for p in row] for row in outputs]
    if json_:
        document = [
            {"label": label, "outputs": dict(zip(loaded.classes, map(float, row), strict=True))}
            for label, row in zip(labels, rows, strict=True)
        ]
        typer.echo(json.dumps(document, indent=2))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["index", "label", *loaded.classes])
    writer.writerows(
        [i, label, *row] for i, (label, row) in enumerate(zip(labels, rows, strict=True))
    )


def _inputs(source: str, split: str) -> "np.ndarray":
    from deltarule.cli.options import take_split
    from deltarule.data import load_inputs

    if Path(source).is_file():
        return load_inputs(Path(source))
    inputs: np.ndarray = take_split(source, split).x
    return inputs
