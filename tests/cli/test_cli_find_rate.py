"""``deltarule find-rate``, and ``train --learning-rate auto``."""

import json
from pathlib import Path

import pytest
from cli_commands import Run

QUICK = ("digits", "--network", "64,8,10", "--batch-size", "20")


def test_it_suggests_a_rate_and_draws(run: Run) -> None:
    done = run("find-rate", *QUICK)
    assert done.code == 0
    lines = [line.split(":")[0] for line in done.out.splitlines()]
    assert lines == ["suggestion", "lowest cost", "too large", "1/lambda max", "picture"]
    assert max(map(len, done.out.splitlines())) <= 60
    assert done.err == "training while the learning rate grows ...\n"
    assert Path("rates.png").read_bytes().startswith(b"\x89PNG")


def test_as_json_it_gives_the_curve_and_sgd_alone_an_optimum(run: Run) -> None:
    done = run("find-rate", *QUICK, "--json", "--quiet", "--out", "a.png")
    assert (done.code, done.err) == (0, "")
    facts = json.loads(done.out)
    assert facts["picture"] == "a.png"
    lowest = facts["rates"][min(range(len(facts["costs"])), key=facts["costs"].__getitem__)]
    assert facts["lowest_cost_at"] == lowest
    assert facts["suggestion"] == pytest.approx(lowest / 10)
    assert 0.01 < facts["one_over_largest_curvature"] < 10
    adam = json.loads(run("find-rate", *QUICK, "--optimizer", "adam", "--json", "-q").out)
    assert adam["one_over_largest_curvature"] is None
    assert adam["suggestion"] < facts["suggestion"]


def test_what_it_cannot_do_is_one_sentence(run: Run) -> None:
    done = run("find-rate", *QUICK[:3], "--optimizer", "conjugate_gradient", "-q")
    assert (done.code, done.out) == (2, "")
    assert "which means nothing to conjugate_gradient; choose an optimizer" in done.err
    assert list(Path().iterdir()) == []


def test_train_measures_its_rate_and_says_it(run: Run) -> None:
    common = ("train", *QUICK, "--epochs", "1", "--quiet")
    done = run(*common, "--learning-rate", "auto", "--out", "a")
    assert done.code == 0, done.err
    said = done.out.splitlines()[0]
    history = json.loads(Path("a/history.jsonl").read_text().splitlines()[0])
    assert said == f"learning rate:  {history['learning_rate']:.3g}, measured"
    optimum = json.loads(run("find-rate", *QUICK, "--json", "-q").out)
    assert history["learning_rate"] == optimum["one_over_largest_curvature"]
    assert "learning rate:" not in run(*common, "--learning-rate", "0.5", "--out", "b").out


def test_a_rate_that_is_neither_number_nor_auto_is_refused(run: Run) -> None:
    done = run("train", "digits", "--learning-rate", "fast")
    assert (done.code, done.out) == (2, "")
    assert "'--learning-rate': it must be a number or auto, got 'fast'" in done.err
