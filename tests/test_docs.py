"""Every code block of README and docs does what it says.

The blocks of a page run in order in one folder, those of Python in one namespace. In shell blocks a
``deltarule`` line is run for real; of a ``make`` line it is checked that the target exists, for
this test is part of one.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"python", "sh"}


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(page.read_text()) if kind == language]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_pages_that_must_be_there_have_code() -> None:
    assert blocks(ROOT / "README.md", "python")
    assert "make demo" in "".join(blocks(ROOT / "README.md", "sh"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_block_escapes(page: Path) -> None:
    kinds = {kind for kind, _ in BLOCK.findall(page.read_text())}
    assert kinds <= KNOWN, f"blocks of {kinds - KNOWN} are not run by any test"


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=name)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, (kind, code) in enumerate(BLOCK.findall(page.read_text()), 1):
        if kind == "python":
            exec(compile(code, f"{page.name}, block {number}", "exec"), namespace)
        else:
            run_shell(code)


def run_shell(code: str) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "make":
            command = ["make", "--dry-run", "-C", str(ROOT), *words[1:]]
        else:
            assert words[0] == "deltarule", f"no test knows how to run {line!r}"
            command = [sys.executable, "-m", "deltarule", *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name(page)} links to {target}"
