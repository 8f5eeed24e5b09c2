"""The ranks of a theory curve that theory cannot tell from its best one."""

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.risk_curve import RiskCurve
from linreg_lora.theory.notes import FLAGGED, UNFLAGGED


def near_best(curve: RiskCurve) -> list[int]:
    """Those of a theory curve's ranks that theory cannot tell from its best rank b, which is not among them: all r with

        risk_r (1 - e_r) <= risk_b (1 + e_b),

    e the relative error that a number may have: 1 % (`UNFLAGGED`), a tenth where it is flagged (`FLAGGED`), and none at
    rank 0, which is exact. Raises as `RiskCurve.best_rank` does, and `InvalidInput` for a curve that is simulated.

    >>> import linreg_lora as ll
    >>> shift = ll.spectra.power_law(20, exponent=1, scale=4)
    >>> curve = ll.expected_risk(ll.Problem(n=100, dx=20, dy=20, spectrum=shift, noise_std=1.0))
    >>> curve.best_rank, ll.theory.near_best(curve), curve.ranks[curve.flagged].tolist()
    (5, [3, 4, 6, 7], [3, 4])
    """
    if curve.computed_by != "theory":
        raise InvalidInput("curve", "one by theory", curve.computed_by, "a simulated curve has standard errors")
    error = np.full(len(curve.ranks), UNFLAGGED)
    if curve.flagged is not None:
        error[curve.flagged] = FLAGGED
    error[curve.ranks == 0] = 0
    best = curve.ranks == curve.best_rank
    highest = np.max((curve.risk * (1 + error))[best])
    return curve.ranks[(curve.risk * (1 - error) <= highest) & ~best].tolist()
