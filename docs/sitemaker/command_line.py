"""The reference of the command line, from the help that the commands give themselves."""

import re
from typing import Any

import typer

from linreg_lora.cli import app
from sitemaker.page import Page

ORIGIN = "linreg_lora/cli/__init__.py"


def page() -> Page:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    parts = [
        "# Command line",
        "What each command says with `--help`. [Exit codes](site:commands.md#exit-codes): 0 as expected, 1 not, "
        "2 could not run.",
        *_commands("linreg-lora", root),
    ]
    return Page("reference/command-line.md", "Command line", ORIGIN, "\n\n".join(parts) + "\n")


def _walk(path: str, command: Any) -> list[tuple[str, Any]]:
    found = [(path, command)]
    for name, sub in sorted(getattr(command, "commands", {}).items()):
        if not sub.hidden:
            found += _walk(f"{path} {name}", sub)
    return found


def _commands(path: str, root: Any) -> list[str]:
    parts = []
    for typed, command in _walk(path, root):
        context = command.make_context(typed, [], resilient_parsing=True)
        usage = " ".join([typed, *command.collect_usage_pieces(context)])
        parts += [f"## `{typed}`", _prose(command.help or ""), f"```text\n{usage}\n```"]
        records = [parameter.get_help_record(context) for parameter in command.params]
        parts += [_entry(*record) for record in records if record is not None]
    return parts


def _entry(term: str, said: str) -> str:
    """One term of a definition list, as the help has it."""
    return f"`{term.strip()}`\n:   {_prose(said or 'No more is said of it.').replace(chr(10) * 2, ' ')}"


def _prose(text: str) -> str:
    """A help text as Markdown: its paragraphs, with nothing in them that Markdown would take for its own."""
    paragraphs = [" ".join(piece.split()) for piece in re.split(r"\n\s*\n", text.replace("\b", ""))]
    return "\n\n".join(re.sub(r"([*_<\[\]$|\\])", r"\\\1", piece) for piece in paragraphs)
