"""What ``deltarule train`` does once its options are read."""

import json
import os
import shlex
import shutil
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from deltarule.cli.pictures import draw
from deltarule.cli.progress import progress
from deltarule.cli.report import confusion_lines, document, score_lines, summary_of
from deltarule.cli.signals import StopOnSignal
from deltarule.data import Splits, load
from deltarule.errors import CheckpointError
from deltarule.files import load_model
from deltarule.learning import Recipe, Run, evaluate
from deltarule.network import Network
from deltarule.runs import CONFIG, HISTORY, MODEL, new_run_path
from deltarule.storage import printable
from deltarule.training import train

HIDDEN = 100  # units of the hidden layer where --network is not given

_RECIPE = {field.name for field in fields(Recipe)}
_NETWORK = {"network", "activation", "output", "init", "dropout"}
OPTIONS = _RECIPE | _NETWORK | {"source", "validation"}

_PARTNERS = {  # an option that would be ignored without one of these values of another
    "momentum": ("optimizer", ("momentum", "nesterov")),
    "weight_decay": ("optimizer", ("adamw",)),
    "decay": ("schedule", ("step", "exponential", "inverse")),
    "decay_every": ("schedule", ("step",)),
}


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
    options = _checked(request)
    splits = load(options["source"], validation=_validation(options["validation"]))
    network, recipe = _network(options, splits), _recipe(options)
    folder, fresh = _folder(request, options["source"])
    try:
        with StopOnSignal() as stopper, progress(quiet=quiet) as display:
            finished = train(
                network, splits.train, splits.validation if len(splits.validation) else None,
                recipe, folder, source=options["source"], options=options,
                resume=request.resume is not None, force=request.force,
                every_epochs=request.checkpoint_every, callbacks=[stopper, display],
            )  # fmt: skip
    except ValueError:
        if fresh:
            _discard_unused(folder)
        raise
    if stopper.exit_code:
        typer.echo(
            f"stopped after {finished.state.epoch} of {recipe.epochs} epochs; resume with: "
            f"deltarule train --resume {shlex.quote(printable(folder))}", err=True,
        )  # fmt: skip
        return stopper.exit_code
    if request.resume is not None and finished.resumed_at == finished.state.epoch:
        typer.echo(f"the run in {printable(folder)} is already complete.", err=True)
    _report(finished, folder, splits, recipe, as_json=as_json)
    return 0


def _report(run: Run, folder: Path, splits: Splits, recipe: Recipe, *, as_json: bool) -> None:
    model = load_model(folder / MODEL)  # what is reported is what was stored
    result = evaluate(model, splits.test, recipe.cost)
    pictures = draw(folder, run, result, splits.test)
    if as_json:
        facts = {
            "test": summary_of(result),
            "epochs": len(run.history),
            "stopped": run.stopped,
            "last_epoch": run.history[-1],
            "model": printable(folder / MODEL),
            "pictures": [printable(path) for path in pictures],
        }
        typer.echo(document(facts))
        return
    if run.stopped:
        typer.echo(f"stopped early:  {run.stopped}")
    for line in [*score_lines("test accuracy", result), *confusion_lines(result)]:
        typer.echo(line)
    typer.echo(f"model:          {printable(folder / MODEL)}")
    for path in pictures:
        typer.echo(f"picture:        {printable(path)}")


# ---- the folder


def _folder(request: Request, source: str) -> tuple[Path, bool]:
    """Return the run folder, and whether it is new."""
    if request.resume is not None:
        return request.resume, False
    if request.out is None:
        name = Path(source).resolve().name.lstrip(".")
        return new_run_path(Path("runs"), name or "run"), True
    if (request.out / CONFIG).exists():
        raise ValueError(
            f"{request.out} holds a run already: resume it with --resume {request.out}, or choose "
            "another --out."
        )
    return request.out, not request.out.exists()


def _discard_unused(folder: Path) -> None:
    """Remove a new folder in which nothing was learned: the request itself was wrong."""
    history = folder / HISTORY
    learned = history.exists() and history.stat().st_size > 0
    if not learned and not any(folder.glob("checkpoint-*")):
        shutil.rmtree(folder, ignore_errors=True)


# ---- the options


def _checked(request: Request) -> dict[str, Any]:
    """Return the options, those of the run to resume among them, or refuse what contradicts."""
    options = request.options
    if request.resume is not None:
        if request.out is not None:
            raise ValueError("--out and --resume exclude each other: a run stays in its folder.")
        options = _stored_options(request)
    elif request.force:
        raise ValueError("--force goes with --resume.")
    if options["source"] is None:
        raise ValueError("SOURCE is missing: give digits, mnist, or a folder of IDX files.")
    for name, (partner, values) in _PARTNERS.items():
        if name in request.given and options[partner] not in values:
            raise ValueError(
                f"{_flag(name)} needs {_flag(partner)} {' or '.join(values)}, and would be "
                f"ignored with {options[partner]}."
            )
    if not 0 <= options["dropout"] < 1:
        raise ValueError(
            f"--dropout must be a share of at least 0 and below 1, got {options['dropout']}."
        )
    return options


def _stored_options(request: Request) -> dict[str, Any]:
    """Return the options of the run to resume; those given again must agree with them."""
    assert request.resume is not None
    path = request.resume / CONFIG
    try:
        stored: dict[str, Any] = json.loads(path.read_text())["options"]
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{request.resume} is no run folder: it has no {CONFIG}; name a folder that "
            "deltarule train has made."
        ) from None
    except (ValueError, KeyError, TypeError):
        stored = {}
    if not isinstance(stored, dict) or set(stored) != set(request.options):
        raise CheckpointError(
            f"{path} is damaged or of another version; put back a copy to resume the run."
        )
    given = {name: request.options[name] for name in request.given}
    other = [
        f"{_flag(name)} was {stored[name]}, now {value}"
        for name, value in sorted(given.items())
        if stored[name] != value and name != "epochs"
    ]
    if other:
        raise CheckpointError(
            f"the run in {request.resume} was another one ({'; '.join(other)}); leave "
            "these options out to resume it."
        )
    return stored | given


def _flag(name: str) -> str:
    return "SOURCE" if name == "source" else f"--{name.replace('_', '-')}"


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
    inputs, classes = data.x[0].size, len(data.classes)
    sizes = [inputs, HIDDEN, classes]
    if options["network"] is not None:
        try:
            sizes = [int(part) for part in options["network"].split(",")]
        except ValueError:
            raise ValueError(
                f"--network must be sizes separated by commas, such as {inputs},100,{classes}; "
                f"got {options['network']!r}."
            ) from None
    _check_memory(sizes)
    return Network(
        sizes,
        activation=options["activation"],
        output=options["output"],
        weight_init=options["init"],
        dropout=options["dropout"],
    )


def _check_memory(sizes: list[int]) -> None:
    # Weights are drawn in 8 bytes each and learn in 4, with a gradient of 4.
    needed = 16 * sum(below * above for below, above in pairwise(sizes))
    if needed > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise MemoryError


def _recipe(options: dict[str, Any]) -> Recipe:
    chosen = {name: value for name, value in options.items() if name in _RECIPE}
    return Recipe(**chosen | {"class_weight": _class_weight(options["class_weight"])})


def _class_weight(text: str | None) -> str | tuple[float, ...] | None:
    if text is None or text == "balanced":
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            "--class-weight must be balanced, or one number a class separated by commas; "
            f"got {text!r}."
        ) from None
