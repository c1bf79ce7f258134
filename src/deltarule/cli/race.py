"""``deltarule race SOURCE``: optimizers from one start, each at its own best learning rate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltarule.cli.options import Device, Json, Quiet, Source, ready

if TYPE_CHECKING:
    from deltarule.race import Racer, Result


def race(
    source: Source,
    optimizers: Annotated[
        str | None, typer.Option("--optimizers", help="With commas between; by default all.")
    ] = None,
    passes: Annotated[
        int, typer.Option("--passes", help="Gradients of all examples that each may ask for.")
    ] = 30,
    network: Annotated[
        str | None, typer.Option("--network", help="Sizes such as 64,30,10, or a name.")
    ] = None,
    activation: Annotated[
        str, typer.Option("--activation", help="Of the hidden layers.")
    ] = "sigmoid",
    output: Annotated[str, typer.Option("--output", help="Of the last layer.")] = "sigmoid",
    inputs: Annotated[
        str | None, typer.Option("--inputs", help="standardize or decorrelate.")
    ] = None,
    cost: Annotated[
        str, typer.Option("--cost", help="cross_entropy or quadratic.")
    ] = "cross_entropy",
    l2: Annotated[float, typer.Option("--l2", help="Price of sum w^2 / 2.")] = 0.0,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Of methods that work on batches.")
    ] = None,
    full_batch: Annotated[
        bool, typer.Option("--full-batch", help="These take all examples at every step too.")
    ] = False,
    examples: Annotated[
        int | None, typer.Option("--examples", help="Only the first so many for training.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="How many first weights.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="The first seed.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for race.json and race.png.")
    ] = None,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Let optimizers train on SOURCE from the same weights, and compare their costs.

    Each runs at the best of a grid of learning rates, until its gradients are spent.
    """
    ready(device)
    from deltarule.cli.building import network_of
    from deltarule.cli.report import document
    from deltarule.data import load
    from deltarule.learning import Recipe
    from deltarule.race import race as run

    train = load(source).train
    train = train if examples is None else train.take(_number(examples, len(train)))
    asked = {"network": network, "activation": activation, "output": output, "inputs": inputs}
    result = run(
        network_of(asked | {"init": None, "dropout": 0.0}, train), train,
        optimizers and [name.strip() for name in optimizers.split(",")],
        passes=passes, seeds=seeds, full_batch=full_batch,
        recipe=Recipe(cost=cost, l2=l2, batch_size=batch_size, seed=seed),
        watch=lambda said: None if quiet else typer.echo(said, err=True),
    )  # fmt: skip
    facts = {"source": source, **result.describe()}
    kept = _kept(out, facts, result)
    if json_:
        typer.echo(document(facts))
        return
    for line in [*table(result), *kept]:
        typer.echo(line)


def table(result: "Result") -> list[str]:
    """Return a line a racer: its rate, its cost, the gradients and the seconds it took."""
    lines = [f"{'':20}{'rate':>7}{'cost':>11}{'gradients':>11}{'seconds':>9}"]
    for racer in result.racers:
        if racer.finished:
            cost, spent, seconds = (
                racer.final(what)[0] for what in ("cost", "gradient_evaluations", "seconds")
            )
            rate = racer.laps[0].learning_rate
            said = "" if rate is None else f"{rate:g}"
            lines.append(f"{racer.optimizer:20}{said:>7}{cost:>11.4g}{spent:>11.4g}{seconds:>9.2f}")
        elif racer.laps:
            lines.append(f"{racer.optimizer:20}diverged at every rate")
    return [*lines, *_left_out(result.racers)]


def _left_out(racers: "tuple[Racer, ...]") -> list[str]:
    import textwrap

    lines = []
    for racer in racers:
        if racer.left_out:
            said = f"{racer.optimizer} left out: {racer.left_out}"
            lines += textwrap.wrap(said, 60, subsequent_indent="  ")
    return lines


def _number(examples: int, there: int) -> int:
    if not 1 <= examples <= there:
        raise typer.BadParameter(f"--examples must be from 1 to {there}, got {examples}.")
    return examples


def _kept(out: Path | None, facts: dict[str, Any], result: "Result") -> list[str]:
    """Store the result and its picture in the folder ``out``; return lines that say so."""
    if out is None:
        return []
    from deltarule import plots
    from deltarule.storage import make_folder, printable, write_atomically

    make_folder(out)
    write_atomically(out / "race.json", (json.dumps(facts, indent=1) + "\n").encode())
    curves = {
        f"{racer.optimizer} {racer.laps[0].learning_rate or ''}".strip(): [
            vars(point) for point in racer.laps[0].points
        ]
        for racer in result.racers if racer.finished
    }  # fmt: skip
    lines = [f"result:         {printable(out / 'race.json')}"]
    try:
        picture = plots.save(plots.race(curves, result.passes), out / "race.png")
    except ImportError:
        typer.echo("no picture: it needs pip install 'deltarule[plot]'", err=True)
        return lines
    return [*lines, f"picture:        {printable(picture)}"]
