"""``deltarule show MODEL``: the layers of a stored model and where it comes from."""

import typer

from deltarule.cli.options import Json, ModelPath, model_file, recipe_of


def show(model: ModelPath, json_: Json = False) -> None:
    """Show the layers, parameter counts, classes and provenance of MODEL."""
    from deltarule.cli.report import document
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
        everything = {
            "layers": loaded.network.describe(),
            "parameters": loaded.network.count(loaded.shape),
            "shape": loaded.shape,
            "scale": loaded.scale,
            "classes": loaded.classes,
            "provenance": loaded.provenance,
        }
        typer.echo(document(everything))
        return
    typer.echo(loaded.network.summary(loaded.shape))
    typer.echo()
    origin = {name: value for name, value in loaded.provenance.items() if name != "recipe"}
    for name, value in [*facts.items(), *origin.items(), *recipe_of(loaded).items()]:
        if value is not None:
            typer.echo(f"{printable(name.replace('_', ' ')):16} {printable(value)}")
