"""A bar on stderr while an estimator learns."""

import threading
from typing import Any, Self


class Bar:
    """Moves with each epoch, of any thread; shows nothing unless ``shown``.

    Where stderr is no terminal only its last state is written. ``total`` is None where it is not
    known how many there will be.
    """

    def __init__(self, shown: bool, total: int | None, what: str = "epochs") -> None:
        self._progress = _progress() if shown else None
        if self._progress is not None:
            self._task = self._progress.add_task(what, total=total, cost="")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, cost: Any) -> None:
        """Tell that an epoch has ended with this cost."""
        if self._progress is not None:
            with self._lock:
                self._progress.update(self._task, advance=1, cost=f"cost {cost:.4g}")


def _progress() -> Any:
    from rich.console import Console  # not needed, and not loaded, where nothing is shown
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(),
        TextColumn("{task.fields[cost]}"), TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )  # fmt: skip
