"""Methods side by side on one problem, by theory and by simulation."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput, LinregLoraError
from linreg_lora.methods import own_ridge, registry
from linreg_lora.methods.expected import expected_risks, require_problem
from linreg_lora.methods.forgetting import Forgotten
from linreg_lora.methods.full import FullFineTuning
from linreg_lora.methods.method import Method
from linreg_lora.methods.result import MethodRisk
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import ComputedBy
from linreg_lora.seeds import valid_seed
from linreg_lora.simulation import methods as simulation
from linreg_lora.theory.best_ridge import NO_UPDATE

#: Both ways to compute a risk.
BOTH: tuple[ComputedBy, ...] = ("theory", "monte-carlo")
_NO_RIDGE = "simulated without a ridge: theory knows no best one"
#: The row of FFT with its best ridge.
TUNED_FFT = "fft (best ridge)"


class Compared(NamedTuple):
    """One method: its name, how many numbers it trains (None: it could not say), and its risks as far as wanted.

    Then what is known of it beside its risk (None: not known): `dimension`, that of the set of maps it reaches;
    `benefit`, V / (dx Tr Sigma_eps), the worth of a sample in units of its worth to FFT, for n -> infinity; and
    `hessian_gap`, what retraining leaves of the loss after e ~ N(0, I) on A0 (`Method.hessian_gap`); and `forgetting`,
    E [ ||D Sigma_pre^{1/2}||^2 + ||b||^2 ], how far it moves the pretrained outputs, by theory or else simulated.
    """

    method: str
    parameters: int | None
    theory: MethodRisk | None
    simulated: MethodRisk | None
    dimension: int | None = None
    benefit: float | None = None
    hessian_gap: float | None = None
    forgetting: Forgotten | None = None

    @property
    def best_known(self) -> MethodRisk | None:
        """The risk by theory where that is a number, else the simulated one; None where neither is."""
        return next((one for one in (self.theory, self.simulated) if one and not math.isnan(one.risk)), None)


def by_risk(compared: Sequence[Compared]) -> list[int]:
    """The places of the rows, least risk first, by theory where it has a number, else simulated.

    Those without a risk are last; rows that are alike keep their order.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> compared = ll.compare(problem, ["ia3", "fft", "lora:2"], computed_by=["theory"])
    >>> [compared[place].method for place in by_risk(compared)]
    ['lora:2', 'fft', 'ia3']
    """

    def key(place: int) -> tuple[bool, float]:
        known = compared[place].best_known
        return known is None, 0.0 if known is None else known.risk

    return sorted(range(len(compared)), key=key)


def compare(
    problem: Problem,
    adapt: Sequence[Method | str],
    *,
    computed_by: Sequence[ComputedBy] = BOTH,
    trials: int = 400,
    seed: int = 0,
    progress: simulation.Progress | None = None,
    ridge: float | str | None = None,
    pretraining_covariance: object = None,
) -> list[Compared]:
    """The risk of each method of `adapt`, methods or their names, in that order.

    `computed_by` says how: theory, monte-carlo or both, the latter with `trials` draws from `seed`. All ranks of LoRA
    and FFT share one risk curve each way. `ridge`: a number instead of the problem's own, or "auto": each method has
    the ridge of its least expected risk by theory, in simulation too. `pretraining_covariance` is Sigma_pre of
    forgetting: None for the identity, a length-dx vector or a dx x dx matrix. A method that cannot be evaluated has the
    risk nan, and `notes` say why; the others are not touched. Raises `InvalidInput` for names that are none, before any
    work.

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
        trials, seed = validation.enough_draws("trials", trials), valid_seed(seed)
    before = validation.covariance("pretraining_covariance", pretraining_covariance, problem.dx)
    problem, auto = own_ridge.of(problem, ridge)
    theory: Sequence[MethodRisk | None] = [None] * len(methods)
    simulated: Sequence[MethodRisk | None] = [None] * len(methods)
    if "theory" in computed_by or auto:
        theory = expected_risks(problem, methods, ridge=own_ridge.AUTO if auto else None)
    if "monte-carlo" in computed_by and auto:
        ridges = [one.ridge if one is not None else None for one in theory]
        simulated = _with_own_ridges(problem, methods, ridges, trials, seed, progress, before)
    elif "monte-carlo" in computed_by:
        simulated = simulation.simulated_risks(
            problem, methods, trials=trials, seed=seed, progress=progress, pretraining_covariance=before
        )
    rows = []
    for method, mine, its in zip(methods, theory, simulated, strict=True):
        own = mine.ridge if auto and mine is not None else None
        forgotten = _forgotten(method, problem if own is None else _at(problem, own), its, before)
        shown = mine if "theory" in computed_by else None
        parameters = (shown or its).parameters  # type: ignore[union-attr]
        rows.append(Compared(method.name, parameters, shown, its, *_beside_risk(method, problem), forgotten))
    return rows


