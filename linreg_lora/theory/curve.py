"""Risk against rank from theory alone."""

from typing import TYPE_CHECKING

import numpy as np

from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve, valid_ranks
from linreg_lora.theory.fft import FFTRisk, fft_risk

if TYPE_CHECKING:
    from linreg_lora.theory.contours.traced import Choose


def expected_risk(
    problem: Problem,
    ranks: object = None,
    *,
    correction: bool = True,
    flags: bool = True,
    ridge: float | str | None = None,
) -> RiskCurve:
    """Expected excess risk by formula: LoRA at every rank by its deterministic equivalent, FFT by the sharpest result.

    Rank 0 is exact and rank min(n, dx, dy) is FFT; in between see `theory.equivalent`, which `correction` is passed on
    to, also for `difference`, and `flags`: false leaves out which numbers may be off by more than 1 %. `fft_risk` is
    that of `theory.fft.fft_risk`. Where the mean is infinite the risk is inf. A rank whose equations were not solved,
    or to which the theory does not reach, is nan. `notes` say all this. `ridge`: a number instead of the problem's own,
    or "auto", the best of each rank and of FFT (`theory.best_ridge`); which ones, the curve's `ridge` and `fft_ridge`
    say.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> curve = ll.expected_risk(problem, ranks=[0, 2, 20])
    >>> curve.risk.round(3).tolist()
    [14.0, 3.263, 13.714]
    >>> curve.fft_formula
    'Tr(Sigma_eps) dx / (n - dx - 1), exact'
    >>> tuned = ll.expected_risk(problem, ranks=[2], ridge="auto")
    >>> f"rank 2: {tuned.risk[0]:.3f}, FFT: {tuned.fft_risk:.3f} with ridge {tuned.fft_ridge:.1f}"
    'rank 2: 2.884, FFT: 5.996 with ridge 34.3'
    """
    if isinstance(ridge, str):
        from linreg_lora.theory import best_ridge

        best_ridge.require_auto(ridge)
        return best_ridge.tuned_risk(problem, ranks, correction=correction, flags=flags)
    if ridge is not None:
        problem = problem.replace(ridge=ridge)
    if not problem.input_law.is_gaussian:
        from linreg_lora.theory import other_inputs

        return other_inputs.expected_risk(problem, ranks, correction=correction, flags=flags)
    if problem.input_mean is not None:
        from linreg_lora.theory import input_mean

        return input_mean.expected_risk(problem, ranks, correction=correction, flags=flags)
    return curve_of(problem, ranks, correction=correction, flags=flags)


def curve_of(
    problem: Problem,
    ranks: object = None,
    *,
    correction: bool = True,
    flags: bool = True,
    choose: "Choose | None" = None,
) -> RiskCurve:
    """`expected_risk` for Gaussian inputs without a mean, but for the ranks that `choose` leaves out."""
    chosen = valid_ranks(ranks, problem)
    notes: list[str] = []
    fft, fft_formula, fft_flagged, full = np.nan, "none", False, None
    try:
        full = fft_risk(problem)
        fft, fft_formula, fft_flagged = full.risk, full.formula, full.flagged and flags
        notes += [full.note] if fft_flagged else []
    except NumericalFailure as failure:
        notes.append(str(failure))
    formula = fft_formula
    trivial = (chosen == 0) | (chosen == problem.max_rank)
    risk = np.where(chosen == 0, problem.pretrained_risk, np.where(trivial, fft, np.nan))
    difference = risk - fft if np.isfinite(fft) else np.full(len(chosen), np.nan)
    flagged, left_out = (chosen == problem.max_rank) & fft_flagged, set()
    if problem.moments is Moments.NO_MEAN:
        risk = np.where(chosen == 0, problem.pretrained_risk, np.inf)
        notes.append(problem.moments_note)
    elif not np.all(trivial):
        formula = f"LoRA: deterministic equivalent; FFT: {fft_formula}"
        try:
            risk, difference, flagged, found, left_out = _equivalent(problem, chosen, correction, flags, full, choose)
            notes += found
        except NumericalFailure as failure:
            notes.append(str(failure))
    curve = RiskCurve(
        problem=problem,
        computed_by="theory",
        ranks=chosen,
        risk=risk,
        stderr=None,
        fft_risk=fft,
        fft_stderr=None,
        difference=difference,
        difference_stderr=None,
        moments=problem.moments,
        formula=formula,
        notes=tuple(dict.fromkeys(notes)),
        flagged=flagged,
        fft_flagged=fft_flagged,
        fft_formula=fft_formula,
    )
    return curve if not left_out else curve.at([rank for rank in chosen.tolist() if rank not in left_out])


def _equivalent(
    problem: Problem, ranks: np.ndarray, correction: bool, flags: bool, full: FFTRisk | None, choose: "Choose | None"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str], set[int]]:
    from linreg_lora.theory import notes as words
    from linreg_lora.theory.equivalent import partial_equivalent
    from linreg_lora.theory.functionals import LEFT_OUT

    found = partial_equivalent(problem, ranks, correction=correction, flags=flags, full=full, choose=choose)
    left_out = {rank for rank, reason in found.failures.items() if reason == LEFT_OUT}
    notes = words.reasons({rank: why for rank, why in found.failures.items() if rank not in left_out})
    if correction and not found.corrected:
        notes.append(words.UNCORRECTED)
    elif np.any(flagged := found.flagged & (found.ranks < problem.max_rank)):
        notes.append(words.of_flagged(found.ranks[flagged].tolist()))
    return found.risk, found.difference, found.flagged, notes, left_out
