"""Expected excess risk of full fine-tuning: exact where it is known exactly, a deterministic equivalent elsewhere."""

import math
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.theory import laguerre
from linreg_lora.theory.effective import (
    distance_from_threshold,
    effective,
    input_variances,
    shift_energies,
)
from linreg_lora.theory.rescaled import without_negligible_ridge

OVERDETERMINED = "Tr(Sigma_eps) dx / (n - dx - 1), exact"
UNDERDETERMINED = "c ||Delta||^2 (1 - n/dx) + Tr(Sigma_eps) n / (dx - n - 1), exact"
RIDGE = (
    "c ||Delta||^2 (1 - (m + e^2 S'(e)) / dx) + Tr(Sigma_eps) (S(e) + e S'(e)), e = eta / c, S: mean trace of a "
    "Wishart resolvent, exact"
)
EQUIVALENT = "bias kappa^2 Tr(Delta Sigma (Sigma + kappa)^-2 Delta^T) / (1 - df2/n) + Tr(Sigma_eps) df2 / (n - df2), deterministic equivalent, corrected to first order in the dimension"  # fmt: skip  # noqa: E501

#: Distances u from a threshold (`theory.effective`): below the first the expansion in 1/u is worthless, below the
#: second its next order, about 1/u^2, may pass 0.5 %.
NO_EXPANSION, NEAR = 3.0, 1 / 0.07
#: Beyond this distance, with ridge, the exact density of Sigma = c I changes nothing: 1/u^2 is 0.03 %.
_FAR = 60.0


class FFTRisk(NamedTuple):
    """`bias` + `variance` = `risk`, in squared units of y; `formula` says which result was used.

    `exact`: it is no deterministic equivalent. `flagged`: the risk is an equivalent near a threshold, and may be off by
    more than 1 %; `note` says so.
    """

    bias: float
    variance: float
    formula: str
    flagged: bool = False
    note: str = ""
    exact: bool = True

    @property
    def risk(self) -> float:
        return math.inf if math.isinf(self.variance) else self.bias + self.variance


class FirstOrder(NamedTuple):
    """Bias and variance of FFT by their equivalent, and what the first order in the dimension adds to each."""

    bias: float
    variance: float
    bias_correction: float
    variance_correction: float

    @property
    def correction(self) -> float:
        return self.bias_correction + self.variance_correction


def fft_risk(problem: Problem) -> FFTRisk:
    """Expected excess risk of FFT by the sharpest result that applies.

    Ridgeless, n >= rank(Sigma): `overdetermined`, exact for any covariances. Ridgeless, n < dx, Sigma = c I:
    `underdetermined`, exact. With ridge, Sigma = c I and u < 60: `isotropic_ridge`, exact. Otherwise `fft_equivalent`,
    whose relative error is some 1/u^2, u the distance from a threshold; it is flagged for u below 14. The risk is inf
    where the mean does not exist. Raises `NumericalFailure` for u < 3, where the equivalent says nothing. Inputs that
    are not Gaussian: `other_inputs`; with a mean: `input_mean`.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.fft_risk(problem)
    >>> f"{found.risk:.3f} by {found.formula}"
    '13.714 by Tr(Sigma_eps) dx / (n - dx - 1), exact'
    """
    if not problem.input_law.is_gaussian:
        from linreg_lora.theory import other_inputs

        return other_inputs.fft_risk(problem)
    if problem.input_mean is not None:
        from linreg_lora.theory import input_mean

        return input_mean.fft_risk(problem)
    if problem.moments is Moments.NO_MEAN:
        return FFTRisk(math.nan, math.inf, problem.moments_note)
    problem = without_negligible_ridge(problem)
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        return overdetermined(problem)
    if problem.ridge == 0 and problem.isotropic_scale is not None:
        return underdetermined(problem)
    if has_exact_ridge(problem):
        return isotropic_ridge(problem)
    return fft_equivalent(problem)


