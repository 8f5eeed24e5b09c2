"""Expected excess risk with a random frozen factor: exact means over Haar-distributed A, or B, beside the data.

Frozen A, r x dx with orthonormal rows of the Haar law, Sigma = c I. E M = (1 - r/dx) c Delta Delta^T, so (`frozen`)

    n > r + 1:  risk = [ (1 - r/dx) c ||Delta||_F^2 + Tr(Sigma_eps) ] (n - 1)/(n - r - 1) - Tr(Sigma_eps)
    n < r - 1:  risk = c ||Delta||_F^2 (1 - n/dx) + [ (1 - r/dx) c ||Delta||_F^2 + Tr(Sigma_eps) ] n / (r - n - 1)

and for Sigma_eps = sigma^2 I the first is [ (1 - r/dx) c ||Delta||^2 (n - 1) + r dy sigma^2 ] / (n - r - 1).

Frozen B, dy x r with orthonormal columns of the Haar law, any Sigma and Sigma_eps: a share r/dy of FFT's bias and
variance, and the rest of the shift,

    risk = (1 - r/dy) ||Delta Sigma^{1/2}||_F^2 + (r/dy) FFT risk

Source: derived here.
"""

import math

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.restricted import FrozenRisk

EXACT_A = "mean over Haar-distributed A, exact"
EXACT_B = "(1 - r/dy) ||Delta Sigma^{1/2}||^2 + (r/dy) FFT, mean over Haar-distributed B"


def haar_frozen_a_risk(problem: Problem, rank: int) -> FrozenRisk:
    """The mean over A, r = `rank` random rows, of the expected risk with A frozen; Sigma = c I, ridgeless.

    inf for |n - r| <= 1, where there is noise or misfit. Raises `InvalidInput` for another Sigma, a ridge, and a rank
    outside of 1..dx.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.haar_frozen_a_risk(problem, 4).risk:.4f} = {(20 / 24 * 14 * 59 + 4 * 20) / 55:.4f}"
    '13.9697 = 13.9697'
    """
    problem.require_gaussian("random frozen factors by theory")
    rank, n, dx = _rank(rank, problem.dx), problem.n, problem.dx
    if problem.isotropic_scale is None:
        raise InvalidInput("input_covariance", "c I for the mean over A", "another", "give A to frozen_a_risk")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge)
    shift = problem.pretrained_risk
    missed = (1 - rank / dx) * shift
    noise = problem.noise_trace + missed
    if noise > 0 and abs(n - rank) <= 1:
        return FrozenRisk(
            missed, math.nan, math.inf, f"the mean is infinite: |n - r| > 1 is needed, n = {n}, r = {rank}"
        )
    if n >= rank:
        return FrozenRisk(missed, 0.0, noise * rank / (n - rank - 1) if noise > 0 else 0.0, EXACT_A)
    variance = noise * n / (rank - n - 1) if noise > 0 else 0.0
    return FrozenRisk(missed, shift * rank / dx * (1 - n / rank), variance, EXACT_A)


def haar_frozen_b_risk(problem: Problem, rank: int) -> FrozenRisk:
    """The mean over B, r = `rank` random columns, of the expected risk with B frozen, exact where FFT's is.

    Raises `InvalidInput` for a rank outside of 1..dy.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.haar_frozen_b_risk(problem, 5).risk:.4f} = {0.75 * 14 + 0.25 * 20 * 24 / 35:.4f}"
    '13.9286 = 13.9286'
    """
    problem.require_gaussian("random frozen factors by theory")
    share = _rank(rank, problem.dy) / problem.dy
    full = fft_risk(problem)
    missed = (1 - share) * problem.pretrained_risk
    return FrozenRisk(missed, share * full.bias, share * full.variance, EXACT_B, full.flagged)


def _rank(rank: int, largest: int) -> int:
    rank = validation.positive_integer("rank", rank)
    if rank > largest:
        raise InvalidInput("rank", f"an integer in 1..{largest}", rank)
    return rank
