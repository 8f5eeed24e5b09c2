"""The command line: parses, calls, prints. Exit codes: 0 as expected, 1 a claim or a proof is not, 2 could not run."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linreg_lora import __version__
from linreg_lora.claims.vocabulary import Budget, Kind, Verdict
from linreg_lora.errors import InvalidInput, LinregLoraError, one_line

if TYPE_CHECKING:
    import numpy as np

    from linreg_lora.problem import Problem

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Checks what theory says about LoRA against full fine-tuning, in linear regression.",
)


#: The base of every complaint about the command line; typer keeps click in different places in different versions.
_ClickException: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


#: Fields of a problem that the command line calls otherwise.
_OPTIONS = {
    "input_covariance": "input-spectrum",
    "noise_covariance": "noise-spectrum",
    "pretraining_covariance": "pretraining-spectrum",
}

#: Ranks that are listed unless they are named, and the size of the matrices that forgetting takes.
_LONGEST_TABLE, _LARGEST_FORGETTING = 10_000, 10_000


class Method(StrEnum):
    MONTE_CARLO = "monte-carlo"
    THEORY = "theory"
    BOTH = "both"


class TableFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


class ReportFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


_Samples = Annotated[int, typer.Option(help="Number of samples.")]
_Inputs = Annotated[int, typer.Option(help="Input dimension.")]
_Outputs = Annotated[int, typer.Option(help="Output dimension.")]
_Noise = Annotated[float, typer.Option(help="Noise standard deviation sigma.")]
_Spectrum = Annotated[str, typer.Option(help="Singular values of the task shift, as in 3,2,1.")]
_Ridge = Annotated[float, typer.Option(help="Penalty eta on ||D||^2.")]
_InputSpectrum = Annotated[
    str | None, typer.Option(help="Variances of the dx inputs, in the order of the shift's directions.")
]
_NoiseSpectrum = Annotated[str | None, typer.Option(help="Relative noise variances of the dy outputs.")]


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


@app.command()
def risk(
    n: _Samples,
    dx: _Inputs,
    dy: _Outputs,
    noise_std: _Noise,
    spectrum: _Spectrum,
    ranks: Annotated[str | None, typer.Option(help="LoRA ranks, as in 1,2,3. Default: all.")] = None,
    ridge: _Ridge = 0.0,
    input_spectrum: _InputSpectrum = None,
    noise_spectrum: _NoiseSpectrum = None,
    forgetting: Annotated[
        bool, typer.Option("--forgetting", help="Also how far the update moves pretraining inputs, by theory.")
    ] = False,
    pretraining_spectrum: Annotated[
        str | None, typer.Option(help="Variances of the dx inputs in pretraining, for --forgetting. Default: 1.")
    ] = None,
    method: Annotated[Method, typer.Option(help="Simulate, compute, or both.")] = Method.BOTH,
    trials: Annotated[int, typer.Option(help="Monte Carlo draws.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """Expected excess risk of LoRA and FFT on one problem."""
    from linreg_lora import reports
    from linreg_lora.risk_curve import valid_ranks

    problem = _problem(n, dx, dy, noise_std, spectrum, ridge, input_spectrum, noise_spectrum)
    if ranks is None and problem.max_rank > _LONGEST_TABLE:
        raise InvalidInput("ranks", f"a choice of ranks, being more than {_LONGEST_TABLE}", f"all {problem.max_rank}")
    chosen = valid_ranks(None if ranks is None else _numbers("ranks", ranks, int), problem)
    if forgetting and dx > _LARGEST_FORGETTING:
        raise InvalidInput("dx", f"at most {_LARGEST_FORGETTING} with --forgetting, which takes matrices", dx)
    if pretraining_spectrum is not None and not forgetting:
        raise InvalidInput("pretraining-spectrum", "--forgetting beside it", pretraining_spectrum)
    forgotten = simulated = computed = None
    if forgetting:
        from linreg_lora.theory.forgetting import forgetting as theory_of_forgetting

        before = _vector("pretraining-spectrum", pretraining_spectrum)
        forgotten = theory_of_forgetting(problem, chosen, before)
    if method is not Method.THEORY:
        from linreg_lora.console import progress
        from linreg_lora.simulation import monte_carlo

        with progress("drawing", trials) as advance:
            simulated = monte_carlo(problem, trials=trials, seed=seed, ranks=chosen, progress=advance)
    if method is not Method.MONTE_CARLO:
        from linreg_lora.theory.curve import risk_curve

        computed = risk_curve(problem, chosen)
    render = reports.risk_json if output is TableFormat.JSON else reports.risk_table
    render(problem, chosen, simulated, computed, forgotten)


@app.command()
def crossover(
    n: _Samples,
    dx: _Inputs,
    dy: _Outputs,
    noise_std: _Noise,
    spectrum: _Spectrum,
    rank: Annotated[int, typer.Option(help="LoRA rank.")],
    over: Annotated[str, typer.Option(help="What to vary: noise_std or n; its own option is then ignored.")],
    low: Annotated[float, typer.Option(help="Smallest value to look at.")],
    high: Annotated[float, typer.Option(help="Largest value to look at.")],
    ridge: _Ridge = 0.0,
    input_spectrum: _InputSpectrum = None,
    noise_spectrum: _NoiseSpectrum = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """Where LoRA of one rank and FFT have the same expected risk, by theory. "No crossing" is an answer."""
    from linreg_lora import reports
    from linreg_lora.theory import decisions

    problem = _problem(n, dx, dy, noise_std, spectrum, ridge, input_spectrum, noise_spectrum)
    found = decisions.crossover(problem, rank, over, low, high)
    render = reports.crossings_json if output is TableFormat.JSON else reports.crossings_text
    render(found, rank, over)


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
    from linreg_lora.claims.check import check as run
    from linreg_lora.claims.check import default_path, select
    from linreg_lora.claims.file import load
    from linreg_lora.console import print_table, progress

    path = claims or default_path()
    selected = select(load(path), only or [])
    from linreg_lora.claims import report

    with progress("checking", len(selected)) as advance:
        judgements = run(path, only=only or [], seed=seed, budget=budget, progress=advance)
    if output is ReportFormat.TABLE:
        print_table(report.table(judgements))
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

    from linreg_lora.claims import pages
    from linreg_lora.claims.check import default_path
    from linreg_lora.claims.file import load
    from linreg_lora.console import print_table

    found = pages.matching(load(default_path()), verdict, source, kind)
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
    from linreg_lora.claims import pages
    from linreg_lora.claims.check import check as run
    from linreg_lora.claims.check import default_path
    from linreg_lora.claims.file import load
    from linreg_lora.console import print_table

    file = load(default_path())
    undecidable = {entry.id: entry for entry in file.undecidable}
    judgement = None if claim in undecidable else run(only=[claim], seed=seed)[0]
    for part in pages.page(undecidable[claim] if judgement is None else judgement.claim, judgement):
        print_table(part)
    if judgement is not None and not judgement.as_expected:
        raise typer.Exit(1)


@claims_app.command("errata")
def claims_errata() -> None:
    """Print what the papers get wrong, as Markdown: the content of docs/errata.md."""
    from linreg_lora.claims.check import default_path
    from linreg_lora.claims.errata import markdown
    from linreg_lora.claims.file import load

    typer.echo(markdown(load(default_path())), nl=False)


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


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Figures. Default: all.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")] = Path("figures"),
    trials: Annotated[int, typer.Option(help="Monte Carlo draws of each point.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes. The numbers do not depend on it.")] = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute data again that the folder has already.")] = False,
) -> None:
    """Redraw the figures: PDF, PNG, the data as NetCDF, and the provenance as JSON; all of them with an index."""
    from linreg_lora import figures
    from linreg_lora.console import progress, write_atomically

    made = figures.regenerate(
        names or [], out, trials=trials, seed=seed, workers=workers, fresh=fresh, progress=progress
    )
    for paths in made:
        for path in paths:
            typer.echo(path)
    if not names:
        write_atomically(out / "README.md", figures.index().encode())
        typer.echo(out / "README.md")


@app.command()
def sweep(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The sweep file.")],
    out: Annotated[Path, typer.Option(help="Dataset to write, as NetCDF.")],
    journal: Annotated[
        Path | None, typer.Option(help="Keeps every finished cell. Default: the path of --out with .journal.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the journal, if there is one.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes. Default: one for each core.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler to use instead, as tcp://host:port.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much it is, or --resume has left.")] = False,
) -> None:
    """Risk curves over a grid of problems. Exit code 1 when a cell failed, 2 when --resume has to finish it."""
    from linreg_lora import sweep_run

    sweep_run.refuse_both(workers, scheduler)
    request = sweep_run.Request.of(config, out, journal, resume=resume)
    if dry_run:
        typer.echo(sweep_run.plan(request, workers))
        return
    failed = sweep_run.run(request, workers, scheduler)
    typer.echo(out)
    if failed:
        for line in failed:
            typer.echo(f"linreg-lora: failed: {line}", err=True)
        raise typer.Exit(1)


@app.command()
def explore(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 5006,
    browser: Annotated[bool, typer.Option("--open/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Serve a page on this machine where theory follows sliders and simulation comes on demand. Ctrl-C ends it."""
    from linreg_lora.explorer.serve import serve

    serve(port, show=browser, announce=lambda address: typer.echo(f"{address}  (Ctrl-C ends it)"))


