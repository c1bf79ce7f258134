"""Where the time of a step goes, part by part, and what bounds it.

``python benchmarks/parts.py`` measures and stores; ``--draw`` puts the tables into the page. Each
layer of a workload is timed by itself, forward and backward, ours with the companion and PyTorch's,
in turns. Beside them stands one square matrix product in PyTorch: its rate is about the most that
these cores multiply at, and so bounds whatever is made of products.

The parts miss what lies between them (the cost, the optimizer, taking the batch), and a layer by
itself writes to fresh memory each time, so they do not add up to the step.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from peers.deltarule_engine import network
from report import put, table
from run import PAGE, RESULTS, companion, machine, versions
from task import NATIVE, Workload

from deltarule import Activation, Flatten
from deltarule.network import kernels
from deltarule.network.layers.blocks import walk
from deltarule.network.layers.chain import steps

PARTS = ("cnn128", "cnn128-bf16", "lenet512", "lenet512-bf16", "wide512-bf16")
ROUNDS = 9
SIDE = 2048  # of the matrix product
PATH = RESULTS / "parts" / "cpu-native.json"
MARKER = "parts of a step"
KINDS = {"Conv2d": "Conv", "BatchNorm2d": "BatchNorm", "MaxPool2d": "MaxPool", "Linear": "Dense"}

Work = Callable[[], Any]
RANDOM = np.random.default_rng(0)


def our_parts(job: Workload) -> Iterator[tuple[str, float, Work]]:
    """Yield kind, multiplications and work of our layers; an activation is of the kind before."""
    net = network(job)
    params, state = net.init(np.random.default_rng(0))
    places, first, kind = list(walk(net.layers, net.shape)), True, ""
    narrow = jnp.bfloat16 if job.precision == "bfloat16" else jnp.float32
    for position, apply in steps(net.layers[:-1]):
        layer, takes, gives = places[position]
        if isinstance(layer, Flatten):
            continue
        kind = kind if isinstance(layer, Activation) else type(layer).__name__
        x = jnp.asarray(RANDOM.random((job.batch_size, *takes)), jnp.float32 if first else narrow)
        weights = params[position]["w"].size if "w" in params[position] else 0
        passes = 2 if first else 3  # the gradient of the first layer's inputs is not asked for
        products = passes * weights * math.prod(gives[:-1]) * job.batch_size
        run = both_ways(apply, state[position], first, kernels.usual(job.precision))
        learned = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params[position])
        yield kind, products, compiled(run, learned, x)
        first = False


def both_ways(apply: Any, state: Any, first: bool, how: kernels.Kernels) -> Callable[..., Any]:
    """Return a function of parameters and x: the outputs of a layer, and all its gradients."""

    def run(params: Any, x: jax.Array) -> Any:
        def compute(params: Any, x: jax.Array) -> jax.Array:
            found: jax.Array = apply(params, state, x, key=jax.random.key(0), train=True)[0]
            return found

        with kernels.using(how):
            if first:
                y, back = jax.vjp(lambda params: compute(params, x), params)
            else:
                y, back = jax.vjp(compute, params, x)
            return y, back(jnp.ones_like(y))

    return run


def compiled(run: Callable[..., Any], *arguments: Any) -> Work:
    """Return the work of ``run``, which has run once."""
    run = jax.jit(run)
    jax.block_until_ready(run(*arguments))  # type: ignore[no-untyped-call]
    return lambda: jax.block_until_ready(run(*arguments))  # type: ignore[no-untyped-call]


def their_parts(job: Workload) -> Iterator[tuple[str, Work]]:
    """Yield kind and work of PyTorch's layers; an activation is of the kind before it."""
    import torch
    from peers.torch_eager import layers

    narrow = torch.bfloat16 if job.precision == "bfloat16" else torch.float32
    shape = (job.batch_size, 1, job.side, job.side) if job.maps else (job.batch_size, job.sizes[0])
    x, kind, first = torch.rand(shape), "", True
    for module in layers(job):
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
            module = module.to(memory_format=torch.channels_last)
        if any(True for _ in module.parameters()) and not isinstance(module, torch.nn.BatchNorm2d):
            module = module.to(narrow)  # its scales and shifts stay wide, as under autocast
        x = x.detach().to(narrow)
        if not isinstance(module, torch.nn.Flatten):
            kind = KINDS.get(type(module).__name__, kind)
            yield kind, backwards(module, x.clone().requires_grad_(not first))
            first = False
        x = module(x)


def backwards(module: Any, x: Any) -> Work:
    """Return the work of a layer and of its gradients."""
    ones = module(x).detach() * 0 + 1
    return lambda: module(x).backward(ones)


def measure(job: Workload) -> list[dict[str, Any]]:
    """Return a row for each kind of layer: the milliseconds of both, and multiplications."""
    parts = [("ours_ms", *part) for part in our_parts(job)]
    parts += [("pytorch_ms", kind, 0, work) for kind, work in their_parts(job)]
    seconds = np.median([[clock(work) for *_, work in parts] for _ in range(ROUNDS)], axis=0)
    rows: dict[str, dict[str, Any]] = {}
    for (who, kind, products, _), each in zip(parts, seconds, strict=True):
        nothing = {"layers": kind, "ours_ms": 0.0, "pytorch_ms": 0.0, "multiplications": 0}
        row = rows.setdefault(kind, nothing)
        row[who] += 1e3 * float(each)
        row["multiplications"] += products
    return list(rows.values())


def clock(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def product_rate(precision: str) -> float:
    """Return the GFLOP/s of one square matrix product, the best of the rounds."""
    import torch

    a = torch.rand(SIDE, SIDE, dtype=getattr(torch, precision))
    return 2 * SIDE**3 / min(clock(lambda: a @ a) for _ in range(ROUNDS)) / 1e9


def tables(results: dict[str, Any]) -> str:
    """Return the stored parts in Markdown."""
    rows = []
    for name, each in results["workloads"].items():
        for row in each["parts"]:
            rate = 2 * row["multiplications"] / row["ours_ms"] / 1e6
            of = f"{rate:.0f} of {each['product_gflops']:.0f}" if row["multiplications"] else ""
            ours, theirs = f"{row['ours_ms']:.1f}", f"{row['pytorch_ms']:.1f}"
            rows.append((name, row["layers"], ours, theirs, of))
    heads = ("", "layers", "ours, ms", "PyTorch, ms", "our GFLOP/s, of a product's")
    said = f"{ROUNDS} rounds, medians; {results['companion']}."
    return f"{said}\n\n{table(heads, rows)}"


def main() -> None:
    """Measure and store; or draw what is stored into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    if not parser.parse_args().draw:
        there, what = companion()
        if not there:
            parser.error(f"the companion is needed: {what}")
        jobs = [job for job in NATIVE if job.name in PARTS]
        measured = {
            job.name: {"parts": measure(job), "product_gflops": product_rate(job.precision)}
            for job in jobs
        }
        results = {"machine": machine(), "versions": versions(), "companion": what}
        PATH.write_text(json.dumps(results | {"workloads": measured}, indent=1) + "\n", "utf-8")
    put(PAGE, tables(json.loads(PATH.read_text("utf-8"))), MARKER)


if __name__ == "__main__":
    main()
