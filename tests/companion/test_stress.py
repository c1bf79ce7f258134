"""Ten thousand calls, many threads, fork, older processors: each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltarule.network import companion

pytestmark = pytest.mark.skipif(
    not companion.is_there(), reason=f"the companion is {companion.describe()}"
)
WORK = Path(__file__).with_name("hard_work.py")
NOISE = 2**20  # bytes: 105 a call, less than the smallest primitive or scratch that could leak
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


def result_of(name: str, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, str(WORK), name],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(SANITIZED, reason="the address sanitizer keeps what is freed, on purpose")
def test_ten_thousand_calls_leave_memory_where_it_was() -> None:
    grown = result_of("memory")
    assert {name: bytes_ for name, bytes_ in grown.items() if bytes_ > NOISE} == {}


@pytest.mark.skipif(SANITIZED, reason="the address sanitizer keeps what is freed, on purpose")
def test_a_large_batch_leaves_no_large_scratch() -> None:
    assert result_of("room") < 2**26


def test_calls_start_no_threads() -> None:
    count = result_of("threads")
    assert count["most"] <= count["before"]
    assert count["after"] <= count["before"]


def test_a_forked_child_computes_the_same() -> None:
    assert set(result_of("fork").values()) == {"the same"}


@pytest.fixture(scope="module")
def answers() -> Any:
    return result_of("answers")


@pytest.mark.parametrize(("ours", "onednn"), [("baseline", "sse41"), ("avx2", "avx2")])
def test_older_processors_get_the_same_answers(answers: Any, ours: str, onednn: str) -> None:
    others = result_of("answers", DELTARULE_NATIVE_ISA=ours, ONEDNN_MAX_CPU_ISA=onednn)
    assert others != answers  # sums in another order: those instructions were used
    for name, numbers in answers.items():
        np.testing.assert_allclose(others[name], numbers, rtol=1e-4, atol=1e-4, err_msg=name)
