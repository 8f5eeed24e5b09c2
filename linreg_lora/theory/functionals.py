"""LoRA's functionals at every rank by the fastest way that certifies them."""

import numpy as np
from jaxtyping import Float

from linreg_lora import runtime
from linreg_lora.problem import Problem
from linreg_lora.theory.contours.functionals import Functionals, assembled, nothing, with_planted
from linreg_lora.theory.contours.measured import from_traced
from linreg_lora.theory.contours.modes import Pretraining
from linreg_lora.theory.contours.traced import Choose, trace

#: Why a rank that was left out has no number.
LEFT_OUT = "left out"


def functionals(
    problem: Problem,
    ranks: Float[np.ndarray, "m"],
    *,
    correction: bool,
    pretraining: Pretraining = None,
    choose: Choose | None = None,
) -> Functionals:
    """The functionals at ranks strictly between 0 and full rank, for inputs of full rank.

    `pretraining` is Sigma_pre (None: identity). Without `correction` that part is zero, and so are `curvature` and
    `moved`. For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0.

    Without ridge one sweep over the bands of the spectrum gives every rank (`theory.bands`); elsewhere, and where bands
    are too many or nearly touch, contours between neighbouring cuts do (`theory.contours`). Ranks that `choose` leaves
    out there have no numbers, and `LEFT_OUT` among the failures.
    """
    if not len(ranks):
        return nothing(0)
    from linreg_lora.theory.bands.sweep import sweep  # brings scipy.fft, a fifth of a second

    seen = with_planted(problem, ranks) if correction else ranks
    # Points that are lost say so by their residuals.
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        measured = sweep(problem, seen, correction=correction, pretraining=pretraining)
        if measured is None:
            traced = trace(problem, seen, correction=correction, pretraining=pretraining, choose=choose)
            measured = from_traced(traced)
        found = assembled(problem, measured)
    return (found if len(found.raw) == len(seen) else _among(seen, measured.ranks, found)).first(len(ranks))


def _among(ranks: Float[np.ndarray, "k"], chosen: Float[np.ndarray, "m"], found: Functionals) -> Functionals:
    """What was found at the chosen ones of some ranks, in their order, with nothing at the others."""
    rows = np.flatnonzero(np.isin(ranks, chosen))

    def spread(part: np.ndarray) -> np.ndarray:
        whole = np.full((len(ranks), *part.shape[1:]), np.nan)
        whole[rows] = part
        return whole

    sharpened = np.zeros(len(ranks), dtype=bool)
    sharpened[rows] = found.sharpened
    failures = dict.fromkeys(np.flatnonzero(~np.isin(ranks, chosen)).tolist(), LEFT_OUT)
    failures |= {int(rows[row]): reason for row, reason in found.failures.items()}
    raw, correction, gap, curvature, around, moved = map(spread, found[:6])
    return Functionals(raw, correction, gap, curvature, around, moved, failures, sharpened, found.separate)
