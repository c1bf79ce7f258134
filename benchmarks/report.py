"""From times to statistics, and from stored results to the tables that are read.

A result is plain data (``results/*.json``); every table is drawn from it and from nothing else.
"""

from pathlib import Path
from typing import Any

import numpy as np
from peers import PEERS
from task import Workload

STARTUP_GOALS = {"deltarule --help": 0.3}  # seconds
MEMORY_GOAL = 2048  # MiB


def summary(workload: Workload, examples: int, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return the statistics of one workload from the seconds a step in each round.

    Ours comes first. A ratio is a peer's time over ours in the same round; above 1 ours is faster.
    """
    first = next(iter(seconds))
    ours = np.array(seconds[first])
    steps = workload.steps(examples)
    rows = {}
    for peer, times in seconds.items():
        step = float(np.median(times))
        row = {"us_per_step": step * 1e6, "seconds_per_epoch": step * steps}
        if peer != first:
            q1, median, q3 = np.quantile(np.array(times) / ours, (0.25, 0.5, 0.75))
            row |= {"ratio": float(median), "q1": float(q1), "q3": float(q3)}
            row["goal"] = workload.goals.get(peer)
        row["rounds_us"] = [round(t * 1e6, 3) for t in times]
        rows[peer] = row
    return {"title": workload.title, "steps": steps, "peers": rows}


def tables(results: dict[str, Any]) -> str:
    """Return the whole report of a result in Markdown."""
    machine, versions = results["machine"], results["versions"]
    parts = [
        f"{results['rounds']} rounds on {machine['cores']} cores, {machine['architecture']}, "
        f"AVX-512: {machine['avx512']}, AMX: {machine['amx']}. Examples: {results['examples']}. "
        f"{', '.join(f'{name} {number}' for name, number in versions.items())}.",
        *([f"With {results['companion']}."] if "companion" in results else []),
        _epochs(results["workloads"]),
        _ratios(results["workloads"]),
    ]
    if startup := results.get("startup"):
        parts.append(_startup(startup))
    if memory := results.get("memory"):
        parts.append(_memory(memory, results["workloads"]))
    if results["left_out"]:
        parts.append("Not measured: " + "; ".join(results["left_out"]) + ".")
    return "\n\n".join(parts)


def _epochs(workloads: dict[str, Any]) -> str:
    rows = []
    for name, workload in workloads.items():
        peer, ours = next(iter(workload["peers"].items()))
        us, seconds = f"{ours['us_per_step']:.1f}", f"{ours['seconds_per_epoch']:.3f}"
        rows.append((name, workload["title"], us, seconds))
    return table(("", PEERS[peer].title, "µs a step", "s an epoch"), rows)


def _ratios(workloads: dict[str, Any]) -> str:
    rows, places = [], _places(workloads)
    for name, workload in workloads.items():
        for peer, row in list(workload["peers"].items())[1:]:
            ratio, q1, q3 = (f"{row[what]:.{places}f}" for what in ("ratio", "q1", "q3"))
            goal = "" if row["goal"] is None else f"{row['goal']:g}"
            reached = _verdict(row["goal"], row["ratio"] >= (row["goal"] or 0))
            us = f"{row['us_per_step']:.1f}"
            rows.append((name, PEERS[peer].title, us, f"{ratio} ({q1} to {q3})", goal, reached))
    return table(("", "peer", "µs a step", "its time / ours (quartiles)", "goal", ""), rows)


def _places(workloads: dict[str, Any]) -> int:
    """Return how many decimals a ratio is given: as many as the finest goal has."""
    goals = [row.get("goal") for each in workloads.values() for row in each["peers"].values()]
    return max([1, *(len(f"{goal:g}".partition(".")[2]) for goal in goals if goal is not None)])


def _startup(startup: dict[str, float]) -> str:
    rows = []
    for what, seconds in startup.items():
        goal = STARTUP_GOALS.get(what)
        under = "" if goal is None else f"under {goal:g}"
        reached = _verdict(goal, seconds < (goal or 0))
        rows.append((f"`{what}`", f"{seconds:.3f}", under, reached))
    return table(("start-up", "s", "goal", ""), rows)


def _memory(memory: dict[str, float], workloads: dict[str, Any]) -> str:
    rows = []
    for name, mib in memory.items():
        reached = _verdict(MEMORY_GOAL, mib < MEMORY_GOAL)
        title = workloads[name]["title"]
        rows.append((name, title, f"{mib:.0f}", f"under {MEMORY_GOAL}", reached))
    return table(("", "deltarule, peak memory of the process", "MiB", "goal", ""), rows)


def _verdict(goal: float | None, reached: bool) -> str:
    if goal is None:
        return ""
    return "reached" if reached else "not reached"


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table whose columns also stand in line on a terminal."""
    wide = [max(3, *(len(row[i]) for row in [heads, *rows])) for i in range(len(heads))]
    lines = [heads, tuple("-" * n for n in wide), *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(n) for cell, n in zip(line, wide, strict=True)) + " |"
        for line in lines
    )


def draw(page: Path, results: dict[str, Any], marker: str = "benchmarks") -> None:
    """Put the tables of ``results`` between the markers of ``page``."""
    put(page, tables(results), marker)


def put(page: Path, new: str, marker: str) -> None:
    """Replace what stands between the markers of ``page``."""
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    if text.count(start) != 1 or text.count(end) != 1:
        raise ValueError(f"{page} must hold the markers {start} and {end} once each.")
    before, rest = text.split(start)
    _, after = rest.split(end)
    page.write_text(f"{before}{start}\n{new}\n{end}{after}", encoding="utf-8")
