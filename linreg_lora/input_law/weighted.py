"""Weighted samples: laws that are Gaussian given the scales (w, v) of the samples."""

import abc
import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from linreg_lora.errors import InvalidInput
from linreg_lora.input_law.checks import (
    UNIT_MEAN,
    number_above,
    number_of,
    numbers_of,
    put,
    require_unit_mean,
    weights_of,
)
from linreg_lora.input_law.law import FIELD, InputLaw

#: Nodes of the law of a scale that is continuous, and the probability beyond them.
_NODES, _BEYOND = 64, 1e-18


class Scales(NamedTuple):
    """The law of (w, v): values and probabilities. `drawn`: each sample draws its own; otherwise they are given."""

    w: np.ndarray
    v: np.ndarray
    p: np.ndarray
    drawn: bool


class Weighted(InputLaw):
    """A law that is Gaussian given the scales (w, v) of the samples."""

    @abc.abstractmethod
    def scales(self, n: int) -> Scales:
        """The law of (w, v), by nodes where it is continuous."""

    def inverse_moment(self, n: int) -> float:
        """E[v / w]."""
        w, v, p, _ = self.scales(n)
        return float(np.sum(p * v / w))

    @property
    def has_variance(self) -> bool:
        """Whether weights have a variance, on which the first order in 1/n rests."""
        return True


@dataclasses.dataclass(frozen=True)
class MultivariateT(Weighted):
    """w = (dof - 2) / chi2_dof, v = 1: the inputs have a multivariate t law with covariance Sigma; dof > 2.

    >>> import linreg_lora as ll
    >>> scales = ll.input_law.MultivariateT(6).scales(n=100)
    >>> f"E[1/w] = {(scales.p / scales.w).sum():.6f} = 6 / (6 - 2)"
    'E[1/w] = 1.500000 = 6 / (6 - 2)'
    """

    law = "t"
    dof: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "dof", number_above("dof", self.dof, 2, "the inputs have no covariance otherwise"))

    def scales(self, n: int) -> Scales:
        return Scales(*_inverse_chi2(self.dof), True)

    @property
    def has_variance(self) -> bool:
        """E w^2 is finite for dof > 4."""
        return self.dof > 4

    def inverse_moment(self, n: int) -> float:
        return self.dof / (self.dof - 2)


@dataclasses.dataclass(frozen=True)
class ScaleMixture(Weighted):
    """(w, v) = (`weights`[k], `noise_weights`[k]) with probability `probabilities`[k], drawn for each sample.

    Elliptical inputs with v = 1 (`noise_weights` None); heteroscedastic noise with w = 1, independent of x; both, where
    the noise depends on the size of x. `probabilities` None: equal. Weights are positive, those of the noise may be 0;
    both have mean 1. `two_point` and `two_point_noise` make those that have names.

    >>> import linreg_lora as ll
    >>> ll.input_law.ScaleMixture((0.25, 1.75)) == ll.input_law.parse("two-point:0.25:0.5")
    True
    """

    law = "scale-mixture"
    weights: tuple[float, ...]
    noise_weights: tuple[float, ...] | None = None
    probabilities: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        weights = weights_of("weights", self.weights)
        size = len(weights)
        p = self.probabilities
        if p is not None:
            p = numbers_of("probabilities", p, size)
            if min(p) <= 0 or abs(math.fsum(p) - 1) > UNIT_MEAN:
                raise InvalidInput(FIELD, "probabilities, positive numbers that add up to 1", list(p))
            p = None if max(p) - min(p) < UNIT_MEAN else p
        require_unit_mean("weights", weights, p)
        noise = self.noise_weights
        if noise is not None:
            noise = weights_of("noise_weights", noise, size, zeros=True)
            require_unit_mean("noise_weights", noise, p)
            noise = None if set(noise) == {1.0} else noise
        put(self, weights=weights, noise_weights=noise, probabilities=p)

    @property
    def text(self) -> str:
        return f"{self.law} of {len(self.weights)} points"

    @property
    def is_gaussian(self) -> bool:
        return self.noise_weights is None and set(self.weights) == {1.0}

    def scales(self, n: int) -> Scales:
        w = np.array(self.weights)
        p = np.full(len(w), 1 / len(w)) if self.probabilities is None else np.array(self.probabilities)
        return Scales(w, np.ones(len(w)) if self.noise_weights is None else np.array(self.noise_weights), p, True)