def _problem(
    n: int,
    dx: int,
    dy: int,
    noise_std: float,
    spectrum: str,
    ridge: float,
    input_spectrum: str | None,
    noise_spectrum: str | None,
) -> "Problem":
    from linreg_lora.problem import Problem

    return Problem(
        n=n,
        dx=dx,
        dy=dy,
        spectrum=tuple(_numbers("spectrum", spectrum, float)),
        noise_std=noise_std,
        ridge=ridge,
        input_covariance=_vector("input-spectrum", input_spectrum),
        noise_covariance=_vector("noise-spectrum", noise_spectrum),
    )


def _vector(field: str, text: str | None) -> "np.ndarray | None":
    import numpy as np

    return None if text is None else np.array(_numbers(field, text, float))


def _numbers(field: str, text: str, kind: type) -> list:
    expected = f"comma-separated {'integers' if kind is int else 'numbers'}, as in 3,2,1"
    try:
        return [kind(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        raise InvalidInput(field, expected, text) from None


def main() -> None:
    """Entry point: every failure is one line on standard error and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except _ClickException as error:
        _fail(_complaint(error))
    except InvalidInput as error:
        option = _OPTIONS.get(error.field, error.field)
        _fail(str(InvalidInput(option, error.expected, error.received, error.remedy)))
    except LinregLoraError as error:
        _fail(str(error))
    except OSError as error:
        path, reason = error.filename, error.strerror or str(error)
        _fail(reason if path is None else str(InvalidInput("path", "one that can be used", path, reason)))
    except MemoryError:
        _fail("out of memory: lower n, dx or dy")
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted")
    else:
        sys.exit(code or 0)


def _complaint(error: Exception) -> str:
    """The parser's message, with the value it received when it names only the option."""
    message = error.format_message()  # type: ignore[attr-defined]
    names = getattr(getattr(error, "param", None), "opts", [])
    words = sys.argv[1:]
    last = None
    for i, word in enumerate(words):
        if word in names and i + 1 < len(words):
            last = words[i + 1]
        elif "=" in word and word.split("=", 1)[0] in names:
            last = word.split("=", 1)[1]
    if last is not None and repr(last) not in message:
        return f"{message}, received {last!r}"
    return message


def _fail(message: str) -> None:
    if message.strip():
        print(f"linreg-lora: {one_line(message)}", file=sys.stderr)
    sys.exit(2)
