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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from report import put, table
from run import HERE, RESULTS, machine, versions
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV

FOLDER = RESULTS / "estimators"
PAGE = HERE.parent / "docs" / "estimators.md"
MARKER = "estimators"
OURS, THEIRS = "deltarule", "scikit-learn"
EPOCHS = 20  # of MNIST in a fit that is timed
GRID = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1], "learning_rate_init": [1e-3, 1e-2]}
FITS = 50


@dataclass(frozen=True)
class Contest:
    """What is timed.

    Args:
        title: what it is, for the table.
        goal: the ratio to reach, or None.
        pairs: how many are measured.
        dtype: of the inputs.
        options: of our estimator alone.
        cold: whether each time is of a fresh process, from its start to its end.
    """

    title: str
    goal: float | None
    pairs: int
    dtype: str = "float64"
    options: tuple[tuple[str, str], ...] = ()
    cold: bool = False


CONTESTS = {
    "mnist-float64": Contest("MNIST, defaults, float64, an epoch", 1.4, 5),
    "mnist-float32": Contest("MNIST, defaults, float32, an epoch", 2.3, 5, "float32"),
    "mnist-precision": Contest(
        'MNIST, defaults, float64 with `precision="float32"`, an epoch', 3.3, 5,
        options=(("precision", "float32"),),
    ),
    "iris": Contest("iris, defaults, a fit once one was compiled", 5.0, 15),
    "iris-cold": Contest("iris, defaults, a whole process with one fit", None, 7, cold=True),
    "digits-grid": Contest(
        f"digits, a whole process with a grid search of {FITS} fits", 3.0, 3, cold=True
    ),
}  # fmt: skip


def estimator(who: str, contest: Contest, **options: Any) -> Any:
    """Return an unfitted classifier; ours is imported only if it is asked for."""
    if who == OURS:
        from deltarule import MLPClassifier

        return MLPClassifier(random_state=0, **options, **dict(contest.options))
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(random_state=0, **options)


def work(name: str, who: str) -> Callable[[], int]:
    """Return the fit to be timed, which returns how many times its unit was done."""
    contest = CONTESTS[name]
    if name.startswith("mnist"):
        from deltarule import data

        train = data.load("mnist", validation=0).train
        x = (train.x.reshape(len(train), -1) / 255).astype(contest.dtype)
        return lambda: estimator(who, contest, max_iter=EPOCHS).fit(x, train.y).n_iter_
    if name.startswith("iris"):
        x, y = load_iris(return_X_y=True)
        return lambda: min(1, estimator(who, contest).fit(x, y).n_iter_)
    x, y = load_digits(return_X_y=True)
    search = GridSearchCV(estimator(who, contest), GRID, cv=FITS // 10, refit=False)
    return lambda: min(1, len(search.fit(x, y).cv_results_["params"]))


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
    subprocess.run([sys.executable, __file__, "--once", name, who], check=True)
    return time.perf_counter() - before


def run(name: str, pairs: int | None = None) -> dict[str, Any]:
    """Return the result of a contest as plain data, with where it was run."""
    from deltarule.network import companion  # not where scikit-learn's whole process is timed

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
    parser.add_argument("--once", nargs=2, metavar=("CONTEST", "WHO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # twenty epochs do not converge, on either side
    if options.once:
        work(*options.once)()
        return
    for name in [] if options.draw else options.only or CONTESTS:
        text = json.dumps(run(name), indent=1, allow_nan=False)
        FOLDER.mkdir(exist_ok=True)
        Path(FOLDER / f"{name}.json").write_text(f"{text}\n", "utf-8")
    put(PAGE, tables(stored().values()), MARKER)


if __name__ == "__main__":
    main()
