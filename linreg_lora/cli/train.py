"""The command that trains: `train`."""

from typing import Annotated

import typer

from linreg_lora.cli import grammar, problems
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.errors import InvalidInput


@app.command()
def train(
    n: problems.Samples,
    dx: problems.Inputs,
    dy: problems.Outputs,
    noise_std: problems.Noise,
    spectrum: problems.Spectrum,
    ranks: Annotated[str | None, typer.Option(help="LoRA ranks, as in 1-3,8. Default: that of the shift.")] = None,
    optimiser: Annotated[
        str, typer.Option(help="gd, momentum, adam or adamw, with the gradient over all samples.")
    ] = "gd",
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: one that is stable, for each draw; 0.01 for adam and adamw.")
    ] = None,
    ratio: Annotated[float, typer.Option(help="Learning rate of B over that of A, as in LoRA+.")] = 1.0,
    schedule: Annotated[
        str | None, typer.Option(help="constant or linear. Default: linear for adam and adamw.")
    ] = None,
    start: Annotated[
        str,
        typer.Option(help="kaiming (peft's), gaussian, normal, orthogonal[:KAPPA], balanced[:D] or spectral[:T]."),
    ] = "kaiming",
    alpha: Annotated[float | None, typer.Option(help="LoRA's alpha. Default: 2 r.")] = None,
    scaling: Annotated[str, typer.Option(help="lora (alpha/r), rslora (alpha/sqrt r) or constant (alpha).")] = "lora",
    weight_decay: Annotated[float, typer.Option(help="Decay of both factors; of adamw decoupled.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Steps of training.")] = 2000,
    at: Annotated[
        str | None, typer.Option(help="Steps to show, as in 0,10,100. Default: 0, powers of two, the last.")
    ] = None,
    ridge: problems.Ridge = 0.0,
    input_spectrum: problems.InputSpectrum = None,
    noise_spectrum: problems.NoiseSpectrum = None,
    input_law: problems.InputLaw = None,
    input_mean: problems.InputMean = None,
    trials: Annotated[int, typer.Option(help="Draws that are trained, at least 2.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    picture: problems.Picture = None,
) -> None:
    """Training of LoRA's factors, and of FFT, by gradients: risk against steps, beside the closed forms."""
    from linreg_lora import validation
    from linreg_lora.cli import train_report
    from linreg_lora.console import progress
    from linreg_lora.training.optimisers import require_optax
    from linreg_lora.training.recipe import Recipe
    from linreg_lora.training.trained import recorded_steps, train

    picture = grammar.picture_path(picture)
    require_optax()
    problem = grammar.problem(
        n=n, dx=dx, dy=dy, noise_std=noise_std, spectrum=spectrum, ridge=ridge, input_spectrum=input_spectrum,
        noise_spectrum=noise_spectrum, input_law=input_law, input_mean=input_mean,
    )  # fmt: skip
    recipe = Recipe(
        optimiser=optimiser, learning_rate=learning_rate, ratio=ratio, schedule=schedule, start=start, alpha=alpha,
        scaling=scaling, weight_decay=weight_decay, steps=steps,
    )  # fmt: skip
    usual = [min(max(1, sum(s > 0 for s in problem.spectrum or ())), problem.max_rank)]
    chosen = grammar.ranks(ranks) or usual
    if any(not 1 <= rank <= problem.max_rank for rank in chosen):
        raise InvalidInput("ranks", f"integers in 1..min(n, dx, dy) = {problem.max_rank}", ranks)
    if picture is not None and len(chosen) > train_report.MOST_DRAWN:
        raise InvalidInput("ranks", f"at most {train_report.MOST_DRAWN} in a picture", ranks, "leave some out")
    shown = recorded_steps(recipe.steps, train_report.steps_of(at, recipe.steps))
    trials = validation.enough_draws("trials", trials)
    runs = []
    with progress("training", recipe.steps * (len(chosen) + 1)) as advance:
        for rank in [*chosen, None]:
            runs.append(train(problem, rank, recipe, trials=trials, seed=seed, at=shown, progress=advance))
    with progress("theory", len(runs)) as advance:
        found = train_report.beside_theory(problem, runs, advance)
    drawn = None if picture is None else train_report.picture(found)
    render = train_report.train_json if output is TableFormat.JSON else train_report.train_table
    render(problem, recipe, found)
    if picture is not None and drawn is not None:
        from linreg_lora.figures import pictures

        pictures.save(drawn, picture)