@dataclasses.dataclass(frozen=True)
class SampleWeights(Weighted):
    """w_s = `weights`[s] and v_s = `noise_weights`[s] (None: 1), s = 1..n, the same in every draw; both have mean 1.

    A sample of weight 0 is none: leave it out. Heteroscedastic noise of known variances: weights 1.

    >>> import linreg_lora as ll
    >>> law = ll.input_law.SampleWeights([0.5, 1.5, 1.0])
    >>> ll.Problem(n=3, dx=8, dy=2, spectrum=(1.0,), noise_std=1.0, input_law=law).input_law.text
    'sample-weights of 3 samples'
    """

    law = "sample-weights"
    weights: tuple[float, ...]
    noise_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        weights = weights_of("weights", self.weights)
        require_unit_mean("weights", weights, None)
        noise = self.noise_weights
        if noise is not None:
            noise = weights_of("noise_weights", noise, len(weights), zeros=True)
            require_unit_mean("noise_weights", noise, None)
            noise = None if set(noise) == {1.0} else noise
        put(self, weights=weights, noise_weights=noise)

    @property
    def text(self) -> str:
        return f"{self.law} of {len(self.weights)} samples"

    @property
    def is_gaussian(self) -> bool:
        return self.noise_weights is None and set(self.weights) == {1.0}

    def require_samples(self, n: int) -> None:
        if len(self.weights) != n:
            raise InvalidInput(FIELD, f"weights, one for each of the n = {n} samples", f"{len(self.weights)}")

    def scales(self, n: int) -> Scales:
        pairs = np.array([self.weights, self.noise_weights or (1.0,) * len(self.weights)])
        values, counts = np.unique(pairs, axis=1, return_counts=True)
        return Scales(values[0], values[1], counts / len(self.weights), False)


@dataclasses.dataclass(frozen=True)
class CorrelatedSamples(Weighted):
    """Samples of an AR(1) sequence: Cov(x_s, x_t) = rho^|s - t| Sigma, noise iid; |rho| < 1.

    X = Sigma^{1/2} Z T^{1/2}: in the eigenbasis of T the samples are independent, of weights eig(T), and iid noise is
    what it was. So they are given weights, of mean 1.

    >>> import linreg_lora as ll
    >>> ll.input_law.CorrelatedSamples(0.5).scales(n=2).w.round(12).tolist()
    [0.5, 1.5]
    """

    law = "ar1"
    rho: float

    def __post_init__(self) -> None:
        rho = number_of("rho", self.rho)
        if not abs(rho) < 1:
            raise InvalidInput(FIELD, "rho, a number between -1 and 1", self.rho)
        put(self, rho=rho + 0.0)

    @property
    def is_gaussian(self) -> bool:
        return self.rho == 0

    def scales(self, n: int) -> Scales:
        w = _ar1_eigenvalues(self.rho, n)
        return Scales(w, np.ones(n), np.full(n, 1 / n), False)


def two_point(low: float, share: float = 0.5) -> ScaleMixture:
    """w = `low` < 1 with probability `share`, else what makes the mean 1.

    >>> import linreg_lora as ll
    >>> ll.input_law.two_point(0.25).weights
    (0.25, 1.75)
    """
    return ScaleMixture(*_two_points(low, share, least=False))


def two_point_noise(low: float, share: float = 0.5) -> ScaleMixture:
    """v = `low` < 1 with probability `share`, else what makes the mean 1; w = 1: heteroscedastic noise.

    >>> import linreg_lora as ll
    >>> ll.input_law.two_point_noise(0.0).noise_weights
    (0.0, 2.0)
    """
    v, _, p = _two_points(low, share, least=True)
    return ScaleMixture((1.0, 1.0), v, p)


def _two_points(low: float, share: float, *, least: bool) -> tuple[tuple[float, float], None, tuple[float, float]]:
    low, share = number_of("low", low), number_of("share", share)
    if not 0 < share < 1:
        raise InvalidInput(FIELD, "share, a probability between 0 and 1", share)
    if not (0 <= low < 1 if least else 0 < low < 1):
        raise InvalidInput(FIELD, "low, a weight in [0, 1)" if least else "low, a weight between 0 and 1", low)
    return (low, (1 - share * low) / (1 - share)), None, (share, 1 - share)


@functools.lru_cache(maxsize=64)
def _inverse_chi2(dof: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dof - 2) / chi2_dof by the trapezoid rule in log chi2, which converges exponentially."""
    from scipy.stats import chi2

    first, last = np.log([chi2.ppf(_BEYOND, dof), chi2.isf(_BEYOND, dof)]).tolist()
    y = np.linspace(first, last, _NODES)
    log_p = 0.5 * dof * y - 0.5 * np.exp(y)
    p = np.exp(log_p - np.max(log_p))
    kept = p > _BEYOND
    p = p[kept] / np.sum(p[kept])
    return (dof - 2) * np.exp(-y[kept]), np.ones(len(p)), p


@functools.lru_cache(maxsize=64)
def _ar1_eigenvalues(rho: float, n: int) -> np.ndarray:
    """The eigenvalues of T, T_st = rho^|s - t|, ascending: 1/T is tridiagonal."""
    from scipy.linalg import eigvalsh_tridiagonal

    if n == 1 or rho == 0:
        return np.ones(n)
    diagonal = np.full(n, 1 + rho**2)
    diagonal[[0, -1]] = 1.0
    precision = np.asarray(eigvalsh_tridiagonal(diagonal, np.full(n - 1, -rho)))
    return np.sort((1 - rho**2) / precision)