def overdetermined(problem: Problem) -> FFTRisk:
    """Ridgeless FFT, n > dx + 1, Gaussian inputs of any covariance: exact and free of Delta.

        E risk = Tr(Sigma_eps) dx / (n - dx - 1),      dx: rank(Sigma) when Sigma is singular

    Follows from E Tr(Sigma (X X^T)^{-1}) = dx / (n - dx - 1), the inverse-Wishart mean.
    Source: arXiv 2605.19018, Proposition 3.
    """
    problem.require_gaussian("this formula")
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
    problem.require_gaussian("this formula")
    scale = problem.isotropic_scale
    if problem.ridge > 0 or scale is None or problem.n >= problem.dx:
        raise InvalidInput("problem", "n < dx, Sigma = c I and ridge = 0", f"n = {problem.n}, dx = {problem.dx}, ridge = {problem.ridge}, isotropic: {scale is not None}")  # fmt: skip  # noqa: E501
    n, dx, dof = problem.n, problem.dx, problem.dx - problem.n - 1
    bias = problem.pretrained_risk * (1 - n / dx)
    if problem.noise_trace == 0:
        return FFTRisk(bias, 0.0, UNDERDETERMINED)
    return FFTRisk(bias, problem.noise_trace * n / dof if dof > 0 else math.inf, UNDERDETERMINED)


def isotropic_ridge(problem: Problem) -> FFTRisk:
    """FFT with ridge eta > 0 and Sigma = c I, any n: exact.

        E risk = c ||Delta||_F^2 (1 - (m + e^2 S'(e)) / dx) + Tr(Sigma_eps) (S(e) + e S'(e)),      e = eta / c

    S(e) = E Tr (W + e)^{-1} for a real Wishart matrix W, m x m with max(n, dx) degrees of freedom, m = min(n, dx)
    (`theory.laguerre`): X X^T / c has the eigenvalues of W and dx - m zeros. Bias and variance are the means of
    e^2 (lam + e)^{-2} and lam (lam + e)^{-2} over them. Raises `InvalidInput` elsewhere, and where m is too large for
    the density in double precision, some 200. Source: derived here.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=27, dx=25, dy=25, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, ridge=0.01)
    >>> f"{ll.theory.fft_risk(problem).risk:.6f}"
    '366.249470'
    """
    problem.require_gaussian("this formula")
    scale = problem.isotropic_scale
    m, nu = sorted((problem.n, problem.dx))
    if problem.ridge == 0 or scale is None or not laguerre.has_density(m, nu):
        raise InvalidInput("problem", "Sigma = c I, ridge > 0 and min(n, dx) < 200", f"n = {problem.n}, dx = {problem.dx}, ridge = {problem.ridge}, isotropic: {scale is not None}")  # fmt: skip  # noqa: E501
    e = problem.ridge / scale
    s, slope = (float(value) for value in laguerre.exact(e, m, nu)[:2])
    bias = problem.pretrained_risk * (1 - (m + e * e * slope) / problem.dx)
    return FFTRisk(bias, problem.noise_trace * (s + e * slope), RIDGE)


def has_exact_ridge(problem: Problem) -> bool:
    """Whether `isotropic_ridge` holds and is needed."""
    problem.require_gaussian("this formula")
    if problem.ridge == 0 or problem.isotropic_scale is None:
        return False
    return laguerre.has_density(*sorted((problem.n, problem.dx))) and distance_from_threshold(problem) < _FAR


