"""Commands about the user's own data: `fit`."""

from pathlib import Path
from typing import Annotated

import typer

from linreg_lora.cli.app import TableFormat, app
from linreg_lora.errors import InvalidInput

_AUTO = "auto"


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Rows of inputs and outputs: csv, parquet or npz.")],
    base: Annotated[
        Path | None, typer.Option(help="The pretrained map, dy x dx: csv, npy, npz or safetensors. Default: none.")
    ] = None,
    base_data: Annotated[
        Path | None, typer.Option(help="Or the data that it is least squares on, with the same columns.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Which array of the base's file.")] = None,
    x_columns: Annotated[
        str | None, typer.Option(help="Inputs, as in x1,x2 or x* or x1:x9; in npz the key. Default: all but outputs.")
    ] = None,
    y_columns: Annotated[str | None, typer.Option(help="Outputs, likewise; in npz the default is Y.")] = None,
    groups: Annotated[str | None, typer.Option(help="A column of labels: rows that are left out together.")] = None,
    rank: Annotated[str, typer.Option(help="Of the update: auto, or a number.")] = _AUTO,
    ridge: Annotated[str, typer.Option(help="Penalty on the update: auto, or a number.")] = _AUTO,
    intercept: Annotated[bool, typer.Option("--intercept/--no-intercept", help="Whether it has an offset.")] = True,
    level: Annotated[float, typer.Option(help="Of the interval of the test error.")] = 0.9,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    picture: Annotated[Path | None, typer.Option(help="Error against rank as .png, .pdf or .svg.")] = None,
    save: Annotated[Path | None, typer.Option(help="Folder to write the update to, as an adapter of PEFT.")] = None,
) -> None:
    """Full fine-tuning or LoRA on your own data: which rank, which ridge, and how sure."""
    from linreg_lora.cli import fit_report
    from linreg_lora.own_data import advise
    from linreg_lora.own_data.reading import read_data, read_known

    if not 0 < level < 1:
        raise InvalidInput("level", "a number between 0 and 1", level)
    given = read_data(data, x_columns, y_columns, groups)
    known = read_known(given, base, base_data, key)
    found = advise(
        given.inputs, given.outputs, known, rank=_number("rank", rank, int), ridge=_number("ridge", ridge, float),
        intercept=intercept, groups=given.groups,
    )  # fmt: skip
    if output is TableFormat.JSON:
        fit_report.fit_json(found, level)
    else:
        fit_report.fit_table(found, level)
    if picture is not None:
        from linreg_lora.figures import pictures

        pictures.save(pictures.of_fit(found), picture)
    if save is not None:
        from linreg_lora.own_data.adapter import write_adapter

        for path in write_adapter(save, found):
            typer.echo(path, err=True)
        if intercept:
            typer.echo("linreg-lora: an adapter has no place for the offset: it is in the JSON output", err=True)


def _number(field: str, text: str, kind: type) -> object:
    if text == _AUTO:
        return text
    try:
        return kind(text)
    except ValueError:
        raise InvalidInput(field, "auto or a number", text) from None
