"""Laws are checked in float64: a derivative that is right agrees to ten digits, not to three."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    with jax.enable_x64(True), jax.disable_jit():
        yield
