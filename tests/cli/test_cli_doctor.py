"""``deltarule doctor``: what runs here, in a short table; what is amiss, in words."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import jax
import pytest
from cli_commands import Run

from deltarule.network.companion import loading

HEALTHY = "deltarule-native, oneDNN 3.2.0, AVX-512 with bfloat16"
NAMES = ["python", "deltarule", "jax", "jaxlib", "numpy", "system", "cores", "devices",
         "companion", "cache", "data", "advice"]  # fmt: skip


@pytest.fixture(autouse=True)
def _a_healthy_companion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltarule.network.companion.describe", lambda: HEALTHY)


def test_the_document_says_what_runs_here(run: Run, cache: Path) -> None:
    done = run("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    said = done.json
    assert list(said) == NAMES
    assert said["python"] == platform.python_version()
    for name in ("deltarule", "jax", "jaxlib", "numpy"):
        assert said[name] == version(name)
    assert said["cores"] == len(os.sched_getaffinity(0))
    assert said["devices"] == [str(device) for device in jax.devices()]
    assert (said["companion"], said["cache"]) == (HEALTHY, str(cache))
    assert (said["data"], said["advice"]) == (None, [])


def test_the_table_is_aligned_and_narrow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTARULE_CACHE", "/" + "long/" * 30)
    done = run("doctor")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 60
    heads = [line[:11].strip() for line in lines if line[0] != " "]
    assert heads == NAMES[:-1]
    assert all(line[10] == " " and line[11] != " " for line in lines)
    assert "companion  deltarule-native, oneDNN 3.2.0, AVX-512 with\n" in done.out


WRONG = [  # environment, part of the advice
    ({"DELTARULE_CACHE": "file/below"}, "the cache cannot be written; set DELTARULE_CACHE"),
    ({"DELTARULE_DATA": "nowhere"}, "DELTARULE_DATA is 'nowhere', which is no folder"),
    ({"DELTARULE_DATA": "file"}, "which is no folder; unset it"),
    ({"JAX_PLATFORMS": "quantum"}, "JAX_PLATFORMS is 'quantum': unset it"),
]


@pytest.mark.parametrize(("environment", "advice"), WRONG, ids=[str(each) for each, _ in WRONG])
def test_what_is_amiss_is_said_and_is_no_failure(
    run: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], advice: str
) -> None:
    Path("file").touch()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "JAX_PLATFORMS" in environment:  # JAX has looked for its devices already
        monkeypatch.setattr(jax, "devices", _no_devices)
    done = run("doctor", "--json")
    assert (done.code, done.err) == (0, "")
    (sentence,) = done.json["advice"]
    assert advice in sentence
    assert "advice     " in run("doctor").out


def _no_devices() -> None:
    raise RuntimeError("Unable to initialize backend")


def test_a_good_data_folder_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine").mkdir()
    monkeypatch.setenv("DELTARULE_DATA", "mine")
    said = run("doctor", "--json").json
    assert (said["data"], said["advice"]) == ("mine", [])


def test_nothing_is_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTARULE_CACHE", "not-yet/there")
    assert run("doctor", "--json").json["advice"] == []
    assert list(Path().iterdir()) == []


def test_how_to_add_the_companion(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deltarule.network.companion.describe", loading.describe)
    monkeypatch.setenv("DELTARULE_NATIVE", "1")
    monkeypatch.setitem(sys.modules, "deltarule_native", None)  # as if it were not installed
    loading._register.cache_clear()
    try:
        said = run("doctor", "--json").json
    finally:
        loading._register.cache_clear()
    assert said["companion"] == "not in use: deltarule-native is not installed"
    assert "make native" in said["advice"][0]


def test_what_it_prints_is_escaped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTARULE_DATA", "\x1b[2J\u202e")
    out = run("doctor").out
    assert r"\x1b[2J\u202e" in out
    assert out.replace("\n", "").isprintable()
