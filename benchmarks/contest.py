"""What ``estimators.py`` times: the same fit by ``deltarule.MLPClassifier`` and scikit-learn's.

``python benchmarks/contest.py CONTEST WHO`` does one fit, in a process that loads only what that
needs: scikit-learn's must not wait for ours to be imported.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV

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


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    work(sys.argv[1], sys.argv[2])()
