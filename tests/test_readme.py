"""What the README, its pages and CONTRIBUTING.md tell people to run does run, and what they point to is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS, HOW_TO = ROOT / "docs", ROOT / "docs" / "how-to"
DOCUMENTS = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "figures" / "README.md", ROOT / "changelog.d" / "README.md"),
    *(DOCS / f"{name}.md" for name in ("install", "commands", "where-things-are", "deprecation", "note")),
    *(HOW_TO / f"{name}.md" for name in ("use-from-python", "compare-methods", "write-claims")),
]

by_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(language, documents=tuple(DOCUMENTS)):
    pattern = rf"^```{language}\n(.*?)^```$"
    return [
        block for path in documents for block in re.findall(pattern, path.read_text(), flags=re.MULTILINE | re.DOTALL)
    ]


COMMANDS = [
    shlex.split(line[2:])
    for block in [*blocks("console"), *blocks("console run", [HOW_TO / "compare-methods.md"])]
    for line in block.splitlines()
    if line[:2] == "$ "
]


def run(*arguments, cwd):
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


PROGRAMS = blocks("python run", [HOW_TO / "use-from-python.md"])


@pytest.mark.parametrize("code", PROGRAMS)
def test_python_example_runs(code, tmp_path):
    lines = run("-W", "error", "-c", code, cwd=tmp_path).splitlines()
    assert (tmp_path / "mine.png").exists() == ('savefig("mine.png")' in code)
    assert len(lines) == code.count("print(")
    if code.rstrip().splitlines()[-1].startswith("print(ll.monte_carlo"):
        assert "the mean is infinite" in lines[-1]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "linreg-lora"], ids=shlex.join)
def test_commands_run(command, tmp_path):
    printed = run("-c", "from linreg_lora.__main__ import run; run()", *command[1:], cwd=tmp_path)
    assert "fft" in printed.lower()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "make"], ids=shlex.join)
def test_make_targets_exist(command):
    (target,) = command[1:]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_no_command_goes_unseen():
    assert {command[0] for command in COMMANDS} == {"linreg-lora", "make", "pip", ".", "pre-commit", "jupyter"}
    assert all("--constraint" in command for command in COMMANDS if command[:2] == ["pip", "install"])
    assert ["make", "check"] in COMMANDS
    assert ["make", "test"] in COMMANDS
    assert (len(PROGRAMS), blocks("python")) == (5, [])


def test_the_readme_is_one_screen():
    """The picture, what it is, how to install it, three commands, what is new, links."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 70
    parts = [text.index(part) for part in ("![", "## Install", "## Three commands", "## What we found", "## More")]
    assert parts == sorted(parts)
    three = text.partition("## Three commands")[2].partition("\n## ")[0]
    assert re.findall(r"^(?:\$ )?linreg-lora (\w+)", three, re.MULTILINE) == ["risk", "check", "fit"]


def test_every_page_of_the_documentation_is_linked_from_another():
    """Not by the site's navigation alone: who reads the repository has no other way."""
    pages = {path.resolve() for path in (*DOCS.glob("*.md"), *HOW_TO.glob("*.md"))}
    linked = {
        (path.parent / target).resolve()
        for path in (*pages, *DOCUMENTS)
        for target in re.findall(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)", path.read_text())
        if path.resolve() != (path.parent / target).resolve()
    }
    assert pages - linked == set()


def test_every_command_is_in_the_table_and_the_reverse():
    from linreg_lora.cli import app

    named = re.findall(r"^\| `linreg-lora (\w+)`", (DOCS / "commands.md").read_text(), flags=re.MULTILINE)
    commands = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert sorted(named) == sorted([*commands, *(group.name for group in app.registered_groups)])


@by_document
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
