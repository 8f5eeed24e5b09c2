"""Methods side by side on one problem, by theory and by simulation."""

from collections.abc import Sequence
from typing import NamedTuple

from linreg_lora.errors import InvalidInput
from linreg_lora.methods import registry
from linreg_lora.methods.expected import expected_risks, require_problem
from linreg_lora.methods.method import Method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Problem
from linreg_lora.risk_curve import ComputedBy
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import methods as simulation

#: Both ways to compute a risk.
BOTH: tuple[ComputedBy, ...] = ("theory", "monte-carlo")


class Compared(NamedTuple):
    """One method: its name, how many numbers it trains (None: it could not say), and its risks as far as wanted."""

    method: str
    parameters: int | None
    theory: MethodRisk | None
    simulated: MethodRisk | None


def compare(
    problem: Problem,
    adapt: Sequence[Method | str],
    *,
    computed_by: Sequence[ComputedBy] = BOTH,
    trials: int = 400,
    seed: int = 0,
    progress: simulation.Progress | None = None,
) -> list[Compared]:
    """The risk of each method of `adapt`, methods or their names, in that order.

    `computed_by` says how: theory, monte-carlo or both, the latter with `trials` draws from `seed`. All ranks of LoRA
    and FFT share one risk curve each way. A method that cannot be evaluated has the risk nan, and `notes` say why; the
    others are not touched. Raises `InvalidInput` for names that are none, before any work.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> for one in ll.compare(problem, ["bitfit", "ia3", "lora:2"], computed_by=["theory"]):
    ...     print(one.method, one.parameters, f"{one.theory.risk:.3f}", *one.theory.notes)
    bitfit 20 14.567
    ia3 20 nan pretrained: expected A0, a dy x dx matrix, received nothing; IA3 rescales the pretrained outputs
    lora:2 88 3.263
    """
    require_problem(problem)
    methods = registry.each(adapt)
    unknown = [way for way in computed_by if way not in BOTH]
    if unknown or not computed_by:
        raise InvalidInput("computed_by", "any of theory, monte-carlo", list(computed_by))
    if "monte-carlo" in computed_by:
        trials, seed = simulation.enough_trials(trials), valid_seed(seed)
    theory: Sequence[MethodRisk | None] = [None] * len(methods)
    simulated: Sequence[MethodRisk | None] = [None] * len(methods)
    if "theory" in computed_by:
        theory = expected_risks(problem, methods)
    if "monte-carlo" in computed_by:
        simulated = simulation.simulated_risks(problem, methods, trials=trials, seed=seed, progress=progress)
    return [
        Compared(method.name, (mine or its).parameters, mine, its)  # type: ignore[union-attr]
        for method, mine, its in zip(methods, theory, simulated, strict=True)
    ]


def draws_of(problem: Problem, adapt: Sequence[Method], trials: int) -> int:
    """How many draws `compare` makes at most: what its `progress` comes to."""
    fits = [method for method in adapt if not simulation.by_curve(method)]
    return trials * (len(fits) + (simulation.curve_ranks(problem, adapt) is not None))
