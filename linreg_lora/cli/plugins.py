"""The options that choose claims and load plug-ins, one grammar for every command that takes them.

plugin: Plugins = None          in a command's signature, and
load_plugins(plugin)            before its work
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        help="Python file that registers methods, predictions, domains, figures; it is run. Repeat it for several.",
    ),
]
Claims = Annotated[Path | None, typer.Option("--claims", help="Claims file. Default: the package's own.")]
Papers = Annotated[
    list[str] | None,
    typer.Option("--paper", metavar="NAME", help="The claims of a paper's file or an installed plug-in; repeat it."),
]
Everything = Annotated[bool, typer.Option("--all", help="The package's own claims file, and those of all papers.")]


def load_plugins(plugin: list[Path] | None) -> None:
    """Load installed plug-ins, with one line on standard error for each that is broken, then those that are named.

    Raises `InvalidInput` for a broken one that is named.
    """
    from linreg_lora.claims.plugins import installed_plugins, load_plugin

    for installed in installed_plugins():
        if installed.problem:
            print(f"linreg-lora: not loaded: {installed.problem}", file=sys.stderr)
    for path in dict.fromkeys(plugin or []):
        load_plugin(path)
