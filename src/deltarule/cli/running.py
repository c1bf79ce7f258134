"""What ``deltarule train`` does once its options are read."""

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from deltarule.cli.building import (
    MEMBERS_ONLY,
    OPTIONS,
    SIZES_ONLY,
    Members,
    is_named,
    members_of,
    network_of,
    recipe_of,
    size_note,
)
from deltarule.cli.opening import named, opened, say, title_of
from deltarule.cli.outcome import Outcome, report
from deltarule.cli.progress import progress
from deltarule.cli.report import document
from deltarule.cli.signals import StopOnSignal
from deltarule.committee_training import side_by_side, train_committee
from deltarule.data import Source, Splits
from deltarule.data.views import viewed
from deltarule.errors import CheckpointError
from deltarule.learning import Recipe
from deltarule.learning.plan import make_plan
from deltarule.learning.setup import batch_size
from deltarule.network import Network
from deltarule.runs import CONFIG, HISTORY, new_run_path
from deltarule.storage import printable
from deltarule.training import train

__all__ = ["OPTIONS", "Request", "as_stored", "run"]

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
    jobs: int | None = None
    explain: bool = False
    dry: bool = False


def run(request: Request, *, as_json: bool, quiet: bool) -> int:
    """Train, evaluate, draw and report; return the exit code."""
    options = _checked(request)
    source = opened(options, decode=not (request.dry or request.explain))
    splits = source.splits
    if request.resume is None:
        options = _for_answers(options, source, request.given)
    recipe, members = recipe_of(options), members_of(options)
    networks = _networks(options, splits, members)
    if not quiet:
        _say_sizes(options["network"], networks, splits, members)
    if request.explain:
        return _explain(networks, splits, recipe, members, request.jobs)
    if request.dry:
        return _dry_run(source, networks[0], _shapes(splits, members)[0], as_json=as_json)
    if not quiet:
        say(source)
    return _train(request, options, source, networks, as_json=as_json, quiet=quiet)


