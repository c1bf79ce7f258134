"""What ``test_stress.py`` runs in processes of their own: ``python hard_work.py memory``.

Each function prints one JSON document.
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import deltarule
from deltarule.network import companion

Operation = Callable[..., Any]
Arrays = tuple[jax.Array, ...]
CALLS = 10_000
CALLERS = 4


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def operations(n: int, side: int) -> dict[str, tuple[Operation, Arrays]]:
    """Return each operation with its arrays, for ``n`` images of ``side`` by ``side``."""
    x, flat = draw(n, side, side, 4), draw(n, 8 * side)
    return {
        "convolution": (
            lambda x, w, b: companion.convolve(
                x, w, b, padding=((1, 1), (1, 1)), activation="relu"
            ),
            (x, draw(8, 3, 3, 4), draw(8)),
        ),
        "dense": (
            lambda x, w, b: companion.dense(x, w, b, "tanh"),
            (flat, draw(16, 8 * side), draw(16)),
        ),
        "batch norm": (
            lambda x, scale, shift: companion.batch_norm(x, scale, shift, 1e-5, "relu")[0],
            (x, draw(4), draw(4)),
        ),
        "max pool": (lambda x: companion.max_pool(x, (3, 3), (2, 2)), (x,)),
        "gelu": (lambda x: companion.activate(x, "gelu"), (x,)),
        "average pool": (lambda x: companion.avg_pool(x, (2, 2), (2, 2)), (x,)),
    }


def both_passes(operation: Operation, arrays: Arrays) -> Operation:
    """Return a compiled function of such arrays: the output, and the gradients to all of them.

    Nothing but the companion computes in it.
    """
    output = jax.eval_shape(operation, *arrays)
    slopes = jnp.ones(output.shape, output.dtype)

    def work(slopes: jax.Array, *arrays: jax.Array) -> Any:
        y, pull = jax.vjp(operation, *arrays)
        return y, pull(slopes)

    return partial(jax.jit(work), slopes)


def in_groups() -> tuple[Operation, Arrays]:
    """Return a convolution of many weights in groups: to lay them out is work for many threads."""
    arrays = draw(8, 14, 14, 64), draw(128, 3, 3, 16)
    return both_passes(lambda x, w: companion.convolve(x, w, groups=4), arrays), arrays


def compiled(n: int, side: int) -> dict[str, tuple[Operation, Arrays]]:
    """Return ``both_passes`` of each operation, with its arrays."""
    return {
        name: (both_passes(operation, arrays), arrays)
        for name, (operation, arrays) in operations(n, side).items()
    }


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def threads() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("Threads:")[1].split()[0])


def memory() -> dict[str, int]:
    """Return by how many bytes ``CALLS`` calls of each operation make the process larger."""
    grown = {}
    for name, (passes, arrays) in compiled(n=2, side=6).items():

        def again(_: int, arrays: Any, passes: Any = passes) -> Any:
            return tuple(a + 0 * g for a, g in zip(arrays, passes(*arrays)[1], strict=True))

        many = jax.jit(lambda arrays, again=again: jax.lax.fori_loop(0, CALLS, again, arrays))
        grown[name] = _growth(partial(many, arrays))
    return {**grown, "small network": _growth(lambda: _trained(epochs=CALLS // 100).model.params)}


def room() -> int:
    """Return how many bytes stay of a step on a million examples, beyond what JAX itself keeps."""
    n = 1_000_000  # 64 numbers each: 256 MB
    numbers = np.zeros((n, 1), np.float32)
    network = deltarule.Network([1, 1], output="identity")
    recipe = deltarule.Recipe(epochs=1, batch_size=n, cost="quadratic")
    sizes = []
    for switch in "01":  # without the companion, then with it
        os.environ["DELTARULE_NATIVE"] = switch
        deltarule.fit(network, deltarule.Dataset(numbers, numbers), recipe=recipe)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free, but not yet given back, is no scratch
        sizes.append(resident())
    return sizes[1] - sizes[0]


def _growth(work: Callable[[], Any]) -> int:
    """Return the lesser growth of two rounds after a first: a leak is in both, chance is not."""
    sizes = []
    for _ in range(3):
        jax.block_until_ready(work())
        sizes.append(resident())
    return min(sizes[1] - sizes[0], sizes[2] - sizes[1])


def _trained(epochs: int) -> Any:
    """Return a run of 100 steps an epoch of a network small enough to be one call a step."""
    digits = deltarule.data.load("digits").train[:1000]
    recipe = deltarule.Recipe(epochs=epochs, batch_size=10)
    return deltarule.fit(deltarule.Network([64, 8, 10]), digits, recipe=recipe)


def in_threads() -> dict[str, int]:
    """Return how many threads there were: before, at most, and after calls from ``CALLERS``."""
    work = [*compiled(n=32, side=20).values(), in_groups()]
    for passes, arrays in work:
        jax.block_until_ready(passes(*arrays))  # to compile takes threads too, for a while
    x = draw(400, 400)
    _from_all(lambda: jax.block_until_ready(jnp.tanh(x @ x)))  # JAX has all its threads now
    before = threads()
    seen = []

    def call_all() -> None:
        for passes, arrays in work:
            for _ in range(20):
                jax.block_until_ready(passes(*arrays))
                seen.append(threads())

    _from_all(call_all)
    return {"before": before, "most": max(seen) - CALLERS, "after": threads()}


def _from_all(work: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(CALLERS) as callers:
        for caller in [callers.submit(work) for _ in range(CALLERS)]:
            caller.result()  # what it raised is raised here
    time.sleep(0.1)  # until the threads are gone


def forked() -> dict[str, str]:
    """Return what becomes of each operation in a child of a process that has computed."""
    warnings.simplefilter("ignore")  # JAX warns of fork, rightly
    return {name: _in_a_child(*each) for name, each in compiled(n=32, side=20).items()}


def answers() -> dict[str, list[float]]:
    """Return every number that each operation gives, both ways, and what a small network learns."""
    found = {
        name: jax.tree.leaves(passes(*arrays))
        for name, (passes, arrays) in compiled(n=3, side=7).items()
    }
    found["small network"] = jax.tree.leaves(_trained(epochs=1).model.params)
    return {
        name: np.concatenate([np.ravel(np.asarray(each, np.float64)) for each in numbers]).tolist()
        for name, numbers in found.items()
    }


def _in_a_child(passes: Operation, arrays: Arrays) -> str:
    expected = [np.asarray(each) for each in jax.tree.leaves(passes(*arrays))]
    child = os.fork()
    if child == 0:
        got = [np.asarray(each) for each in jax.tree.leaves(passes(*arrays))]
        os._exit(0 if all(map(np.array_equal, got, expected)) else 1)
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return "the same" if status == 0 else f"status {status}"
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"


if __name__ == "__main__":
    assert companion.is_there(), companion.describe()
    tasks = {
        "memory": memory,
        "room": room,
        "threads": in_threads,
        "fork": forked,
        "answers": answers,
    }
    print(json.dumps(tasks[sys.argv[1]]()))
