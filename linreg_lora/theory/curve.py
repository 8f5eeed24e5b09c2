"""Risk against rank from theory alone."""

import numpy as np

from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.theory.fft import EQUIVALENT, fft_risk


def risk_curve(problem: Problem, ranks: object = None, *, correction: bool = True, flags: bool = True) -> RiskCurve:
    """Expected excess risk by formula: LoRA at every rank by its deterministic equivalent, FFT by the sharpest result.

    Rank 0 is exact and rank min(n, dx, dy) is FFT; in between see `theory.equivalent`, which `correction` is passed on
    to, also for `difference`, and `flags`: false is faster for few ranks, and no note tells where they may be off.
    Where the mean is infinite the risk is inf. A rank whose equations were not solved is nan. `notes` say all this.
    """
    chosen = valid_ranks(ranks, problem)
    full = fft_risk(problem)
    fft, formula, notes = full.risk, full.formula, []
    difference = np.full(len(chosen), np.nan)
    trivial = (chosen == 0) | (chosen == problem.max_rank)
    risk = np.where(chosen == 0, problem.pretrained_risk, np.where(trivial, fft, np.nan))
    if np.isfinite(fft):
        difference = risk - fft
    if problem.moments is Moments.NO_MEAN:
        risk = np.where(chosen == 0, problem.pretrained_risk, np.inf)
        notes.append(problem.moments_note)
    elif not np.all(trivial) or full.formula == EQUIVALENT:
        formula = f"LoRA: deterministic equivalent; FFT: {full.formula}"
        try:
            risk, difference, fft, found = _equivalent(problem, chosen, correction, flags)
            notes += found
        except NumericalFailure as failure:
            notes.append(str(failure))
    return RiskCurve(
        problem=problem,
        method="theory",
        ranks=chosen,
        risk=risk,
        stderr=None,
        fft_risk=fft,
        fft_stderr=None,
        difference=difference,
        difference_stderr=None,
        moments=problem.moments,
        formula=formula,
        notes=tuple(notes),
    )


def _equivalent(
    problem: Problem, ranks: np.ndarray, correction: bool, flags: bool
) -> tuple[np.ndarray, np.ndarray, float, list[str]]:
    from linreg_lora.theory.equivalent import partial_equivalent

    found = partial_equivalent(problem, ranks, correction=correction, flags=flags)
    notes = list(found.failures.values())[:1]
    if correction and not found.corrected:
        notes.append("LoRA by formula comes without its finite-size correction: Delta couples too many directions")
    elif np.any(found.flagged):
        listed = ", ".join(str(rank) for rank in found.ranks[found.flagged])
        notes.append(f"the finite-size correction may be off by more than 0.5 %: rank {listed}")
    return found.risk, found.difference, found.fft_risk, notes
