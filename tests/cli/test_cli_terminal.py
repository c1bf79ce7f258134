"""The streams: closed, lost, narrow, without colours or letters; and the cache."""

import io
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path

import numpy as np
import pytest
from cli_commands import Run, open_streams, start, write_images
from rich.console import Console

import deltarule
from deltarule.cli.progress import Bar, described
from deltarule.errors import DivergedError

TRAIN = ["train", "digits", "--epochs", "2", "--network", "64,10"]
WITHOUT_PICTURES = """if True:
    import sys
    sys.modules["matplotlib"] = None  # the pictures take longer than all the rest
    sys.argv[0] = "deltarule"
    from deltarule.cli import main
    main()
"""
TERMINAL = "DELTARULE_TEST_TERMINAL"
DELTARULE = [sys.executable, "-c", WITHOUT_PICTURES]


@pytest.fixture
def model(run: Run) -> str:
    assert run(*TRAIN, "--out", "model").code == 0
    return "model"


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter: what it meets at its start matters."""
    around = os.environ | environment
    return subprocess.run([*DELTARULE, *arguments], capture_output=True, text=True, env=around)


# ---- readers that leave


def test_a_reader_of_results_that_leaves(model: str) -> None:
    line = f"{shlex.join(DELTARULE)} predict model digits --split train"
    piped = f"set -o pipefail; {line} | head -1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert done.stdout == "index,label,0,1,2,3,4,5,6,7,8,9\n"
    assert (done.returncode, done.stderr) == (141, "")


def test_a_short_result_that_nobody_reads(model: str) -> None:
    line = f"{shlex.join(DELTARULE)} --version"
    piped = f"set -o pipefail; {line} | true"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert done.returncode in (0, 141)  # by whether it was written before the reader left
    assert done.stderr == ""


def test_a_reader_of_progress_that_leaves_costs_no_run() -> None:
    line = f"{shlex.join(DELTARULE)} {' '.join(TRAIN)} --epochs 40 --early-stopping 39"
    piped = f"{line} 2>&1 >result | head -1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True)
    assert done.stdout.startswith("epoch  1/40")
    assert "test accuracy" in Path("result").read_text()


@pytest.mark.parametrize(
    ("closed", "arguments"),
    [
        ("2>&-", "evaluate model digits --json"),
        ("<&- >&- 2>&-", "evaluate model digits --json"),
        (">&-", "--version"),
        ("<&-", "--version"),
        ("2>&-", "evaluate nowhere"),
    ],
)
def test_streams_that_are_closed_from_the_start(model: str, closed: str, arguments: str) -> None:
    line = f"{shlex.join(DELTARULE)} {arguments} {closed}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2 if "nowhere" in arguments else 0, "")
    silent = ">&-" in closed.replace("2>&-", "") or "nowhere" in arguments
    assert bool(done.stdout) != silent
    if "--json" in arguments and not silent:
        assert json.loads(done.stdout)["examples"] == 360


# ---- alphabets and places


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
     {"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb", "COLUMNS": "1"}, {"NO_COLOR": "1"}],
    ids=str,
)  # fmt: skip
def test_any_environment(environment: dict[str, str]) -> None:
    for arguments in (["--help"], ["--version"], ["--é-\u202e-九"]):
        done = command(*arguments, **environment)
        assert done.returncode == (2 if "é" in arguments[0] else 0), done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout + done.stderr
    assert "No such option: --" in done.stderr


def test_letters_that_the_output_lacks_are_escaped() -> None:
    write_images(Path("Ziffern-é-九"))
    done = start("train", "Ziffern-é-九", "--epochs", "1", prepare=in_latin_1)
    assert done.wait() == 0, done.err
    printed = done.streams[0].read_bytes()
    assert b"runs/Ziffern-\xe9-\\u4e5d/model.safetensors" in printed


def in_latin_1() -> None:
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(encoding="latin-1")


def test_without_a_home_and_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "DELTARULE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = start(*TRAIN)
    assert done.wait() == 0, done.err
    assert "test accuracy" in done.out


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("DELTARULE_CACHE", "file/cache")
    done = start(*TRAIN)
    assert done.wait() == 0, done.err
    assert "warning: the cache folder cannot be written" in done.err
    assert "test accuracy" in done.out


def test_a_corrupt_cache_of_compiled_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTARULE_CACHE", str(Path("cache").absolute()))
    whole = start(*TRAIN)
    assert whole.wait() == 0
    for keep in (100, 0):
        entries = [path for path in Path("cache/compiled").rglob("*") if path.is_file()]
        assert entries, "nothing was cached"
        for path in entries:
            path.write_bytes(path.read_bytes()[:keep])
        done = start(*TRAIN, "--out", f"kept-{keep}")
        assert done.wait() == 0, done.err
        assert done.out.splitlines()[0] == whole.out.splitlines()[0]
        assert all(line.startswith("epoch") for line in done.err.splitlines())


def test_a_device_that_is_not_there() -> None:
    wrong = [command(*TRAIN, JAX_PLATFORMS="quantum")]
    if not list(Path("/dev").glob("nvidia*")):
        wrong.append(command(*TRAIN, "--device", "gpu"))
    for done in wrong:
        assert (done.returncode, done.stdout) == (2, "")
        assert "choose --device cpu" in done.stderr
        assert len(done.stderr.splitlines()) <= 3
    done = command("predict", "nowhere", "digits", "--device", "cpu", JAX_PLATFORMS="quantum")
    assert done.returncode == 5  # the device is no obstacle any more


# ---- the bar


class Screen:
    """A command on a terminal of its own; ``text`` is all that it has sent there."""

    def __init__(self, *arguments: str, width: int = 80, **environment: str) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        settings = {"TERM": "xterm-256color", TERMINAL: os.ttyname(slave)} | environment
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            self.command = start(*arguments, prepare=on_a_terminal)
        self.sent = b""
        self.until("ready")
        os.close(slave)

    @property
    def text(self) -> str:
        return self.sent.decode(errors="replace")

    def read(self) -> bool:
        """Read what there is; return False when the terminal is closed."""
        if select.select([self.master], [], [], 0.05)[0]:
            try:
                self.sent += os.read(self.master, 1 << 16)
            except OSError:
                return False
        return True

    def until(self, pattern: str) -> None:
        limit = time.monotonic() + 120
        while not re.search(pattern, self.text):
            assert self.read() or re.search(pattern, self.text), self.text[-2000:]
            assert time.monotonic() < limit, self.text[-2000:]

    def wait(self) -> int:
        while self.read():
            pass
        return self.command.wait()


def on_a_terminal() -> None:
    """Make the terminal that the environment names the one of this process."""
    os.setsid()
    terminal = os.open(os.environ[TERMINAL], os.O_RDWR)  # a session leader's first: it is its own
    for number in (0, 1, 2):
        os.dup2(terminal, number)
    os.close(terminal)
    open_streams()
    os.write(1, b"ready")


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.command.process.kill()


def lines_of(text: str) -> list[str]:
    """Return the lines that were drawn, without what only moves the cursor or colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line for line in re.split(r"[\r\n]+", plain) if line]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_bar_on_a_terminal(screens: list[Screen], width: int) -> None:
    screen = Screen(*TRAIN, "--epochs", "300", width=width)
    screens.append(screen)
    assert screen.wait() == 0
    drawn = [line for line in lines_of(screen.text) if line.startswith("epoch")]
    assert drawn
    assert max(map(len, drawn)) <= width
    assert "epoch 300/300" in drawn[-1]
    if width < 60:
        assert re.search(r"epoch 300/300 val 0\.\d+ 9\d\.\d\d% \d\d:\d\d", drawn[-1])
    else:
        assert re.search(r"train 0\.\d+ val 0\.\d+ 9\d\.\d\d%|validation cost", drawn[-1])
    if width >= 120:
        assert "examples/s" in drawn[-1]
    assert "test accuracy" in screen.text
    assert screen.text.rfind("\x1b[?25h") > screen.text.rfind("\x1b[?25l")  # the cursor is back


