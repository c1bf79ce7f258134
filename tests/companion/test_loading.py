"""The companion is found, or a sentence says why not; nothing else changes."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltarule
from deltarule.network import companion, kernels
from deltarule.network.companion import loading

ROOT = Path(__file__).parents[2]
companion_only = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)


@pytest.fixture
def looked_for_again() -> Iterator[None]:
    loading._register.cache_clear()
    yield
    loading._register.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, **attributes: object) -> None:
    """Put a module with ``attributes`` in the companion's place."""
    monkeypatch.setenv(loading.SWITCH, "1")
    module = ModuleType("deltarule_native")
    vars(module).update({"INTERFACE": loading.INTERFACE, **attributes})
    monkeypatch.setitem(sys.modules, "deltarule_native", module)


def unloadable() -> None:
    raise OSError("libgomp.so.1: cannot open shared object file")


def of_another_build() -> None:
    raise AttributeError("undefined symbol: deltarule_handlers")


ABSENCES = [
    ({"INTERFACE": None}, "not in use: the installed deltarule-native has interface None, this "
     f"deltarule needs {loading.INTERFACE}; install the two of one version"),
    ({"handlers": of_another_build}, "not in use: its library cannot be loaded here (undefined "
     "symbol: deltarule_handlers)"),
    ({"INTERFACE": 0}, "not in use: the installed deltarule-native has interface 0, this deltarule "
     f"needs {loading.INTERFACE}; install the two of one version"),
    ({"handlers": unloadable}, "not in use: its library cannot be loaded here (libgomp.so.1: "
     "cannot open shared object file)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "sentence"), ABSENCES, ids=["folder", "symbol", "interface", "library"]
)
def test_what_cannot_be_used_is_not_used(
    looked_for_again: None,
    monkeypatch: pytest.MonkeyPatch,
    attributes: dict[str, object],
    sentence: str,
) -> None:
    pretend(monkeypatch, **attributes)
    assert not companion.is_there()
    assert companion.describe() == sentence
    assert not kernels.usual("float32", "cpu").companion


def test_a_companion_that_lacks_something_is_not_called_absent(
    looked_for_again: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "deltarule_native.py").write_text("import a_module_that_nobody_has\n", "utf-8")
    monkeypatch.setenv(loading.SWITCH, "1")
    monkeypatch.delitem(sys.modules, "deltarule_native", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert not companion.is_there()
    assert companion.describe() == (
        "not in use: it cannot be imported here (No module named 'a_module_that_nobody_has')"
    )


def test_without_it_nothing_is_missing(
    looked_for_again: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(loading.SWITCH, "1")
    monkeypatch.setitem(sys.modules, "deltarule_native", None)  # as if it were not installed
    assert not companion.is_there()
    assert companion.describe() == "not in use: deltarule-native is not installed"
    network = deltarule.Network([4, 3, 2])
    params, state = network.init(np.random.default_rng(0), (4,))
    answers, _ = network.apply(params, state, jnp.ones((5, 4)), key=None, train=False)
    assert answers.shape == (5, 2)


def test_the_switch_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loading.SWITCH, "0")
    assert not companion.is_there()
    assert companion.describe() == "not in use: DELTARULE_NATIVE is 0"
    assert not kernels.usual("float32", "cpu").companion


def test_both_distributions_have_one_version() -> None:
    versions = [
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        for folder in (".", "native")
    ]
    assert versions[0] == versions[1]
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "native" / "LICENSE").read_bytes()


def test_importing_deltarule_does_not_load_it() -> None:
    code = "import sys, deltarule; assert 'deltarule_native' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@companion_only
def test_it_is_used_where_it_is_installed() -> None:
    assert kernels.usual("float32", "cpu").companion
    assert kernels.usual("bfloat16", "cpu").companion == loading.has_bfloat16()
    assert not kernels.usual("float64", "cpu").companion
    assert not kernels.usual("float32", "gpu").companion


@companion_only
def test_it_says_what_it_is_made_of() -> None:
    assert companion.describe().startswith("deltarule-native, oneDNN 3.")


@companion_only
def test_every_handler_of_the_library_has_a_name_of_ours() -> None:
    import deltarule_native

    handlers = deltarule_native.handlers()
    assert handlers
    assert all(name.startswith("deltarule_") for name in handlers)


@companion_only
def test_looking_for_it_again_does_no_harm(looked_for_again: None) -> None:
    assert companion.is_there()


@companion_only
def test_an_unknown_handler_is_an_exception() -> None:
    x = jnp.ones(3)
    with pytest.raises(Exception, match="deltarule_nothing"):
        jax.jit(lambda x: companion.call("deltarule_nothing", x, x))(x)
