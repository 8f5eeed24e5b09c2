"""The command about poisoned training data: `attack`."""

from typing import TYPE_CHECKING, Annotated

import typer

from linreg_lora.cli import grammar, problems
from linreg_lora.cli.app import TableFormat, app
from linreg_lora.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from linreg_lora.problem import Problem

#: A direction that no part of the shift has, and samples that are not chosen.
_OUTSIDE, _RANDOM = "outside", "random"
#: How many ranks are listed unless they are named.
_LONGEST_TABLE = 10_000


@app.command()
def attack(
    n: problems.Samples,
    dx: problems.Inputs,
    dy: problems.Outputs,
    noise_std: problems.Noise,
    spectrum: problems.Spectrum,
    count: Annotated[int, typer.Option(help="Poisoned samples.")],
    target: Annotated[
        str,
        typer.Option(
            metavar="WHERE:LENGTH|NUMBERS",
            help="What is added to their labels: outside:6, of length 6 orthogonal to the shift's directions; 2:6, "
            "along the second of these; or numbers of the first outputs, as in 3,-2,1.",
        ),
    ],
    trigger: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE:LENGTH|NUMBERS",
            help="What is added to their inputs, written as --target is. Default: nothing, which is label poison.",
        ),
    ] = None,
    choose: Annotated[
        str,
        typer.Option(
            metavar="random|WHERE|NUMBERS",
            help="Which samples: random, or those with the largest inputs along outside, 2, or numbers as in 1,0,1.",
        ),
    ] = _RANDOM,
    ranks: Annotated[str | None, typer.Option(help="LoRA ranks, as in 1-8,16. Default: all.")] = None,
    ridge: problems.Ridge = 0.0,
    input_spectrum: problems.InputSpectrum = None,
    noise_spectrum: problems.NoiseSpectrum = None,
    input_law: problems.InputLaw = None,
    input_mean: problems.InputMean = None,
    method: Annotated[problems.Method, typer.Option(help="Simulate, compute, or both.")] = problems.Method.BOTH,
    trials: Annotated[int, typer.Option(help="Monte Carlo draws.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    output: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.TABLE,
    perturb: Annotated[
        float | None,
        typer.Option(
            help="Length tau of perturbations of test inputs: adds what fits of clean data lose by random and by worst "
            "ones, and the spectral norm of the fitted map, which large ones cost. Default: none."
        ),
    ] = None,
    pretrained_std: Annotated[float, typer.Option(help="Of the entries of A0, with --perturb: iid N(0, std^2).")] = 1.0,
    pretrained_seed: Annotated[int, typer.Option(help="Seed of A0, with --perturb.")] = 0,
) -> None:
    """Clean risk and attack success of LoRA and FFT on poisoned training data."""
    from linreg_lora.cli import attack_report
    from linreg_lora.risk_curve import valid_ranks
    from linreg_lora.theory.poisoning import Poison

    problem = grammar.problem(
        n=n,
        dx=dx,
        dy=dy,
        noise_std=noise_std,
        spectrum=spectrum,
        ridge=ridge,
        input_spectrum=input_spectrum,
        noise_spectrum=noise_spectrum,
        input_law=input_law,
        input_mean=input_mean,
    )
    poison = Poison(
        count=count,
        target=_vector("target", target, problem, dy),
        trigger=None if trigger is None else _vector("trigger", trigger, problem, dx),
        along=None if choose == _RANDOM else _vector("choose", choose, problem, dx, length=1.0),
    )
    poison.require_fit(problem)
    if ranks is None and problem.max_rank > _LONGEST_TABLE:
        raise InvalidInput("ranks", f"a choice of ranks, being more than {_LONGEST_TABLE}", f"all {problem.max_rank}")
    chosen = valid_ranks(grammar.ranks(ranks), problem)
    perturbed_problem = None if perturb is None else _with_base(problem, perturb, pretrained_std, pretrained_seed)
    simulated = computed = None
    if method is not problems.Method.THEORY:
        from linreg_lora.console import progress
        from linreg_lora.simulation.poisoned import simulate_poisoned

        with progress("drawing", trials) as advance:
            simulated = simulate_poisoned(problem, poison, trials=trials, seed=seed, ranks=chosen, progress=advance)
    if method is not problems.Method.MONTE_CARLO:
        computed = attack_report.theory(problem, poison, chosen, alone=method is problems.Method.THEORY)
    perturbed = None
    if perturbed_problem is not None and perturb is not None:
        from linreg_lora.cli import attack_inputs

        drawn = (None, None, None)
        if method is not problems.Method.THEORY:
            drawn = attack_inputs.simulated(perturbed_problem, chosen, perturb, trials, seed)
        alone = method is not problems.Method.MONTE_CARLO
        limits = attack_inputs.theory(perturbed_problem, chosen, perturb, pretrained_std) if alone else None
        perturbed = attack_inputs.Perturbed(chosen, perturb, pretrained_std, pretrained_seed, limits, *drawn)
    render = attack_report.attack_json if output is TableFormat.JSON else attack_report.attack_table
    render(problem, poison, chosen, simulated, computed, perturbed)


def _with_base(problem: "Problem", radius: float, std: float, seed: int) -> "Problem":
    """The problem with A0 = std G, G iid N(0, 1) from `seed`; looks at the options before anything is computed."""
    from linreg_lora import validation
    from linreg_lora.problem import Moments
    from linreg_lora.sampling.pretrained import drawn_pretrained

    validation.nonnegative_number("perturb", radius)
    validation.nonnegative_number("pretrained-std", std)
    problem.require_gaussian("perturb")
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("perturb", "a problem whose updates have a mean", problem.moments_note, "change n")
    return problem.replace(pretrained=std * drawn_pretrained(seed, problem.dy, problem.dx))


def _vector(field: str, text: str, problem: "Problem", size: int, length: float | None = None) -> "np.ndarray":
    """A vector of `size` numbers; `length`: of a direction that is written without one."""
    import numpy as np

    where, colon, given = text.partition(":")
    vector = np.zeros(size)
    if colon and length is None:
        expected = f"a positive length after {where}:, as in {where}:6"
        numbers = grammar.numbers(field, given, expected)
        if len(numbers) != 1 or not 0 < numbers[0] < np.inf:
            raise InvalidInput(field, expected, text)
        vector[_direction(field, where, problem, size)] = numbers[0]
        return vector
    if length is not None and (where == _OUTSIDE or where.isdigit()) and not colon:
        vector[_direction(field, where, problem, size)] = length
        return vector
    forms = f"{_OUTSIDE}:6, 2:6" if length is None else f"{_RANDOM}, {_OUTSIDE}, 2"
    numbers = grammar.numbers(field, text, f"{forms} or comma-separated numbers, as in 3,-2,1")
    if not 1 <= len(numbers) <= size:
        raise InvalidInput(field, f"1 to {size} numbers", f"{len(numbers)} of them")
    vector[: len(numbers)] = numbers
    return vector


def _direction(field: str, where: str, problem: "Problem", size: int) -> int:
    """The coordinate of a direction of a shift that is diagonal: the last one for `outside`, or that of a number."""
    taken = sum(value > 0 for value in problem.spectrum or ())
    if where == _OUTSIDE:
        if taken == size:
            raise InvalidInput(field, f"a direction of the shift in 1..{size}, which has them all", where)
        return size - 1
    if not where.isdigit() or not 1 <= int(where) <= taken:
        raise InvalidInput(field, f"{_OUTSIDE}, or the number of a direction of the shift in 1..{taken}", where)
    return int(where) - 1
