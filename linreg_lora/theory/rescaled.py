"""Problems whose numbers lie too far apart for the equations, answered from problems where they do not.

*Little noise.* With little noise the directions of the shift are found, and from the rank r* of Delta Sigma^{1/2} on
only noise changes the risk: for r >= r*

    risk_r(sigma) = bias + sigma^2 v_r (1 + O(q)),      q = lmax(Sigma_eps) (sqrt dx + sqrt dy)^2 / (n s_min^2)

bias: that of FFT (LoRA fits the shift itself as FFT does); s_min: the smallest singular value of Delta Sigma^{1/2} that
is not zero; q: the share of the weakest planted eigenvalue that is noise. The equivalent loses 1e-12 ||Delta
Sigma^{1/2}||^2 to rounding, and finds no cut 1e-13 below the largest eigenvalue. So where q is below 1e-6 its values at
r >= r* are those of noise with q = 1e-6, scaled back: off by some 1e-6, relatively.

*Many samples.* For n well above dx + dy risks depend on n, sigma and eta through sigma^2 / n and eta / n alone, up to a
share (dx + dy) / n. Above n = 10^7 (dx + dy) they are those of n = 10^6 (dx + dy).

*Inputs in other units.* x -> 2^k x, Sigma and eta by 4^k, Delta by 2^-k changes nothing, to the bit: the largest
variance is brought near 1.

*Next to no ridge.* At least two samples from n = rank(Sigma) risks have a limit as the ridge vanishes. A ridge below
10^-6 of the smallest eigenvalue of X X^T that is not zero changes them by about as much, or by its square root two
samples from there, and costs the correction its digits. They are those without ridge.
"""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora.problem import Problem
from linreg_lora.theory.effective import input_variances, lower_edge
from linreg_lora.theory.truncation import numerical_rank

_LITTLE = 1e-6
_MANY, _FEWER = 10**7, 10**6
#: Of the smallest eigenvalue, and of the noise's part of the risk: what a ridge may change.
_NEGLIGIBLE, _UNSEEN = 1e-6, 1e-4


class Louder(NamedTuple):
    """The problem with more noise, by what factor its variance is larger, and the least rank that may use it."""

    problem: Problem
    factor: float
    rank: int

    def scaled_back(self, risk: np.ndarray, bias: float) -> np.ndarray:
        """Risks at the noise that was asked about; `bias` is FFT's risk without noise."""
        return bias + (risk - bias) / self.factor


def louder(problem: Problem) -> Louder | None:
    """The louder problem of one with little noise; None where noise is absent or large enough."""
    problem.require_gaussian("this rescaling")
    values = problem.whitened_spectrum
    rank = numerical_rank(values, (problem.dy, problem.dx))
    if problem.noise_trace == 0 or rank == 0:
        return None
    shape = problem.noise_covariance
    loudest = 1.0 if shape is None else float(np.max(shape if shape.ndim == 1 else np.linalg.eigvalsh(shape)))
    noise = problem.noise_std * math.sqrt(loudest) * (math.sqrt(problem.dx) + math.sqrt(problem.dy))
    share = (noise / float(values[rank - 1])) ** 2 / problem.n
    if share >= _LITTLE:
        return None
    factor = _LITTLE / share
    return Louder(problem.replace(noise_std=problem.noise_std * math.sqrt(factor)), factor, rank)


def with_fewer_samples(problem: Problem) -> Problem:
    """The problem, or one with the same risks and fewer samples where it has very many."""
    problem.require_gaussian("this rescaling")
    size = problem.dx + problem.dy
    if problem.n <= _MANY * size:
        return problem
    share = _FEWER * size / problem.n
    return problem.replace(n=_FEWER * size, noise_std=problem.noise_std * math.sqrt(share), ridge=problem.ridge * share)


def without_negligible_ridge(problem: Problem) -> Problem:
    """The problem, or the one without ridge where the ridge is too small to matter."""
    problem.require_gaussian("this rescaling")
    values = input_variances(problem)
    positive = values[values > 0]
    gap = problem.n - len(positive)
    if problem.ridge == 0 or abs(gap) < 2:
        return problem
    smallest = float(np.min(positive)) * (math.sqrt(problem.n) - math.sqrt(len(positive))) ** 2
    share = problem.ridge / (smallest if gap > 0 else lower_edge(positive, problem.n))
    if share > _NEGLIGIBLE:
        return problem
    if gap > 0 and share**2 * problem.pretrained_risk > _UNSEEN * problem.noise_trace * len(positive) / problem.n:
        return problem
    return problem.replace(ridge=0.0)


def in_units_of_the_inputs(problem: Problem) -> Problem:
    """The problem with the largest variance between 1/2 and 2, by a power of two: no digit changes."""
    covariance = problem.input_covariance
    if covariance is None:
        return problem
    k = round(math.log2(float(np.max(covariance if covariance.ndim == 1 else np.diagonal(covariance)))) / 2)
    if k == 0:
        return problem
    covariance, ridge = np.ldexp(covariance, -2 * k), math.ldexp(problem.ridge, -2 * k)
    problem = problem if problem.input_mean is None else problem.replace(input_mean=np.ldexp(problem.input_mean, -k))
    if problem.task_shift is not None:
        return problem.replace(input_covariance=covariance, ridge=ridge, task_shift=np.ldexp(problem.task_shift, k))
    spectrum = tuple(math.ldexp(s, k) for s in problem.spectrum or ())
    return problem.replace(input_covariance=covariance, ridge=ridge, spectrum=spectrum)
