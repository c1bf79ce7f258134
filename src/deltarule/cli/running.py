"""What ``deltarule train`` does once its options are read."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import typer

from deltarule.cli.pictures import draw
from deltarule.cli.progress import progress
from deltarule.cli.report import confusion_lines, score_line, summary_of
from deltarule.cli.signals import StopOnSignal
from deltarule.data import Splits, load
from deltarule.errors import CheckpointError
from deltarule.files import load_model
from deltarule.learning import Recipe, Run, evaluate
from deltarule.network import Network
from deltarule.runs import new_run_path
from deltarule.training import CONFIG, MODEL, train

HIDDEN = 100  # units of the hidden layer where --network is not given

_RECIPE = {field.name for field in fields(Recipe)}
_NETWORK = {"network", "activation", "output", "init", "dropout"}
OPTIONS = _RECIPE | _NETWORK | {"source", "validation"}


@dataclass(frozen=True)
class Request:
    """The options of ``train``: all of them, those given by hand, and where the run lives."""

    options: dict[str, Any]
    given: set[str]
    out: Path | None
    resume: Path | None
    force: bool
    checkpoint_every: int | None


def run(request: Request, *, as_json: bool, quiet: bool) -> int:
    """Train, evaluate, draw and report; return the exit code."""
    options = request.options
    if request.resume is not None:
        options = _stored_options(request)
    if options["source"] is None:
        raise ValueError("SOURCE is missing: give digits, mnist, or a folder of IDX files.")
    splits = load(options["source"], validation=_validation(options["validation"]))
    network = _network(options, splits)
    recipe = _recipe(options)
    folder = (
        request.resume or request.out or new_run_path(Path("runs"), Path(options["source"]).name)
    )
    if request.resume is None and (folder / CONFIG).exists():
        raise ValueError(
            f"{folder} holds a run already: resume it with --resume {folder}, or choose another "
            "--out."
        )
    with StopOnSignal() as stopper:
        finished = train(
            network, splits.train, splits.validation if len(splits.validation) else None, recipe,
            folder, source=options["source"], options=options, resume=request.resume is not None,
            force=request.force, every_epochs=request.checkpoint_every,
            callbacks=[stopper] if quiet else [stopper, progress()],
        )  # fmt: skip
    if stopper.exit_code:
        typer.echo(
            f"stopped after {finished.state.epoch} of {recipe.epochs} epochs; resume with: "
            f"deltarule train --resume {folder}", err=True,
        )  # fmt: skip
        return stopper.exit_code
    if finished.resumed_at == recipe.epochs:
        typer.echo(f"the run in {folder} is already complete.", err=True)
    _report(finished, folder, splits, recipe, as_json=as_json)
    return 0


def _report(run: Run, folder: Path, splits: Splits, recipe: Recipe, *, as_json: bool) -> None:
    model = load_model(folder / MODEL)  # what is reported is what was stored
    result = evaluate(model, splits.test, recipe.cost)
    pictures = draw(folder, run, result, splits.test)
    if as_json:
        document = {
            "test": summary_of(result),
            "epochs": len(run.history),
            "stopped": run.stopped,
            "last_epoch": run.history[-1],
            "model": str(folder / MODEL),
            "pictures": [str(path) for path in pictures],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    if run.stopped:
        typer.echo(f"stopped early:  {run.stopped}")
    typer.echo(f"test accuracy:  {score_line(result)}")
    for line in confusion_lines(result):
        typer.echo(f"most confused:  {line}")
    typer.echo(f"model:          {folder / MODEL}")
    for path in pictures:
        typer.echo(f"picture:        {path}")


def _stored_options(request: Request) -> dict[str, Any]:
    """Return the options of the run to resume; those given again must agree with them."""
    assert request.resume is not None
    path = request.resume / CONFIG
    try:
        stored: dict[str, Any] = json.loads(path.read_text())["options"]
    except FileNotFoundError:
        raise CheckpointError(
            f"{request.resume} is no run folder: it has no {CONFIG}; name a folder that "
            "deltarule train has made."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} is damaged; the run cannot be resumed.") from None
    given = {name: request.options[name] for name in request.given}
    other = [f"--{n.replace('_', '-')} was {stored.get(n)}, now {v}"
             for n, v in given.items() if stored.get(n) != v and n != "epochs"]  # fmt: skip
    if other:
        raise CheckpointError(
            f"the run in {request.resume} was another one ({'; '.join(other)}); leave these "
            "options out to resume it."
        )
    return stored | given


def _validation(text: str | None) -> int | float | None:
    if text is None:
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ValueError(
            f"--validation must be a number of examples or a share such as 0.1, got {text!r}."
        ) from None


def _network(options: dict[str, Any], splits: Splits) -> Network:
    data = splits.train
    inputs = data.x[0].size
    sizes = [inputs, HIDDEN, len(data.classes)]
    if options["network"] is not None:
        try:
            sizes = [int(part) for part in options["network"].split(",")]
        except ValueError:
            raise ValueError(
                f"--network must be sizes separated by commas, such as {inputs},100,"
                f"{len(data.classes)}; got {options['network']!r}."
            ) from None
    return Network(
        sizes,
        activation=options["activation"],
        output=options["output"],
        weight_init=options["init"],
        dropout=options["dropout"],
    )


def _recipe(options: dict[str, Any]) -> Recipe:
    return Recipe(**{name: value for name, value in options.items() if name in _RECIPE})
