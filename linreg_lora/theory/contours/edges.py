"""What a cut misplaces: the strongest r directions of every draw are not those above a cut that keeps r in the mean.

A cut that keeps nu directions with variance v misplaces some; k of them cost k^2 / 2 steps of the slope, so that the
mean of the r strongest, of a functional whose mean above a cut is R(nu), nu = N + delta N, is

    R(r) + (v / 2) R''(r),     v = (log k + C) / pi^2     for the k-th direction of a band,

the number variance of the Gaussian orthogonal ensemble, C = 1.56 from the means of its two largest eigenvalues at an
edge. It holds in bands of noise. Bands that many different directions of the shift make are more rigid, and moving
their numbers by all of that hurts, so there it is only a reason for a flag (`doubt`).

Source: the number variance is that of Mehta 2004; the use of it is heuristic, its numbers are checked by simulation.
"""

import numpy as np
from jaxtyping import Float

from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.truncation import numerical_rank

_NUMBER_VARIANCE = 1.56
#: The largest share of all directions that may be planted for the rest to be noise.
_FEW = 0.2


def number_variance(place: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """v for the k-th direction of a band, k = `place` from 1."""
    return (np.log(place) + _NUMBER_VARIANCE) / np.pi**2


def band_of_noise(problem: Problem) -> int | None:
    """How many directions are planted, where all others are one band of noise; None elsewhere.

    That is for isotropic noise, and Sigma = c I or one that matters through Delta Sigma^{1/2} alone.
    """
    problem.require_gaussian("the deterministic equivalent")
    planted = numerical_rank(problem.whitened_spectrum, (problem.dy, problem.dx))
    whitened = problem.ridge == 0 and problem.regime is Regime.OVERDETERMINED
    if problem.isotropic_noise_scale is None or not (whitened or problem.isotropic_scale is not None):
        return None
    return planted if planted <= _FEW * problem.max_rank and problem.noise_trace > 0 else None
