"""The application that commands register with, and what they share."""

from enum import StrEnum
from typing import Annotated

import typer

from linreg_lora import __version__
from linreg_lora.cli.grammar import same_letter

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"token_normalize_func": same_letter},
    help="Checks what theory says about LoRA against full fine-tuning, in linear regression.",
)


class TableFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"linreg-lora {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass
