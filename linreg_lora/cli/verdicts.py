"""Commands about claims and proofs: `check`, `report`, `claims` and `prove`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from linreg_lora.claims.vocabulary import Budget, Kind, Verdict
from linreg_lora.cli.app import TableFormat, app


class ReportFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


@app.command()
def check(
    claims: Annotated[Path | None, typer.Option(help="Claims file. Default: the package's own.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Ids of the claims to check; repeat it for several.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    budget: Annotated[Budget, typer.Option(help="ci: the draws that claims state. thorough: eight times as many.")] = (
        Budget.CI
    ),
    output: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.TABLE,
) -> None:
    """Check every claim against simulation. Exit code 1 when a verdict is not the expected one."""
    from linreg_lora.claims.check import check_claims as run
    from linreg_lora.claims.check import select
    from linreg_lora.claims.file import load_claims
    from linreg_lora.console import print_table, progress

    file = load_claims(claims)
    selected = select(file, only or [])
    from linreg_lora.claims.show import report

    with progress("checking", len(selected)) as advance:
        judgements = run(file, only=only or [], seed=seed, budget=budget, progress=advance)
    if output is ReportFormat.TABLE:
        print_table(report.verdict_table(judgements))
        typer.echo(report.summary(judgements))
    else:
        typer.echo(report.to_json(judgements, seed) if output is ReportFormat.JSON else report.to_junit(judgements))
    if not all(j.as_expected for j in judgements):
        raise typer.Exit(1)


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="HTML page to write; it needs no other file and no network.")],
    claims: Annotated[Path | None, typer.Option(help="Claims file. Default: the package's own.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    budget: Annotated[Budget, typer.Option(help="ci: the draws that claims state. thorough: eight times as many.")] = (
        Budget.CI
    ),
) -> None:
    """Check every claim, verify every proof, and write it all as one page. Exit code 1 when one is not as expected."""
    from linreg_lora import report_page

    as_expected = report_page.write(out, claims, seed, budget)
    typer.echo(out)
    if not as_expected:
        raise typer.Exit(1)


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
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """List the claims of the package's claims file. Nothing is checked."""
    if context.invoked_subcommand is not None:
        return
    import json

    from linreg_lora.claims.file import load_claims
    from linreg_lora.claims.show import pages
    from linreg_lora.console import print_table

    found = pages.matching(load_claims(), verdict, source, kind)
    if output is TableFormat.JSON:
        typer.echo(json.dumps(pages.to_records(found), indent=2))
    else:
        print_table(pages.listing(found))


@claims_app.command("show")
def claims_show(
    claim: Annotated[str, typer.Argument(metavar="ID", help="The claim.")],
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
) -> None:
    """Check one claim and print its page: statement, assumptions, verdict, numbers, rivals and proof steps.

    Exit code 1 when the verdict is not the expected one.
    """
    from linreg_lora.claims.check import check_claims as run
    from linreg_lora.claims.file import load_claims
    from linreg_lora.claims.show import pages
    from linreg_lora.console import print_table

    file = load_claims()
    undecidable = {entry.id: entry for entry in file.undecidable}
    judgement = None if claim in undecidable else run(file, only=[claim], seed=seed)[0]
    for part in pages.claim_page(undecidable[claim] if judgement is None else judgement.claim, judgement):
        print_table(part)
    if judgement is not None and not judgement.as_expected:
        raise typer.Exit(1)


@claims_app.command("errata")
def claims_errata() -> None:
    """Print what the papers get wrong, as Markdown: the content of docs/errata.md."""
    from linreg_lora.claims.file import load_claims
    from linreg_lora.claims.show.errata import markdown

    typer.echo(markdown(load_claims()), nl=False)


@app.command()
def prove(
    proof: Annotated[str | None, typer.Argument(metavar="[ID]", help="Proof to print. Default: list all.")] = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """Verify the algebra behind the theory, step by step. Exit code 1 when a step fails."""
    from linreg_lora.console import print_table
    from linreg_lora.proofs import report, steps

    results = [steps.run(steps.find(name)) for name in ([proof] if proof is not None else steps.ids())]
    if output is TableFormat.JSON:
        typer.echo(report.to_json(results))
    else:
        print_table(report.overview(results) if proof is None else report.details(results[0]))
        typer.echo(report.summary(results))
    if not all(result.holds for result in results):
        raise typer.Exit(1)
