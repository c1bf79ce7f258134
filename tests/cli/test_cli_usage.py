"""Wrong requests: exit code, one helpful sentence, no traceback; and the help."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_commands import Run, write_images

WRONG: list[tuple[str, int, str]] = [  # command line, exit code, part of what is said
    ("train digits --epoch 3", 2, "--epochs"),
    ("train digits --learing-rate 3", 2, "--learning-rate"),
    ("train digits --xyzzy", 2, "No such option: --xyzzy"),
    ("tran digits", 2, "Did you mean 'train'?"),
    ("train", 2, "SOURCE is missing"),
    ("train digits extra", 3, "digits is a whole set"),
    ("train digits --epochs", 2, "requires an argument"),
    ("evaluate", 2, "MODEL"),
    ("predict model", 2, "SOURCE"),
    ("show", 2, "MODEL"),
    ("train nowhere", 3, "'nowhere' is neither a known set nor a folder"),
    ("train digit", 3, "did you mean 'digits'?"),
    ("train /dev/zero", 3, "a table (.csv"),
    ("train file", 3, "a table (.csv"),
    ("train empty", 3, "lacks train-images-idx3-ubyte.gz"),
    ("evaluate nowhere digits", 5, "there is no file nowhere"),
    ("train digits --epochs -1", 2, "epochs must be a whole number of at least 1"),
    ("train digits --epochs 0", 2, "got 0"),
    ("train digits --epochs 1e9", 2, "--epochs"),
    ("train digits --epochs 1000000000", 2, "at most 10,000,000, got 1000000000"),
    ("train digits --epochs 1000000000000", 2, "got 1000000000000"),
    ("train digits --epochs nan", 2, "--epochs"),
    ("train digits --learning-rate nan", 2, "learning_rate must be a number"),
    ("train digits --learning-rate inf", 2, "got inf"),
    ("train digits --learning-rate=-1", 2, "got -1.0"),
    ("train digits --learning-rate fast", 2, "--learning-rate"),
    ("train digits --l1 nan", 2, "l1"),
    ("train digits --l2=-1", 2, "l2"),
    ("train digits --optimizer momentum --momentum 2", 2, "momentum"),
    ("train digits --dropout 1", 2, "--dropout must be a share of at least 0 and below 1, got 1.0"),
    ("train digits --dropout nan", 2, "got nan"),
    ("train digits --dropout=-0.1", 2, "got -0.1"),
    ("train digits --batch-size 0", 2, "batch_size"),
    ("train digits --seed -1", 2, "seed"),
    ("train digits --seed 9223372036854775808", 2, "seed"),
    ("train digits --early-stopping 0", 2, "early_stopping"),
    ("train digits --checkpoint-every 0", 2, "every_epochs must be at least 1, got 0"),
    ("train digits --label-smoothing 1.5", 2, "label_smoothing"),
    ("train digits --network ''", 2, "sizes separated by commas, such as 64,100,10"),
    ("train digits --network 64,,10", 2, "got '64,,10'"),
    ("train digits --network 64x10", 2, "got '64x10'"),
    ("train digits --network 64,1e3,10", 2, "got '64,1e3,10'"),
    ("train digits --network 64", 2, "at least two numbers"),
    ("train digits --network 64,0,10", 2, "at least 1, got 0"),
    ("train digits --network 64,-3,10", 2, "got -3"),
    ("train digits --network 63,10", 2, "(63,)"),
    ("train digits --network 64,7", 2, "give the last layer 10 units"),
    ("train digits --network 64,1000000000000,10", 6, "out of memory"),
    ("train digits --network 64,100000000000000000000000000,10", 6, "smaller network"),
    ("train digits --activation relux", 2, "did you mean 'relu'?"),
    ("train digits --output relu", 2, "softmax"),
    ("train digits --init he", 2, "he_normal"),
    ("train digits --optimizer adm", 2, "did you mean 'adam'?"),
    ("train digits --schedule cosin", 2, "did you mean 'cosine'?"),
    ("train digits --cost quadratik", 2, "did you mean 'quadratic'?"),
    ("train digits --precision float16", 2, "float32, bfloat16, float64"),
    ("train digits --class-weight even", 2, "--class-weight must be balanced"),
    ("train digits --class-weight 1,2", 2, "10 classes"),
    ("train digits --validation many", 2, "--validation must be a number of examples or a share"),
    ("train digits --validation 5000", 3, "below 1437"),
    ("train digits --validation 1.5", 3, "got 1.5"),
    ("train digits --device quantum", 2, "device must be cpu or gpu, got 'quantum'"),
    ("evaluate model digits --device quantum", 2, "got 'quantum'"),
    ("train digits --momentum 0.5", 2, "--momentum needs --optimizer momentum or nesterov"),
    ("train digits --optimizer adam --momentum 0.5", 2, "ignored with adam"),
    ("train digits --weight-decay 0.1", 2, "--weight-decay needs --optimizer adamw"),
    ("train digits --decay 0.1", 2, "--decay needs --schedule step or exponential or inverse"),
    ("train digits --schedule inverse --decay-every 2", 2, "--decay-every needs --schedule step"),
    ("train --resume run --out other", 2, "--out and --resume exclude each other"),
    ("train digits --force", 2, "--force goes with --resume"),
    ("train digits --jobs 2", 2, "it goes with --committee"),
    ("train digits --committee 2 --jobs 0 --epochs 1", 2, "jobs must be at least 1, got 0"),
    ("train --resume nowhere", 5, "nowhere is no run folder"),
    ("train --resume file", 5, "file is no run folder"),
    ("train --resume empty", 5, "empty is no run folder: it has no config.json"),
    ("evaluate model digits --split tset", 2, "did you mean 'test'?"),
    ("predict model digits --split all", 2, "train, validation, test"),
    ("evaluate model digits --cost linear", 2, "quadratic, cross_entropy"),
    ("predict model file", 3, "file"),
    ("reproduce", 2, "STUDY"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    import deltarule
    from deltarule import data

    path = tmp_path_factory.mktemp("model") / "model"
    network = deltarule.Network([64, 10])
    run = deltarule.fit(network, data.load("digits").train, recipe=deltarule.Recipe(epochs=1))
    deltarule.save_model(run.model, path)
    return path.read_bytes()


@pytest.mark.parametrize(("line", "code", "sentence"), WRONG, ids=[line for line, *_ in WRONG])
def test_a_wrong_request(run: Run, model: bytes, line: str, code: int, sentence: str) -> None:
    Path("empty").mkdir()
    Path("file").write_text("neither model nor data")
    Path("model").write_bytes(model)
    before = sorted(Path().iterdir())
    done = run(*shlex.split(line))
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) <= 3
    assert "Traceback" not in done.err
    after = [path for path in sorted(Path().iterdir()) if path.name != "runs"]
    assert after == before
    assert not any(Path("runs").glob("*"))


def test_a_batch_larger_than_the_data_is_a_warning(run: Run) -> None:
    done = run("train", "digits", "--batch-size", "100000", "--epochs", "1")
    assert done.code == 0
    assert "warning: batch_size 100000 is larger than the 1257 training examples" in done.err


def test_bad_data_files(run: Run) -> None:
    folder = write_images(Path("images"))
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    done = run("train", "images")
    assert (done.code, done.out) == (3, "")
    assert "train-labels-idx1-ubyte is truncated" in done.err


# ---- a traceback only on request


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_adds_the_traceback_and_keeps_the_exit_code(run: Run, place: str) -> None:
    arguments = ["train", "nowhere"]
    arguments.insert(0 if place == "before" else 2, "--debug")
    done = run(*arguments)
    assert done.code == 3
    assert done.err.startswith("Traceback (most recent call last)")
    assert "DataError" in done.err
    assert done.err.splitlines()[-1].startswith("error: source 'nowhere'")


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (RuntimeError("something\nnobody thought of"), 1, "error: RuntimeError: something nobody"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating"), 6, "error: out of memory"),
        (MemoryError(), 6, "error: out of memory"),
        (ImportError("No module named 'jaxlib'"), 6, "error: No module named 'jaxlib'"),
        (OSError(28, "No space left on device"), 6, "error: [Errno 28] No space left"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_becomes_of_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, start: str
) -> None:
    from deltarule.cli import running

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(running, "opened", fail)
    done = run("train", "digits")
    assert done.code == code
    assert done.err.startswith(start)
    assert len(done.err.splitlines()) <= 3
    if code == 1:
        assert "please report it with the output of --debug" in done.err


def test_what_an_error_quotes_is_escaped(run: Run) -> None:
    Path("\x1b[2J\u202e").mkdir()
    Path("\x1b[2J\u202e", "config.json").touch()
    done = run("train", "digits", "--out", "\x1b[2J\u202e")
    assert done.code == 2
    assert r"\x1b[2J\u202e holds a run already" in done.err
    assert done.err[:-1].isprintable()


# ---- help


def test_help_names_every_command_and_option(run: Run) -> None:
    out = run("--help").out
    for word in ("train", "evaluate", "predict", "show", "reproduce", "doctor", "--version",
                 "--debug", "--install-completion", "--show-completion"):  # fmt: skip
        assert word in out
    assert run("-h").out == out


def test_no_arguments_show_the_help(run: Run) -> None:
    done = run()
    assert done.code == 2
    assert "Usage: deltarule" in done.out + done.err
    assert "error" not in done.err


@pytest.mark.parametrize("width", ["60", "200"])
@pytest.mark.parametrize(
    "command", [[], ["train"], ["evaluate"], ["predict"], ["show"], ["doctor"]]
)
def test_help_fits_the_terminal(width: str, command: list[str]) -> None:
    help_ = [sys.executable, "-m", "deltarule", *command, "--help"]
    done = subprocess.run(help_, capture_output=True, text=True, env=terminal(width))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= int(width)
    if command == ["train"]:
        text = re.sub(r"[│\s]+", " ", done.stdout)
        for default in ("[sigmoid]", "[inputs,100,classes]", "[by optimizer]", "[runs/SOURCE]"):
            assert default in text  # not taken for a colour
        for panel in ("Network", "Learning", "Run"):
            assert f" {panel} ─" in done.stdout
        assert "[OPTIONS] [SOURCE]" in text


def terminal(width: str) -> dict[str, str]:
    import os

    return {**os.environ, "COLUMNS": width, "TERMINAL_WIDTH": width}


def test_the_version(run: Run) -> None:
    from importlib.metadata import version

    expected = f"deltarule {version('deltarule')}\n"
    assert run("--version") == (0, expected, "")
    module = [sys.executable, "-m", "deltarule", "--version"]
    assert subprocess.run(module, capture_output=True, text=True).stdout == expected


LIGHT = """if True:
    import resource, sys
    sys.argv = ["deltarule", *sys.argv[1:]]
    from deltarule.cli import main
    try:
        main()
    except SystemExit:
        pass
    heavy = {"jax", "sklearn", "matplotlib", "optax", "scipy", "numpy"} & set(sys.modules)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(sorted(heavy), used.ru_utime + used.ru_stime, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_loads_nothing_heavy_and_answers_at_once(arguments: list[str]) -> None:
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=True
        )
        heavy, used = done.stderr.rsplit(" ", 1)
        assert heavy == "[]"
        seconds.append(float(used))
    assert min(seconds) < 0.5  # 0.15 to 0.25 on a machine of its own; others may share the cores


def test_the_shell_completes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = run("--show-completion", "bash")
    assert (done.code, done.err) == (0, "")
    assert "_DELTARULE_COMPLETE" in done.out
    monkeypatch.setenv("_DELTARULE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "deltarule train --learn")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run().out.strip() == "--learning-rate"