def _train(
    request: Request,
    options: dict[str, Any],
    source: Source,
    networks: list[Network],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    splits, recipe, members = source.splits, recipe_of(options), members_of(options)
    folder, fresh = _folder(request, options["source"])
    validation = splits.validation if len(splits.validation) else None
    keep: dict[str, Any] = {
        "source": named(options["source"]), "options": options, "record": source.record,
        "resume": request.resume is not None, "force": request.force,
        "every_epochs": request.checkpoint_every,
    }  # fmt: skip
    try:
        with StopOnSignal() as stopper, progress(quiet=quiet, several=members is not None) as shown:
            keep["callbacks"] = [stopper, shown]
            if members is None:
                run = train(networks[0], splits.train, validation, recipe, folder, **keep)
                stood = [(run.resumed_at, run.history)]
            else:
                together = train_committee(
                    networks, splits.train, validation, recipe, folder,
                    jobs=request.jobs, **members._asdict(), **keep,
                )  # fmt: skip
                stood = [(each.resumed_at, each.history) for each in together.members]
    except ValueError:
        if fresh:
            _discard_unused(folder)
        raise
    if stopper.exit_code:
        _say_how_to_go_on(folder, sum(len(history) for _, history in stood), recipe, members)
        return stopper.exit_code
    if keep["resume"] and all(resumed_at == len(history) for resumed_at, history in stood):
        typer.echo(f"the run in {printable(folder)} is already complete.", err=True)
    outcome = Outcome(folder, [history for _, history in stood], None if members else run.stopped)
    report(outcome, splits, recipe, as_json=as_json)
    return 0


def as_stored(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the parameters that make a run what it is, as its folder keeps them."""
    options = {name: value for name, value in parameters.items() if name in OPTIONS}
    several = {name: list(options[name] or ()) for name in ("source", "category", "number", "drop")}
    sources = several["source"]
    return options | several | {"source": sources[0] if len(sources) == 1 else sources or None}


def _for_answers(options: dict[str, Any], source: Source, given: set[str]) -> dict[str, Any]:
    """Return the options with what suits the answers, unless something else was asked for."""
    if not source.splits.train.classes:
        usual = {"output": "identity", "cost": "quadratic"}
    elif source.kind in ("table", "pictures"):
        usual = {"output": "softmax"}  # people who bring data of their own read probabilities
    else:
        return options
    return options | {name: value for name, value in usual.items() if name not in given}


def _dry_run(source: Source, network: Network, shape: tuple[int, ...], *, as_json: bool) -> int:
    """Say what was understood; nothing is written. ``shape`` is what the network is shown."""
    if as_json:
        facts = {
            **source.record, "layers": network.describe(), "parameters": network.count(shape)
        }  # fmt: skip
        typer.echo(document(facts))
        return 0
    for line in (*source.report, "", *network.summary(shape).splitlines()):
        typer.echo(printable(line))
    return 0


def _networks(options: dict[str, Any], splits: Splits, members: Members | None) -> list[Network]:
    """Return the network of each member, fitted to what it is shown; one if there are none."""
    if members is None:
        return [network_of(options, splits.train)]
    few = splits.train.take(1)
    return [network_of(options, viewed(few, view)) for view in members.views]


def _shapes(splits: Splits, members: Members | None) -> list[tuple[int, ...]]:
    """Return the shape of what each member is shown; that of the data if there are none."""
    if members is None:
        return [splits.train.shape]
    few = splits.train.take(1)
    return [viewed(few, view).shape for view in members.views]


def _say_sizes(
    name: str | None, networks: list[Network], splits: Splits, members: Members | None
) -> None:
    """Say on stderr where a network of the literature sees images of another size than there."""
    shown = zip(networks, _shapes(splits, members), strict=True)
    for note in dict.fromkeys(size_note(name, network, shape) for network, shape in shown):
        if note is not None:
            typer.echo(note, err=True)


def _explain(
    networks: list[Network],
    splits: Splits,
    recipe: Recipe,
    members: Members | None,
    jobs: int | None,
) -> int:
    """Say how the run would be executed; of a committee each member, alike ones once."""
    if members is None:
        lines = _plan(networks[0], splits.train.shape, len(splits.train), recipe)
    else:
        plans: dict[tuple[str, ...], list[str]] = {}
        shown = zip(networks, _shapes(splits, members), strict=True)
        for number, (network, shape) in enumerate(shown, 1):
            plan = _plan(network, shape, len(splits.train), recipe)
            plans.setdefault(tuple(plan), []).append(str(number))
        together = side_by_side(
            networks, splits.train, splits.validation, recipe, jobs=jobs,
            members=members.members, views=members.views,
        )  # fmt: skip
        lines = [f"committee: {together}"]
        for alike, numbers in plans.items():
            several = "s" if len(numbers) > 1 else ""
            lines += [f"member{several} {', '.join(numbers)}", *(f"  {line}" for line in alike)]
    for line in lines:
        typer.echo(line)
    return 0


def _plan(network: Network, shape: tuple[int, ...], examples: int, recipe: Recipe) -> list[str]:
    each = recipe.early_stopping is not None or recipe.order == "emphasize"
    return make_plan(
        network, shape, examples, batch_size(recipe, examples),
        precision=recipe.precision, every_epoch=each,
        twice_differentiable=recipe.method.curvature,
    ).explain()  # fmt: skip


def _say_how_to_go_on(folder: Path, epochs: int, recipe: Recipe, members: Members | None) -> None:
    of = f"{recipe.epochs * (members.members if members else 1)} epochs"
    typer.echo(
        f"stopped after {epochs} of {of}; resume with: "
        f"deltarule train --resume {shlex.quote(printable(folder))}", err=True,
    )  # fmt: skip


# ---- the folder


def _folder(request: Request, source: str | list[str]) -> tuple[Path, bool]:
    """Return the run folder, and whether it is new."""
    if request.resume is not None:
        return request.resume, False
    if request.out is None:
        return new_run_path(Path("runs"), title_of(source)), True
    if (request.out / CONFIG).exists():
        raise ValueError(
            f"{request.out} holds a run already: resume it with --resume {request.out}, or choose "
            "another --out."
        )
    return request.out, not request.out.exists()


def _discard_unused(folder: Path) -> None:
    """Remove a new folder in which nothing was learned: the request itself was wrong."""
    learned = any(history.stat().st_size for history in folder.rglob(HISTORY))
    if not learned and not any(folder.rglob("checkpoint-*")):
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
    if request.jobs is not None and options["committee"] is None:
        raise ValueError("--jobs is how many members train at a time: it goes with --committee.")
    if options["source"] is None:
        raise ValueError(
            "SOURCE is missing: give digits, mnist, a table, or a folder of pictures or IDX files."
        )
    for name, (partner, values) in _PARTNERS.items():
        if name in request.given and options[partner] not in values:
            raise ValueError(
                f"{_flag(name)} needs {_flag(partner)} {' or '.join(values)}, and would be "
                f"ignored with {options[partner]}."
            )
    for name in request.given & set(SIZES_ONLY):
        if is_named(options["network"]):
            raise ValueError(
                f"{_flag(name)} goes with sizes, and would be ignored with --network "
                f"{options['network']}, which says its own."
            )
    for name in request.given & set(MEMBERS_ONLY):
        if options["committee"] is None:
            raise ValueError(f"{_flag(name)} goes with --committee.")
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
        f"{_flag(name)} was {'not given' if stored[name] is None else stored[name]}, now {value}"
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
