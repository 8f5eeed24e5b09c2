"""Commands that judge claims and verify proofs: `check`, `report` and `prove`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from linreg_lora.claims.vocabulary import Budget
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Claims, Everything, Papers, Plugins, load_plugins
from linreg_lora.seeds import valid_seed

Workers = Annotated[
    int | None, typer.Option(help="Processes at most. Default: one for each core. The numbers do not depend on it.")
]


Neighbours = Annotated[
    bool | None,
    typer.Option(
        "--neighbours/--no-neighbours",
        help="Whether claims must hold near their cases too, which takes as long again. Default: those that are yours; "
        "this package's own were asked when it was made.",
    ),
]


class ReportFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


@app.command()
def check(
    claims: Claims = None,
    paper: Papers = None,
    everything: Everything = False,
    plugin: Plugins = None,
    only: Annotated[list[str] | None, typer.Option(help="Ids of the claims to check; repeat it for several.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    budget: Annotated[Budget, typer.Option(help="ci: the draws that claims state. thorough: eight times as many.")] = (
        Budget.CI
    ),
    workers: Workers = None,
    neighbours: Neighbours = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take over what this code judged of these files, as before it was stopped.")
    ] = False,
    output: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.TABLE,
) -> None:
    """Check every claim against simulation.

    Exit code 1 when a verdict is not the expected one, 2 when a claim could not run; the others' verdicts are printed.
    """
    from linreg_lora.claims.check import check_claims as run
    from linreg_lora.claims.check import is_asked_near, select
    from linreg_lora.claims.collection import collect_claims
    from linreg_lora.claims.kept import KeptVerdicts
    from linreg_lora.console import is_narrow, print_table, progress

    load_plugins(plugin)
    parts, file = collect_claims(claims, papers=paper or [], everything=everything)
    kept = KeptVerdicts(parts, valid_seed(seed), budget)
    selected = select(file, only or [])
    from linreg_lora.claims.show import report

    unable: dict[str, str] = {}
    with (
        progress("checking", len(selected)) as advance,
        kept.keeping(lambda name: is_asked_near(file, name, neighbours)) as learned,
    ):
        judgements = run(
            file, only=only or [], seed=seed, budget=budget, workers=workers, neighbours=neighbours, progress=advance,
            known=kept.find if resume else lambda claim, near: None, learned=learned,
            could_not_run=lambda claim, reason: unable.update({claim.id: reason}),
        )  # fmt: skip
    if output is ReportFormat.JSON:
        typer.echo(report.to_json(judgements, seed, parts, unable))
    elif output is ReportFormat.JUNIT:
        typer.echo(report.to_junit(judgements, unable))
    elif judgements or not unable:
        print_table(report.verdict_table(judgements, is_narrow()))
        typer.echo(report.summary(judgements, parts, unable))
    for reason in unable.values():
        typer.echo(f"linreg-lora: {reason}", err=True)
    if unable:
        raise typer.Exit(2)
    if not all(j.as_expected for j in judgements):
        raise typer.Exit(1)


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="HTML page to write; it needs no other file and no network.")],
    by_paper: Annotated[
        bool, typer.Option("--by-paper", help="Write a folder of that name: a page a paper, and index.html.")
    ] = False,
    claims: Claims = None,
    paper: Papers = None,
    everything: Everything = False,
    plugin: Plugins = None,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    budget: Annotated[Budget, typer.Option(help="ci: the draws that claims state. thorough: eight times as many.")] = (
        Budget.CI
    ),
    workers: Workers = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Judge and verify again what was judged by this code, of these files.")
    ] = False,
) -> None:
    """Check every claim, verify every proof, and write it all as one page. Exit code 1 when one is not as expected.

    Verdicts of `check`, by the same code, of the same files, from the same seed, are not judged again.
    """
    from linreg_lora import report_page

    load_plugins(plugin)
    as_expected = report_page.write(
        out, claims, seed, budget, papers=paper or [], everything=everything, by_paper=by_paper, workers=workers,
        fresh=fresh, say=lambda line: typer.echo(f"linreg-lora: {line}", err=True),
    )  # fmt: skip
    typer.echo(out)
    if not as_expected:
        raise typer.Exit(1)


@app.command()
def prove(
    proof: Annotated[str | None, typer.Argument(metavar="[ID]", help="Proof to print. Default: all of them.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only say which there are, and verify nothing.")] = False,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """Verify the algebra behind the theory, step by step. Exit code 1 when a step fails."""
    from linreg_lora.console import print_table
    from linreg_lora.proofs import report, steps

    if listed:
        proofs = steps.titles([proof] if proof is not None else steps.ids())
        if output is TableFormat.JSON:
            typer.echo(report.listed_json(proofs))
        else:
            print_table(report.listed(proofs))
        return
    results = [steps.run(steps.find(name)) for name in ([proof] if proof is not None else steps.ids())]
    if output is TableFormat.JSON:
        typer.echo(report.to_json(results))
    else:
        print_table(report.overview(results) if proof is None else report.details(results[0]))
        typer.echo(report.summary(results))
    if not all(result.holds for result in results):
        raise typer.Exit(1)
