"""The command that shows what is judged of each paper: `papers`."""

from pathlib import Path
from typing import Annotated

import typer

from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Claims, Everything, Papers, Plugins, load_plugins


@app.command()
def papers(
    claims: Claims = None,
    paper: Papers = None,
    everything: Everything = False,
    plugin: Plugins = None,
    checked: Annotated[
        Path | None, typer.Option(help="What `check --format json` wrote, whose verdicts are shown.")
    ] = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """Show what is judged of each paper, by verdict and by how its source is known. Nothing is checked.

    By default of all papers. Exit code 1 when a verdict of --checked is not the expected one.
    """
    import json

    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.show import papers as show
    from linreg_lora.console import print_table

    verdicts = {} if checked is None else show.read_verdicts(checked)
    load_plugins(plugin)
    everything = everything or (claims is None and not paper)
    file = collect_claims(claims, papers=paper or [], everything=everything).file
    show.require_judged(file, verdicts)
    records = show.to_records(file, verdicts)
    if output is TableFormat.JSON:
        typer.echo(json.dumps({"papers": records}, indent=2))
    else:
        for table in show.tables(file, verdicts):
            print_table(table)
    if not all(record["as_expected"] for record in records):
        raise typer.Exit(1)
