"""The contests against scikit-learn's estimators: fair turns, honest goals, stored and shown."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, not a package: they import each other

contests = importlib.import_module("estimators")
fits = importlib.import_module("contest")


def result(ours: list[float], theirs: list[float], goal: float | None) -> dict[str, object]:
    return {
        "contest": {"title": "a fit", "goal": goal},
        "machine": {"cores": 2, "architecture": "x", "avx512": "no"},
        "versions": {"scikit-learn": "1", "jax": "2"},
        "companion": "not in use",
        "seconds": {fits.OURS: ours, fits.THEIRS: theirs},
    }


def test_a_ratio_is_of_a_pair_and_the_median_is_told() -> None:
    assert contests.ratios(result([1, 2, 4], [2, 2, 40], None)) == (2, 1.5, 6)


@pytest.mark.parametrize(
    ("goal", "said"), [(2.0, "| reached"), (2.1, "| not reached"), (None, "|  ")]
)
def test_a_goal_is_reached_or_not(goal: float | None, said: str) -> None:
    assert said in contests.tables([result([1, 2, 4], [2, 2, 40], goal)])


def test_who_begins_alternates_and_both_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []
    monkeypatch.setattr(
        contests, "_warm", lambda name: lambda _, who: float(turns.append(who) or len(turns))
    )
    seconds = contests.measure("iris", 2)
    ours, theirs = fits.OURS, fits.THEIRS
    assert turns == [theirs, ours, ours, theirs]
    assert seconds == {theirs: [1, 4], ours: [2, 3]}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_two_fits_of_a_contest_are_one() -> None:
    contest = fits.CONTESTS["iris"]
    one, other = (fits.estimator(who, contest, max_iter=3) for who in (fits.OURS, fits.THEIRS))
    shared = other.get_params()
    assert {name: one.get_params()[name] for name in shared} == shared
    assert type(one).__module__.startswith("deltarule")
    assert type(other).__module__.startswith("sklearn")
    grid = fits.GRID
    assert len(grid["alpha"]) * len(grid["learning_rate_init"]) * 5 == fits.FITS


@pytest.mark.parametrize(("who", "loads"), [(fits.OURS, True), (fits.THEIRS, False)])
def test_a_process_of_scikit_learn_does_not_wait_for_ours(who: str, loads: bool) -> None:
    code = (
        f"import sys, contest; contest.work('iris', {who!r})(); "
        "print({'jax', 'deltarule'} & {*sys.modules} != set())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(loads)


def test_the_page_shows_what_is_stored() -> None:
    assert contests.tables(contests.stored().values()) in contests.PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in contests.FOLDER.glob("*.json")))
def test_what_is_stored_is_the_contest_of_its_name(name: str) -> None:
    stored, contest = contests.stored()[name], fits.CONTESTS[name]
    assert (stored["contest"]["title"], stored["contest"]["goal"]) == (contest.title, contest.goal)
    assert {len(times) for times in stored["seconds"].values()} == {contest.pairs}
