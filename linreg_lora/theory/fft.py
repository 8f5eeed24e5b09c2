"""Expected excess risk of full fine-tuning: exact where it is known exactly, a deterministic equivalent elsewhere."""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime

OVERDETERMINED = "Tr(Sigma_eps) dx / (n - dx - 1), exact"
UNDERDETERMINED = "c ||Delta||^2 (1 - n/dx) + Tr(Sigma_eps) n / (dx - n - 1), exact"
EQUIVALENT = "bias kappa^2 Tr(Delta Sigma (Sigma + kappa)^-2 Delta^T) / (1 - df2/n) + Tr(Sigma_eps) df2 / (n - df2), deterministic equivalent"  # fmt: skip  # noqa: E501


class FFTRisk(NamedTuple):
    """`bias` + `variance` = `risk`, in squared units of y; `formula` says which result was used."""

    bias: float
    variance: float
    formula: str

    @property
    def risk(self) -> float:
        return math.inf if math.isinf(self.variance) else self.bias + self.variance


def fft_risk(problem: Problem) -> FFTRisk:
    """Expected excess risk of FFT by the sharpest result that applies.

    Ridgeless, n >= rank(Sigma): `overdetermined`, exact for any covariances. Ridgeless, n < dx, Sigma = c I:
    `underdetermined`, exact. Otherwise `equivalent`, whose error vanishes like 1/dimension. The risk is inf where the
    mean does not exist.
    """
    if problem.moments is Moments.NO_MEAN:
        return FFTRisk(math.nan, math.inf, problem.moments_note)
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        return overdetermined(problem)
    if problem.ridge == 0 and problem.isotropic_scale is not None:
        return underdetermined(problem)
    return equivalent(problem)


def overdetermined(problem: Problem) -> FFTRisk:
    """Ridgeless FFT, n > dx + 1, Gaussian inputs of any covariance: exact and free of Delta.

        E risk = Tr(Sigma_eps) dx / (n - dx - 1),      dx: rank(Sigma) when Sigma is singular

    Follows from E Tr(Sigma (X X^T)^{-1}) = dx / (n - dx - 1), the inverse-Wishart mean.
    Source: arXiv 2605.19018, Proposition 3.
    """
    if problem.ridge > 0 or problem.regime is Regime.UNDERDETERMINED:
        raise InvalidInput("problem", "n >= dx and ridge = 0", f"n = {problem.n}, dx = {problem.dx}, ridge = {problem.ridge}")  # fmt: skip  # noqa: E501
    dx, dof = problem.input_rank, problem.n - problem.input_rank - 1
    if problem.noise_trace == 0:
        return FFTRisk(0.0, 0.0, OVERDETERMINED)
    return FFTRisk(0.0, problem.noise_trace * dx / dof if dof > 0 else math.inf, OVERDETERMINED)


def underdetermined(problem: Problem) -> FFTRisk:
    """Ridgeless FFT, n < dx - 1, Sigma = c I: exact.

        E risk = c ||Delta||_F^2 (1 - n/dx) + Tr(Sigma_eps) n / (dx - n - 1)

    The bias is what the minimum-norm solution cannot see: the row space of X is uniformly distributed, so a share
    n/dx of Delta falls into it. The scale c cancels from the variance. Source: arXiv 2605.19018, Proposition 5 (for
    c = sigma_x^2, whose printed bias lacks the factor c).
    """
    scale = problem.isotropic_scale
    if problem.ridge > 0 or scale is None or problem.n >= problem.dx:
        raise InvalidInput("problem", "n < dx, Sigma = c I and ridge = 0", f"n = {problem.n}, dx = {problem.dx}, ridge = {problem.ridge}, isotropic: {scale is not None}")  # fmt: skip  # noqa: E501
    n, dx, dof = problem.n, problem.dx, problem.dx - problem.n - 1
    bias = problem.pretrained_risk * (1 - n / dx)
    if problem.noise_trace == 0:
        return FFTRisk(bias, 0.0, UNDERDETERMINED)
    return FFTRisk(bias, problem.noise_trace * n / dof if dof > 0 else math.inf, UNDERDETERMINED)