def test_ctrl_c_on_a_terminal(screens: list[Screen]) -> None:
    screen = Screen(*TRAIN, "--epochs", "1000000", "--out", "run")
    screens.append(screen)
    screen.until(r"epoch \d{2,}/1000000")
    os.write(screen.master, b"\x03")
    assert screen.wait() == 130
    assert lines_of(screen.text)[-1].endswith("resume with: deltarule train --resume run")
    assert screen.text.rfind("\x1b[?25h") > screen.text.rfind("\x1b[?25l")


def test_a_terminal_that_is_closed(screens: list[Screen]) -> None:
    screen = Screen(*TRAIN, "--epochs", "1000000", "--out", "run")
    screens.append(screen)
    screen.until(r"epoch \d{2,}/1000000")
    os.close(screen.master)
    assert screen.command.wait() == 129
    assert list(Path("run").glob("checkpoint-*"))


def test_an_error_under_the_bar_leaves_a_clean_terminal(screens: list[Screen]) -> None:
    screen = Screen("train", "digits", "--activation", "relu", "--output", "identity", "--cost",
                    "quadratic", "--learning-rate", "1e6")  # fmt: skip
    screens.append(screen)
    assert screen.wait() == 4
    last = "".join(lines_of(screen.text[screen.text.rfind("error: ") :]))
    assert last.startswith("error: training diverged in epoch 1")
    assert screen.text.rfind("\x1b[?25h") > screen.text.rfind("\x1b[?25l")


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_plain_terminals(screens: list[Screen], environment: dict[str, str]) -> None:
    screen = Screen(*TRAIN, **environment)
    screens.append(screen)
    assert screen.wait() == 0
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in screen.text
        assert "epoch 1/2  train cost" in screen.text
    else:
        assert not re.search(r"\x1b\[[0-9;]*3[0-9](;|m)", screen.text)  # no colour


