"""``deltarule race``: the table, the files and what is refused."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cli_commands import Run

SMALL = ("race", "digits", "--examples", "60", "--passes", "2", "--network", "64,4,10")


def test_a_race_of_two(run: Run) -> None:
    done = run(*SMALL, "--optimizers", "sgd, conjugate_gradient,levenberg_marquardt", "--out", "r")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["rate", "cost", "gradients", "seconds"]
    assert {line.split()[0] for line in lines[1:3]} == {"sgd", "conjugate_gradient"}
    assert "levenberg_marquardt left out" in done.out
    assert max(map(len, lines)) <= 60
    assert "sgd: 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3" in done.out
    assert "sgd at 0.1:" in done.err
    assert Path("r/race.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads(Path("r/race.json").read_text())
    assert stored["source"] == "digits"
    assert len(stored["racers"]) == 3


def test_json_is_one_document_and_quiet_says_nothing_else(run: Run) -> None:
    done = run(*SMALL, "--optimizers", "conjugate_gradient", "--json", "-q", "--passes", "8")
    assert (done.code, done.err) == (0, "")
    facts = json.loads(done.out)
    racer = facts["racers"][0]
    assert racer["optimizer"] == "conjugate_gradient"
    assert 0 < racer["laps"][0]["points"][-1]["gradient_evaluations"] <= 8
    assert {"device", "jax"} <= set(facts["environment"])
    assert not Path("race.png").exists()


def test_one_panel_and_the_range_of_the_seeds(run: Run) -> None:
    options = ("--optimizers", "sgd", "--seeds", "2", "--against", "gradients", "--out", "r")
    done = run(*SMALL, *options)
    assert done.code == 0
    assert done.out.splitlines()[2].endswith(" of 2 seeds")
    assert ", seed 1: " in done.err.splitlines()[-1]
    assert Path("r/race.png").exists()


def test_after_ctrl_c_there_is_a_table_of_what_was_through(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltarule import race

    lap = race._Course.lap

    def until_sgd(course: race._Course, name: str, *rest: Any) -> race.Lap:
        if name == "sgd":
            signal.raise_signal(signal.SIGINT)
        return lap(course, name, *rest)

    monkeypatch.setattr(race._Course, "lap", until_sgd)
    done = run(*SMALL, "--optimizers", "conjugate_gradient,sgd", "--out", "r")
    assert done.code == 130
    assert done.out.splitlines()[1].startswith("conjugate_gradient")
    assert "sgd left out: interrupted" in done.out
    assert json.loads(Path("r/race.json").read_text())["interrupted"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--optimizers", "sdg"), "optimizer must be one of"),
        (("--optimizers", ""), "optimizer must be one of"),
        (("--against", "seconds"), "--against goes with --out"),
        (("--against", "time", "--out", "r"), "--against must be one of epochs, gradients"),
        (("--examples", "0"), "--examples must be from 1 to"),
        (("--passes", "0"), "passes and seeds must be at least 1"),
        (("--network", "64,ten"), "--network must be sizes"),
    ],
)
def test_wrong_requests_are_one_sentence_and_code_2(
    run: Run, options: tuple[str, ...], said: str
) -> None:
    done = run(*SMALL, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) <= 3
