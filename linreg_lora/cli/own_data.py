"""Commands about the user's own data: `fit`, and of their own weights: `weights`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linreg_lora import console
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

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
    module: Annotated[str | None, typer.Option(help="Whose update the adapter is. Default: linear.")] = None,
) -> None:
    """Full fine-tuning or LoRA on your own data: which rank, which ridge, and how sure."""
    from linreg_lora.cli import fit_report, grammar
    from linreg_lora.own_data import RIDGES, advise, estimated_complexity
    from linreg_lora.own_data.reading import read_data, read_known

    if not 0 < level < 1:
        raise InvalidInput("level", "a number between 0 and 1", level)
    if module is not None and save is None:
        raise InvalidInput("module", "--save, the folder of the adapter", "none")
    picture = grammar.picture_path(picture)
    given = read_data(data, x_columns, y_columns, groups)
    known = read_known(given, base, base_data, key)
    with console.progress("leaving out", RIDGES if ridge == _AUTO else 1) as step:
        inputs, outputs = _named(given.inputs, given.input_names), _named(given.outputs, given.output_names)
        found = advise(
            inputs, outputs, known, rank=_number("rank", rank, int), ridge=_number("ridge", ridge, float),
            intercept=intercept, groups=given.groups, progress=step,
        )  # fmt: skip
    complexity = None
    if found.curve.ranks[-1] > 0:
        rank_below = found.rank if found.rank < found.curve.ranks[-1] else int(found.curve.error[:-1].argmin())
        complexity = estimated_complexity(
            inputs, outputs, known, rank=rank_below, ridge=found.ridge, intercept=intercept, groups=given.groups
        )
    if save is not None:
        from linreg_lora.own_data.adapter import write_adapter

        for path in write_adapter(save, found, "linear" if module is None else module):
            typer.echo(path, err=True)
        if found.offset.any():
            said = "the offset is the bias of lora_B: PEFT 0.14 or newer reads it and merges it into layers with a bias"
            typer.echo(f"linreg-lora: {said}", err=True)
    if picture is not None:
        from linreg_lora.figures import pictures

        pictures.save(pictures.of_fit(found), picture)
    if output is TableFormat.JSON:
        fit_report.fit_json(found, level, complexity)
    else:
        fit_report.fit_table(found, level, complexity)


@app.command()
def weights(
    before: Annotated[
        Path, typer.Argument(metavar="W0", help="The pretrained checkpoint: safetensors, index, folder.")
    ],
    after: Annotated[Path, typer.Argument(metavar="W1", help="The fully fine-tuned one.")],
    activations: Annotated[
        Path | None, typer.Option(help="Inputs of layers in rows, by module: npz or safetensors. Default: not known.")
    ] = None,
    moments: Annotated[Path | None, typer.Option(help="Or their second moments, dx x dx.")] = None,
    centre: Annotated[str, typer.Option(help="Activations: auto (where the bias was trained too), yes or no.")] = _AUTO,
    include: Annotated[list[str] | None, typer.Option(help="Tensors, as in '*.q_proj.*'. May be repeated.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Tensors to leave out, likewise.")] = None,
    fan_in_fan_out: Annotated[
        list[str] | None, typer.Option(help="Tensors stored as inputs x outputs, likewise.")
    ] = None,
    share: Annotated[float, typer.Option(help="Of the energy that the rank keeps.")] = 0.99,
    ranks: Annotated[str | None, typer.Option(help="Whose share of the energy is said, as in 4,8,16.")] = None,
    samples: Annotated[int | None, typer.Option(help="Of the fine-tuning, n.")] = None,
    noise_std: Annotated[float | None, typer.Option(help="Of the outputs' noise, with activations.")] = None,
    budget: Annotated[int | None, typer.Option(help="Most parameters in all: ranks that keep the most.")] = None,
    weigh: Annotated[str, typer.Option(help="What a budget keeps: energy, or each tensor's share.")] = "energy",
    exact: Annotated[
        bool, typer.Option("--exact", help="Large matrices without squares, three times as slow.")
    ] = False,
    rank_pattern: Annotated[
        Path | None, typer.Option(help="JSON file to write for PEFT's LoraConfig, with rank_pattern.")
    ] = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
) -> None:
    """Two checkpoints: the rank that LoRA would have needed for each weight."""
    from linreg_lora.checkpoints import compare_checkpoints
    from linreg_lora.cli import grammar, weights_report

    kept = grammar.ranks(ranks) or []
    if any(rank < 0 for rank in kept):
        raise InvalidInput("ranks", "integers >= 0", ranks)
    if rank_pattern is not None and (rank_pattern.is_dir() or not rank_pattern.parent.is_dir()):
        raise InvalidInput("rank-pattern", "the path of a file in a folder that exists", str(rank_pattern))
    found = compare_checkpoints(
        before, after, activations=activations, moments=moments, centre=centre, include=include or ("*",),
        exclude=exclude or (), fan_in_fan_out=fan_in_fan_out or (), share=share, samples=samples, noise_std=noise_std,
        budget=budget, weigh=weigh, exact=exact,
    )  # fmt: skip
    if rank_pattern is not None:
        weights_report.write_configuration(rank_pattern, found)
    if output is TableFormat.JSON:
        weights_report.weights_json(found, share, kept)
    else:
        weights_report.weights_table(found, share, kept)


def _named(values: "np.ndarray", names: list[str]) -> "pd.DataFrame":
    """Rows whose columns have names, for what is said of them."""
    import pandas as pd

    return pd.DataFrame(values, columns=names)


def _number(field: str, text: str, kind: type) -> object:
    if text == _AUTO:
        return text
    try:
        return kind(text)
    except ValueError:
        raise InvalidInput(field, "auto or a number", text) from None
