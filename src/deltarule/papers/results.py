"""Results as files: one JSON document for each experiment, whole or not there at all."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deltarule.errors import DataError
from deltarule.learning import Recipe
from deltarule.papers.experiment import Either, Measured, Study
from deltarule.storage import explained, write_atomically

Result = dict[str, Any]

RESULTS = Path("papers/results")  # in the checkout, where results are published with the code


def document(study: Study, experiment: Either, measured: Sequence[Measured]) -> Result:
    """Return the result of ``experiment`` as plain data; accuracies in %, seconds of training.

    sd is that of a sample (n - 1), None for a single run; versions and machine are those of now.
    """
    accuracies = [each["accuracy"] for each in measured]
    return {
        **claim(study, experiment),
        "setup": _plain(experiment.setup()),
        "seeds": [each["seed"] for each in measured],
        "reached": list(measured),
        "mean": round(statistics.fmean(accuracies), 4),
        "lowest": min(accuracies),
        "highest": max(accuracies),
        "sd": round(statistics.stdev(accuracies), 4) if len(accuracies) > 1 else None,
        "versions": {package: version(package) for package in ("deltarule", "jax")},
        "machine": {"cpus": os.cpu_count(), "architecture": platform.machine()},
    }


def claim(study: Study, experiment: Either) -> Result:
    """Return the part of a result that stands before anything is run."""
    return {
        "name": experiment.name,
        "study": study.name,
        "data": study.data,
        "citation": study.citation,
        "source": experiment.source,
        "title": experiment.title,
        "claimed": experiment.claimed,
        "claimed_detail": dict(experiment.claimed_detail),
        "measures": experiment.measures,
        "protocol": experiment.protocol,
        "notes": experiment.notes,
    }


def is_reached(result: Result) -> bool:
    """Say whether the best seed is at least the claim, to the hundredths that sources print."""
    highest, claimed = float(result["highest"]), float(result["claimed"])
    return round(highest, 2) >= round(claimed, 2)


def store(folder: Path, result: Result) -> Path:
    """Write ``result`` to its file in ``folder``, which is made if missing; return the path.

    Raises ``OSError`` if that cannot be written.
    """
    with explained("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['name']}.json"
    write_atomically(path, f"{json.dumps(result, indent=2, ensure_ascii=False)}\n".encode())
    return path


def stored(folder: Path, study: Study, experiment: Either) -> Result | None:
    """Return the result in ``folder`` if it is of this setup, of whatever seeds.

    Its claim is the one that ``experiment`` makes now. Raises ``DataError`` if the file is damaged.
    """
    path = folder / f"{experiment.name}.json"
    if not path.exists():
        return None
    result = read(path)
    same = (
        _completed(result["setup"]) == _plain(experiment.setup()) and result["data"] == study.data
    )
    return {**result, **claim(study, experiment)} if same else None


def add(folder: Path, study: Study, experiment: Either, measured: Measured) -> Result:
    """Store ``measured`` with the other seeds of this setup that are in ``folder``; return all.

    A result of another setup gives way. Raises as ``stored`` and ``store`` do.
    """
    before = stored(folder, study, experiment)
    seeds = {each["seed"]: each for each in (before["reached"] if before else [])}
    seeds[measured["seed"]] = measured
    result = document(study, experiment, [seeds[seed] for seed in sorted(seeds)])
    store(folder, result)
    return result


def read(path: Path) -> Result:
    """Return the result in the file ``path``. Raises ``DataError`` if it is damaged."""
    with explained("read", path):
        data = path.read_bytes()
    try:
        result: Result = json.loads(data)
        missing = [key for key in _KEYS if key not in result]
    except (ValueError, TypeError):
        missing = ["valid JSON"]
    if missing:
        raise DataError(
            f"{path} is not a stored result: it lacks {missing[0]}; remove it to run that "
            "experiment again."
        )
    return result


def of_study(folder: Path, study: Study) -> list[Result]:
    """Return the results in ``folder`` that belong to ``study``, in its order."""
    paths = [folder / f"{experiment.name}.json" for experiment in study.experiments]
    return [read(path) for path in paths if path.exists()]


def _completed(setup: dict[str, Any]) -> dict[str, Any]:
    """Return ``setup`` with what was not yet there to choose when it was stored."""
    if "recipe" not in setup:
        return setup
    recipe = {**Recipe().describe(), **setup["recipe"]}
    del recipe["seed"]
    return _plain({"shifted": False, **setup, "recipe": recipe})  # type: ignore[no-any-return]


_KEYS = ("name", "data", "title", "source", "claimed", "measures", "setup", "seeds", "reached",
         "mean", "lowest", "highest")  # fmt: skip


def _plain(value: Any) -> Any:
    """Return ``value`` as it comes back from a file: tuples as lists."""
    return json.loads(json.dumps(value))
