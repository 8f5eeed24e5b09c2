"""The command that says how to cite: `cite`."""

from typing import Annotated

import typer

from linreg_lora.cli.app import app


@app.command()
def cite(
    everything: Annotated[
        bool, typer.Option("--all", help="Also every other paper of which claims are judged.")
    ] = False,
) -> None:
    """Print BibTeX for this package and the papers whose claims it checks."""
    from linreg_lora import citation

    typer.echo(citation.bibliography(citation.judged() if everything else citation.PAPERS))
