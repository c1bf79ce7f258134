"""The table of trials: live on a terminal, a line a trial elsewhere; at most 60 columns."""

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from deltarule.cli.options import on_terminal
from deltarule.tuning import Choices, Space, Trial
from deltarule.tuning.trials import ranked

COLUMNS = {  # heading and width
    "hidden": ("hidden", 7),
    "dropout": ("drop", 4),
    "batch_size": ("batch", 5),
    "learning_rate": ("rate", 7),
    "momentum": ("mom", 4),
    "l1": ("l1", 5),
    "l2": ("l2", 5),
}
PENALTIES = ("l1", "l2")  # their first digit says enough


def display(space: Space, metric: str, *, quiet: bool = False) -> "Display":
    """Return what shows the search on stderr."""
    if quiet:
        return Display(space, metric)
    return Table(space, metric) if on_terminal() else Lines(space, metric)


def heading(space: Space, metric: str) -> str:
    """Return the names of the columns: what varies, then how far and how well."""
    cells = [f"{name:>{width}}" for name, width in _columns(space)]
    score = "cost" if metric.endswith("cost") else "valid"
    return " ".join([" #", *cells, f"{'epoch':>5}", f"{score:>7}"])


def line(trial: Trial, space: Space, metric: str) -> str:
    """Return the row of a trial; its epochs as done/to do while it runs."""
    cells = [
        f"{_written(name, trial.values[name]):>{COLUMNS[name][1]}}" for name in _varying(space)
    ]
    epochs = str(trial.epochs) if trial.over else f"{trial.epochs}/{trial.of}"
    return " ".join([f"{trial.number:2}", *cells, f"{epochs:>5}", f"{_score(trial, metric):>7}"])


def _varying(space: Space) -> list[str]:
    return [
        name for name in COLUMNS
        if name in space and not (isinstance(each := space[name], Choices) and len(each.values) < 2)
    ]  # fmt: skip


def _columns(space: Space) -> list[tuple[str, int]]:
    return [COLUMNS[name] for name in _varying(space)]


def _written(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    digits = 1 if name in PENALTIES else 2
    plain = f"{value:.{digits}g}"
    head, _, power = f"{value:.{digits - 1}e}".partition("e")
    return min(plain, f"{head}e{int(power)}", key=len)


def _score(trial: Trial, metric: str) -> str:
    if trial.diverged is not None:
        return "diverg."
    value = getattr(trial, metric)
    if value is None:
        return ""
    return f"{value:.4f}" if metric.endswith("cost") else f"{value:.2%}"


class Display:
    """Shows nothing."""

    def __init__(self, space: Space, metric: str) -> None:
        self.space, self.metric = space, metric

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def plan(self, stages: list[tuple[int, int]]) -> None:
        """Say how many trials are to go how far."""

    def moved(self, trial: Trial) -> None:
        """Show where ``trial`` stands now."""

    def close(self) -> None:
        """Take down what was put up."""


class Lines(Display):
    """A line for each trial that is over, at each stage."""

    def plan(self, stages: list[tuple[int, int]]) -> None:
        """Say the plan and the heading."""
        print(_plan(stages), heading(self.space, self.metric), sep="\n", file=sys.stderr)

    def moved(self, trial: Trial) -> None:
        """Print the trial's line once it is over."""
        if trial.over:
            print(line(trial, self.space, self.metric), file=sys.stderr)


class Table(Display):
    """A table that changes in place: the trials under way, then the best so far."""

    def __init__(self, space: Space, metric: str, console: Console | None = None) -> None:
        super().__init__(space, metric)
        self._console = console or Console(stderr=True)
        self._trials: dict[int, Trial] = {}
        self._runs = (0, 0)
        self._live = Live(
            console=self._console, refresh_per_second=8, transient=True, get_renderable=self._drawn
        )

    def plan(self, stages: list[tuple[int, int]]) -> None:
        """Put the table up."""
        self._runs = (0, sum(trials for trials, _ in stages))
        self._console.print(Text(_plan(stages)))
        self._live.start()

    def moved(self, trial: Trial) -> None:
        """Change the trial's row."""
        self._trials[trial.number] = trial
        if trial.over:
            self._runs = (self._runs[0] + 1, self._runs[1])

    def close(self) -> None:
        """Take the table down; the final one is a result and goes to stdout."""
        self._live.stop()

    def _drawn(self) -> Text:
        trials = ranked(list(self._trials.values()), self.metric)
        running = [t for t in trials if not t.over]
        over = [t for t in trials if t.over]
        room = max(1, self._console.height - 4 - len(running))
        rows = [line(t, self.space, self.metric) for t in [*running, *over[:room]]]
        done = f"{self._runs[0]} of {self._runs[1]} runs done; under way first, then the best"
        return Text("\n".join([done, heading(self.space, self.metric), *rows]), no_wrap=True)


def _plan(stages: list[tuple[int, int]]) -> str:
    first, *others = (f"{trials} to epoch {epochs}" for trials, epochs in stages)
    return ", the best ".join([f"trials: {first}", *others])
