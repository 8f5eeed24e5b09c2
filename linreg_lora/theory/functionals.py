"""LoRA's functionals at every rank by the fastest way that certifies them."""

import numpy as np
from jaxtyping import Float

from linreg_lora import runtime
from linreg_lora.problem import Problem
from linreg_lora.theory.contours.functionals import Functionals, assembled, nothing, with_planted
from linreg_lora.theory.contours.measured import from_traced
from linreg_lora.theory.contours.modes import Pretraining
from linreg_lora.theory.contours.traced import trace


def functionals(
    problem: Problem, ranks: Float[np.ndarray, "m"], *, correction: bool, pretraining: Pretraining = None
) -> Functionals:
    """The functionals at ranks strictly between 0 and full rank, for inputs of full rank.

    `pretraining` is Sigma_pre (None: identity). Without `correction` that part is zero, and so are `curvature` and
    `moved`. For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0.

    Without ridge one sweep over the bands of the spectrum gives every rank (`theory.bands`); elsewhere, and where bands
    are too many or nearly touch, contours between neighbouring cuts do (`theory.contours`).
    """
    if not len(ranks):
        return nothing(0)
    from linreg_lora.theory.bands.sweep import sweep  # brings scipy.optimize, a quarter of a second

    seen = with_planted(problem, ranks) if correction else ranks
    # Points that are lost say so by their residuals.
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        measured = sweep(problem, seen, correction=correction, pretraining=pretraining)
        if measured is None:
            measured = from_traced(trace(problem, seen, correction=correction, pretraining=pretraining))
        return assembled(problem, measured).first(len(ranks))
