"""Risk against rank from theory alone."""

import numpy as np

from linreg_lora.errors import TheoryUnavailable
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.theory.fft import fft_risk

LORA_UNAVAILABLE = (
    "no formula for LoRA at ranks strictly between 0 and min(n, dx, dy) is implemented yet; use --method monte-carlo"
)


def risk_curve(problem: Problem, ranks: object = None) -> RiskCurve:
    """Expected excess risk by formula: rank 0 exactly, rank min(n, dx, dy) as FFT, nan in between.

    The ranks in between need the deterministic equivalent of LoRA, which this version does not have; `notes` say so.
    """
    chosen = valid_ranks(ranks, problem)
    full = fft_risk(problem)
    risk = np.full(len(chosen), np.inf if problem.moments is Moments.NO_MEAN else np.nan)
    risk[chosen == problem.max_rank] = full.risk
    risk[chosen == 0] = problem.pretrained_risk
    notes = [problem.moments_note] if problem.moments is Moments.NO_MEAN else []
    if np.any(np.isnan(risk)):
        notes.append(LORA_UNAVAILABLE)
    difference = np.full(len(chosen), np.nan)
    if np.isfinite(full.risk):
        difference = risk - full.risk
    return RiskCurve(
        problem=problem,
        method="theory",
        ranks=chosen,
        risk=risk,
        stderr=None,
        fft_risk=full.risk,
        fft_stderr=None,
        difference=difference,
        difference_stderr=None,
        moments=problem.moments,
        formula=full.formula,
        notes=tuple(notes),
    )


def lora_risk(problem: Problem, rank: int) -> float:
    """Expected excess risk of LoRA at one rank; raises `TheoryUnavailable` where no formula is implemented."""
    value = float(risk_curve(problem, [rank]).risk[0])
    if np.isnan(value):
        raise TheoryUnavailable(f"rank: {LORA_UNAVAILABLE}")
    return value
