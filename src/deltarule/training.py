"""Training in a run folder: what ``fit`` learns, stored so that nothing is lost.

A run folder holds the model, a line of history an epoch, the configuration, the environment, and
the last two checkpoints. A run killed at any moment goes on from the last of them and ends with
the same bits as one that was never interrupted.
"""

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deltarule.data import Dataset
from deltarule.errors import CheckpointError
from deltarule.files import save_model
from deltarule.learning import Callback, Recipe, Run, fit
from deltarule.network import Network, companion
from deltarule.runs import CONFIG, DATA, ENVIRONMENT, HISTORY, MODEL, RunFolder
from deltarule.storage import printable

Checkpoint = tuple[dict[str, np.ndarray], dict[str, Any]]  # arrays and header

_EPOCHS = "config.recipe.epochs"  # a run may be made longer
# Noted for the record only: a run goes on with others, and where they were not noted yet.
_NOTED = ("environment.scipy", "environment.deltarule-native", "environment.companion")


def train(
    network: Network,
    training: Dataset,
    validation: Dataset | None,
    recipe: Recipe,
    folder: Path | str,
    *,
    source: str = "data",
    options: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    resume: bool = False,
    force: bool = False,
    every_epochs: int | None = None,
    every_seconds: float = 30.0,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Train as ``fit`` does, and keep the run in ``folder``.

    Args:
        network, training, validation, recipe, callbacks: as for ``fit``.
        folder: of the run; made if it is not there, and locked while the run goes on.
        source, options: the name of the data and what was asked for, for the record.
        record: plain data about the data, kept as they are (``data.Source``).
        resume: go on from the newest checkpoint in ``folder`` that is whole; bit for bit the
            uninterrupted run on the same machine and versions.
        force: resume although versions or the number of epochs differ.
        every_epochs, every_seconds: how often to write a checkpoint, whichever comes first.

    A run killed before its first checkpoint begins again; to resume a finished one changes nothing.

    Raises:
        ValueError: as for ``fit``.
        CheckpointError: there is nothing to resume, or it belongs to another run.
        RunBusyError: another process works in ``folder``.
        OSError: ``folder`` cannot be written.
        DivergedError: a cost is not finite; the last finite checkpoint stays.
    """
    _check_intervals(every_epochs, every_seconds)
    config = _config(network, training, validation, recipe)
    with RunFolder(Path(folder)) as run_folder:
        checkpoint = _checkpoint(run_folder, config, force) if resume else None
        asked = {"source": source, "options": dict(options or {})}
        keeper = Keeper(run_folder, asked, config, checkpoint, every_epochs, every_seconds)
        if record is not None:
            run_folder.write_json(DATA, record)
        run = fit(network, training, validation, recipe, callbacks=[keeper, *callbacks])
        provenance = {"source": source, "epochs": len(run.history), "recipe": recipe.describe()}
        provenance["deltarule"] = version("deltarule")
        save_model(replace(run.model, provenance=provenance), run_folder.path / MODEL)
    return run


class Keeper(Callback):
    """Puts back what a checkpoint holds, then writes the history as it grows, and checkpoints."""

    every_epoch = False

    def __init__(
        self,
        folder: RunFolder,
        asked: dict[str, Any],
        config: dict[str, Any],
        checkpoint: Checkpoint | None,
        every_epochs: int | None,
        every_seconds: float,
    ) -> None:
        self.folder = folder
        self.asked = asked
        self.config = config
        self.checkpoint = checkpoint
        self.every_epochs = every_epochs
        self.every_seconds = every_seconds

    def started(self, run: Run) -> None:
        """Begin where the checkpoint left off, if there is one."""
        if self.checkpoint is not None:
            self._put_back(run, self.checkpoint)
        self.folder.write_json(CONFIG, {**self.asked, **self.config})
        self.folder.write_json(ENVIRONMENT, environment())
        self.folder.rewrite_lines(HISTORY, run.history)
        self._saved_at, self._saved_epoch = time.monotonic(), run.state.epoch

    def epoch_ended(self, run: Run) -> None:
        """Add the epoch's line to the history."""
        # in the order in which a checkpoint gives it back, so that a resumed run has the same lines
        self.folder.append_line(HISTORY, dict(sorted(run.history[-1].items())))

    def advanced(self, run: Run) -> None:
        """Write a checkpoint if one is due."""
        epochs = run.state.epoch - self._saved_epoch
        due = self.every_epochs is not None and epochs >= self.every_epochs
        if due or time.monotonic() - self._saved_at >= self.every_seconds:
            self.save(run)

    def ended(self, run: Run) -> None:
        """Write the last checkpoint, also of a run that was stopped."""
        self.save(run)

    def save(self, run: Run) -> None:
        """Write a checkpoint now."""
        state = run.state
        header = {"config": self.config, "environment": environment(), **state.header()}
        number = state.epoch * run.plan.steps + state.position
        self.folder.save_checkpoint(number, state.arrays(), header)
        self._saved_at, self._saved_epoch = time.monotonic(), state.epoch

    def _put_back(self, run: Run, checkpoint: Checkpoint) -> None:
        try:
            run.state = run.state.restored(*checkpoint)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit this run: {error}") from None
        run.resumed_at = run.state.epoch
        last = run.history[-1] if run.history else {"train_cost": 0.0, "penalty": 0.0}
        if not math.isfinite(last["train_cost"] + last["penalty"]):  # it was stopped for that
            run.stop(f"the cost of epoch {run.state.epoch} is not finite")


def environment() -> dict[str, Any]:
    """Return what a result may depend on besides its configuration."""
    packages = ("deltarule", "jax", "jaxlib", "numpy", "optax", "scikit-learn", "scipy")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": jax.devices()[0].device_kind,
        **{package: version(package) for package in packages},
        "deltarule-native": _version_if_there("deltarule-native"),
        "companion": companion.describe(),
    }


