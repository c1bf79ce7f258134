"""``deltarule show MODEL``: the layers of a stored model and where it comes from."""

import json

import typer

from deltarule.cli.options import Json, ModelPath, model_file


def show(model: ModelPath, json_: Json = False) -> None:
    """Show the layers, parameter counts, classes and provenance of MODEL."""
    from deltarule.files import load_model
    from deltarule.storage import printable

    loaded = load_model(model_file(model))
    facts = {
        "input shape": " x ".join(map(str, loaded.shape)),
        "input scale": f"{loaded.scale:g}",
        "classes": ", ".join(loaded.classes) or "none (regression)",
        "precision": str(loaded.dtype),
    }
    if json_:
        document = {
            "layers": loaded.network.describe(),
            "parameters": loaded.network.count(loaded.shape),
            "shape": loaded.shape,
            "scale": loaded.scale,
            "classes": loaded.classes,
            "provenance": loaded.provenance,
        }
        typer.echo(json.dumps(document, indent=2))
        return
    typer.echo(loaded.network.summary(loaded.shape))
    typer.echo()
    recipe = dict(loaded.provenance.get("recipe", {}))
    origin = {name: value for name, value in loaded.provenance.items() if name != "recipe"}
    for name, value in {**facts, **origin, **recipe}.items():
        if value is not None:
            typer.echo(f"{name.replace('_', ' '):16} {printable(str(value))}")
