"""The risk of one method on one problem: what theory and simulation both return."""

import dataclasses
import math
from typing import Literal

from linreg_lora.input_law import IidEntries
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import ComputedBy, RiskCurve
from linreg_lora.theory import notes as words

#: Said of formulas of Gaussian inputs that are used for entries of another law, right as n and dx grow.
_OF_GAUSSIAN = "that of Gaussian inputs"
Kind = Literal["exact", "equivalent", "expansion", "simulated", "other"]
#: Words in the formulas of theory, the less certain first: the first that is there says of what kind a formula is.
_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("expansion", ("order in 1/n", "right to first order", "kappa4", _OF_GAUSSIAN)),
    ("equivalent", ("equivalent", "to first order in the dimension")),
    ("exact", ("exact", "the mean is infinite")),
)


def kind_of(formula: str) -> Kind:
    """Whether a formula is exact, a deterministic equivalent or an expansion; other where it does not say."""
    for kind, marks in _KINDS:
        if any(mark in formula for mark in marks):
            return kind
    return "other"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodRisk:
    """Expected excess risk of one method, and how far to trust it.

    | field         | meaning                                                                                    |
    |---------------|--------------------------------------------------------------------------------------------|
    | `method`      | its name, as on the command line                                                           |
    | `parameters`  | how many numbers it trains; None: it could not say                                         |
    | `computed_by` | theory or monte-carlo                                                                      |
    | `risk`        | in squared units of y; inf where the mean does not exist, nan: unknown                     |
    | `stderr`      | its standard error; 0 for exact values, nan where none exists; None for theory             |
    | `flagged`     | theory: whether the risk may be off by more than 1 %                                       |
    | `moments`     | which moments of the risk exist; None: unknown                                             |
    | `formula`     | how the risk was obtained                                                                  |
    | `notes`       | what is missing or in doubt, and why; empty when nothing is                                |
    | `ridge`       | its best ridge, where it has that; inf: no update; None: the problem's own                 |
    | `forgetting`  | mean of ||D Sigma_pre^{1/2}||^2 + ||b||^2 over the same fits, where these were drawn       |
    | `kind`        | of the risk: exact, equivalent, expansion, simulated or other; None: there is no risk      |

    `forgetting_stderr` is to `forgetting` what `stderr` is to `risk`.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.expected_risk(problem, method="lora:2")
    >>> f"{found.parameters} parameters: {found.risk:.3f}"
    '88 parameters: 3.263'
    """

    problem: Problem
    method: str
    parameters: int | None
    computed_by: ComputedBy
    risk: float
    stderr: float | None = None
    flagged: bool = False
    moments: Moments | None = None
    formula: str = "none"
    notes: tuple[str, ...] = ()
    trials: int | None = None
    seed: int | None = None
    ridge: float | None = None
    forgetting: float | None = None
    forgetting_stderr: float | None = None

    @property
    def kind(self) -> Kind | None:
        """Of the risk: exact, equivalent, expansion, simulated, or other; None where there is no risk."""
        if math.isnan(self.risk):
            return None
        return "simulated" if self.computed_by == "monte-carlo" else kind_of(self.formula)


def _doubts(curve: RiskCurve, rank: int | None, flagged: bool) -> tuple[str, ...]:
    """What a curve says of one of its numbers, leaving out what it says of others."""
    if curve.computed_by != "theory" or rank == 0:
        return ()
    if rank is None or rank == curve.problem.max_rank:
        return tuple(note for note in curve.notes if note.startswith("FFT")) if flagged else ()
    said = [words.of_flagged([rank])] if flagged else []
    return (*said, *(note for note in curve.notes if note in (words.UNCORRECTED, f"LoRA {words.FIRST_ORDER}")))


def _equivalent(curve: RiskCurve) -> str:
    second = "" if curve.problem.input_mean is None else " with Sigma + mu mu' for Sigma"
    return f"deterministic equivalent{second}"


def of_curve(
    curve: RiskCurve, rank: int | None, problem: Problem, method: str, parameters: int, constant: float
) -> MethodRisk:
    """The risk of a method that is LoRA of `rank` (None: FFT) on the problem of a curve, plus a constant."""
    if rank is None:
        risk, stderr, flagged, ridge = curve.fft_risk, curve.fft_stderr, curve.fft_flagged, curve.fft_ridge
        formula = curve.fft_formula or curve.formula
    else:
        one = curve.at_rank(rank)
        risk, stderr, flagged, ridge, formula = one.risk, one.stderr, one.flagged, one.ridge, curve.formula
        if rank == 0:
            formula = "||Delta Sigma^{1/2}||_F^2, exact"
        elif curve.computed_by == "theory":
            formula = curve.fft_formula if rank == curve.problem.max_rank else _equivalent(curve)
    if isinstance(problem.input_law, IidEntries) and rank != 0 and kind_of(formula) == "exact" and math.isfinite(risk):
        formula = f"{_OF_GAUSSIAN}: {formula}"
    known = math.isfinite(risk) and (stderr is None or math.isfinite(stderr))
    notes = _doubts(curve, rank, flagged) if known else curve.notes
    if curve.problem != problem:
        lost = f"misspecification {constant:.6g} + " if constant else ""
        formula = f"{lost}the reduced problem's {formula}"
        notes = tuple(f"of the problem that {method} reduces to: {note}" for note in notes)
    return MethodRisk(
        problem=problem,
        method=method,
        parameters=parameters,
        computed_by=curve.computed_by,
        risk=constant + float(risk),
        stderr=None if stderr is None else float(stderr),
        flagged=bool(flagged),
        moments=Moments.FINITE if rank == 0 else curve.moments,
        formula=formula,
        notes=notes,
        trials=curve.trials,
        seed=curve.seed,
        ridge=ridge,
    )
