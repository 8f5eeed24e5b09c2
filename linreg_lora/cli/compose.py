"""The command about several tasks: `compose`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from linreg_lora.cli import grammar, problems
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Plugins, load_plugins
from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    from linreg_lora.problem import Problem

_Value = TypeVar("_Value")
#: Entries of the largest shift: updates of several tasks are kept as matrices.
_LARGEST_SHIFT = 10**7


class How(StrEnum):
    SUM = "sum"
    SEQUENCE = "sequence"


@app.command()
def compose(
    n: Annotated[
        str, typer.Option(metavar="INTEGERS", help="Samples of each task, as in 60,40; or one number for all.")
    ],
    dx: problems.Inputs,
    dy: problems.Outputs,
    noise_std: problems.Noise,
    task: Annotated[
        list[str],
        typer.Option(help="Singular values of a task's shift, as in 3,2,1 or low-rank:4:2; once for each task."),
    ],
    adapt: Annotated[str, typer.Option(help="What is trained on each task, as in lora:2,fft; or one for all.")],
    how: Annotated[
        How, typer.Option(help="sum: updates of separate fits are added; sequence: each fit starts from the last one.")
    ] = How.SUM,
    weights: Annotated[
        str | None, typer.Option(help="Weights of a sum, one a task, as in 0.5,0.5. Default: of least summed risk.")
    ] = None,
    alignment: Annotated[
        float, typer.Option(help="Cosine of a later task's directions with those of the first, on either side.")
    ] = 0.0,
    ridge: problems.Ridge = 0.0,
    input_spectrum: problems.InputSpectrum = None,
    noise_spectrum: problems.NoiseSpectrum = None,
    pretrained_seed: Annotated[
        int | None, typer.Option(help="Draw A0, which some methods need, iid N(0, 1) from this seed.")
    ] = None,
    method: Annotated[problems.Method, typer.Option(help="Simulate, compute, or both.")] = problems.Method.BOTH,
    trials: Annotated[int, typer.Option(help="Monte Carlo draws.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    plugin: Plugins = None,
) -> None:
    """Expected excess risk on several tasks, of updates that are added or of one task after another."""
    from linreg_lora.cli import compose_report
    from linreg_lora.console import progress
    from linreg_lora.methods import registry
    from linreg_lora.simulation import comparison, composed

    load_plugins(plugin)
    chosen = _for_each("adapt", [registry.named(name) for name in adapt.split(",")], task)
    weighed = None if weights is None else _for_each("weights", grammar.numbers("weights", weights), task, alone=False)
    each = [
        _of_task(
            spectrum,
            n=size,
            dx=dx,
            dy=dy,
            noise_std=noise_std,
            ridge=ridge,
            input_spectrum=input_spectrum,
            noise_spectrum=noise_spectrum,
            pretrained_seed=pretrained_seed,
        )
        for size, spectrum in zip(_for_each("n", _integers(n), task), task, strict=True)
    ]
    with progress("drawing", trials) as advance:
        found = composed.compose(
            _aligned(each, alignment),
            chosen,
            how=how.value,
            weights=weighed,
            computed_by=comparison.BOTH if method is problems.Method.BOTH else (method.value,),
            trials=trials,
            seed=seed,
            progress=advance,
        )
    render = compose_report.compose_json if output is TableFormat.JSON else compose_report.compose_table
    render(each, [one.name for one in chosen], alignment, found, trials, seed, given=weights is not None)


def _of_task(spectrum: str, **settings: object) -> "Problem":
    """The problem of a task, whose spectrum is given by --task."""
    try:
        return grammar.problem(spectrum=spectrum, **settings)  # type: ignore[arg-type]
    except InvalidInput as error:
        if not error.field.startswith("spectrum"):
            raise
        raise InvalidInput(
            error.field.replace("spectrum", "task"), error.expected, error.received, error.remedy
        ) from None


def _aligned(each: "list[Problem]", alignment: float) -> "list[Problem]":
    import numpy as np

    from linreg_lora.theory.aligned_tasks import aligned_shifts

    first = each[0]
    if first.dx * first.dy > _LARGEST_SHIFT:
        raise InvalidInput("dx", f"a shift of at most {_LARGEST_SHIFT:.0e} entries", f"dx dy = {first.dx * first.dy}")
    spectra = [np.trim_zeros(np.array(one.spectrum), "b").tolist() for one in each]
    shifts = aligned_shifts(spectra, alignment, first.dy, first.dx)
    return [one.replace(task_shift=shift) for one, shift in zip(each, shifts, strict=True)]


def _for_each(field: str, given: Sequence[_Value], tasks: Sequence[str], *, alone: bool = True) -> list[_Value]:
    """One value for each task; `alone`: a single one is that of all."""
    if alone and len(given) == 1:
        return list(given) * len(tasks)
    if len(given) != len(tasks):
        one = "one value, or " if alone else ""
        raise InvalidInput(field, f"{one}one for each of {len(tasks)} tasks", f"{len(given)} values")
    return list(given)


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidInput("n", "integers, as in 60 or 60,40", text) from None
