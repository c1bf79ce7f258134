"""``deltarule train SOURCE``: train a network, keep the run, say how good it is."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deltarule.cli.options import (
    DATA_PANEL,
    Decimal,
    Delimiter,
    Device,
    Encoding,
    Json,
    Quiet,
    ready,
)
from deltarule.cli.options import learning_rate as rate_of

_DATA = DATA_PANEL
_NETWORK, _LEARNING, _COMMITTEE, _RUN = "Network", "Learning", "Committee", "Run"


def _option(name: str, text: str, panel: str, **more: Any) -> Any:
    text = text.replace("[", r"\[")  # a default, not a colour
    return typer.Option(name, help=text, rich_help_panel=panel, show_default=False, **more)


def train(
    ctx: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="digits, mnist, fashion-mnist; a table (CSV, TSV, TXT, Parquet; several if "
            "their columns are the same); a folder of pictures, a folder a class; arrays (.npz); a "
            "folder of IDX files.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None, _option("--target", "The column of a table to predict.", _DATA)
    ] = None,
    task: Annotated[
        str | None, _option("--task", "classification or regression. [by target]", _DATA)
    ] = None,
    category: Annotated[
        list[str] | None,
        _option("--category", "A column of numbers that are names; may be repeated.", _DATA),
    ] = None,
    number: Annotated[
        list[str] | None,
        _option("--number", "A column that is a quantity, and kept; may be repeated.", _DATA),
    ] = None,
    drop: Annotated[
        list[str] | None, _option("--drop", "A column to leave out; may be repeated.", _DATA)
    ] = None,
    missing: Annotated[
        str, _option("--missing", "Values that are not there: error, impute, drop. [error]", _DATA)
    ] = "error",
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    decimal: Decimal = ".",
    size: Annotated[
        str | None, _option("--size", "Of pictures in pixels: 28, or 28x32. [found]", _DATA)
    ] = None,
    colour: Annotated[
        bool | None, _option("--colour/--grey", "Three channels or one. [found]", _DATA)
    ] = None,
    fit: Annotated[
        str | None,
        _option("--fit", "Pictures of other sizes: crop, pad, exact. [crop]", _DATA),
    ] = None,
    skip_bad: Annotated[
        bool, _option("--skip-bad-images", "Leave pictures out that cannot be read.", _DATA)
    ] = False,
    stream: Annotated[
        bool,
        _option("--stream", "Keep no decoded pictures, decode them as they are needed.", _DATA),
    ] = False,
    dry_run: Annotated[
        bool, _option("--dry-run", "Say what was understood, and train nothing.", _DATA)
    ] = False,
    network: Annotated[
        str | None,
        _option(
            "--network",
            "Sizes such as 784,100,10, or a name such as lenet5. [inputs,100,classes]",
            _NETWORK,
        ),
    ] = None,
    activation: Annotated[
        str, _option("--activation", "Of the hidden layers. [sigmoid]", _NETWORK)
    ] = "sigmoid",
    output: Annotated[
        str, _option("--output", "Activation of the last layer. [by source]", _NETWORK)
    ] = "sigmoid",
    init: Annotated[
        str | None, _option("--init", "Initial weights. [by activation]", _NETWORK)
    ] = None,
    dropout: Annotated[
        float, _option("--dropout", "Share of hidden outputs to drop. [0]", _NETWORK)
    ] = 0.0,
    inputs: Annotated[
        str | None,
        _option("--inputs", "standardize or decorrelate. [as they come]", _NETWORK),
    ] = None,
    cost: Annotated[
        str, _option("--cost", "cross_entropy or quadratic. [by answers]", _LEARNING)
    ] = "cross_entropy",
    optimizer: Annotated[
        str,
        _option(
            "--optimizer",
            "sgd, momentum, nesterov, rmsprop, adam, adamw, adaptive_rate, diagonal_lm; or, on all "
            "examples at once, conjugate_gradient, fletcher_reeves, bfgs, lbfgs, newton, "
            "levenberg_marquardt. [sgd]",
            _LEARNING,
        ),
    ] = "sgd",
    learning_rate: Annotated[
        str | None,
        _option(
            "--learning-rate",
            "Step size, or auto to measure it. [by optimizer]",
            _LEARNING,
            parser=rate_of,
            metavar="NUMBER",
        ),
    ] = None,
    momentum: Annotated[float, _option("--momentum", "[0.9]", _LEARNING)] = 0.9,
    damping: Annotated[
        float | None,
        _option("--damping", "Of methods that divide by curvature. [by optimizer]", _LEARNING),
    ] = None,
    batch_size: Annotated[
        int | None, _option("--batch-size", "1 is online. [10, or all examples]", _LEARNING)
    ] = None,
    epochs: Annotated[int, _option("--epochs", "Passes over the data. [30]", _LEARNING)] = 30,
    order: Annotated[
        str,
        _option("--order", "Of examples: shuffle, alternate, emphasize. [shuffle]", _LEARNING),
    ] = "shuffle",
    l1: Annotated[float, _option("--l1", "Price of sum |w|. [0]", _LEARNING)] = 0.0,
    l2: Annotated[float, _option("--l2", "Price of sum w^2 / 2. [0]", _LEARNING)] = 0.0,
    weight_decay: Annotated[float, _option("--weight-decay", "Of adamw. [1e-4]", _LEARNING)] = 1e-4,
    clip: Annotated[
        float | None, _option("--clip", "Longest gradient. [no limit]", _LEARNING)
    ] = None,
    label_smoothing: Annotated[float, _option("--label-smoothing", "[0]", _LEARNING)] = 0.0,
    class_weight: Annotated[
        str | None,
        _option("--class-weight", "balanced, or a number a class. [all alike]", _LEARNING),
    ] = None,
    schedule: Annotated[
        str,
        _option(
            "--schedule",
            "constant, step, exponential, inverse, cosine, one_cycle. [constant]",
            _LEARNING,
        ),
    ] = "constant",
    decay: Annotated[
        float | None, _option("--decay", "Of the schedule. [by schedule]", _LEARNING)
    ] = None,
    decay_every: Annotated[
        int, _option("--decay-every", "Epochs between steps. [10]", _LEARNING)
    ] = 10,
    early_stopping: Annotated[
        int | None,
        _option("--early-stopping", "Stop after so many epochs without gain.", _LEARNING),
    ] = None,
    augment: Annotated[
        str | None,
        _option(
            "--augment",
            "New images from old: shift, affine, elastic, flip, crop, or rotation=10,... [none]",
            _LEARNING,
        ),
    ] = None,
    average: Annotated[
        float, _option("--average", "Keep a running average of the weights: 0.999. [0]", _LEARNING)
    ] = 0.0,
    committee: Annotated[
        int | None, _option("--committee", "Train so many networks that answer as one.", _COMMITTEE)
    ] = None,
    views: Annotated[
        str,
        _option(
            "--views", "What members are shown, in turn: original,width-16. [original]", _COMMITTEE
        ),
    ] = "original",
    combine: Annotated[
        str, _option("--combine", "mean of the outputs, or vote. [mean]", _COMMITTEE)
    ] = "mean",
    jobs: Annotated[
        int | None, _option("--jobs", "Members to train at a time. [one a core]", _COMMITTEE)
    ] = None,
    validation: Annotated[
        str | None,
        _option("--validation", "Examples to hold out: a number or a share. [by source]", _RUN),
    ] = None,
    precision: Annotated[
        str, _option("--precision", "float32, bfloat16 or float64. [float32]", _RUN)
    ] = "float32",
    seed: Annotated[int, _option("--seed", "Of every random choice. [0]", _RUN)] = 0,
    out: Annotated[Path | None, _option("--out", "The run folder. [runs/SOURCE]", _RUN)] = None,
    resume: Annotated[
        Path | None, _option("--resume", "Go on with the run in this folder.", _RUN)
    ] = None,
    force: Annotated[
        bool, _option("--force", "Resume although versions or --epochs differ.", _RUN)
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        _option("--checkpoint-every", "Epochs between checkpoints. [30 seconds]", _RUN),
    ] = None,
    explain_plan: Annotated[
        bool, _option("--explain-plan", "Say how the run would be executed and why.", _RUN)
    ] = False,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a network on SOURCE and keep the run in a folder.

    The folder holds the model, the history, the configuration, checkpoints and pictures.
    """
    ready(device)
    from deltarule.cli import running

    request = running.Request(
        options=running.as_stored(ctx.params),
        given={name for name in running.OPTIONS if _by_hand(ctx, name)},
        out=out,
        resume=resume,
        force=force,
        checkpoint_every=checkpoint_every,
        jobs=jobs,
        explain=explain_plan,
        dry=dry_run,
    )
    return running.run(request, as_json=json_, quiet=quiet)


def _by_hand(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