def fft_equivalent(problem: Problem, *, correction: bool = True) -> FFTRisk:
    """Deterministic equivalent of the FFT risk: any Sigma and Sigma_eps, ridge eta >= 0, n < dx (any n with ridge).

        n - eta/kappa = sum_i l_i / (l_i + kappa),      df2 = sum_i l_i^2 / (l_i + kappa)^2
        bias = kappa^2 Tr(Delta Sigma (Sigma + kappa)^{-2} Delta^T) / (1 - df2/n)
        variance = Tr(Sigma_eps) df2 / (n - df2)

    l_i: eigenvalues of Sigma; kappa: the effective regularisation. With `correction` the first order in the dimension
    is added (`first_order`), which leaves a relative error of some 1/u^2, u the distance from a threshold
    (`theory.effective`): flagged for u below 14. Raises `InvalidInput` where the exact risk is known for any Sigma, and
    `NumericalFailure` for u < 3 if corrected. Source: Hastie, Montanari, Rosset, Tibshirani 2022; Bach 2024; the
    correction was derived here.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=20, dx=40, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.fft_equivalent(problem, correction=False)
    >>> f"kappa = 1, df2 = 40/4: {found.bias:.1f} + {found.variance:.1f}"
    'kappa = 1, df2 = 40/4: 7.0 + 20.0'
    """
    problem.require_gaussian("this equivalent")
    if problem.ridge == 0 and problem.regime is not Regime.UNDERDETERMINED:
        raise InvalidInput("problem", "n < rank(Sigma) or ridge > 0", f"n = {problem.n}, rank(Sigma) = {problem.input_rank}, ridge = 0")  # fmt: skip  # noqa: E501
    bias, variance, more_bias, more_variance = first_order(problem)
    if not correction:
        return FFTRisk(bias, variance, EQUIVALENT, exact=False)
    require_expansion(problem)
    found = FFTRisk(bias + more_bias, variance + more_variance, EQUIVALENT, exact=False)
    if found.bias < 0 or found.variance < 0:
        raise NumericalFailure(
            f"fft_risk: expected bias and variance >= 0, received {found.bias:.3g} and {found.variance:.3g}: the "
            "correction is larger than what it corrects; move n or raise ridge"
        )
    u = distance_from_threshold(problem)
    note = f"FFT's risk may be off by more than 1 %: a threshold is near (u = {u:.3g})" if u < NEAR else ""
    return found._replace(flagged=bool(note), note=note)


def first_order(problem: Problem) -> FirstOrder:
    """The equivalent of FFT's risk and its first-order correction, in closed form; any n but n = rank(Sigma).

    With Q = (X X^T + eta (1 + tau Sigma + mu Delta^T Delta))^{-1} the risk is made of derivatives of

        E log det Q^{-1} = F_0 + (1/2) log(1 - df2/n) + ...

    at tau = mu = 0: variance = Tr(Sigma_eps) d/d eta d/d tau, bias = - d/d mu d/d tau, where df2 and kappa move with
    eta, tau and mu by n = eta/kappa + sum_i l_i / a_i, a_i = kappa (1 + tau l_i + mu e_i) + l_i, with e_i = ||Delta
    v_i||^2, and df2 = sum_i (l_i/a_i)^2. F_0 gives the equivalent, the logarithm the first order. For n > rank(Sigma)
    without ridge (kappa = 0) it is Tr(Sigma_eps) dx (1/g + 1/g^2) for the exact Tr(Sigma_eps) dx / (g - 1), g = n - dx.
    """
    problem.require_gaussian("this equivalent")
    values, shift_energy = input_variances(problem), shift_energies(problem)
    at = effective(values, problem.n, problem.ridge)
    positive = values > 0
    l, energy = values[positive], shift_energy[positive]  # noqa: E741
    s, r = l / (l + at.kappa), at.kappa / (l + at.kappa)
    m = at.kappa * energy
    noise, free = problem.noise_trace, at.free
    slack = free - float(np.sum(s * r))  # eta / kappa
    # First and second derivatives of H = eta/kappa + sum l/a - n and of K = n - df2, in units of kappa.
    h_t, h_m = -np.sum(s**2), -np.sum(s * r * m)
    h_yy, h_yt = 2 * slack + 2 * np.sum(s * r**2), np.sum(s**2 * (2 * r - 1))
    h_ym, h_tm = np.sum(s * r * m * (2 * r - 1)), 2 * np.sum(s**2 * r * m)
    k_y, k_t, k_m = 2 * np.sum(s**2 * r), 2 * np.sum(s**3), 2 * np.sum(s**2 * r * m)
    k_yy, k_yt = -6 * np.sum(s**2 * r**2), np.sum(s**3 * (2 - 6 * r))
    k_ym, k_tm = np.sum(s**2 * r * m * (2 - 6 * r)), -6 * np.sum(s**3 * r * m)
    y_e, y_t, y_m = 1 / free, h_t / free, h_m / free

    def log_derivative(y_x: float, h_yx: float, k_x: float, h_xt: float, k_yx: float, k_xt: float) -> float:
        """d/dx d/dt log K along the solution; h_yx, k_x, ...: derivatives in kappa (y) and x."""
        y_xt = (h_xt + h_yx * y_t + h_yt * y_x + h_yy * y_x * y_t) / free
        first, other = k_x + k_y * y_x, k_t + k_y * y_t
        second = k_xt + k_yx * y_t + k_yt * y_x + k_yy * y_x * y_t + k_y * y_xt
        return float(second / free - first * other / free**2)

    return FirstOrder(
        bias=float(np.sum(l * r**2 * energy)) * problem.n / free,
        variance=noise * at.df2 / free,
        bias_correction=-0.5 * log_derivative(y_m, h_ym, k_m, h_tm, k_ym, k_tm),
        variance_correction=0.5 * noise * log_derivative(y_e, -1.0, 0.0, 0.0, 0.0, 0.0),
    )


