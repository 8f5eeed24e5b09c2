"""Commands about one problem: `risk`, `compare` and `crossover`."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linreg_lora.cli import grammar
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.cli.plugins import Plugins, load_plugins
from linreg_lora.errors import InvalidInput, LinregLoraError

if TYPE_CHECKING:
    import numpy as np

    from linreg_lora.problem import Problem
    from linreg_lora.risk_curve import RiskCurve

#: Ranks that are listed unless they are named, and the size of the matrices that forgetting takes.
_LONGEST_TABLE, _LARGEST_FORGETTING = 10_000, 10_000


class Method(StrEnum):
    MONTE_CARLO = "monte-carlo"
    THEORY = "theory"
    BOTH = "both"


Samples = Annotated[int, typer.Option(help="Number of samples.")]
Inputs = Annotated[int, typer.Option(help="Input dimension.")]
Outputs = Annotated[int, typer.Option(help="Output dimension.")]
Noise = Annotated[float, typer.Option(help="Noise standard deviation sigma.")]
Spectrum = Annotated[
    str, typer.Option(help="Singular values of the task shift, as in 3,2,1 or power-law:1:10 (family:shape:scale).")
]
Ridge = Annotated[float, typer.Option(help="Penalty eta on ||D||^2.")]
RidgeOrAuto = Annotated[
    Any,
    typer.Option(
        parser=grammar.ridge,
        metavar="NUMBER|auto",
        help="Penalty eta on ||D||^2; auto: for each rank, or method, and FFT that of least expected risk by theory.",
    ),
]
InputSpectrum = Annotated[
    str | None,
    typer.Option(help="Variances of the dx inputs, in the order of the shift's directions; written as --spectrum is."),
]
NoiseSpectrum = Annotated[
    str | None, typer.Option(help="Relative noise variances of the dy outputs; written as --spectrum is.")
]
InputLaw = Annotated[
    str | None,
    typer.Option(
        help="Law of the inputs: gaussian, t:DOF, two-point:LOW:SHARE, two-point-noise:LOW:SHARE, ar1:RHO, rademacher, "
        "uniform, laplace, iid-t:DOF or sparse:DENSITY."
    ),
]
InputMean = Annotated[
    str | None,
    typer.Option(help="Mean of the inputs: one number for all, the first few as in 3,-2,1, or a .npz or .npy file."),
]
Picture = Annotated[Path | None, typer.Option(help="Draw it too, into a .png, .pdf or .svg file.")]


@app.command()
def risk(
    n: Samples,
    dx: Inputs,
    dy: Outputs,
    noise_std: Noise,
    spectrum: Spectrum,
    ranks: Annotated[str | None, typer.Option(help="LoRA ranks, as in 1-8,16. Default: all.")] = None,
    ridge: RidgeOrAuto = 0.0,
    input_spectrum: InputSpectrum = None,
    noise_spectrum: NoiseSpectrum = None,
    input_law: InputLaw = None,
    input_mean: InputMean = None,
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
    picture: Picture = None,
) -> None:
    """Expected excess risk of LoRA and FFT on one problem."""
    from linreg_lora.cli import complexity_report, risk_report
    from linreg_lora.risk_curve import valid_ranks

    picture = grammar.picture_path(picture)
    auto = ridge == grammar.AUTO
    problem = grammar.problem(
        n=n,
        dx=dx,
        dy=dy,
        noise_std=noise_std,
        spectrum=spectrum,
        ridge=0.0 if auto else ridge,
        input_spectrum=input_spectrum,
        noise_spectrum=noise_spectrum,
        input_law=input_law,
        input_mean=input_mean,
    )
    if ranks is None and problem.max_rank > _LONGEST_TABLE:
        raise InvalidInput("ranks", f"a choice of ranks, being more than {_LONGEST_TABLE}", f"all {problem.max_rank}")
    chosen = valid_ranks(grammar.ranks(ranks), problem)
    if forgetting and dx > _LARGEST_FORGETTING:
        raise InvalidInput("dx", f"at most {_LARGEST_FORGETTING} with --forgetting, which takes matrices", dx)
    if pretraining_spectrum is not None and not forgetting:
        raise InvalidInput("pretraining-spectrum", "--forgetting beside it", pretraining_spectrum)
    if forgetting and auto:
        raise InvalidInput("ridge", "a number beside --forgetting", grammar.AUTO)
    forgotten = simulated = computed = None
    complexity = complexity_report.NOTHING
    if forgetting:
        from linreg_lora.theory.forgetting import expected_forgetting as theory_of_forgetting

        before = grammar.variances("pretraining-spectrum", pretraining_spectrum, dx)
        forgotten = theory_of_forgetting(problem, chosen, before)
    if auto:
        computed = _with_best_ridges(problem, chosen)
    if method is not Method.THEORY and computed is not None:
        from linreg_lora.console import progress
        from linreg_lora.simulation.own_ridges import draws_of, with_own_ridges

        with progress("drawing", draws_of(computed, trials)) as advance:
            simulated = with_own_ridges(computed, trials=trials, seed=seed, progress=advance)
        computed = computed if method is Method.BOTH else None
    elif method is not Method.THEORY:
        from linreg_lora.console import progress
        from linreg_lora.simulation.curve import monte_carlo

        with progress("drawing", trials) as advance:
            simulated = monte_carlo(problem, trials=trials, seed=seed, ranks=chosen, progress=advance)
    if method is not Method.MONTE_CARLO and not auto:
        from linreg_lora.console import waiting
        from linreg_lora.theory.curve import expected_risk

        with waiting("theory"):
            computed = expected_risk(problem, chosen)
            complexity = complexity_report.known(problem, chosen)
    render = risk_report.risk_json if output is TableFormat.JSON else risk_report.risk_table
    render(problem, chosen, simulated, computed, forgotten, complexity)
    if picture is not None:
        from linreg_lora.figures import pictures

        pictures.save(pictures.of_risk(computed, simulated), picture)


def _with_best_ridges(problem: "Problem", ranks: "np.ndarray") -> "RiskCurve":
    from linreg_lora.console import progress
    from linreg_lora.theory import best_ridge, ridge_search

    with progress("best ridges", ridge_search.USUAL) as advance:
        return best_ridge.tuned_risk(problem, ranks, progress=advance)


@app.command()
def compare(
    n: Samples,
    noise_std: Noise,
    dx: Annotated[int | None, typer.Option(help="Input dimension; --matrices tell it too.")] = None,
    dy: Annotated[int | None, typer.Option(help="Output dimension; --matrices tell it too.")] = None,
    spectrum: Annotated[
        str | None, typer.Option(help="Singular values of the task shift, as in 3,2,1 or power-law:1:10.")
    ] = None,
    matrices: Annotated[
        Path | None,
        typer.Option(
            help="A .npz file with arrays among A0, shift (both dy x dx), mean, sigma (of the inputs) and "
            "noise_covariance (relative, as --noise-spectrum), instead of the options for these."
        ),
    ] = None,
    adapt: Annotated[
        str | None, typer.Option(help="What is trained, as in bitfit,ia3,frozen-a:4,frozen-b:4,lora:4,fft.")
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            help="Instead: the best rank of each method, by theory, that trains at most so many parameters; with "
            "--adapt, of these alone, named without rank."
        ),
    ] = None,
    ridge: RidgeOrAuto = 0.0,
    input_spectrum: InputSpectrum = None,
    noise_spectrum: NoiseSpectrum = None,
    input_law: InputLaw = None,
    input_mean: InputMean = None,
    pretrained_seed: Annotated[
        int | None, typer.Option(help="Draw A0, which ia3 needs, iid N(0, 1) from this seed.")
    ] = None,
    pretraining_spectrum: Annotated[
        str | None, typer.Option(help="Variances of the dx inputs in pretraining, for forgetting. Default: 1.")
    ] = None,
    method: Annotated[Method, typer.Option(help="Simulate, compute, or both.")] = Method.BOTH,
    trials: Annotated[int, typer.Option(help="Monte Carlo draws.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    spread: Annotated[
        bool, typer.Option("--spread", help="Also quantiles of the risk over data sets, each method fitted to them.")
    ] = False,
    picture: Picture = None,
    plugin: Plugins = None,
) -> None:
    """Expected excess risk of fine-tuning methods on one problem, least first, against what they train."""
    from linreg_lora.cli import compare_report
    from linreg_lora.cli import matrices as files
    from linreg_lora.console import progress
    from linreg_lora.methods import registry
    from linreg_lora.simulation import comparison

    load_plugins(plugin)
    picture = grammar.picture_path(picture)
    if adapt is None and budget is None:
        raise InvalidInput("adapt", "methods, as in bitfit,lora:4, or a --budget instead", "neither")
    names = None if adapt is None else [name.strip() for name in adapt.split(",")]
    methods = registry.each(names) if budget is None else ()
    given = {"spectrum": spectrum, "input-spectrum": input_spectrum, "noise-spectrum": noise_spectrum}
    given |= {"input-mean": input_mean, "pretrained-seed": pretrained_seed}
    of_file = None if matrices is None else files.read(matrices, given)
    problem = grammar.problem(
        n=n,
        dx=dx,
        dy=dy,
        noise_std=noise_std,
        spectrum=spectrum,
        ridge=0.0 if ridge == grammar.AUTO else ridge,
        input_spectrum=input_spectrum,
        noise_spectrum=noise_spectrum,
        input_law=input_law,
        input_mean=input_mean,
        pretrained_seed=pretrained_seed,
        matrices=of_file,
    )
    before = grammar.variances("pretraining-spectrum", pretraining_spectrum, problem.dx)
    best = None
    if budget is not None:
        from linreg_lora.methods.choices import best_under_budget

        if ridge == grammar.AUTO:
            raise InvalidInput("ridge", "a number with --budget", ridge, "leave out one of them")
        best = best_under_budget(problem, budget, names)
        methods = registry.each([one.method for one in best.each])
    ways = comparison.BOTH if method is Method.BOTH else (method.value,)
    drawn = {"computed_by": ways, "trials": trials, "seed": seed, "pretraining_covariance": before}
    with progress("drawing", comparison.draws_of(problem, methods, trials, ridge)) as advance:
        compared = comparison.compare(problem, methods, progress=advance, ridge=ridge, **drawn)
        compare_report.require_a_risk(compared)
        without = ""
        if ridge != grammar.AUTO:
            try:
                compared.append(comparison.tuned_fft(problem, **drawn))
            except LinregLoraError as error:
                without = str(error)
    spreads = None
    if spread:
        from linreg_lora.simulation.spread import spreads_of

        with progress("fitting", trials * len(methods)) as advance:
            spreads = spreads_of(problem, methods, trials=trials, seed=seed, progress=advance)
        for row in compared[len(methods) :]:
            own = compare_report.best_ridge(row)
            if own is None or math.isinf(own):
                spreads.append("no update is best, and its risk is the same for all data sets")
            else:
                at = problem.replace(ridge=own)
                spreads += spreads_of(at, registry.each(["fft"]), trials=trials, seed=seed)
    said = compare_report.Said(pretrained_seed, of_file, without, best, spreads)
    render = compare_report.compare_json if output is TableFormat.JSON else compare_report.compare_table
    render(problem, compared, said)
    if picture is not None:
        from linreg_lora.figures import method_map, pictures

        pictures.save(method_map.of_methods(problem, compared), picture)


@app.command()
def crossover(
    dx: Inputs,
    dy: Outputs,
    spectrum: Spectrum,
    rank: Annotated[int, typer.Option(help="LoRA rank.")],
    over: Annotated[str, typer.Option(help="What to vary: noise_std or n; its own option is not needed.")],
    low: Annotated[float, typer.Option(help="Smallest value to look at.")],
    high: Annotated[float, typer.Option(help="Largest value to look at.")],
    n: Annotated[int | None, typer.Option(help="Number of samples; not needed with --over n.")] = None,
    noise_std: Annotated[
        float | None, typer.Option(help="Noise standard deviation sigma; not needed with --over noise_std.")
    ] = None,
    ridge: Ridge = 0.0,
    input_spectrum: InputSpectrum = None,
    noise_spectrum: NoiseSpectrum = None,
    input_law: InputLaw = None,
    input_mean: InputMean = None,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    picture: Picture = None,
) -> None:
    """Where LoRA of one rank and FFT have the same expected risk, by theory. "No crossing" is an answer."""
    from linreg_lora.cli import complexity_report, risk_report
    from linreg_lora.console import progress
    from linreg_lora.theory import crossings

    picture = grammar.picture_path(picture)
    over = over.replace("-", "_")
    start = grammar.where_to_start(over, low, n=n, noise_std=noise_std)
    problem = grammar.problem(
        n=start.n,
        dx=dx,
        dy=dy,
        noise_std=start.noise_std,
        spectrum=spectrum,
        ridge=ridge,
        input_spectrum=input_spectrum,
        noise_spectrum=noise_spectrum,
        input_law=input_law,
        input_mean=input_mean,
    )
    with progress("looking for crossings", crossings.STEPS) as advance:
        found = crossings.crossover(problem, rank, over, low, high, progress=advance)
    render = risk_report.crossings_json if output is TableFormat.JSON else risk_report.crossings_text
    closed = complexity_report.closed_crossings(problem, rank, over, low, high)
    render(found, rank, over, closed)
    if picture is not None:
        from linreg_lora.figures import pictures

        with progress("drawing", pictures.POINTS) as advance:
            drawn = pictures.of_crossings(problem, rank, over, low, high, found, advance)
        pictures.save(drawn, picture)
