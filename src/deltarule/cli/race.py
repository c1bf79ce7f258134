"""``deltarule race SOURCE``: optimizers from one start, each at its own best learning rate."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deltarule.cli.options import Device, Json, Quiet, Source, ready

if TYPE_CHECKING:
    from deltarule.race import Racer, Result

WIDTH = 60
PANELS = {"epochs": "epoch", "gradients": "gradient_evaluations", "seconds": "seconds"}


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
    against: Annotated[
        str | None,
        typer.Option("--against", help="Draw one panel: epochs, gradients or seconds."),
    ] = None,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Let optimizers train on SOURCE from the same weights, and compare their costs.

    Each runs at the best of a grid of learning rates, until its gradients are spent. After Ctrl-C
    there is a result of those that were through.
    """
    panels = _panels(against, out)
    ready(device)
    from deltarule.cli.building import network_of
    from deltarule.cli.report import document
    from deltarule.data import load
    from deltarule.learning import Recipe
    from deltarule.race import race as run
    from deltarule.training import environment

    train = load(source).train
    train = train if examples is None else train.take(_number(examples, len(train)))
    asked = {"network": network, "activation": activation, "output": output, "inputs": inputs}
    result = run(
        network_of(asked | {"init": None, "dropout": 0.0}, train), train,
        None if optimizers is None else [name.strip() for name in optimizers.split(",")],
        passes=passes, seeds=seeds, full_batch=full_batch,
        recipe=Recipe(cost=cost, l2=l2, batch_size=batch_size, seed=seed),
        watch=lambda said: None if quiet else typer.echo(said, err=True),
    )  # fmt: skip
    facts = {"source": source, **result.describe(), "environment": environment()}
    kept = _kept(out, document(facts), result, panels)
    for line in [document(facts)] if json_ else [*table(result), *kept]:
        typer.echo(line)
    return 130 if result.interrupted else 0


def _panels(against: str | None, out: Path | None) -> list[str]:
    from deltarule.choices import choose

    if against is None:
        return list(PANELS.values())
    if out is None:
        raise typer.BadParameter("--against goes with --out, which draws a picture.")
    return [choose("--against", against, PANELS)]


def _number(examples: int, there: int) -> int:
    if not 1 <= examples <= there:
        raise typer.BadParameter(f"--examples must be from 1 to {there}, got {examples}.")
    return examples


def table(result: "Result") -> list[str]:
    """Return a line a racer, the best first: its rate, its cost, its gradients and its seconds."""
    lines = [f"{'':20}{'rate':>7}{'cost':>11}{'gradients':>11}{'seconds':>9}"]
    for racer in result.racers:
        lines += _row(racer)
    tried = {racer.optimizer: racer.grid for racer in result.racers if racer.grid}
    if tried:
        lines += ["", "learning rates tried; the lowest last cost counts"]
    for name, grid in tried.items():
        lines += _wrapped(f"{name}: {', '.join(f'{rate:g}' for rate, _ in grid)}")
    notes = [line for racer in result.racers for line in _notes(racer, result.passes)]
    return [*lines, "", *notes] if notes else lines


def _row(racer: "Racer") -> Iterator[str]:
    if not racer.laps:
        return
    if not racer.finished:
        yield f"{racer.optimizer:20}{'diverged at every rate':>38}"
        return
    (cost, low, high), spent, seconds = (
        racer.final(), racer.final("gradient_evaluations")[0], racer.final("seconds")[0]
    )  # fmt: skip
    rate = racer.laps[0].learning_rate
    said = "" if rate is None else f"{rate:g}"
    yield f"{racer.optimizer:20}{said:>7}{cost:>11.4g}{spent:>11.4g}{seconds:>9.3g}"
    if len(racer.laps) > 1:
        yield f"{'':20}{f'{low:.4g} to {high:.4g}':>18} of {len(racer.laps)} seeds"


def _notes(racer: "Racer", passes: int) -> list[str]:
    if racer.left_out:
        return _wrapped(f"{racer.optimizer} left out: {racer.left_out}")
    if racer.finished and len(racer.laps[0].points) == 1:
        return _wrapped(f"{racer.optimizer} asks for more than {passes} gradients in its first "
                        "step; this is the cost before it")  # fmt: skip
    return []


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _kept(out: Path | None, facts: str, result: "Result", panels: list[str]) -> list[str]:
    """Store the result and its picture in the folder ``out``; return lines that say so."""
    if out is None:
        return []
    from deltarule import plots
    from deltarule.storage import make_folder, printable, write_atomically

    make_folder(out)
    write_atomically(out / "race.json", f"{facts}\n".encode())
    lines = ["", f"result:         {printable(out / 'race.json')}"]
    try:
        picture = plots.save(plots.race(curves(result), panels), out / "race.png")
    except ImportError:
        typer.echo("no picture: it needs pip install 'deltarule[plot]'", err=True)
        return lines
    return [*lines, f"picture:        {printable(picture)}"]


def curves(result: "Result") -> dict[str, list[list[dict[str, Any]]]]:
    """Return the curves of those that moved, by name and learning rate, one a seed."""
    found = {}
    for racer in result.racers:
        if racer.finished and len(racer.laps[0].points) > 1:
            rate = racer.laps[0].learning_rate
            name = racer.optimizer if rate is None else f"{racer.optimizer} {rate:g}"
            found[name] = [[vars(point) for point in lap.points] for lap in racer.laps]
    return found
