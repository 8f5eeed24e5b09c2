"""Means over a Poisson variable, and over the largest of normal ones: the integrals that exact results are made of."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

#: -log of the probability that may be cut off at either end of a Poisson law: 1e-18.
_LOG_TAIL = 18 * math.log(10)
#: From this rate on the law is a point: a function smooth on the scale of its mean is known there to 1 / rate.
_POINT = 1e10
#: Nodes of an integral over a normal order statistic, and the probability that is cut off at either end.
_NODES, _CUT = 200, 1e-18


def poisson_mean(function: Callable[[Float[np.ndarray, "j"]], Float[np.ndarray, "j"]], rate: float) -> float:
    """E f(J), J ~ Poisson(`rate`), of a function with values between 0 and 1, to absolute 1e-15.

    The sum runs over all j but those of tails of probability 1e-18, by Bernstein's inequality, and weights are
    normalised. From a rate of 1e10 on it is f(rate).

    >>> f"{poisson_mean(lambda j: 1 / (1 + j), 2.0):.6f} = {(1 - np.exp(-2.0)) / 2:.6f}"
    '0.432332 = 0.432332'
    """
    if rate == 0 or rate >= _POINT:
        return float(function(np.array([rate]))[0])
    from scipy import special

    below = math.sqrt(2 * _LOG_TAIL * rate)
    above = _LOG_TAIL / 3 + math.sqrt((_LOG_TAIL / 3) ** 2 + 2 * _LOG_TAIL * rate)
    j = np.arange(max(0, math.floor(rate - below)), math.ceil(rate + above) + 1, dtype=float)
    weights = np.exp(special.xlogy(j, rate) - special.gammaln(j + 1) - rate)
    return float(np.sum(weights * function(j)) / np.sum(weights))


def largest_sum_squared(n: int, m: int) -> float:
    """Q = E(sum of the m largest of n independent N(0, 1) variables)^2.

        Q = E[ m (1 + y h - h^2) + m^2 h^2 ],    h = phi(y) / (1 - Phi(y)),    1 - Phi(y) = u ~ Beta(m + 1, n - m)

    y is the next largest, given which the m are independent draws of the normal law above y. Q = n for m = n.

    >>> f"{largest_sum_squared(2, 1):.6f}"
    '1.000000'
    >>> f"{largest_sum_squared(5, 5):.6f}"
    '5.000000'
    """
    if m == n:
        return float(n)
    from scipy import special

    first = float(special.ndtri(special.betaincinv(n - m, m + 1, _CUT)))
    last = -float(special.ndtri(special.betaincinv(m + 1, n - m, _CUT)))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    y = first + (last - first) * (nodes + 1) / 2
    above, log_density = special.log_ndtr(-y), -(y**2) / 2 - math.log(2 * math.pi) / 2
    # The density of u but for its constant, which the normalised weights do not need.
    log_beta = m * above + special.xlogy(n - m - 1, special.ndtr(y))
    weights = weights * np.exp(log_beta - np.max(log_beta) + log_density)
    hazard = np.exp(log_density - above)
    inner = m * (1 + y * hazard - hazard**2) + m**2 * hazard**2
    return float(np.sum(weights * inner) / np.sum(weights))
