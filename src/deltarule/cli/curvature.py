"""``deltarule curvature MODEL SOURCE``: the Hessian's eigenvalues beside the learning rate."""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltarule.cli.options import Device, Json, ModelPath, Source, Split, model_file, ready

if TYPE_CHECKING:
    from deltarule.learning import Recipe
    from deltarule.learning.curvature import Spectrum
    from deltarule.network import Model

WIDTH, LABEL = 60, 15


def curvature(
    model: ModelPath,
    source: Source,
    split: Split = "train",
    largest: Annotated[
        int, typer.Option("--largest", help="How many eigenvalues, the largest first.")
    ] = 20,
    examples: Annotated[
        int | None,
        typer.Option("--examples", help="Use so many, at random but always the same. [all]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("curvature.png"),
    device: Device = None,
    json_: Json = False,
) -> None:
    """Show how the cost is curved at MODEL, and the learning rates that allows.

    Of networks of at most 2000 parameters the whole spectrum is found and drawn.
    """
    for flag, number in (("--largest", largest), ("--examples", examples)):
        if number is not None and number < 1:
            raise typer.BadParameter(f"{flag} must be at least 1, got {number}.")
    ready(device)
    from deltarule.cli.asking import labelled
    from deltarule.cli.report import document
    from deltarule.files import load_model
    from deltarule.learning.curvature import recipe_of, spectrum

    loaded = _single(load_model(model_file(model)))
    data = labelled([source], split, loaded, model)
    recipe = recipe_of(loaded)
    found = spectrum(loaded, data, recipe, most=largest, examples=examples)
    facts = _facts(found, recipe, _rate(model, loaded, recipe), f"{len(data):,} ({split})")
    facts["picture"] = _draw(found, facts["learning_rate"], recipe, out)
    typer.echo(document(facts) if json_ else _table(facts))


def _single(model: Any) -> "Model":
    from deltarule.network import Model

    if not isinstance(model, Model):
        raise typer.BadParameter(
            "MODEL is a committee, and each member has a curvature of its own: give a member's "
            "folder, such as RUN/member-1."
        )
    return model


def _rate(path: Path, model: "Model", recipe: "Recipe") -> float | None:
    """Return the learning rate in use, if the model has a recipe and its optimizer a rate."""
    if "recipe" not in model.provenance or recipe.method.learning_rate is None:
        return None
    if math.isfinite(recipe.rate):
        return recipe.rate
    from deltarule.runs import HISTORY, RunFolder

    history = RunFolder(path if path.is_dir() else path.parent).read_lines(HISTORY)
    return history[0]["learning_rate"] if history else None  # measured before the first step


def _facts(found: "Spectrum", recipe: "Recipe", rate: float | None, of: str) -> dict[str, Any]:
    from deltarule.learning.curvature import limit_of

    return {
        "examples": found.examples,
        "of": of,
        "parameters": found.parameters,
        "largest": found.largest.tolist(),
        "all": None if found.all is None else found.all.tolist(),
        "lambda_max": found.lambda_max,
        "best_rate": found.best,
        "limit": found.limit,
        "learning_rate": rate,
        "optimizer": None if rate is None else recipe.optimizer,
        "optimizer_limit": None if rate is None else limit_of(found.lambda_max, recipe),
    }


def _draw(found: "Spectrum", rate: float | None, recipe: "Recipe", out: Path) -> str | None:
    """Draw the eigenvalues and return where; None, with a word, where matplotlib is missing."""
    from deltarule import plots
    from deltarule.learning.curvature import limit_of
    from deltarule.plots.canvas import figure
    from deltarule.storage import printable

    bearable = limit_of(1.0, recipe)  # rate x curvature, at the limit
    line = bearable / rate if rate and bearable else None
    try:
        if found.all is None:
            return str(printable(plots.save(plots.eigenvalues(found.largest, line), out)))
        picture = figure(11, 3.8)
        left, right = picture.subplots(1, 2)
    except ImportError:
        typer.echo("no picture: it needs pip install 'deltarule[plot]'", err=True)
        return None
    plots.eigenvalues(found.largest, line, left)
    plots.density(found.all, right)
    return str(printable(plots.save(picture, out)))


def _table(facts: dict[str, Any]) -> str:
    rate, limit = facts["learning_rate"], facts["optimizer_limit"]
    rows = {
        "examples": f"{facts['examples']:,} of {facts['of']}",
        "parameters": f"{facts['parameters']:,}",
        "eigenvalues": ", ".join(f"{value:.3g}" for value in facts["largest"]),
        "lambda max": f"{facts['lambda_max']:.4g}",
        "best rate": f"{facts['best_rate']:.4g}, 1 / lambda max",
        "stable below": f"{facts['limit']:.4g}, 2 / lambda max",
    }
    if facts["all"] is not None:
        flat = 1e-8 * max(map(abs, facts["all"]))  # as in the picture
        below = sum(value < -flat for value in facts["all"])
        rows["spectrum"] = f"{below:,} of {facts['parameters']:,} directions curve downwards"
    if rate is not None:
        against = f", {100 * rate / limit:.3g} % of its limit {limit:.3g}" if limit else ""
        rows["learning rate"] = f"{rate:g} with {facts['optimizer']}{against}"
    if facts["picture"]:
        rows["picture"] = facts["picture"]
    return "\n".join(
        textwrap.fill(
            text, WIDTH, initial_indent=f"{name:{LABEL}}", subsequent_indent=" " * LABEL,
            break_long_words=False, break_on_hyphens=False,
        )
        for name, text in rows.items()
    )  # fmt: skip