def _version_if_there(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _config(
    network: Network,
    training: Dataset,
    validation: Dataset | None,
    recipe: Recipe,
) -> dict[str, Any]:
    return {
        "network": {"layers": network.describe(), "shape": network.shape},
        "recipe": recipe.describe(),
        "training_data": {"examples": len(training), "fingerprint": training.fingerprint()},
        "validation_data": validation
        and {"examples": len(validation), "fingerprint": validation.fingerprint()},
    }


def _check_intervals(every_epochs: int | None, every_seconds: float) -> None:
    if every_epochs is not None and every_epochs < 1:
        raise ValueError(f"every_epochs must be at least 1, got {every_epochs}.")
    if not every_seconds >= 0:
        raise ValueError(f"every_seconds must be at least 0, got {every_seconds}.")


def _checkpoint(folder: RunFolder, config: dict[str, Any], force: bool) -> Checkpoint | None:
    """Return the newest whole checkpoint, if it belongs to a run with this configuration.

    None means that the run was killed before its first one.
    """
    found = folder.latest_checkpoint()
    now = {"config": json.loads(json.dumps(config))}
    if found is None:
        stored = {"config": _stored_config(folder)}
    else:
        now["environment"] = environment()
        stored = {part: found.header.get(part, {}) for part in now}
    differences = {n: d for n, d in _differences(stored, now).items() if n not in _NOTED}
    harmless = [d for d in differences if d.startswith("environment.") or d == _EPOCHS]
    refused = [d for d in differences if not (force and d in harmless)]
    if refused:
        listed = "; ".join(f"{name}: {differences[name]}" for name in refused)
        hint = "; force resumes all the same" if set(refused) <= set(harmless) else ""
        raise CheckpointError(
            f"the run in {printable(folder.path)} was another one ({listed}){hint}."
        )
    return found and (found.arrays, found.header)


def _stored_config(folder: RunFolder) -> dict[str, Any]:
    try:
        stored = json.loads((folder.path / CONFIG).read_text())
        return {name: stored[name] for name in stored if name not in ("source", "options")}
    except (OSError, ValueError, TypeError):
        raise CheckpointError(
            f"{printable(folder.path)} holds no checkpoint to resume from; start the run without "
            "resume."
        ) from None


def _differences(old: Any, new: Any, name: str = "") -> dict[str, str]:
    """Return the values that differ, by dotted name, each as "it was ..., now ..."."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return {} if old == new else {name: f"it was {old!r}, now {new!r}"}
    found: dict[str, str] = {}
    for key in sorted({*old, *new}):
        found |= _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return found
