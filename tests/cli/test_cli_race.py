"""``deltarule race``: the table, the files and what is refused."""

import json
from pathlib import Path

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
    assert "sgd at 0.1:" in done.err
    assert Path("r/race.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads(Path("r/race.json").read_text())
    assert stored["source"] == "digits"
    assert len(stored["racers"]) == 3


def test_json_is_one_document_and_quiet_says_nothing_else(run: Run) -> None:
    done = run(*SMALL, "--optimizers", "conjugate_gradient", "--json", "--quiet")
    assert done.err == ""
    racer = json.loads(done.out)["racers"][0]
    assert racer["optimizer"] == "conjugate_gradient"
    assert racer["laps"][0]["points"][-1]["gradient_evaluations"] >= 2
    assert not Path("race.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--optimizers", "sdg"), "optimizer must be one of"),
        (("--examples", "0"), "--examples must be from 1 to"),
        (("--passes", "0"), "passes and seeds must be at least 1"),
        (("--network", "64,ten"), "--network must be sizes"),
    ],
)
def test_wrong_requests_are_one_sentence_and_code_2(
    run: Run, options: tuple[str, str], said: str
) -> None:
    done = run(*SMALL, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) <= 3
