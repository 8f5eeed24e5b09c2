"""Beyond LoRA: the best fixed weights on the directions of the fit, of which LoRA's are ones and then zeros.

With F = D_FFT X, u_j its left singular vectors, strongest first, and fixed weights phi_j,

    E ||(sum_j phi_j u_j u_j^T D_FFT - Delta) Sigma^{1/2}||_F^2
        = ||Delta Sigma^{1/2}||_F^2 + sum_j a_j phi_j^2 - 2 b_j phi_j,
    a_j = E ||u_j^T D_FFT Sigma^{1/2}||^2 = T1(j) - T1(j - 1),    b_j = T2(j) - T2(j - 1)      (`contours.functionals`)

which is least at phi_j = b_j / a_j. LoRA of the best rank loses to that, and no other estimator that weighs these
directions by their order does better. Weights that may look at the strengths themselves could.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem
from linreg_lora.theory.contours.functionals import fft_functionals
from linreg_lora.theory.equivalent import can_be_corrected, interior_ranks, rank_of_full_fit
from linreg_lora.theory.functionals import functionals
from linreg_lora.theory.rescaled import without_negligible_ridge


@dataclass(frozen=True)
class SpectralWeights:
    """The best weights phi on directions 1, 2, ..., and the expected excess risk with them.

    `raw`: the risk by the equivalent without its correction, each with its own weights.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.best_weights(problem)
    >>> found.weights[:4].round(2).tolist(), f"{found.risk:.2f}"
    ([0.89, 0.79, 0.4, 0.03], '2.56')
    """

    weights: Float[np.ndarray, "q"]
    risk: float
    raw: float


def best_weights(problem: Problem) -> SpectralWeights:
    """The best fixed weights by the deterministic equivalent, and their risk; q = the rank at which LoRA is FFT.

    Raises `InvalidInput` where the mean is infinite, `NumericalFailure` where a rank was not solved.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=200, dx=40, dy=40, spectrum=(5.0, 3.0, 2.0, 1.0, 0.5), noise_std=0.5)
    >>> f"{ll.theory.best_weights(problem).risk:.2f} against {ll.best_rank(problem).risk:.2f} at LoRA's best rank"
    "0.52 against 0.58 at LoRA's best rank"
    """
    problem.require_gaussian("the deterministic equivalent")
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    problem = without_negligible_ridge(problem)
    reduced, correction = problem.without_null_inputs(), can_be_corrected(problem)
    last = rank_of_full_fit(reduced)
    ranks = interior_ranks(problem, np.arange(1, last), correction=correction)
    found = functionals(reduced, ranks.astype(float), correction=correction)
    if found.failures:
        raise NumericalFailure(next(iter(found.failures.values())))
    full = fft_functionals(reduced, correction=correction)
    raw = np.vstack([np.zeros(4), found.raw, full.raw])
    corrected = raw + np.vstack([np.zeros(4), found.correction, full.correction])
    weights, gain = _best(corrected)
    return SpectralWeights(weights, max(0.0, problem.pretrained_risk - gain), problem.pretrained_risk - _best(raw)[1])


def _best(functionals: Float[np.ndarray, "m 4"]) -> tuple[Float[np.ndarray, "q"], float]:
    """phi, and sum b_j^2 / a_j."""
    energy, overlap = np.diff(functionals[:, 1]), np.diff(functionals[:, 2])
    weights = np.divide(overlap, energy, out=np.zeros_like(energy), where=energy > 0)
    return weights, float(np.sum(weights * overlap))
