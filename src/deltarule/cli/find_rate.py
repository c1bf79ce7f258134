"""``deltarule find-rate SOURCE``: which learning rate to train with, measured in seconds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deltarule.cli.options import Device, Json, Quiet, Source, ready


def find_rate(
    source: Source,
    network: Annotated[
        str | None, typer.Option("--network", help="Sizes such as 784,100,10, or a name.")
    ] = None,
    activation: Annotated[
        str, typer.Option("--activation", help="Of the hidden layers.")
    ] = "sigmoid",
    output: Annotated[str, typer.Option("--output", help="Of the last layer.")] = "sigmoid",
    init: Annotated[
        str | None, typer.Option("--init", help="Initial weights; by default by activation.")
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--inputs", help="standardize or decorrelate.")
    ] = None,
    cost: Annotated[
        str, typer.Option("--cost", help="cross_entropy or quadratic.")
    ] = "cross_entropy",
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="One that works on batches: sgd, adam, ...")
    ] = "sgd",
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="1 is online; by default 10.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of every random choice.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("rates.png"),
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on SOURCE for some hundred steps while the learning rate grows, and suggest one.

    Nothing is kept but a picture. For sgd the rate of --learning-rate auto, one over the largest
    curvature, stands beside the suggestion.
    """
    ready(device)
    from deltarule.cli.building import network_of
    from deltarule.data import load
    from deltarule.learning import Recipe
    from deltarule.learning.rates import automatic_rate, range_test

    recipe = Recipe(cost=cost, optimizer=optimizer, batch_size=batch_size, seed=seed)
    train = load(source).train
    asked = {"network": network, "activation": activation, "output": output, "init": init}
    built = network_of(asked | {"inputs": inputs, "dropout": 0.0}, train)
    if not quiet:
        typer.echo("training while the learning rate grows ...", err=True)
    found = range_test(built, train, recipe)
    optimum = automatic_rate(built, train, recipe) if optimizer == "sgd" else None
    picture = _drawn(out, found, optimum)
    lowest = float(found.rates[found.costs.argmin()])
    facts = {
        "suggestion": found.suggestion,
        "lowest_cost_at": lowest,
        "exploded_at": float(found.rates[-1]) if found.exploded else None,
        "one_over_largest_curvature": optimum,
        "picture": picture,
        "rates": found.rates.tolist(),
        "costs": found.costs.tolist(),
    }
    _say(facts, json_)


def _drawn(out: Path, found: Any, optimum: float | None) -> str | None:
    from deltarule import plots
    from deltarule.storage import printable

    try:
        ax = plots.rate_range(found.rates, found.costs, found.suggestion, optimum)
    except ImportError:
        typer.echo("no picture: it needs pip install 'deltarule[plot]'", err=True)
        return None
    return printable(plots.save(ax, out))


def _say(facts: dict[str, Any], json_: bool) -> None:
    from deltarule.cli.report import document

    if json_:
        typer.echo(document(facts))
        return
    lines = {
        "suggestion": f"{facts['suggestion']:.2g}, a tenth of where the cost is lowest",
        "lowest cost": f"at {facts['lowest_cost_at']:.2g}",
        "too large": f"from {facts['exploded_at']:.2g} on" if facts["exploded_at"] else
        f"none up to {facts['rates'][-1]:.2g}",
    }  # fmt: skip
    if facts["one_over_largest_curvature"]:
        lines["1/lambda max"] = f"{facts['one_over_largest_curvature']:.2g}, --learning-rate auto"
    if facts["picture"]:
        lines["picture"] = facts["picture"]
    for name, text in lines.items():
        typer.echo(f"{name + ':':16}{text}")
