"""What ``deltarule tune`` does once its options are read."""

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from deltarule.cli.building import is_named, network_of, validation_of
from deltarule.cli.report import document
from deltarule.cli.signals import StopOnSignal
from deltarule.cli.trial_table import display, heading, line
from deltarule.data import Splits, load
from deltarule.errors import CheckpointError
from deltarule.learning import Recipe
from deltarule.network import Network
from deltarule.runs import CONFIG, MODEL, new_run_path
from deltarule.storage import printable
from deltarule.tuning import Tuning, parsed, tune, usual_space
from deltarule.tuning.space import KINDS, OF_NETWORK, Space, layers_of

NETWORK = ("network", "activation", "output", "init", "inputs")
SEARCH = ("search", "trials", "epochs", "metric")
OPTIONS = (*KINDS, *NETWORK, *SEARCH, "source", "cost", "optimizer", "validation", "seed")
SHOWN = 10  # trials in the table at the end


@dataclass(frozen=True)
class Request:
    """The options of ``tune``: those of the search, those given by hand, and where it lives."""

    options: dict[str, Any]
    given: set[str]
    out: Path | None
    resume: Path | None
    jobs: int | None


def run(request: Request, *, as_json: bool, quiet: bool) -> int:
    """Search, train the best, draw and report; return the exit code."""
    options = _options(request)
    splits = load(options["source"], validation=validation_of(options["validation"]))
    recipe = Recipe(cost=options["cost"], optimizer=options["optimizer"], seed=options["seed"])
    space = _space(options, recipe, len(splits.train))
    folder, fresh = _folder(request, options["source"])
    try:
        with StopOnSignal() as stopper, display(space, options["metric"], quiet=quiet) as shown:
            found = tune(
                splits.train, splits.validation, folder, network=_builder(options, splits),
                space=space, recipe=recipe, jobs=request.jobs, source=options["source"],
                options=options, resume=request.resume is not None, callbacks=[stopper],
                plan=shown.plan, watch=shown.moved, **{name: options[name] for name in SEARCH},
            )  # fmt: skip
    except ValueError:
        if fresh and not any(folder.glob("trial-*")):  # the request itself was wrong
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if stopper.exit_code:
        typer.echo("the search was stopped; go on with:", err=True)
        typer.echo(f"deltarule tune --resume {shlex.quote(printable(folder))}", err=True)
        return stopper.exit_code
    _report(found, space, options, splits, as_json=as_json)
    return 0


# ---- what is asked for


def _options(request: Request) -> dict[str, Any]:
    """Return the options, or those of the search to resume."""
    if request.resume is None:
        if request.options["source"] is None:
            raise ValueError("SOURCE is missing: give digits, mnist, or a folder of IDX files.")
        return request.options
    if request.out is not None:
        raise ValueError("--out and --resume exclude each other: a search stays in its folder.")
    if request.given:
        names = sorted("SOURCE" if n == "source" else f"--{n.replace('_', '-')}" for n in
                       request.given)  # fmt: skip
        raise ValueError(
            f"--resume goes on with the search as it was begun; leave out {', '.join(names)}."
        )
    try:
        stored: dict[str, Any] = json.loads((request.resume / CONFIG).read_text())["options"]
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{request.resume} is no folder of a search: it has no {CONFIG}; name a folder that "
            "deltarule tune has made."
        ) from None
    except (ValueError, KeyError, TypeError):
        stored = {}
    if not isinstance(stored, dict) or set(stored) != set(request.options):
        raise CheckpointError(
            f"{request.resume / CONFIG} is damaged, of another version, or of a single run; only a "
            "search of deltarule tune can be resumed here."
        )
    return stored


def _space(options: dict[str, Any], recipe: Recipe, examples: int) -> Space:
    """Return the usual space with what the options say instead."""
    space = usual_space(recipe, examples)
    named = options["network"]
    if named is not None:
        if not is_named(named):
            raise ValueError(
                f"--network must be a name such as lenet5, got {named!r}; sizes are searched with "
                "--hidden 30,100x50."
            )
        for name in OF_NETWORK:
            if options[name] is not None:
                raise ValueError(f"--{name} goes with sizes; --network {named} says its own.")
            space.pop(name, None)
    for name in KINDS:
        if (text := options[name]) is None:
            continue
        if name in ("momentum", "learning_rate") and name not in space:
            raise ValueError(
                f"--{name.replace('_', '-')} means nothing to {recipe.optimizer}; leave it out."
            )
        space[name] = parsed(name, text)
    return space


def _builder(options: dict[str, Any], splits: Splits) -> Any:
    """Return what builds the network of a trial."""
    fixed = {name: options[name] for name in NETWORK}
    ends = splits.train.x[0].size, len(splits.train.classes)

    def build(values: Mapping[str, Any]) -> Network:
        asked = fixed | {"dropout": values.get("dropout", 0.0)}
        if fixed["network"] is None:
            sizes = [ends[0], *layers_of(values["hidden"]), ends[1]]
            asked["network"] = ",".join(map(str, sizes))
        return network_of(asked, splits.train)

    return build


def _folder(request: Request, source: str) -> tuple[Path, bool]:
    """Return the folder of the search, and whether it is new."""
    if request.resume is not None:
        return request.resume, False
    if request.out is not None:
        return request.out, not request.out.exists()
    name = Path(source).resolve().name.lstrip(".")
    return new_run_path(Path("runs"), f"tune-{name or 'data'}"), True


# ---- what came of it


def _report(
    found: Tuning, space: Space, options: dict[str, Any], splits: Splits, *, as_json: bool
) -> None:
    assert found.best is not None
    assert found.run is not None
    trials = [trial.describe() for trial in found.trials]
    best, model = found.folder / "best", found.folder / "best" / MODEL
    picture = _drawn(found.folder, trials, options["metric"])
    if as_json:
        facts = {
            "best": trials[0], "metric": options["metric"],
            "validation_examples": len(splits.validation), "retrained_on": len(found.run.train),
            "model": printable(model), "picture": picture, "trials": trials,
        }  # fmt: skip
        typer.echo(document(facts))
        return
    typer.echo(heading(space, options["metric"]))
    for trial in found.trials[:SHOWN]:
        typer.echo(line(trial, space, options["metric"]))
    if len(trials) > SHOWN:
        typer.echo(f"... and {len(trials) - SHOWN} more in trials.jsonl")
    typer.echo(f"best:           trial {found.best.number}, chosen by {len(splits.validation):,} "
               "examples")  # fmt: skip
    typer.echo(f"trained anew:   on {len(found.run.train):,} examples, {found.best.best_epoch} "
               "epochs")  # fmt: skip
    typer.echo(f"model:          {printable(model)}")
    if picture:
        typer.echo(f"picture:        {picture}")
    typer.echo("test set:       not used; measure once, at the end:")
    where = f"{shlex.quote(printable(best))} {shlex.quote(options['source'])}"
    typer.echo(f"  deltarule evaluate {where}")


def _drawn(folder: Path, trials: list[dict[str, Any]], metric: str) -> str | None:
    from deltarule import plots

    try:
        return printable(plots.save(plots.tuning(trials, metric), folder / "tuning.png"))
    except ImportError:
        typer.echo("no picture: it needs pip install 'deltarule[plot]'", err=True)
        return None
