"""What a cut misplaces: the strongest r directions of every draw are not those above a cut that keeps r in the mean.

A cut that keeps nu directions with variance v misplaces some; k of them cost k^2 / 2 steps of the slope, so that the
mean of the r strongest, of a functional whose mean above a cut is R(nu), nu = N + delta N, is

    R(r) + (v / 2) R''(r),     v = (log k + C) / pi^2     for the k-th direction of a band,

the number variance of the Gaussian orthogonal ensemble, C = 1.56 from the means of its two largest eigenvalues at an
edge. It holds in bands of noise. Bands that many different directions of the shift make are more rigid, and moving
their numbers by all of that hurts, so there it is only a reason for a flag (`doubt`). A planted direction that noise
swallows is one of its band: k counts from those that a gap separates. At the rank of such a direction the gap is about
to open, R'' has a pole, and nothing is added.

Source: the number variance is that of Mehta 2004; the use of it is heuristic, its numbers are checked by simulation.
"""

import numpy as np
from jaxtyping import Float

from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.truncation import numerical_rank

_NUMBER_VARIANCE = 1.56
#: The largest share of all directions that may be planted for the rest to be noise.
_FEW = 0.25
#: Places between two levels of noise at which it is asked whether a gap is there.
_BETWEEN = np.linspace(0, 1, 34)[1:-1]


def number_variance(place: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """v for the k-th direction of a band, k = `place` from 1."""
    return (np.log(place) + _NUMBER_VARIANCE) / np.pi**2


def few_planted(problem: Problem) -> int | None:
    """How many directions are planted, where they are few beside the noise; None elsewhere."""
    problem.require_gaussian("the deterministic equivalent")
    planted = numerical_rank(problem.whitened_spectrum, (problem.dy, problem.dx))
    return planted if planted <= _FEW * problem.max_rank and problem.noise_trace > 0 else None


def band_of_noise(problem: Problem) -> int | None:
    """How many directions are planted, where all others, and those that noise swallows, are one band of noise.

    None elsewhere. That is for Sigma = c I or one that matters through Delta Sigma^{1/2} alone.
    """
    whitened = problem.ridge == 0 and problem.regime is Regime.OVERDETERMINED
    planted = few_planted(problem)
    known = whitened or problem.isotropic_scale is not None
    return planted if known and noise_is_one_band(problem) else None


def noise_is_one_band(problem: Problem) -> bool:
    """Whether noise alone has a spectrum without gaps: E P E^T, P of rank N = min(n, dx), E of covariance Sigma_eps.

    With levels t_i the map z(m) = -1/m + (1/N) sum_i t_i / (1 + t_i m) grows where, and only where, z lies outside of
    the spectrum: at m between two poles -1/t_i where m^2 (1/N) sum_i (t_i / (1 + t_i m))^2 < 1.

    Source: Silverstein and Choi 1995.
    """
    if problem.isotropic_noise_scale is not None or problem.noise_trace == 0:
        return True
    levels = np.linalg.eigvalsh(problem.sigma_eps)
    apart = np.unique(levels[levels > 0])
    m = -1 / (apart[:-1, None] + np.diff(apart)[:, None] * _BETWEEN).ravel()
    with np.errstate(divide="ignore"):  # inf between levels that are equal but for rounding, where there is no gap
        terms = m[:, None] * levels / (1 + m[:, None] * levels)
    inside = np.einsum("mi,mi->m", terms, terms) / min(problem.n, problem.dx)
    return bool(np.all(inside >= 1))
