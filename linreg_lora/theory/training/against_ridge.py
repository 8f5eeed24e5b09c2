"""Stopping early against ridge: what the one can cost more than the other, and where the two are the same.

At an eigenvalue x of S = X X^T / n, gradient flow stopped at t leaves e^{-x t} of the shift, ridge eta = n/t leaves
1 / (1 + x t). The variance of the first is at most

    max_x [ (1 - e^{-x}) (1 + x) / x ]^2                                                  ~ 1.6859

times that of the second, for every design and Sigma; its bias is less at every x. Where E Delta^T Delta is a multiple
of the identity, the best ridge eta has relative risk 1 / (1 + y) at y = n x / eta, and stopping at t = c n / eta is at
most

    max_y (1 + y) [ e^{-2 c y} + (1 - e^{-c y})^2 / y ]          ~ 1.2147 at c = 1,  ~ 1.0786 at the best c ~ 0.4571

times worse, whatever the eigenvalues. Source: Ali, Kolter and Tibshirani 2019 for the first and for c = 1; the better
c is ours. In an orthogonal design, S = c I, both shrink D_FFT by one factor, and their best is the same:

    V = sigma^2 dx dy / (n c),    t = log(1 + S / V) / c,    E ||D_t - Delta||^2 = S V / (S + V),    S = ||Delta||^2
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training.search import least
from linreg_lora.theory.training.stopped import BestStop

_GRID = np.geomspace(1e-3, 1e3, 601)


class WorstRatios(NamedTuple):
    """The largest ratios of gradient flow to ridge: of variances at eta = n/t, at x t = `variance_at`; of expected
    risks at t = `share` n / eta, eta the best ridge, `tuned`; and at t = n / eta, `matched`."""

    variance: float
    variance_at: float
    tuned: float
    share: float
    matched: float


@functools.cache
def worst_ratios() -> WorstRatios:
    """How much stopping early can cost more than ridge, over all eigenvalues.

    At the best share two maxima over y are level, so it is a corner.

    >>> import linreg_lora as ll
    >>> found = ll.theory.training.worst_ratios()
    >>> f"variance {found.variance:.4f}; tuned {found.tuned:.4f} at t = {found.share:.4f} n / eta"
    'variance 1.6859; tuned 1.0786 at t = 0.4571 n / eta'
    """
    variance, at = _largest(lambda x: (-np.expm1(-x) * (1 + x) / x) ** 2)
    best = least(tuned_ratio, 0.2, 1.0, within=1e-10)
    return WorstRatios(variance, at, best.value, best.at, tuned_ratio(1.0))


def tuned_ratio(share: float) -> float:
    """The largest ratio of risks where t = `share` n / eta and eta is the best ridge, E Delta^T Delta = alpha^2 I.

    >>> import linreg_lora as ll
    >>> f"{ll.theory.training.tuned_ratio(1.0):.5f}"
    '1.21466'
    """
    c = validation.nonnegative_number("share", share)
    if c == 0:
        raise InvalidInput("share", "a number > 0", share)
    return _largest(lambda y: (1 + y) * (np.exp(-2 * c * y) + np.expm1(-c * y) ** 2 / y))[0]


def orthogonal_stop(n: int, dx: int, dy: int, shift_energy: float, noise_std: float, *, scale: float = 1.0) -> BestStop:
    """The best time to stop full fine-tuning where S = X X^T / n = c I, and ||D_t - Delta||_F^2 at it.

    `shift_energy` ||Delta||_F^2, `noise_std` sigma, `scale` c. The best ridge reaches the same risk.

    >>> import linreg_lora as ll
    >>> found = ll.theory.training.orthogonal_stop(60, 12, 9, shift_energy=4.0, noise_std=1.0, scale=0.5)
    >>> f"t = {found.time:.4f}: {found.risk:.4f}"
    't = 1.4944: 1.8947'
    """
    n, dx, dy = (validation.positive_integer(name, v) for name, v in (("n", n), ("dx", dx), ("dy", dy)))
    energy, noise = (
        validation.nonnegative_number(name, v) for name, v in (("shift_energy", shift_energy), ("noise_std", noise_std))
    )
    c = validation.nonnegative_number("scale", scale)
    if c == 0:
        raise InvalidInput("scale", "c > 0", scale)
    if n < dx:
        raise InvalidInput("n", f"at least dx = {dx}, for an orthogonal design", n)
    if noise == 0 or energy == 0:
        return BestStop(math.inf if energy > 0 else 0.0, 0.0, flagged=False)
    variance = noise**2 * dx * dy / (n * c)
    best = variance * energy / (variance + energy)
    return BestStop(math.log1p(energy / variance) / c, best, flagged=False)


def _largest(ratio: Callable[..., float]) -> tuple[float, float]:
    """The maximum over x > 0, and where it is: every maximum on a grid refined, for two of them may be nearly level."""
    values = np.asarray(ratio(_GRID))
    inner = np.flatnonzero((values[1:-1] >= values[:-2]) & (values[1:-1] >= values[2:])) + 1
    found = [least(lambda x: -ratio(x), _GRID[k - 1], _GRID[k + 1]) for k in inner]
    return max((-each.value, each.at) for each in found)
