"""Progress of a run on stderr: a live bar on a terminal, a plain line an epoch elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from deltarule.cli.options import on_terminal
from deltarule.learning import Callback, Run

NARROW, WIDE = 60, 110  # columns of a terminal: what a bar needs, what everything needs


def progress(*, quiet: bool = False, several: bool = False) -> "Display":
    """Return the progress that suits stderr; of ``several`` runs at once a line an epoch each."""
    if quiet:
        return Display()
    if several:
        return MemberLines()
    return Bar() if on_terminal() else Lines()


class Display(Callback):
    """Shows nothing. However a run ends, leaving the ``with`` block leaves the terminal clean."""

    every_epoch = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take down what was put up; it may be called twice."""


class Lines(Display):
    """One line an epoch."""

    def epoch_ended(self, run: Run) -> None:
        """Print the epoch's line."""
        record = run.history[-1]
        speed = len(run.train) / max(record["seconds"], 1e-9)
        epoch = f"epoch {record['epoch']:>{len(str(run.recipe.epochs))}}/{run.recipe.epochs}"
        line = f"{self.name(run)}{epoch}  {described(record)}  {speed:,.0f} examples/s"
        print(line, file=sys.stderr)

    def name(self, run: Run) -> str:
        """Return what the line begins with."""
        return ""


class MemberLines(Lines):
    """One line an epoch of each member of a committee, told apart by their seeds."""

    def name(self, run: Run) -> str:
        """Return the member's seed."""
        return f"seed {run.recipe.seed}  "


class Bar(Display):
    """A bar that moves several times an epoch, with costs, speed and the time left."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._width = self._console.width
        columns: list[ProgressColumn] = [TextColumn("epoch {task.fields[epoch]}")]
        if self._width >= NARROW:
            columns.append(BarColumn(bar_width=20 if self._width >= WIDE else 8))
        columns.append(TextColumn("{task.fields[figures]}"))
        if self._width >= WIDE:
            columns.append(TextColumn("{task.fields[speed]}"))
        columns.append(TimeRemainingColumn(compact=True, elapsed_when_finished=True))
        self._progress = Progress(*columns, console=self._console)

    def started(self, run: Run) -> None:
        """Draw the bar."""
        self._steps, self._since = self._done(run), time.monotonic()
        self._task: Any = self._progress.add_task(
            "", total=run.recipe.epochs * run.plan.steps, completed=self._steps,
            epoch=f"{run.state.epoch}/{run.recipe.epochs}", figures="compiling", speed="",
        )  # fmt: skip
        self._progress.start()

    def advanced(self, run: Run) -> None:
        """Move the bar."""
        now, done = time.monotonic(), self._done(run)
        speed = (done - self._steps) * run.batch_size / max(now - self._since, 1e-9)
        self._steps, self._since = done, now
        self._progress.update(
            self._task, completed=done, epoch=f"{run.state.epoch}/{run.recipe.epochs}",
            figures=self._figures(run), speed=f"{speed:,.0f} examples/s",
        )  # fmt: skip
        if run.stopped:  # before the checkpoint: a second Ctrl-C would leave no cursor behind
            self.close()

    def ended(self, run: Run) -> None:
        """Leave the bar as it stands."""
        self.close()

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()

    def _figures(self, run: Run) -> str:
        if not run.history:
            return "learning"
        record = run.history[-1]
        if self._width < NARROW and "validation_cost" in record:
            record = {name: record[name] for name in record if name.startswith("validation")}
        return described(record, short=self._width < WIDE)

    def _done(self, run: Run) -> int:
        return run.state.epoch * run.plan.steps + run.state.position


def described(record: dict[str, Any], *, short: bool = False) -> str:
    """Return the costs and accuracies of an epoch in words: training, then validation."""
    parts = []
    for part in ("train", "validation"):
        if f"{part}_cost" not in record:
            continue
        name = {"train": "train", "validation": "val" if short else "validation"}[part]
        figures = f"{record[f'{part}_cost']:#.4g}"
        if f"{part}_accuracy" in record and not (short and part == "train"):
            figures += f" {record[f'{part}_accuracy']:.2%}"
        parts.append(f"{name} {figures}" if short else f"{name} cost {figures}")
    return " ".join(parts) if short else ", ".join(parts)
