"""The effective regularisation of a design, and how far it lies from an interpolation threshold.

    n = df1 + eta / kappa,      df_k = sum_i ( l_i / (l_i + kappa) )^k,      l_i: eigenvalues of Sigma

kappa acts on the population as the ridge eta and the finite sample act on the data: inputs with l_i well above kappa
are resolved, those well below are not. For n > rank(Sigma) without ridge kappa = 0.

Without ridge and with Sigma = I the risk has a pole at n = dx. In general it is singular, as a function of n, at
complex n at a distance of about

    u = (df1 / df2) (n - df2)

which is |n - dx| for Sigma = I without ridge, and |n - dx + e + 2 i sqrt(dx e)|, e = eta / c, for Sigma = c I with one.
It sees thresholds where they act: n close to the number of inputs that are resolved, whatever the rank of Sigma is.
Equivalents are off by some 1/u relatively, and by some 1/u^2 with their first-order correction.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Problem

_RESIDUAL = 1e-9
#: Ridges, as shares of the smallest eigenvalue of X^T X, from which limits of no ridge are extrapolated.
#: Small ones: near a spectral edge, or a gap that opens, the correction is analytic in a smaller circle.
_EXTRAPOLATION = np.array([8e-3, 4e-3, 2e-3, 1e-3])


class Effective(NamedTuple):
    """kappa, df1 and df2 of the module; `free` = n - df2, computed without cancellation."""

    kappa: float
    df1: float
    df2: float
    free: float

    @property
    def distance(self) -> float:
        """u = (df1 / df2) (n - df2)."""
        return self.df1 * (self.free / self.df2)


def effective(values: Float[np.ndarray, "k"], n: float | int, ridge: float) -> Effective:
    """The effective regularisation of inputs with variances `values` (zeros allowed), n samples and a ridge.

    `n` need not be whole. Raises `InvalidInput` for n = rank(Sigma) without ridge, where kappa = 0 and n = df2.
    """
    positive = values[values > 0]
    rank = len(positive)
    if ridge == 0 and n > rank:
        return Effective(0.0, float(rank), float(rank), float(n - rank))
    kappa = effective_regularisation(values, n, ridge)
    share, rest = positive / (positive + kappa), kappa / (positive + kappa)
    return Effective(kappa, float(np.sum(share)), float(np.sum(share**2)), ridge / kappa + float(np.sum(share * rest)))


def effective_regularisation(values: Float[np.ndarray, "k"], n: float | int, ridge: float) -> float:
    """kappa > 0 with n - eta/kappa = sum_i l_i/(l_i + kappa).

    `values` l_i, eigenvalues of Sigma (zeros allowed); `ridge` eta; without ridge n < number of positive l_i is needed.
    Found by bracketing in log kappa, in units of the largest variance; the residual is checked to 1e-9 n.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> kappa = ll.theory.effective_regularisation(np.ones(4), n=2, ridge=0.0)
    >>> f"4 / (1 + {kappa:.3f}) = n"
    '4 / (1 + 1.000) = n'
    """
    positive = values[values > 0]
    if ridge == 0 and n >= len(positive):
        raise InvalidInput("n", f"n < rank(Sigma) = {len(positive)} or ridge > 0", n)
    unit = float(np.max(positive, initial=0.0)) or ridge
    relative, eta = positive / unit, ridge / unit

    def excess(log_kappa: float) -> float:
        """n - eta/kappa - sum l/(l + kappa); of each share the smaller side, so that nothing cancels."""
        kappa = math.exp(log_kappa)
        resolved = relative > kappa
        strong, weak = relative[resolved], relative[~resolved]
        missed, seen = np.sum(kappa / (strong + kappa)), np.sum(weak / (weak + kappa))
        return float((n - len(strong)) + missed - seen) - eta / kappa

    high = math.log((float(np.sum(relative)) + eta) / n) + 1.0
    if ridge > 0:
        low = math.log(eta) - math.log(n) - 1.0
    else:
        low = high - 1.0
        while excess(low) > 0:
            low -= 2.0
    from scipy.optimize import brentq

    root = float(brentq(excess, low, high, xtol=1e-14))  # pyright: ignore[reportArgumentType]
    if not abs(residual := excess(root)) <= _RESIDUAL * n:
        raise NumericalFailure(
            f"kappa: expected a residual below {_RESIDUAL:g} n, received {residual:.3g} for n = {n}, ridge = {ridge:g}"
        )
    return unit * math.exp(root)


def lower_edge(values: Float[np.ndarray, "k"], n: float | int) -> float:
    """The smallest eigenvalue of X^T X for n < rank(Sigma), in the limit of large sizes.

        kappa (df1(kappa) - n)      where df2(kappa) = n;      (sqrt dx - sqrt n)^2 for Sigma = I

    There d kappa / d eta = 1/(n - df2) is infinite: risks are analytic in the ridge eta up to minus this.
    """
    from scipy.optimize import brentq

    relative = values[values > 0] / np.max(values)

    def missing(log_kappa: float) -> float:
        return n - float(np.sum((relative / (relative + math.exp(log_kappa))) ** 2))

    low, high = math.log(np.min(relative)) - math.log(len(relative)) - 1.0, math.log(len(relative)) + 1.0
    while missing(low) > 0:
        low -= 2.0
    kappa = math.exp(float(brentq(missing, low, high, xtol=1e-12)))  # pyright: ignore[reportArgumentType]
    share, rest = relative / (relative + kappa), kappa / (relative + kappa)
    return float(np.max(values)) * kappa * float(np.sum(share * rest))


def toward_no_ridge(problem: Problem) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "4"]]:
    """Ridges, and the weights with which values there add up to the value without ridge, for n < rank(Sigma).

    By a polynomial through them. For FFT what is left is the product of the four shares, 6e-11; of values near 1/ridge
    rounding leaves some 1e-10.
    """
    problem.require_gaussian("the effective regularisation")
    ridges = _EXTRAPOLATION * lower_edge(input_variances(problem), problem.n)
    weights = [np.prod([other / (other - ridge) for other in ridges if other != ridge]) for ridge in ridges]
    return ridges, np.array(weights)


def distance_from_threshold(problem: Problem, samples: float | int | None = None) -> float:
    """u of a problem, at its own number of samples or at another; 0 at n = rank(Sigma) without ridge.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> f"{ll.theory.distance_from_threshold(problem):.3f} = n - dx without ridge"
    '36.000 = n - dx without ridge'
    """
    problem.require_gaussian("the effective regularisation")
    n = problem.n if samples is None else samples
    values = input_variances(problem)
    if problem.ridge == 0 and n == np.count_nonzero(values):
        return 0.0
    return effective(values, n, problem.ridge).distance


def input_variances(problem: Problem) -> Float[np.ndarray, "dx"]:
    """The eigenvalues of Sigma; 0 where the input has no variance."""
    covariance = problem.input_covariance
    if covariance is None:
        return np.ones(problem.dx)
    if covariance.ndim == 1:
        return covariance
    values = np.linalg.eigvalsh(covariance)
    return np.where(np.arange(problem.dx) < problem.dx - problem.input_rank, 0.0, values)


def shift_energies(problem: Problem) -> Float[np.ndarray, "dx"]:
    """||Delta v_i||^2, the energy of the shift along each eigenvector of Sigma, in the order of `input_variances`."""
    covariance = problem.input_covariance
    if covariance is not None and covariance.ndim == 2:
        return np.sum((problem.shift @ np.linalg.eigh(covariance)[1]) ** 2, axis=0)
    if problem.task_shift is not None:
        return np.sum(problem.task_shift**2, axis=0)
    energy = np.zeros(problem.dx)
    energy[: len(problem.spectrum or ())] = np.square(problem.spectrum or ())
    return energy
