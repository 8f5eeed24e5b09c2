"""The curve of risk against rank where it may be least, for questions that ask for the best rank alone.

Where one sweep over bands gives all ranks (`theory.bands`) that is the whole curve. Elsewhere contours cost more the
more ranks there are, so ranks that dT / dN rules out (`contours.promising`) are left out. That is certified
by what was found: estimates were as near to the risks of the ranks looked at as they were taken to be, and no other
rank comes near the best by them. Where that is not so, or a rank looked at has no number, the whole curve is made.
"""

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.contours.promising import Estimate, Search
from linreg_lora.theory.curve import curve_of, expected_risk

#: Below this many ranks there is nothing to save.
_FEW = 12
#: Of the allowance: what estimates may be off by, so that the rest is for ranks that were not looked at.
_CERTAIN = 0.7


def curve_near_best(problem: Problem, *, correction: bool = True) -> RiskCurve:
    """`expected_risk` at ranks among which the best is, 0 and full rank among them; the whole curve where in doubt.

    Its `best_rank`, the risk there, and whether they are in doubt, are those of the whole curve, but that ranks far
    from the best may lack a number unnoticed.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=40, dy=40, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=5.0)
    >>> near, whole = ll.theory.curve_near_best(problem), ll.expected_risk(problem)
    >>> near.best_rank == whole.best_rank, len(near.ranks) < len(whole.ranks)
    (True, True)
    """
    plain = problem.input_law.is_gaussian and problem.input_mean is None and problem.moments is not Moments.NO_MEAN
    if not plain or problem.max_rank < _FEW:
        return expected_risk(problem, correction=correction)
    try:
        search = Search(problem, correction=correction)
    except (InvalidInput, NumericalFailure):
        return expected_risk(problem, correction=correction)
    curve = curve_of(problem, correction=correction, choose=search)
    if search.estimate is None or _is_certain(curve, search.estimate):
        return curve
    return expected_risk(problem, correction=correction)


def _is_certain(curve: RiskCurve, estimate: Estimate) -> bool:
    looked_at = estimate.ranks[estimate.kept].astype(int)
    place = np.searchsorted(curve.ranks, looked_at)
    risk = curve.risk[place]
    if not (np.all(np.isfinite(curve.risk)) and np.all(np.isfinite(curve.difference))):
        return False
    raw, error = estimate.risk[estimate.kept], estimate.error[estimate.kept]
    off = np.abs(risk - raw) - error
    if np.any(off > _CERTAIN * estimate.allowance * np.minimum(risk, raw)):
        return False
    # Ranks are compared by their differences from FFT's risk, of which LoRA's equivalent has its own.
    own = float(risk[0] - curve.difference[place[0]])
    best = curve.at_rank(curve.best_rank)
    least = max(best.risk, best.difference + own)
    return not np.any(estimate.within(least) & ~estimate.kept)
