"""``deltarule reproduce STUDY``: published results run again, claimed beside reached."""

from pathlib import Path
from typing import Annotated

import typer

from deltarule.cli.options import Device, Json, Quiet, ready


def reproduce(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="talk, nielsen or nielsen-ch6.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each experiment.")] = 3,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this experiment; may be repeated."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Runs at a time.")] = 2,
    out: Annotated[Path, typer.Option("--out", help="Where results are kept.")] = Path(
        "papers/results"
    ),
    list_: Annotated[bool, typer.Option("--list", help="List the experiments, run none.")] = False,
    device: Device = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run the experiments of STUDY with several seeds and compare with what it claims.

    What is kept already of the same recipe is not run again: the same command goes on where it was
    stopped, and more seeds join those before.
    """
    ready(device)
    from deltarule.cli import reproducing

    if list_:
        return reproducing.list_experiments(study, as_json=json_)
    return reproducing.run(
        study, out, seeds=seeds, jobs=jobs, only=only or [], as_json=json_, quiet=quiet
    )
