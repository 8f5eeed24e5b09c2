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
        "What each command says with `--help`. Exit codes: 0 as expected, 1 a claim or a proof is not, 2 could not run.",
        *_commands("linreg-lora", root),
    ]
    return Page("reference/command-line.md", "Command line", ORIGIN, "\n\n".join(parts) + "\n")


def names() -> list[str]:
    """All commands, as they are typed."""
    return [path for path, _ in _walk("linreg-lora", typer.main.get_command(app))]


def _walk(path: str, command: Any) -> list[tuple[str, Any]]:
    found = [(path, command)]
    for name, sub in sorted(getattr(command, "commands", {}).items()):
        if not sub.hidden:
            found += _walk(f"{path} {name}", sub)
    return found


def _commands(path: str, root: Any) -> list[str]:
    parts = []
    for typed, command in _walk(path, root):
        arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        wanted = [p for p in options if p.required]
        usage = [typed, *(_usage(p) for p in arguments), *(f"{p.opts[0]} {_value(p)}" for p in wanted), "[OPTIONS]"]
        parts += [f"## `{typed}`", _prose(command.help or ""), f"```text\n{' '.join(usage)}\n```"]
        parts += [_entry(parameter) for parameter in [*arguments, *options]]
    return parts


def _usage(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"


def _entry(parameter: Any) -> str:
    """One term of a definition list: how it is written, what it is, what it is without it."""
    if parameter.param_type_name == "argument":
        term = f"`{_usage(parameter)}`"
    else:
        value = _value(parameter)
        spelled = [f"`{name} {value}`" if value else f"`{name}`" for name in parameter.opts]
        term = ", ".join([*spelled, *(f"`{name}`" for name in parameter.secondary_opts)])
    said = _prose(getattr(parameter, "help", None) or "No more is said of it.").replace("\n\n", " ")
    default = parameter.default
    if parameter.required:
        said += " Required."
    elif isinstance(default, str | int | float) and not isinstance(default, bool):
        said += f" Default: `{getattr(default, 'value', default)}`."
    return f"{term}\n:   {said}"


def _value(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return ""
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return "[" + "|".join(str(getattr(one, "value", one)) for one in choices) + "]"
    return parameter.metavar or parameter.type.name.upper()


def _prose(text: str) -> str:
    """A help text as Markdown: its paragraphs, with nothing in them that Markdown would take for its own."""
    text = re.sub(r"\\?\[/?(?:bold|italic|dim|b|i)\]", "", text.replace("\b", ""))
    paragraphs = [" ".join(piece.split()) for piece in re.split(r"\n\s*\n", text)]
    return "\n\n".join(re.sub(r"([*_<\[\]$])", r"\\\1", piece) for piece in paragraphs)
