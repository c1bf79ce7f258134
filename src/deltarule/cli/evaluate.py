"""``deltarule evaluate MODEL SOURCE``: how good a stored model is."""

from typing import Annotated

import typer

from deltarule.cli.options import (
    Decimal,
    Delimiter,
    Device,
    Encoding,
    Json,
    ModelPath,
    Sources,
    Split,
    Written,
    model_file,
    ready,
)


def evaluate(
    model: ModelPath,
    source: Sources,
    split: Split = None,
    cost: Annotated[str, typer.Option("--cost", help="cross_entropy or quadratic.")] = "",
    tta: Annotated[
        str,
        typer.Option(
            "--tta", help="Average over moved copies: shift, rotate, flip, or shift,flip."
        ),
    ] = "",
    delimiter: Delimiter = None,
    encoding: Encoding = "utf-8",
    decimal: Decimal = None,
    device: Device = None,
    json_: Json = False,
) -> None:
    """Measure MODEL on SOURCE: accuracy and its interval, or deviations; cost and confusions."""
    ready(device)
    from deltarule import learning
    from deltarule.cli.asking import labelled
    from deltarule.cli.options import recipe_of
    from deltarule.cli.report import (
        MEMBERS,
        calibration_lines,
        class_lines,
        committee_lines,
        confusion_lines,
        document,
        score_lines,
        summary_of,
    )
    from deltarule.committee import with_moved_copies
    from deltarule.files import load_model

    loaded = load_model(model_file(model))
    data = labelled(source, split, loaded, model, Written(delimiter, encoding, decimal))
    cost = cost or recipe_of(loaded).get("cost", "cross_entropy")
    result = learning.evaluate(with_moved_copies(loaded, tta) if tta else loaded, data, cost)
    if json_:
        facts = summary_of(result, loaded)
        if tta:  # they are copies, no members
            facts = {k: v for k, v in facts.items() if k not in MEMBERS}
        typer.echo(document(facts))
        return
    cost_line = f"cost:           {result.cost:.4f}"
    lines = [
        *score_lines("", result, loaded),
        cost_line,
        *class_lines(result, most=20),
        *(committee_lines(result) if not tta else []),  # of copies they would say little
        *confusion_lines(result),
        *calibration_lines(result),
    ]
    for line in lines:
        typer.echo(line)
