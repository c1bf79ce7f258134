"""Options that several commands share, and getting ready to compute."""

import math
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from deltarule.committee import Committee
    from deltarule.network import Model

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu or gpu; by default the best there is.")
]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file or run folder.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="digits, mnist, fashion-mnist, arrays (.npz), or a folder of IDX files or pictures.",
    ),
]
Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Data of the kind that MODEL was trained on."),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="train, validation or test; of a table or folder of pictures all is taken, or with "
        "a run folder as MODEL the part it has divided off.",
        show_default=False,
    ),
]

DATA_PANEL = "Tables and pictures"
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter",
        help=r"Between the fields of a text. \[found]",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]
Encoding = Annotated[
    str,
    typer.Option(
        "--encoding",
        help=r"Of a text. \[utf-8]",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(
        "--decimal",
        help=r"Before decimals: . or ,. \[. or as trained]",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]

SPLITS = ("train", "validation", "test")


class Written(NamedTuple):
    """How the text of a table to be asked about is written, as for ``read_rows``."""

    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str | None = None


AS_USUAL = Written()


def learning_rate(text: str) -> float | str:
    """Return a learning rate as the recipe takes it: a number, or auto."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise typer.BadParameter(f"it must be a number or auto, got {text!r}.") from None


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
    except (RuntimeError, AssertionError):  # JAX asserts where CUDA finds no GPU
        raise typer.BadParameter(
            f"there is no usable {device or 'device'} here; choose --device cpu."
        ) from None


def model_file(path: Path) -> Path:
    """Return the model file that ``path`` names: itself, or the one in a run folder."""
    return path / "model.safetensors" if path.is_dir() else path


def check_inputs(source: str, shape: tuple[int, ...], model: "Model | Committee") -> None:
    """Raise ``DataError`` if ``model`` cannot take the examples of ``source``.

    They have its shape, axes of length one apart, or are laid in one row as by ``Flatten``; images
    with as many pixels in other rows would be cut up without a word.
    """
    from deltarule.errors import DataError

    given, taken = (tuple(n for n in each if n != 1) for each in (shape, model.shape))
    in_a_row = min(len(given), len(taken)) < 2 and math.prod(given) == math.prod(taken)
    if given != taken and not in_a_row:
        raise DataError(
            f"{source} must have examples of shape {model.shape}, as the model takes, got "
            f"{shape}; give data of the kind it was trained on, or each example in one row."
        )


def recipe_of(model: "Model | Committee") -> dict[str, Any]:
    """Return the recipe ``model`` was trained with, as far as its file says."""
    recipe = model.provenance.get("recipe")
    return recipe if isinstance(recipe, dict) else {}


def few(names: tuple[str, ...]) -> str:
    """Return the first ten names, for a message."""
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "none"


def on_terminal() -> bool:
    """Say whether stderr is a terminal that can draw a bar."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
