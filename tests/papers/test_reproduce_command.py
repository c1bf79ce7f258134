"""``deltarule reproduce`` on a tiny study."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from tiny_study import STUDY
from typer.testing import CliRunner, Result

from deltarule.cli import reproduce as command
from deltarule.cli import reproducing
from deltarule.errors import DataError, DownloadError
from deltarule.papers import STUDIES, Watcher, reproduce


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ready", lambda device: None)  # leaves JAX as it is
    monkeypatch.setattr(reproducing, "STUDIES", {"tiny": STUDY, **STUDIES})
    monkeypatch.setenv("COLUMNS", "60")


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(command.reproduce)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], standalone_mode=False)


def test_table_on_stdout_and_progress_on_stderr(tmp_path: Path) -> None:
    result = call("tiny", "--seeds", 2, "--out", tmp_path)
    assert result.return_value == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line) <= 60 for line in lines if str(tmp_path) not in line)
    words = [line.split() for line in lines if line.startswith("tiny-")]
    assert [line[0] for line in words] == ["tiny-final", "tiny-test", "tiny-base"]
    assert words[0][1] == "80.00"
    assert words[1][-2:] == ["not", "reached"]  # it claims 100 %
    assert words[2][-1] == "reached"
    assert result.stderr.count("run ") == 5
    assert "run 5/5" in result.stderr
    assert "claimed 80.00 %" in result.stderr


def test_the_second_start_says_what_is_kept(tmp_path: Path) -> None:
    call("tiny", "--seeds", 1, "--out", tmp_path, "--only", "tiny-base", "--only", "tiny-final")
    result = call("tiny", "--seeds", 1, "--out", tmp_path)
    assert "2 of 3 experiments are kept from before" in result.stderr
    assert "run 1/1  tiny-test seed 0" in result.stderr


def test_json_is_one_document_and_quiet_is_quiet(tmp_path: Path) -> None:
    result = call("tiny", "--seeds", 1, "--out", tmp_path, "--json", "--quiet")
    document = json.loads(result.stdout)
    assert document["study"] == "tiny"
    assert [each["name"] for each in document["results"]] == [
        "tiny-final", "tiny-test", "tiny-base",
    ]  # fmt: skip
    assert result.stderr == ""


def test_list_runs_nothing(tmp_path: Path) -> None:
    result = call("tiny", "--list", "--out", tmp_path)
    assert "tiny-opt-in  page 1: 64-10-10, 80.00 %  (only by name)" in result.stdout
    assert len(json.loads(call("talk", "--list", "--json").stdout)["experiments"]) == 8
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "message"), [
    (["tinny"], "STUDY must be one of tiny, talk, nielsen, nielsen-ch6; got 'tinny' (did you mean"),
    (["tiny", "--only", "tiny-fin"], "only must be one of"),
])  # fmt: skip
def test_wrong_names(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> Any:
        yield next(reproduce(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(reproducing, "reproduce", interrupted)
    result = call("tiny", "--seeds", 1, "--out", tmp_path)
    assert result.return_value == 130
    assert "the same command goes on from there" in result.stderr
    assert result.stdout == ""
    assert (tmp_path / "tiny-final.json").exists()


def test_without_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTARULE_OFFLINE", "1")
    monkeypatch.setenv("DELTARULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DELTARULE_DATA", raising=False)
    result = call("talk", "--out", tmp_path / "results")
    assert isinstance(result.exception, DataError | DownloadError)
    assert "mnist" in str(result.exception).lower()
    assert not (tmp_path / "results").exists()


def test_bars_at_sixty_columns(tmp_path: Path) -> None:
    screen = io.StringIO()
    with reproducing.Bars(Console(file=screen, width=60, force_terminal=True)) as bars:
        results = list(reproduce(STUDY, tmp_path, seeds=1, watcher=bars))
    assert len(results) == 3
    assert "all runs" in screen.getvalue()
    assert "3/3" in screen.getvalue()
    assert bars._under_way == {}, "every bar is taken away"


@pytest.mark.parametrize("watcher", [Watcher(), reproducing.Lines()])
def test_watchers_take_a_study_that_is_all_kept(watcher: Watcher, tmp_path: Path) -> None:
    first = list(reproduce(STUDY, tmp_path, seeds=1))
    assert list(reproduce(STUDY, tmp_path, seeds=1, watcher=watcher)) == first
