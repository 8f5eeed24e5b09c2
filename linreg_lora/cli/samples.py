"""The command that turns a risk into a number of samples: `samples`."""

import json
from typing import Annotated

import typer

from linreg_lora.cli import grammar, problems
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Plugins, load_plugins


@app.command()
def samples(
    risk: Annotated[float, typer.Option(help="The expected excess risk that is asked for.")],
    adapt: Annotated[str, typer.Option(help="What is trained, as in lora:4,fft.")],
    dx: problems.Inputs,
    dy: problems.Outputs,
    noise_std: problems.Noise,
    spectrum: problems.Spectrum,
    ridge: problems.Ridge = 0.0,
    input_spectrum: problems.InputSpectrum = None,
    noise_spectrum: problems.NoiseSpectrum = None,
    input_law: problems.InputLaw = None,
    input_mean: problems.InputMean = None,
    pretrained_seed: Annotated[
        int | None, typer.Option(help="Draw A0, which some methods need, iid N(0, 1) from this seed.")
    ] = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    plugin: Plugins = None,
) -> None:
    """How many samples each method needs for a risk, by theory. "None does" is an answer, with the reason."""
    from linreg_lora import validation
    from linreg_lora.cli.risk_report import number, value
    from linreg_lora.errors import InvalidInput
    from linreg_lora.methods import registry
    from linreg_lora.methods.sample_size import SamplesNeeded, samples_needed

    load_plugins(plugin)
    methods = registry.each([name.strip() for name in adapt.split(",")])
    problem = grammar.problem(
        n=1,
        dx=dx,
        dy=dy,
        noise_std=noise_std,
        spectrum=spectrum,
        ridge=ridge,
        input_spectrum=input_spectrum,
        noise_spectrum=noise_spectrum,
        input_law=input_law,
        input_mean=input_mean,
        pretrained_seed=pretrained_seed,
    )
    target, found = validation.nonnegative_number("risk", risk), list[tuple[str, SamplesNeeded | str]]()
    for one in methods:
        try:
            found.append((one.name, samples_needed(problem, target, one)))
        except InvalidInput as error:
            if error.field != "risk":
                raise
            found.append((one.name, str(error)))
    if output is TableFormat.JSON:
        rows = [
            {"method": name, "n": None, "note": answer}
            if isinstance(answer, str)
            else {"method": name, **answer._asdict(), "risk": value(answer.risk)}
            for name, answer in found
        ]
        print(json.dumps({"risk": target, "methods": rows}, indent=2, allow_nan=False))
        return
    for name, answer in found:
        if isinstance(answer, str):
            print(f"{name}: no number of samples; {answer}")
            continue
        doubt = f"; in doubt: {answer.note}" if answer.flagged else ""
        less = "" if answer.fewer is None else f"; {answer.fewer} do too, but more than these need not"
        print(f"{name}: {answer.n} samples, risk {number(answer.risk)}{less}{doubt}")
