"""The best rank by closed forms of every rank's risk, and whether finite strengths and noise leave it the best."""

from typing import NamedTuple

import numpy as np

from linreg_lora.problem import Problem
from linreg_lora.theory.complexity import task_complexity
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.mixing import repulsion
from linreg_lora.theory.noise_blur import noise_blur
from linreg_lora.theory.strong_limit import strengths_and_unit_covariance


class ClosedBestRank(NamedTuple):
    """The rank of least risk in the strong limit, 0 <= r <= R, where R is FFT; and whether corrections leave it so."""

    rank: int
    sure: bool


def closed_best_rank(problem: Problem) -> ClosedBestRank:
    """The rank of least risk by the closed forms: those of rank 0 and FFT are exact, the others the strong limit's.

    Above the rank of the shift every direction more is noise, and costs. `sure` where the best rank b is better than
    every other q by more than what b and q do not have in common: the mixing of pairs of directions i < j of which one
    of the two ranks separates i from j and the other does not, with

        m_ij^2 = s_j^2 (s_j^2 + e_i + e_j) / n,        (sqrt((s_i^2 - s_j^2)^2 + 4 m_ij^2) - (s_i^2 - s_j^2)) / 2

    for a pair: the repulsion of two levels, of which T_r / n has the first order m_ij^2 / (s_i^2 - s_j^2), and which is
    finite at ties; and the blur of the directions that b keeps and q does not, of all that b keeps if noise is unequal.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(5.0, 4.0, 0.1), noise_std=1.0)
    >>> ll.theory.closed_best_rank(problem), ll.best_rank(problem).rank
    (ClosedBestRank(rank=2, sure=True), 2)
    """
    found = task_complexity(problem)
    ends = problem.pretrained_risk - fft_risk(problem).risk
    differences = np.concatenate([[ends], np.where(np.isnan(found.difference), np.inf, found.difference), [0.0]])
    best = int(np.argmin(differences))
    reduced = problem.without_null_inputs()
    s, covariance = strengths_and_unit_covariance(reduced)
    noise, full = reduced.noise_std**2 * covariance, reduced.max_rank
    repelled = repulsion(s, np.diagonal(noise), reduced.n)
    blur, equal = noise_blur(reduced, s, noise, np.arange(full + 1)), reduced.isotropic_noise_scale is not None
    blurred = np.diff(blur) if equal else blur
    for other in np.flatnonzero(np.isfinite(differences)):
        low, high = min(best, other), max(best, other)
        if high == full:  # FFT separates nothing, and blurs nothing that LoRA does not
            apart, kept = np.sum(repelled[:low, low:]), blurred[:low] if equal else blur[low : low + 1]
        else:
            apart = np.sum(repelled[:low, low:high]) + np.sum(repelled[low:high, high:])
            kept = blurred[other:best] if equal else blur[best : best + 1]
        if other != best and not differences[other] - differences[best] > apart + np.sum(kept):
            return ClosedBestRank(best, False)
    return ClosedBestRank(best, True)
