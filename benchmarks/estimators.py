"""``deltarule.MLPClassifier`` against scikit-learn's: the same fits, timed in turns.

``python benchmarks/estimators.py`` measures and stores all contests, ``--only iris`` one of them;
``--draw`` puts what is stored into the page. In each pair both do the same work, one after the
other, and who begins alternates; a ratio is scikit-learn's time over ours within a pair.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from contest import CONTESTS, OURS, THEIRS, work
from report import put, table
from run import HERE, RESULTS, machine, versions

from deltarule.network import companion

FOLDER = RESULTS / "estimators"
PAGE = HERE.parent / "docs" / "estimators.md"
MARKER = "estimators"


def measure(name: str, pairs: int) -> dict[str, list[float]]:
    """Return the seconds of a unit for both, pair by pair."""
    timed = _cold if CONTESTS[name].cold else _warm(name)
    seconds: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for pair in range(pairs):
        for who in (OURS, THEIRS) if pair % 2 else (THEIRS, OURS):
            seconds[who].append(timed(name, who))
        print(f"{name}: pair {pair + 1} of {pairs}", file=sys.stderr, flush=True)
    return seconds


def _warm(name: str) -> Callable[[str, str], float]:
    works = {who: work(name, who) for who in (OURS, THEIRS)}
    for fit in works.values():
        fit()  # compiles, and wakes memory

    def timed(_: str, who: str) -> float:
        before = time.perf_counter()
        done = works[who]()
        return (time.perf_counter() - before) / done

    return timed


def _cold(name: str, who: str) -> float:
    before = time.perf_counter()
    subprocess.run([sys.executable, HERE / "contest.py", name, who], check=True)
    return time.perf_counter() - before


def run(name: str, pairs: int | None = None) -> dict[str, Any]:
    """Return the result of a contest as plain data, with where it was run."""
    contest = CONTESTS[name]
    seconds = measure(name, pairs or contest.pairs)
    where = {"machine": machine(), "versions": versions(), "companion": companion.describe()}
    rounded = {who: [float(f"{s:.4g}") for s in times] for who, times in seconds.items()}
    return {"contest": asdict(contest), **where, "seconds": rounded}


def ratios(result: dict[str, Any]) -> tuple[float, float, float]:
    """Return median and quartiles of scikit-learn's time over ours, pair by pair."""
    found = np.array(result["seconds"][THEIRS]) / result["seconds"][OURS]
    low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def tables(results: Iterable[dict[str, Any]]) -> str:
    """Return the contests in Markdown, and where they were run."""
    results = list(results)
    if not results:
        return "Not measured yet."
    rows = [_row(result) for result in results]
    heads = ("what", "scikit-learn, s", "deltarule, s", "ratio (quartiles)", "goal", "")
    where = [
        f"{result['machine']['cores']} cores, {result['machine']['architecture']}, AVX-512: "
        f"{result['machine']['avx512']}; scikit-learn {result['versions']['scikit-learn']}, JAX "
        f"{result['versions']['jax']}; companion: {result['companion']}"
        for result in results
    ]
    return f"{'; '.join(dict.fromkeys(where))}.\n\n{table(heads, rows)}"


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    middle, low, high = ratios(result)
    theirs, ours = (float(np.median(result["seconds"][who])) for who in (THEIRS, OURS))
    goal = result["contest"]["goal"]
    judged = "" if goal is None else "reached" if middle >= goal else "not reached"
    return (
        f"{result['contest']['title']}; {len(result['seconds'][OURS])} pairs",
        f"{theirs:.3g}", f"{ours:.3g}", f"{middle:.2f} ({low:.2f} to {high:.2f})",
        "" if goal is None else f"{goal:g}", judged,
    )  # fmt: skip


def stored() -> dict[str, dict[str, Any]]:
    """Return the stored contests in the order of the table."""
    paths = {name: FOLDER / f"{name}.json" for name in CONTESTS}
    return {name: json.loads(p.read_text("utf-8")) for name, p in paths.items() if p.exists()}


def main() -> None:
    """Measure and store; or draw what is stored into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CONTESTS, action="append", help="measure one of them")
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # twenty epochs do not converge, on either side
    for name in [] if options.draw else options.only or CONTESTS:
        text = json.dumps(run(name), indent=1, allow_nan=False)
        FOLDER.mkdir(exist_ok=True)
        Path(FOLDER / f"{name}.json").write_text(f"{text}\n", "utf-8")
    put(PAGE, tables(stored().values()), MARKER)


if __name__ == "__main__":
    main()