def equivalent(problem: Problem) -> FFTRisk:
    """Deterministic equivalent of the FFT risk: any Sigma and Sigma_eps, ridge eta >= 0, n < dx (any n with ridge).

        n - eta/kappa = sum_i l_i / (l_i + kappa),      df2 = sum_i l_i^2 / (l_i + kappa)^2
        bias = kappa^2 Tr(Delta Sigma (Sigma + kappa)^{-2} Delta^T) / (1 - df2/n)
        variance = Tr(Sigma_eps) df2 / (n - df2)

    l_i: eigenvalues of Sigma; kappa: the effective regularisation. The relative error is O(1/n) as the dimensions grow
    in proportion. Source: Hastie, Montanari, Rosset, Tibshirani 2022; Bach 2024.
    """
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        raise InvalidInput("problem", "n < rank(Sigma) or ridge > 0", f"n = {problem.n}, rank(Sigma) = {problem.input_rank}, ridge = 0")  # fmt: skip  # noqa: E501
    values, shift_energy = _input_modes(problem)
    kappa = effective_regularisation(values, problem.n, problem.ridge)
    share = values / (values + kappa)
    rest = kappa / (values + kappa)
    df2 = float(np.sum(share**2))
    free = problem.ridge / kappa + float(np.sum(share * rest))  # n - df2 without cancellation
    bias = float(np.sum(values * rest**2 * shift_energy)) * problem.n / free
    return FFTRisk(bias, problem.noise_trace * df2 / free, EQUIVALENT)


def effective_regularisation(values: np.ndarray, n: int, ridge: float) -> float:
    """kappa > 0 with n - eta/kappa = sum_i l_i/(l_i + kappa).

    `values` l_i, eigenvalues of Sigma (zeros allowed); `ridge` eta; without ridge n < number of positive l_i is needed.
    Found by bracketing in log kappa; the residual is checked to 1e-9 n.
    """
    positive = values[values > 0]
    surplus = n - len(positive)
    if ridge == 0 and surplus >= 0:
        raise InvalidInput("n", f"n < rank(Sigma) = {len(positive)} or ridge > 0", n)

    def excess(log_kappa: float) -> float:
        """n - eta/kappa - sum l/(l + kappa), written as (n - rank) + sum kappa/(l + kappa) - eta/kappa."""
        kappa = math.exp(log_kappa)
        return surplus + kappa * float(np.sum(1 / (positive + kappa))) - ridge / kappa

    high = math.log((float(np.sum(positive)) + ridge) / n) + 1.0
    if ridge > 0:
        low = math.log(ridge) - math.log(n) - 1.0
    else:
        low = high - 1.0
        while excess(low) > 0:
            low -= 2.0
    from scipy.optimize import brentq

    kappa = math.exp(float(brentq(excess, low, high, xtol=1e-14)))  # pyright: ignore[reportArgumentType]
    if not abs(residual := excess(math.log(kappa))) <= 1e-9 * n:
        raise NumericalFailure(
            f"kappa: expected a residual below 1e-9 n, received {residual:.3g} for n = {n}, ridge = {ridge:g}"
        )
    return kappa


def distance_from_singular(problem: Problem, samples: float | int) -> float:
    """How far a number of samples lies from where the risk is singular as a function of it.

    Without ridge from rank(Sigma). With ridge from the complex n = dx - e +- 2i sqrt(dx e), e = eta over the smallest
    variance, where the spectrum of X X^T + eta I reaches 0. Equivalents are off by the inverse of this distance,
    relatively, and by its square once corrected.
    """
    gap, e = samples - problem.input_rank, problem.ridge / problem.smallest_variance
    return math.hypot(gap + e, 2 * math.sqrt(problem.input_rank * e))


def _input_modes(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues l_i of Sigma and the energy ||Delta v_i||^2 of the shift along each eigenvector."""
    covariance = problem.input_covariance
    if covariance is not None and covariance.ndim == 2:
        values, vectors = np.linalg.eigh(covariance)
        return np.clip(values, 0, None), np.sum((problem.shift @ vectors) ** 2, axis=0)
    values = np.ones(problem.dx) if covariance is None else covariance
    if problem.task_shift is not None:
        return values, np.sum(problem.task_shift**2, axis=0)
    energy = np.zeros(problem.dx)
    energy[: len(problem.spectrum or ())] = np.asarray(problem.spectrum) ** 2
    return values, energy
