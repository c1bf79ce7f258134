"""The data that ``deltarule train`` is asked for, opened and said aloud."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from deltarule.cli.building import validation_of
from deltarule.data.sources import ASKED, Reading, Source, kind_of, open_source
from deltarule.errors import DataError
from deltarule.storage import printable

SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")


def opened(options: Mapping[str, Any], *, decode: bool = True) -> Source:
    """Return the data that the options of a run name, read as they say.

    Without ``decode``, of pictures only the headers are read.
    """
    try:
        return open_source(
            options["source"],
            validation=validation_of(options["validation"]),
            reading=reading_of(options),
            decode=decode,
        )
    except DataError as error:
        if "target must name" in str(error):
            raise DataError(f"--target is missing: {error}") from None
        raise


def reading_of(options: Mapping[str, Any]) -> Reading:
    """Return how raw data are to be read."""
    asked = {name: options[name] for name in ASKED if name in options}
    asked["size"] = _size(asked.get("size"))
    for name in ("category", "number", "drop"):
        asked[name] = tuple(asked.get(name) or ())
    return Reading(**asked)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if (found := SIZE.fullmatch(text)) is None:
        raise ValueError(
            f"--size must be a side in pixels such as 28, or height x width as 28x32; got {text!r}."
        )
    return int(found[1]), int(found[2] or found[1])


def say(source: Source) -> None:
    """Say on stderr what was understood of raw data; known sets need no words."""
    if source.kind in ("table", "pictures", "arrays"):
        for line in source.report:
            typer.echo(printable(line), err=True)


def named(source: str | Sequence[str]) -> str:
    """Return what a run's record calls its data."""
    return source if isinstance(source, str) else ", ".join(source)


def title_of(source: str | Sequence[str]) -> str:
    """Return a short name for a run of these data: that of the first file or folder."""
    name = source if isinstance(source, str) else source[0]
    path = Path(name)
    raw = path.resolve().name if kind_of([name]) in ("idx", "pictures") else path.stem
    return raw.lstrip(".") or "run"
