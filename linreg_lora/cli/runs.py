"""Commands that run for long or until ended: `figures`, `sweep` and `explore`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from linreg_lora.cli import grammar
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Plugins, load_plugins
from linreg_lora.errors import InvalidInput


@app.command()
def figures(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Figures, by name or a paper's number, as figure-11. Default: all."),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Only say which there are, and which of a paper's.")] = False,
    out: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")] = Path("figures"),
    trials: Annotated[int, typer.Option(help="Monte Carlo draws of each point.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; the numbers do not depend on it.")] = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute data again that the folder has already.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace data of other trials or another seed in the folder.")
    ] = False,
    width: Annotated[str | None, typer.Option(help="Width of the pictures, as in 3.25in, 88mm or 252pt.")] = None,
    image_format: Annotated[
        list[str] | None, typer.Option(help="pdf, png or svg; repeat it for several. Default: pdf and png.")
    ] = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format of --list.")] = TableFormat.TABLE,
    plugin: Plugins = None,
) -> None:
    """Redraw the figures: PDF, PNG, the data as NetCDF, and the provenance as JSON; all of them with an index.

    Those of a plug-in are drawn by name. One that needs an extra that is not installed is left out, with a line that
    says so; asked for by name, it is refused.
    """
    from linreg_lora import figures
    from linreg_lora.console import progress
    from linreg_lora.files.atomic import write_atomically

    load_plugins(plugin)
    if listed:
        rows = figures.listed(names or [])
        if output is TableFormat.JSON:
            typer.echo(json.dumps({"figures": rows}, indent=2))
        else:
            _print_figures(rows)
        return
    made = figures.regenerate(
        names or [], out, trials=trials, seed=seed, workers=workers, fresh=fresh, overwrite=overwrite,
        formats=image_format or figures.USUAL_FORMATS, width=grammar.inches("width", width), progress=progress,
        skip=None if names else lambda reason: typer.echo(f"linreg-lora: skipped: {reason}", err=True),
    )  # fmt: skip
    for paths in made:
        for path in paths:
            typer.echo(path)
    if not names:
        write_atomically(out / "README.md", figures.index(out).encode())
        typer.echo(out / "README.md")


def _print_figures(rows: list[dict[str, str]]) -> None:
    from rich.table import Table

    from linreg_lora.console import print_table

    table = Table(title=f"Figures ({len(rows)})", title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("redraws")
    table.add_column("shows")
    for row in rows:
        table.add_row(*row.values())
    print_table(table)


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
    plugin: Plugins = None,
) -> None:
    """Risk curves over a grid of problems. Exit code 1 when a cell failed, 2 when --resume has to finish it."""
    from linreg_lora.sweeps import run

    load_plugins(plugin)
    run.refuse_both(workers, scheduler)
    request = run.SweepRequest.of(config, out, journal, resume=resume)
    if dry_run:
        typer.echo(run.plan_sweep(request, workers))
        return
    failed = run.run_sweep(request, workers, scheduler)
    typer.echo(out)
    if failed:
        for line in failed:
            typer.echo(f"linreg-lora: failed: {line}", err=True)
        raise typer.Exit(1)


@app.command()
def explore(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 5006,
    browser: Annotated[bool, typer.Option("--open/--no-browser", help="Open the page in a browser.")] = True,
    data: Annotated[Path | None, typer.Option(help="Your data, as fit takes them, shown from the start.")] = None,
    base: Annotated[Path | None, typer.Option(help="With --data: the pretrained map, as fit takes it.")] = None,
    base_data: Annotated[Path | None, typer.Option(help="With --data: or the data that it is fitted to.")] = None,
    key: Annotated[str | None, typer.Option(help="Which array of the base's file.")] = None,
    x_columns: Annotated[str | None, typer.Option(help="Inputs, as fit takes them.")] = None,
    y_columns: Annotated[str | None, typer.Option(help="Outputs, likewise.")] = None,
) -> None:
    """Serve a page on this machine where theory follows sliders, simulation comes on demand, and your own data get the
    same picture. Ctrl-C ends it.
    """
    from linreg_lora.explorer import own_data
    from linreg_lora.explorer.serve import serve

    more = {"base": base, "base_data": base_data, "key": key, "x_columns": x_columns, "y_columns": y_columns}
    if data is None and (named := [name for name, value in more.items() if value is not None]):
        raise InvalidInput("data", f"a file, where {named[0].replace('_', '-')} is given", "nothing")

    def own() -> own_data.OwnData:
        assert data is not None
        typer.echo(f"linreg-lora: fitting {data}", err=True)
        return own_data.fit(own_data.Request(data, base, base_data, key, x_columns, y_columns))

    serve(
        port, show=browser, own=None if data is None else own,
        announce=lambda address: typer.echo(f"{address}  (Ctrl-C ends it)"),
    )  # fmt: skip
