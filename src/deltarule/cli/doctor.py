"""``deltarule doctor``: what deltarule runs on here; with a run, what ails that run."""

import os
import platform
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from deltarule.cli.options import Device, Json

WIDTH, LABEL = 60, 11  # columns of the whole table, and of the names in it
ADD_COMPANION = (
    "to add the companion run: make native, in a clone of deltarule (see docs/native.md)"
)


def doctor(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="A run folder to examine.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="Of RUN: its data, where they are no longer as it says."),
    ] = None,
    device: Device = None,
    json_: Json = False,
) -> None:
    """Show versions, devices, folders and the companion, and say what is amiss.

    With RUN, examine that run instead: a verdict, with numbers and a remedy for each illness.
    """
    if run is not None:
        from deltarule.cli.checkup import checkup
        from deltarule.cli.options import ready

        ready(device)
        checkup(run, source, as_json=json_)
    elif source is not None or device is not None:
        raise typer.BadParameter("--source and --device go with RUN, a run folder to examine.")
    else:
        _show_machine(json_)


def _show_machine(json_: bool) -> None:
    from deltarule.cli.report import document
    from deltarule.storage import printable

    facts, advice = _examined()
    if json_:
        typer.echo(document({**facts, "advice": advice}))
        return
    for name, value in facts.items():
        typer.echo(_row(name, printable(_in_words(value))))
    for sentence in advice:
        typer.echo(_row("advice", printable(sentence)))


def _examined() -> tuple[dict[str, Any], list[str]]:
    """Return what there is, by name, and a sentence for each thing that could be better."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's own remarks are not for users
    from deltarule.network import companion

    devices, no_device = _devices()
    cache, no_cache = _cache()
    data, no_data = _data()
    says = companion.describe()
    facts = {
        "python": platform.python_version(),
        **{name: version(name) for name in ("deltarule", "jax", "jaxlib", "numpy")},
        "system": f"{platform.system()}, {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "devices": devices,
        "companion": says,
        "cache": cache,
        "data": data,
    }  # fmt: skip
    no_companion = ADD_COMPANION if "not installed" in says else ""
    return facts, [each for each in (no_device, no_companion, no_cache, no_data) if each]


def _devices() -> tuple[list[str], str]:
    import jax

    try:
        return [str(device) for device in jax.devices()], ""
    except (RuntimeError, AssertionError):  # JAX asserts where CUDA finds no GPU
        asked = os.environ.get("JAX_PLATFORMS")
        return [], f"JAX finds no device; JAX_PLATFORMS is {asked!r}: unset it, or set it to cpu."


def _cache() -> tuple[str, str]:
    from deltarule.cache import cache_path

    folder = cache_path("")
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return str(folder), ""
    return str(folder), "the cache cannot be written; set DELTARULE_CACHE to a folder of yours."


def _data() -> tuple[str | None, str]:
    folder = os.environ.get("DELTARULE_DATA")
    if not folder or Path(folder).is_dir():
        return folder or None, ""
    return folder, f"DELTARULE_DATA is {folder!r}, which is no folder; unset it or correct it."


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "DELTARULE_DATA is not set; downloads go to the cache" if value is None else str(value)


def _row(name: str, text: str) -> str:
    """Return ``name`` and ``text`` side by side, the text in as many lines as it takes."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{name:{LABEL}}",
        subsequent_indent=" " * LABEL,
        break_on_hyphens=False,
    )