def tuned_fft(
    problem: Problem,
    *,
    computed_by: Sequence[ComputedBy] = BOTH,
    trials: int = 400,
    seed: int = 0,
    progress: simulation.Progress | None = None,
    pretraining_covariance: object = None,
) -> Compared:
    """FFT with the ridge of its least expected risk as one more row, whatever ridge the problem has.

    Arguments as in `compare`. Raises `InvalidInput` or `NumericalFailure` where theory knows no best ridge.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> row = tuned_fft(problem, computed_by=["theory"])
    >>> f"{row.method}: {row.theory.risk:.3f} with ridge {row.theory.ridge:.2f}, {row.forgetting.value:.2f} forgotten"
    'fft (best ridge): 5.996 with ridge 34.29, 8.00 forgotten'
    """
    from linreg_lora.theory.best_ridge import fft_best_ridge

    fft_best_ridge(problem)
    (row,) = compare(
        problem, [FullFineTuning()], computed_by=computed_by, trials=trials, seed=seed, progress=progress,
        ridge=own_ridge.AUTO, pretraining_covariance=pretraining_covariance,
    )  # fmt: skip
    return row._replace(method=TUNED_FFT)


def _at(problem: Problem, ridge: float) -> Problem | None:
    """The problem with a ridge; None where that is infinite."""
    return None if math.isinf(ridge) else problem.replace(ridge=ridge)


def _forgotten(
    method: Method, problem: Problem | None, drawn: MethodRisk | None, before: np.ndarray | None
) -> Forgotten | None:
    """What a method forgets, by theory or else as it was drawn; LoRA and FFT, whose risk needs no fits, by fits."""
    if problem is None:
        return Forgotten(0.0, "no update, exact")
    try:
        known = method.forgetting(problem, before)
    except Exception:  # a user's method may raise anything; its risk says why
        known = None
    if known is not None and not math.isnan(known.value):
        return known
    if drawn is None or math.isnan(drawn.risk):
        return None
    if drawn.forgetting is None and drawn.trials is not None and drawn.seed is not None:
        try:
            drawn = simulation.fitted(
                problem, method, trials=drawn.trials, seed=drawn.seed, pretraining_covariance=before
            )
        except LinregLoraError:
            return None
    if drawn.forgetting is None:
        return None
    stderr = math.nan if drawn.forgetting_stderr is None else drawn.forgetting_stderr
    return Forgotten(drawn.forgetting, "mean over fits to explicit data", stderr)


def _beside_risk(method: Method, problem: Problem) -> tuple[int | None, float | None, float | None]:
    """Dimension, benefit and Hessian gap of a method; None where one is not known, or the method raises."""
    if not problem.input_law.is_gaussian:
        problem = problem.replace(input_law="gaussian")
    found: list[float | None] = []
    for ask in (method.dimension, method.variance_limit, method.hessian_gap):
        try:
            value = ask(problem)
        except Exception:  # a user's method may raise anything; its risk says why
            value = None
        found.append(None if value is None or not math.isfinite(value) else value)
    dimension, limit, gap = found
    full = problem.input_rank * problem.noise_trace
    benefit = limit / full if limit is not None and full > 0 else None
    return None if dimension is None else int(dimension), benefit, gap


def _with_own_ridges(
    problem: Problem,
    methods: Sequence[Method],
    ridges: Sequence[float | None],
    trials: int,
    seed: int,
    progress: simulation.Progress | None,
    before: np.ndarray | None,
) -> list[MethodRisk]:
    """Each method simulated with its own ridge; without one where theory knows none."""
    found: dict[Method, MethodRisk] = {}
    for ridge in set(ridges):
        alike = [method for method, own in zip(methods, ridges, strict=True) if own == ridge]
        if ridge is not None and math.isinf(ridge):
            found |= {method: _of_no_update(method, problem, trials, seed) for method in alike}
            continue
        said = (_NO_RIDGE,) if ridge is None else ()
        at = problem.replace(ridge=ridge or 0.0)
        drawn = simulation.simulated_risks(
            at, alike, trials=trials, seed=seed, progress=progress, pretraining_covariance=before
        )
        for method, one in zip(alike, drawn, strict=True):
            found[method] = dataclasses.replace(one, problem=problem, ridge=ridge or 0.0, notes=(*one.notes, *said))
    return [found[method] for method in methods]


def _of_no_update(method: Method, problem: Problem, trials: int, seed: int) -> MethodRisk:
    return MethodRisk(
        problem=problem,
        method=method.name,
        parameters=registry.parameters(method, problem),
        computed_by="monte-carlo",
        risk=problem.pretrained_risk,
        stderr=0.0,
        moments=Moments.FINITE,
        formula=NO_UPDATE,
        trials=trials,
        seed=seed,
        ridge=math.inf,
    )


def draws_of(problem: Problem, adapt: Sequence[Method], trials: int, ridge: float | str | None = None) -> int:
    """How many draws `compare` makes at most: what its `progress` comes to."""
    if ridge == own_ridge.AUTO:
        return trials * len(adapt)
    fits = [method for method in adapt if not simulation.by_curve(method)]
    return trials * (len(fits) + (simulation.curve_ranks(problem, adapt) is not None))
