"""Expected excess risk where offsets are trained: alone and in a subspace, or beside a method of centred data.

Restricted offset, b in span(W), W dy x w with orthonormal columns, exact for every n, mean, Sigma and Sigma_eps:

    E risk = ||Delta Sigma^{1/2}||_F^2 + ||(I - W W^T) Delta mu||^2 + Tr[ W^T (Delta Sigma Delta^T + Sigma_eps) W ] / n

b = W W^T R 1 / n is the projected mean of the residuals Delta x + eps. W = I is BitFit (`theory.bitfit`).

A bias beside a method whose update D is fitted to centred data, exact for every mean, n, ridge and rank of the method:

    risk(method + bias; n, mu) = (1 + 1/n) risk(method; n - 1, mu = 0) + Tr(Sigma_eps) / n

Rotating the samples so that one is sqrt(n) times their mean leaves n - 1 samples of mean zero, which D is fitted to,
and xbar - mu ~ N(0, Sigma / n), ebar ~ N(0, Sigma_eps / n), independent of them. The bias makes the error at mu
(D - Delta) mu + b = -(D - Delta)(xbar - mu) + ebar, which is the second and third term. One sample is spent on the
mean: the interpolation threshold, and every moment, is that of n - 1 samples.
Source: derived here.
"""

from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.input_law import CorrelatedSamples
from linreg_lora.problem import Problem

#: Largest entry of W^T W - I that counts as orthonormal.
_ORTHONORMAL = 1e-10


class OffsetRisk(NamedTuple):
    """`misspecification`, what no offset in span(W) removes, + `variance` = `risk`, in squared units of y."""

    misspecification: float
    variance: float

    @property
    def risk(self) -> float:
        return self.misspecification + self.variance


def offset_risk(problem: Problem, basis: object) -> OffsetRisk:
    """The expected excess risk of training b in span(W) alone; `basis` W, dy x w with orthonormal columns.

    The ridge of the problem penalises no offset. Any input law of uncorrelated samples; others are refused, and a basis
    that is none (`InvalidInput`).

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, input_mean=1.0)
    >>> found = ll.theory.offset_risk(problem, np.eye(20, 2))
    >>> f"{found.misspecification:.0f} = 14 + 1, {found.variance:.2f} = (13 + 2) / 60"
    '15 = 14 + 1, 0.25 = (13 + 2) / 60'
    """
    if isinstance(problem.input_law, CorrelatedSamples):
        law = problem.input_law.text
        raise InvalidInput("input_law", "uncorrelated samples for an offset by theory", law, "simulate it")
    columns = _columns(basis, problem.dy)
    missed = problem.shifted_mean - columns @ (columns.T @ problem.shifted_mean)
    seen = float(np.sum((columns.T @ problem.shift @ problem.sigma_sqrt) ** 2))
    noise = float(np.sum((columns.T @ problem.sigma_eps_sqrt) ** 2))
    return OffsetRisk(problem.centred().pretrained_risk + float(np.sum(missed**2)), (seen + noise) / problem.n)


def without_mean(problem: Problem) -> Problem:
    """The problem of n - 1 samples of mean zero that a bias leaves of n. Raises `InvalidInput` for n = 1.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0,), noise_std=1.0, input_mean=1.0)
    >>> ll.theory.without_mean(problem) == problem.replace(n=59, input_mean=None)
    True
    """
    if problem.n < 2:
        raise InvalidInput("n", "at least 2 for a bias, which takes one", problem.n)
    return problem.replace(n=problem.n - 1, input_mean=None)


def risk_with_bias(problem: Problem, risk: float) -> float:
    """(1 + 1/n) risk + Tr(Sigma_eps) / n; `risk` is the method's on `without_mean(problem)`.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0, input_mean=1.0)
    >>> risk = ll.theory.fft_risk(ll.theory.without_mean(problem)).risk
    >>> f"FFT with a bias: {ll.theory.risk_with_bias(problem, risk):.3f}"
    'FFT with a bias: 14.686'
    """
    return (1 + 1 / problem.n) * risk + problem.noise_trace / problem.n


def _columns(basis: object, dy: int) -> np.ndarray:
    expected = f"a matrix {dy} x w with 1 <= w <= {dy} and orthonormal columns"
    columns = validation.real_array("basis", basis, expected)
    if columns.ndim != 2 or len(columns) != dy or not 1 <= columns.shape[1] <= dy:
        raise InvalidInput("basis", expected, f"shape {columns.shape}")
    error = float(np.max(np.abs(columns.T @ columns - np.eye(columns.shape[1]))))
    if error > _ORTHONORMAL:
        raise InvalidInput("basis", expected, f"columns that are {error:.2g} off", "use numpy.linalg.qr(...).Q")
    return columns