@pytest.mark.parametrize("width", [1, 10, 20, 60, 99, 100, 300])
@pytest.mark.parametrize("classes", [("0", "1"), ()])
@pytest.mark.parametrize("rate", [0.5, 1e300])
def test_a_bar_of_any_width_is_one_line(width: int, classes: tuple[str, ...], rate: float) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, width=width, force_terminal=True, color_system=None)
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = (x[:, 0] > 0).astype(int) if classes else x[:, :1]
    network = deltarule.Network(
        [3, 2 if classes else 1], output="softmax" if classes else "identity"
    )
    recipe = deltarule.Recipe(
        epochs=3, early_stopping=9, learning_rate=rate, precision="float64",
        cost="cross_entropy" if classes else "quadratic",
    )  # fmt: skip
    samples = deltarule.Dataset(x, y, classes)
    with Bar(console) as bar:
        try:
            deltarule.fit(network, samples, samples, recipe, callbacks=[bar])
        except DivergedError:
            assert rate > 1
    frames = drawn.getvalue().split("\r")
    assert len(frames) > 1
    for frame in frames:
        lines = lines_of(frame)
        assert len(lines) <= 1
        assert all(len(line) <= width for line in lines)


def test_how_an_epoch_is_described() -> None:
    record = {"train_cost": 0.12345, "train_accuracy": 0.9}
    both = record | {"validation_cost": 12345678.9, "validation_accuracy": 1.0}
    assert described(record) == "train cost 0.1235 90.00%"
    assert described(both) == "train cost 0.1235 90.00%, validation cost 1.235e+07 100.00%"
    assert described(both, short=True) == "train 0.1235 val 1.235e+07 100.00%"
    assert described({"train_cost": float("nan")}) == "train cost nan"
