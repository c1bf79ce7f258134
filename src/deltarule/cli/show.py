"""``deltarule show``: the layers of a stored model, or what augmentation makes of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltarule.cli.options import Json, model_file, ready, recipe_of

if TYPE_CHECKING:
    from deltarule.committee import Committee
    from deltarule.network import Model

COPIES, MOST_ROWS = 9, 10


def show(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A model file or run folder; with --augment, a SOURCE."
        ),
    ],
    augment: Annotated[
        str | None,
        typer.Option(
            "--augment",
            help="Draw images of SOURCE changed by shift, affine, elastic, crop, flip, or amounts "
            "such as rotation=10, with commas between.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Of --augment: the picture. [augmented.png]")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of --augment. [0]")] = None,
    json_: Json = False,
) -> None:
    """Show the layers, parameter counts, classes and provenance of MODEL.

    With --augment, draw a sheet of SOURCE's images instead: as they are, then changed at random.
    """
    if augment is not None:
        _show_augmented(str(model), augment, out or Path("augmented.png"), seed or 0, json_)
    elif out is not None or seed is not None:
        raise typer.BadParameter("--out and --seed go with --augment, which draws a picture.")
    else:
        _show_model(model, json_)


def _show_model(model: Path, json_: bool) -> None:
    from deltarule.cli.report import document
    from deltarule.committee import Committee
    from deltarule.data.preparation import describe
    from deltarule.files import load_model
    from deltarule.storage import printable

    loaded = load_model(model_file(model))
    together: dict[str, Any] = {}
    members = (loaded,) if not isinstance(loaded, Committee) else loaded.members
    if isinstance(loaded, Committee):
        together = {"members": len(members), "combine": loaded.combine, "views": loaded.views}
    facts = {
        "input shape": " x ".join(map(str, loaded.shape)),
        "input scale": f"{loaded.scale:g}",
        "classes": ", ".join(loaded.classes) or "none (regression)",
        "precision": str(loaded.dtype),
        **_prepared(loaded),
        **{name: ", ".join(v) if name == "views" else str(v) for name, v in together.items()},
    }
    if json_:
        layers = [member.network.describe() for member in members]
        everything = {
            "layers": layers if together else layers[0],
            "parameters": sum(member.network.count(member.shape) for member in members),
            "shape": loaded.shape,
            "scale": loaded.scale,
            "classes": loaded.classes,
            "provenance": loaded.provenance,
            "preparation": loaded.preparation and describe(loaded.preparation),
            **together,
        }
        typer.echo(document(everything))
        return
    for summary in dict.fromkeys(member.network.summary(member.shape) for member in members):
        typer.echo(summary)
        typer.echo()
    origin = {name: value for name, value in loaded.provenance.items() if name != "recipe"}
    for name, value in [*facts.items(), *origin.items(), *recipe_of(loaded).items()]:
        if value is not None:
            typer.echo(f"{printable(name.replace('_', ' ')):16} {printable(value)}")


def _prepared(model: "Model | Committee") -> dict[str, str]:
    """Return what the model takes, if that is more than arrays."""
    from deltarule.data import Columns
    from deltarule.data.pictures import Pictures

    made_of = model.preparation
    if isinstance(made_of, Columns):
        names = ", ".join(column.name for column in made_of.columns)
        return {"target": made_of.target.name, "columns": names}
    if isinstance(made_of, Pictures):
        kind = "grey" if made_of.channels == 1 else "in colour"
        return {"pictures": f"{made_of.height} x {made_of.width}, {kind}, {made_of.fit}"}
    return {}


def _show_augmented(source: str, text: str, out: Path, seed: int, json_: bool) -> None:
    if not 0 <= seed < 2**63:
        raise typer.BadParameter(f"--seed must be a whole number from 0 to 2^63 - 1, got {seed}.")
    ready(None)
    import jax
    import numpy as np

    from deltarule import plots
    from deltarule.cli.report import document
    from deltarule.data import load
    from deltarule.data.augment import augmentation
    from deltarule.storage import printable

    wanted, train = augmentation(text), load(source).train
    _, firsts = np.unique(train.y, return_index=True)  # one image of each class
    originals = train.x[firsts[:MOST_ROWS]]
    many = np.repeat(originals, COPIES, axis=0)
    copies = np.asarray(jax.jit(wanted.apply)(jax.random.key(seed), many))
    copies = copies.reshape(len(originals), COPIES, *train.shape)
    sheet = np.concatenate([originals[:, None], copies], axis=1).reshape(-1, *train.shape)
    heading = f"Each as it is, and {COPIES} times with {text}"
    picture = plots.save(plots.examples(sheet, rows=len(originals), heading=heading), out)
    if json_:
        typer.echo(document({"picture": str(picture), "augment": wanted.describe()}))
    else:
        typer.echo(f"picture          {printable(picture)}")
