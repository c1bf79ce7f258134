"""The races of optimizers that the README shows.

``python benchmarks/races.py`` runs and stores them, ``--only digits`` one of them; ``--draw`` puts
the stored ones into the pages. Each is one call of ``deltarule.race``, and the same as the command
that stands above its table.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from report import put, table
from run import HERE, RESULTS, machine, versions

from deltarule import Network, Recipe, data
from deltarule.race import race

FOLDER = RESULTS / "races"
MARKER = "races"
KEPT = 40  # points of a curve that are stored


@dataclass(frozen=True)
class Race:
    """The options of ``deltarule race`` for a race that is shown."""

    source: str
    network: str
    passes: int
    full_batch: bool
    output: str = "softmax"
    cost: str = "cross_entropy"
    activation: str = "tanh"
    seeds: int = 3

    @property
    def command(self) -> str:
        """The command that runs it."""
        options = ["--network", self.network, "--activation", self.activation]
        options += ["--output", self.output, "--cost", self.cost]
        options += ["--full-batch"] * self.full_batch
        options += ["--passes", str(self.passes), "--seeds", str(self.seeds)]
        return shlex.join(["deltarule", "race", self.source, *options])


RACES = {
    "digits": Race("digits", "64,10,10", 200, full_batch=True),
    "digits-quadratic": Race(
        "digits", "64,10,10", 200, full_batch=True, output="sigmoid", cost="quadratic"
    ),
    "mnist": Race("mnist", "784,30,10", 30, full_batch=False),
}
PAGES = {
    HERE.parent / "README.md": ("digits", "mnist"),
    HERE.parent / "docs" / "race.md": tuple(RACES),
}


def run(each: Race) -> dict[str, Any]:
    """Return the result of a race as plain data, with where it was run."""
    sizes = [int(size) for size in each.network.split(",")]
    network = Network(sizes, activation=each.activation, output=each.output)
    result = race(
        network, data.load(each.source).train, passes=each.passes, full_batch=each.full_batch,
        recipe=Recipe(cost=each.cost), seeds=each.seeds, watch=_say,
    )  # fmt: skip
    where = {"machine": machine(), "versions": versions()}
    described = result.describe()
    for racer in described["racers"]:
        for lap in racer["laps"]:
            lap["points"] = thinned(lap["points"])
    return {"race": asdict(each), "command": each.command, **where, **described}


def thinned(points: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return about ``KEPT`` of the points, the last one among them, to six digits."""
    every = -(-len(points) // KEPT)
    kept = [point for i, point in enumerate(points) if (len(points) - 1 - i) % every == 0]
    return [{what: float(f"{value:.6g}") for what, value in point.items()} for point in kept]


def tables(results: Iterable[dict[str, Any]]) -> str:
    """Return races in Markdown, each under its command."""
    parts = []
    for result in results:
        rows = [_row(racer) for racer in result["racers"] if racer["laps"]]
        heads = ("optimizer", "learning rate", "cost (lowest to highest)", "gradients", "seconds")
        left = "; ".join(r["optimizer"] for r in result["racers"] if not r["laps"])
        said = f"`{result['command']}`: {result['examples']:,} training examples"
        parts.append(f"{said}{f'; left out: {left}' if left else ''}.")
        parts.append(table(heads, rows))
    return "\n\n".join(parts)


def _row(racer: dict[str, Any]) -> tuple[str, ...]:
    ends = [lap["points"][-1] for lap in racer["laps"]]
    cost, low, high = _middle([end["cost"] for end in ends])
    rate = racer["laps"][0]["learning_rate"]
    if any(lap["diverged"] for lap in racer["laps"]):
        return racer["optimizer"], "", "diverged", "", ""
    if ends[0]["epoch"] == 0:
        return racer["optimizer"], "", "more gradients than allowed in its first step", "", ""
    spent, seconds = (
        _middle([end[what] for end in ends])[0] for what in ("gradient_evaluations", "seconds")
    )
    said = "" if rate is None else f"{rate:g}"
    costs = f"{cost:.2g} ({low:.2g} to {high:.2g})"
    return racer["optimizer"], said, costs, f"{spent:.4g}", f"{seconds:.2g}"


def _middle(values: list[float]) -> tuple[float, float, float]:
    """Return median, lowest and highest."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[0], ordered[-1]


def stored(names: Iterable[str] = tuple(RACES)) -> dict[str, dict[str, Any]]:
    """Return the stored races of these names, in the order in which they are shown."""
    paths = {name: FOLDER / f"{name}.json" for name in names}
    return {name: json.loads(p.read_text("utf-8")) for name, p in paths.items() if p.exists()}


def main() -> None:
    """Run and store; or draw what is stored into the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=RACES, help="run one of them")
    parser.add_argument("--draw", action="store_true", help="only draw what is stored")
    options = parser.parse_args()
    for name in [] if options.draw else [options.only] if options.only else RACES:
        text = json.dumps(run(RACES[name]), indent=1, allow_nan=False)
        FOLDER.mkdir(exist_ok=True)
        Path(FOLDER / f"{name}.json").write_text(f"{text}\n", "utf-8")
    for page, names in PAGES.items():
        put(page, tables(stored(names).values()), MARKER)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
