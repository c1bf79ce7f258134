"""``deltarule doctor RUN``: what ails a run, with numbers and a remedy."""

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from deltarule.data import Splits
    from deltarule.learning.health import Finding
    from deltarule.network import Model

WIDTH, LABEL = 60, 12


def checkup(folder: Path, source: str | None, *, as_json: bool) -> None:
    """Examine the run in ``folder`` on the data it names, or on ``source``, and say the verdict."""
    from deltarule.cli.report import document
    from deltarule.learning import Recipe, health
    from deltarule.runs import HISTORY, RunFolder
    from deltarule.storage import printable

    config = _config(folder)
    model = _model(folder)
    splits, same = _data(config, source)
    if model is not None:
        _check(source or config["source"], splits, model)
    history = RunFolder(folder).read_lines(HISTORY)
    if model is None and not health.diverged(history):
        raise _no_model(folder)
    findings = health.examine(
        model, splits.train, splits.validation if len(splits.validation) else None, splits.test,
        history, Recipe.from_description(config["recipe"]),
    )  # fmt: skip
    healthy = all(finding.severity == health.NOT_JUDGED for finding in findings)
    if not same:
        typer.echo("warning: these are not the data that the run learned from.", err=True)
    if as_json:
        facts = {"run": printable(folder), "healthy": healthy, "same_data": same}
        typer.echo(document({**facts, "findings": [each._asdict() for each in findings]}))
        return
    for finding in findings:
        typer.echo(_in_lines(finding))
    if healthy:
        typer.echo(_paragraph("healthy", f"No sign of {_listed(health.ILLNESSES, findings)}."))


def _config(folder: Path) -> dict[str, Any]:
    from deltarule.errors import CheckpointError
    from deltarule.runs import CONFIG
    from deltarule.storage import printable

    if any(folder.glob("member-*")):
        raise typer.BadParameter(
            f"{printable(folder)} holds a committee, whose members were trained apart: examine "
            f"one, such as {printable(folder / 'member-1')}."
        )
    try:
        config = json.loads((folder / CONFIG).read_text())
        if {"source", "recipe", "options"} <= set(config):
            return dict(config)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"RUN must be a run folder, but {printable(folder)} has no {CONFIG}; name a folder "
            "that deltarule train has made."
        ) from None
    except (ValueError, TypeError):
        pass
    raise CheckpointError(
        f"{printable(folder / CONFIG)} is damaged or of another version; put back a copy."
    )


def _model(folder: Path) -> "Model | None":
    """Return the model of the run; None if it left none."""
    from deltarule.files import load_model
    from deltarule.network import Model
    from deltarule.runs import MODEL
    from deltarule.storage import printable

    if not (folder / MODEL).exists():
        return None
    model = load_model(folder / MODEL)
    if not isinstance(model, Model):
        raise typer.BadParameter(f"{printable(folder)} holds a committee: examine its members.")
    return model


def _data(config: dict[str, Any], source: str | None) -> tuple["Splits", bool]:
    """Return the data, and whether they are those the run learned from."""
    from deltarule.cli.opening import opened
    from deltarule.errors import DataError

    options = config["options"] | ({"source": source} if source is not None else {})
    try:
        splits = opened({"source": config["source"], "validation": None, **options}).splits
    except DataError as error:
        if source is not None:
            raise
        raise DataError(f"{error} If the data have moved, say where with --source.") from None
    fingerprint = config.get("training_data", {}).get("fingerprint")
    return splits, splits.train.fingerprint() == fingerprint


def _check(source: str, splits: "Splits", model: "Model") -> None:
    from deltarule.cli.options import check_inputs
    from deltarule.errors import DataError

    check_inputs(source, splits.train.shape, model)
    if splits.train.classes != model.classes:
        raise DataError(
            f"{source} must have the {len(model.classes)} classes that the run learned, got "
            f"{len(splits.train.classes)}, or others; give the data of the run with --source."
        )


def _no_model(folder: Path) -> Exception:
    from deltarule.errors import CheckpointError
    from deltarule.storage import printable

    return CheckpointError(
        f"the run in {printable(folder)} has no model yet; finish it with "
        f"deltarule train --resume {printable(folder)}."
    )


def _listed(names: tuple[str, ...], findings: "list[Finding]") -> str:
    judged = [name for name in names if name not in {finding.name for finding in findings}]
    return f"{', '.join(judged[:-1])} or {judged[-1]}"


def _in_lines(finding: "Finding") -> str:
    lines = {finding.severity: finding.name, "": finding.sentence, "remedy": finding.remedy}
    return "\n".join(_paragraph(name, text) for name, text in lines.items())


def _paragraph(name: str, text: str) -> str:
    from deltarule.storage import printable

    return textwrap.fill(
        printable(text), WIDTH, initial_indent=f"{name:{LABEL}}", subsequent_indent=" " * LABEL,
        break_on_hyphens=False,
    )  # fmt: skip
