"""Options that several commands share, and getting ready to compute."""

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu or gpu; by default the best there is.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file or run folder.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="digits, mnist, fashion-mnist, or a folder of IDX files."
    ),
]
Split = Annotated[str, typer.Option("--split", help="train, validation or test.")]

SPLITS = ("train", "validation", "test")


def ready(device: str | None) -> None:
    """Choose the device and keep compiled programs between commands.

    Raises ``typer.BadParameter`` if there is no such device.
    """
    platforms = {None: None, "cpu": "cpu", "gpu": "cuda"}
    if device not in platforms:
        raise typer.BadParameter(f"device must be cpu or gpu, got {device!r}.")
    if platforms[device]:
        os.environ["JAX_PLATFORMS"] = str(platforms[device])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's own remarks are not for users
    import jax

    from deltarule.cache import cache_folder

    settings = {
        "jax_compilation_cache_dir": str(cache_folder("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,  # ours take a fraction of a second
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in settings.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")
    try:
        jax.devices()
    except RuntimeError:
        raise typer.BadParameter(
            f"there is no usable {device or 'device'} here; choose --device cpu."
        ) from None


def model_file(path: Path) -> Path:
    """Return the model file that ``path`` names: itself, or the one in a run folder."""
    return path / "model.safetensors" if path.is_dir() else path


def take_split(source: str, split: str) -> Any:
    """Return the part of ``source`` called ``split``."""
    from deltarule.choices import choose
    from deltarule.data import load

    choose("split", split, dict.fromkeys(SPLITS))
    return getattr(load(source), split)


def on_terminal() -> bool:
    """Say whether stderr is a terminal that can draw a bar."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
