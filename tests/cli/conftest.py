"""Each test has a folder of its own; the fixture ``run`` runs the command in it."""

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_commands import Done, Run


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "compiled").symlink_to(os.environ["JAX_COMPILATION_CACHE_DIR"])
    return folder


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_stay_here() -> Iterator[None]:
    import jax

    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DELTARULE_CACHE", str(cache))
    monkeypatch.setenv("DELTARULE_OFFLINE", "1")
    for name in ("DELTARULE_DATA", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs ``deltarule ARGUMENTS``, with pictures only on request."""

    def call(*arguments: str, pictures: bool = False) -> Done:
        from deltarule.cli import main, outcome

        with warnings.catch_warnings(), monkeypatch.context() as patch:
            warnings.simplefilter("default")
            patch.setattr(warnings, "showwarning", warnings.showwarning)
            patch.setattr(sys, "argv", ["deltarule", *arguments])
            patch.setattr(sys, "stderr", sys.stderr)
            if not pictures:
                patch.setattr(outcome, "draw", lambda *_: [])
            capsys.readouterr()
            with pytest.raises(SystemExit) as left:
                main()
            return Done(int(left.value.code or 0), *capsys.readouterr())

    return call
