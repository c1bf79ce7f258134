"""The commands put together, and what becomes of an error: one sentence and an exit code."""

import os
import sys
import traceback
import warnings
from typing import Annotated, Any, NoReturn

import typer

from deltarule.cli import (
    curvature,
    doctor,
    evaluate,
    find_rate,
    predict,
    race,
    reproduce,
    show,
    train,
    tune,
)
from deltarule.cli.terminal import make_streams_safe
from deltarule.errors import (
    CheckpointError,
    DataError,
    DivergedError,
    DownloadError,
    ModelFileError,
)

app = typer.Typer(
    name="deltarule",
    help="Neural networks from the first neuron to a trained network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("show")(show.show)
app.command("reproduce")(reproduce.reproduce)
app.command("find-rate")(find_rate.find_rate)
app.command("race")(race.race)
app.command("curvature")(curvature.curvature)
app.command("doctor")(doctor.doctor)
app.command("tune")(tune.tune)

# Typer brings its own copy of click or uses the one installed, by version: this is either's.
UsageError: type[BaseException] = typer.BadParameter.__bases__[0]

EXIT_CODES: dict[type[BaseException], int] = {  # the first class that fits counts
    DataError: 3,
    DivergedError: 4,
    ModelFileError: 5,
    CheckpointError: 5,
    DownloadError: 7,
    MemoryError: 6,
    OSError: 6,
    ImportError: 6,
    ValueError: 2,
}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"deltarule {version('deltarule')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")
    ] = False,
) -> None:
    """Train, ask and understand neural networks."""


def main() -> NoReturn:
    """Run the command and leave with its exit code; see ``EXIT_CODES``."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    warnings.showwarning = _say_warning
    make_streams_safe()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has left: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - each becomes a sentence and an exit code
        if debug:
            traceback.print_exc()
        code = _explain(error)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        result: Any = app(arguments, prog_name="deltarule", standalone_mode=False)
    except UsageError as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "deltarule")
        if message := error.format_message():  # type: ignore[attr-defined]
            _say(f"error: {message}", f"try: {command} --help")
        return 2  # without a message the help was asked for, by giving nothing
    except typer.Abort:
        return 130
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # Typer has made an exit code of it
            raise left.__context__ from None
        raise
    return result if isinstance(result, int) else 0


def _explain(error: Exception) -> int:
    """Print ``error`` in at most three lines and return its exit code."""
    code = next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), None)
    text = " ".join(str(error).split())
    if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
        _say("error: out of memory; choose a smaller network or batch size, or less data.")
        return 6
    if code is None:
        _say(
            f"error: {type(error).__name__}: {text[:300]}",
            "This is a fault of deltarule; please report it with the output of --debug.",
        )
        return 1
    _say(f"error: {text or type(error).__name__}")
    return code


def _say(*lines: str) -> None:
    from deltarule.storage import printable

    for line in lines:
        print(printable(line), file=sys.stderr)


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"warning: {message}")
