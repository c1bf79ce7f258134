"""What ``deltarule reproduce`` does once its options are read."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deltarule.choices import choose
from deltarule.cli.options import on_terminal
from deltarule.learning import Run
from deltarule.papers import STUDIES, Watcher, reproduce
from deltarule.papers.experiment import Either, Measured
from deltarule.papers.results import Result, claim
from deltarule.papers.table import figures, verdict


def run(
    name: str, out: Path, *, seeds: int, jobs: int, only: Sequence[str], as_json: bool, quiet: bool
) -> int:
    """Run a study and print claimed beside reached; return the exit code."""
    study = choose("STUDY", name, STUDIES)
    display = Display() if quiet else Bars() if on_terminal() else Lines()
    try:
        with display:
            results = list(
                reproduce(study, out, seeds=seeds, jobs=jobs, only=only, watcher=display)
            )
    except KeyboardInterrupt:
        typer.echo(
            f"stopped; what is finished is kept in {out}, and the same command goes on from there.",
            err=True,
        )
        return 130
    if as_json:
        typer.echo(json.dumps({"study": study.name, "results": results}, indent=2))
    else:
        _print_table(results)
        typer.echo(f"\nAccuracies in %: mean of the seeds (lowest–highest).\nResults: {out}")
    return 0


def list_experiments(name: str, *, as_json: bool) -> int:
    """Print the experiments of a study and what they claim; return the exit code."""
    study = choose("STUDY", name, STUDIES)
    if as_json:
        claims = [claim(study, each) for each in study.experiments]
        typer.echo(json.dumps({"study": study.name, "experiments": claims}, indent=2))
        return 0
    for each in study.experiments:
        note = "  (only by name)" if each.opt_in else ""
        typer.echo(f"{each.name}  {each.source}: {each.title}, {each.claimed:.2f} %{note}")
    return 0


def _print_table(results: Sequence[Result]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("experiment", overflow="fold")
    table.add_column("claimed", justify="right")
    table.add_column("reached", justify="right")
    table.add_column("")
    for result in results:
        said = f"{result['claimed']:.2f}", figures(result), verdict(result)
        table.add_row(result["name"], *said)
    Console(highlight=False).print(table)


class Display(Watcher):
    """Shows nothing. However a study ends, leaving the ``with`` block leaves the terminal clean."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take down what was put up."""


class Lines(Display):
    """A line on stderr for each finished run."""

    def planned(self, experiments: int, runs: int, kept: int) -> None:
        """Say what is there already."""
        self.done, self.runs = 0, runs
        if kept:
            self.say(f"{kept} of {experiments} experiments are kept from before")

    def measured(self, experiment: Either, measured: Measured) -> None:
        """Say what was reached."""
        self.done += 1
        self.say(
            f"run {self.done}/{self.runs}  {experiment.name} seed {measured['seed']}: "
            f"{measured['accuracy']:.2f} % (claimed {experiment.claimed:.2f} %, "
            f"{measured['seconds']:.1f} s)"
        )

    def say(self, line: str) -> None:
        """Print ``line`` at once, also into a file."""
        print(line, file=sys.stderr, flush=True)


class Bars(Lines):
    """A bar for all runs and one for each under way; finished runs scroll past above them."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            console=console or Console(stderr=True, highlight=False),
        )
        self._under_way: dict[tuple[str, int], Any] = {}

    def planned(self, experiments: int, runs: int, kept: int) -> None:
        """Draw the bar of all runs."""
        super().planned(experiments, runs, kept)
        self._all = self._bars.add_task("all runs", total=runs, figures=f"0/{runs}")
        self._bars.start()

    def advanced(self, experiment: Either, run: Run) -> None:
        """Move the bar of this run."""
        key = experiment.name, run.recipe.seed
        if key not in self._under_way:
            name = f"{experiment.name} #{run.recipe.seed}"
            self._under_way[key] = self._bars.add_task(name, total=run.recipe.epochs, figures="")
        accuracy = run.history[-1].get("validation_accuracy") if run.history else None
        figure = "" if accuracy is None else f"{accuracy:.2%}"
        self._bars.update(self._under_way[key], completed=run.state.epoch, figures=figure)

    def measured(self, experiment: Either, measured: Measured) -> None:
        """Take the bar of this run away."""
        super().measured(experiment, measured)
        key = experiment.name, measured["seed"]
        if key in self._under_way:
            self._bars.remove_task(self._under_way.pop(key))
        self._bars.update(self._all, completed=self.done, figures=f"{self.done}/{self.runs}")

    def say(self, line: str) -> None:
        """Print ``line`` above the bars."""
        self._bars.console.print(line)

    def close(self) -> None:
        """Leave the bars as they stand."""
        self._bars.stop()
