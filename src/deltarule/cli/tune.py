"""``deltarule tune SOURCE``: choose hyper-parameters on validation data, train with the best."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deltarule.cli.options import Device, Json, Quiet, ready

_SEARCHED, _FIXED, _SEARCH = "Searched: low:high, choices 1,2,3, or one value", "Fixed", "Search"


def _option(name: str, text: str, panel: str, **more: Any) -> Any:
    text = text.replace("[", r"\[")  # a default, not a colour
    return typer.Option(name, help=text, rich_help_panel=panel, show_default=False, **more)


def tune(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="digits, mnist, fashion-mnist, or a folder of IDX files."
        ),
    ] = None,
    learning_rate: Annotated[
        str | None,
        _option("--learning-rate", "[usual / 30 to usual x 30]", _SEARCHED, metavar="RANGE"),
    ] = None,
    momentum: Annotated[
        str | None,
        _option("--momentum", "Of momentum and nesterov. [0.5:0.99]", _SEARCHED, metavar="RANGE"),
    ] = None,
    l1: Annotated[str | None, _option("--l1", "[1e-7:1e-4]", _SEARCHED, metavar="RANGE")] = None,
    l2: Annotated[str | None, _option("--l2", "[1e-6:1e-2]", _SEARCHED, metavar="RANGE")] = None,
    dropout: Annotated[
        str | None, _option("--dropout", "[0,0.3]", _SEARCHED, metavar="CHOICES")
    ] = None,
    batch_size: Annotated[
        str | None, _option("--batch-size", "[10,32]", _SEARCHED, metavar="CHOICES")
    ] = None,
    hidden: Annotated[
        str | None,
        _option(
            "--hidden",
            "Units; 100x50 is two layers. [30,100,300]",
            _SEARCHED,
            metavar="CHOICES",
        ),
    ] = None,
    network: Annotated[
        str | None, _option("--network", "A name such as lenet5, instead of --hidden.", _FIXED)
    ] = None,
    activation: Annotated[
        str, _option("--activation", "Of the hidden layers. [sigmoid]", _FIXED)
    ] = "sigmoid",
    output: Annotated[
        str, _option("--output", "Activation of the last layer. [sigmoid]", _FIXED)
    ] = "sigmoid",
    init: Annotated[
        str | None, _option("--init", "Initial weights. [by activation]", _FIXED)
    ] = None,
    inputs: Annotated[
        str | None, _option("--inputs", "standardize or decorrelate. [as they come]", _FIXED)
    ] = None,
    cost: Annotated[
        str, _option("--cost", "cross_entropy or quadratic. [cross_entropy]", _FIXED)
    ] = "cross_entropy",
    optimizer: Annotated[str, _option("--optimizer", "As for train. [sgd]", _FIXED)] = "sgd",
    validation: Annotated[
        str | None,
        _option("--validation", "Examples to hold out: a number or a share. [by source]", _FIXED),
    ] = None,
    search: Annotated[
        str, _option("--search", "halving: the best third goes on; or random. [halving]", _SEARCH)
    ] = "halving",
    trials: Annotated[int, _option("--trials", "How many to try. [27]", _SEARCH)] = 27,
    epochs: Annotated[int, _option("--epochs", "Of the longest trial. [27]", _SEARCH)] = 27,
    metric: Annotated[
        str,
        _option(
            "--metric", "validation_accuracy or validation_cost. [validation_accuracy]", _SEARCH
        ),
    ] = "validation_accuracy",
    jobs: Annotated[
        int | None, _option("--jobs", "Trials at a time. [one a core]", _SEARCH)
    ] = None,
    seed: Annotated[int, _option("--seed", "Of every random choice. [0]", _SEARCH)] = 0,
    out: Annotated[
        Path | None, _option("--out", "Folder of the search. [runs/tune-SOURCE]", _SEARCH)
    ] = None,
    resume: Annotated[
        Path | None, _option("--resume", "Go on with the search in this folder.", _SEARCH)
    ] = None,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Try hyper-parameters on SOURCE, and train a network with the best.

    Trials are compared on validation data. The test set is not used.
    """
    ready(device)
    from deltarule.cli import tuning

    request = tuning.Request(
        options={name: ctx.params[name] for name in tuning.OPTIONS},
        given={name for name in tuning.OPTIONS if _by_hand(ctx, name)},
        out=out,
        resume=resume,
        jobs=jobs,
    )
    return tuning.run(request, as_json=json_, quiet=quiet)


def _by_hand(ctx: typer.Context, name: str) -> bool:
    given = ctx.get_parameter_source(name)
    return given is not None and given.name == "COMMANDLINE"