def as_lora(problem: Problem, *, correction: bool) -> float:
    """FFT's risk by the equivalent that LoRA's is made of, at the same order: exact where that knows the threshold."""
    problem.require_gaussian("this equivalent")
    equal = problem.isotropic_noise_scale is not None and has_exact_ridge(problem.without_null_inputs())
    if correction and (hard_edge(problem) or equal):
        return fft_risk(problem).risk
    found = first_order(problem)
    return found.bias + found.variance + (pole_factor(problem) * found.correction if correction else 0.0)


def resummed(problem: Problem) -> bool:
    """Whether the correction can carry the pole of the noise at |n - dx| = 1: without ridge, n > dx or Sigma = c I."""
    problem.require_gaussian("this equivalent")
    return problem.ridge == 0 and (
        problem.regime is Regime.OVERDETERMINED or problem.without_null_inputs().isotropic_scale is not None
    )


def hard_edge(problem: Problem) -> bool:
    """Whether LoRA's equivalent knows the weakest eigenvalues of the inputs exactly (`contours.threshold`).

    With isotropic noise: without ridge for n > dx or Sigma = c I, with one where FFT's risk is known exactly.
    """
    problem.require_gaussian("this equivalent")
    if problem.noise_trace == 0 or problem.isotropic_noise_scale is None:
        return False
    return resummed(problem) or has_exact_ridge(problem.without_null_inputs())


def pole_factor(problem: Problem) -> float:
    """g / (g - 1), g = |n - dx|, by which a first-order correction grows where the pole is at g = 1; else 1.

    Also 1 where the pole is known exactly (`hard_edge`).
    """
    problem.require_gaussian("this equivalent")
    if problem.noise_trace == 0 or hard_edge(problem) or not resummed(problem):
        return 1.0
    distance = abs(problem.distance_from_threshold)
    return distance / (distance - 1)


def require_expansion(problem: Problem) -> None:
    """Raise `NumericalFailure` where a threshold is so near that no expansion in the dimension holds."""
    problem.require_gaussian("this equivalent")
    at = effective(input_variances(problem), problem.n, problem.ridge)
    if at.distance < NO_EXPANSION:
        raise NumericalFailure(
            f"equivalent: expected a distance u = (df1/df2)(n - df2) >= {NO_EXPANSION:g} from a threshold, received "
            f"{at.distance:.3g} (n = {problem.n}, {at.df1:.4g} inputs resolved): the expansion in 1/u does not hold "
            "there; move n, raise ridge, or simulate"
        )
