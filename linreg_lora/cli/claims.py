"""Commands that show claims and help to write them: `claims`, `show`, `errata`, `contested`, `vocabulary`, `new`."""

from pathlib import Path
from typing import Annotated

import typer

from linreg_lora.claims.vocabulary import Kind, Verdict
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Claims, Everything, Papers, Plugins, load_plugins

claims_app = typer.Typer(
    invoke_without_command=True, add_completion=False, help="List what the papers claim, or show one claim."
)
app.add_typer(claims_app, name="claims")


@claims_app.callback()
def claims_list(
    context: typer.Context,
    verdict: Annotated[Verdict | None, typer.Option(help="Only claims with this expected verdict.")] = None,
    source: Annotated[str | None, typer.Option(help="Only claims whose paper or locator contains this.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only claims that are tested this way.")] = None,
    claims: Claims = None,
    paper: Papers = None,
    everything: Everything = False,
    plugin: Plugins = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """List the claims of the package's claims file. Nothing is checked."""
    if context.invoked_subcommand is not None:
        return
    import json

    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.show import pages
    from linreg_lora.console import is_narrow, print_table

    load_plugins(plugin)
    file = collect_claims(claims, papers=paper or [], everything=everything).file
    found = pages.matching(file, verdict, source, kind)
    if output is TableFormat.JSON:
        typer.echo(json.dumps(pages.to_records(found), indent=2))
    else:
        print_table(pages.listing(found, is_narrow()))


@claims_app.command("show")
def claims_show(
    claim: Annotated[str, typer.Argument(metavar="ID", help="The claim.")],
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    claims: Claims = None,
    paper: Papers = None,
    everything: Everything = False,
    plugin: Plugins = None,
) -> None:
    """Check one claim and print its page: statement, assumptions, verdict, numbers, rivals and proof steps.

    A claim that the package's claims file does not have is looked for in the files of all papers. Exit code 1 when the
    verdict is not the expected one.
    """
    from linreg_lora.claims.check import check_claims as run
    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.show import pages
    from linreg_lora.console import print_table

    load_plugins(plugin)
    file = collect_claims(claims, papers=paper or [], everything=everything).file
    if not (claims or paper or everything or claim in {entry.id for entry in (*file.claims, *file.undecidable)}):
        file = collect_claims(None, everything=True).file
    undecidable = {entry.id: entry for entry in file.undecidable}
    judgement = None if claim in undecidable else run(file, only=[claim], seed=seed)[0]
    for part in pages.claim_page(undecidable[claim] if judgement is None else judgement.claim, judgement):
        print_table(part)
    if judgement is not None and not judgement.as_expected:
        raise typer.Exit(1)


@claims_app.command("errata")
def claims_errata(
    claims: Claims = None, paper: Papers = None, everything: Everything = False, plugin: Plugins = None
) -> None:
    """Print what the papers get wrong, as Markdown, a section a paper; with --all the content of docs/errata.md."""
    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.show.errata import markdown

    load_plugins(plugin)
    parts, file = collect_claims(claims, papers=paper or [], everything=everything)
    others = [part.name for part in parts] if claims or paper or everything else []
    typer.echo(markdown(file, others), nl=False)


@claims_app.command("contested")
def claims_contested(
    claims: Claims = None, paper: Papers = None, everything: Everything = False, plugin: Plugins = None
) -> None:
    """Print who answers what to contested questions, and where each is right, as Markdown: docs/contested.md.

    By default of all papers.
    """
    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.show.contested import markdown

    load_plugins(plugin)
    everything = everything or (claims is None and not paper)
    parts, file = collect_claims(claims, papers=paper or [], everything=everything)
    typer.echo(markdown(file, [part.name for part in parts]), nl=False)


@claims_app.command("vocabulary")
def claims_vocabulary(
    word: Annotated[
        str, typer.Argument(metavar="[WORD]", help="Only what has this in its name or description.", show_default=False)
    ] = "",
    plugin: Plugins = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """List what claims can name: predictions, experiments, domains, predicates, methods."""
    import json

    from linreg_lora.claims.show import names
    from linreg_lora.console import print_table

    load_plugins(plugin)
    if output is TableFormat.JSON:
        typer.echo(json.dumps(names.to_records(word), indent=2))
        return
    for table in names.tables(word):
        print_table(table)


@claims_app.command("new")
def claims_new(
    name: Annotated[str, typer.Argument(help="What the ids begin with, and the two files, NAME.yaml and NAME.py.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="Another claims file to write; the plug-in is FILE.py beside it."),
    ] = None,
) -> None:
    """Write commented claims of your own, which `check --claims NAME.yaml --plugin NAME.py` accepts as they stand."""
    from linreg_lora.claims.skeleton import write

    for path in write(name, out):
        typer.echo(path)
