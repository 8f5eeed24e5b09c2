"""Extremes of Gaussian and Wishart matrices in expectation: limits, and inequalities that hold at every size."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput

_GRID_POINTS = 20_000


def inverse_limit(n: int, dx: int) -> float:
    """lim E lmax(Sigma S_hat^+) as n and dx grow in proportion; inf at n = dx.

        n > dx:  (1 - sqrt(dx/n))^{-2}, any Sigma        n < dx:  n (sqrt(dx) - sqrt(n))^{-2}, Sigma = c I

    One expression, n / (sqrt n - sqrt dx)^2. The paper passes from almost-sure limits to expectations without a word
    on uniform integrability, which Gaussian matrices have. Source: arXiv 2605.19018, Propositions 4 and 6.
    """
    n, dx = validation.positive_integer("n", n), validation.positive_integer("dx", dx)
    return math.inf if n == dx else n / (math.sqrt(n) - math.sqrt(dx)) ** 2


class NormBound(NamedTuple):
    """Two upper bounds on E ||G||_2^2: `sharp` <= `simple`."""

    sharp: float
    simple: float


def gaussian_norm(rows: int, columns: int) -> NormBound:
    """Bounds on the expected squared spectral norm of G, rows x columns with iid N(0, 1) entries.

        E ||G||_2^2 <= (sqrt m + sqrt n)^2 + 1 <= 5 max(m, n)

    E ||G|| <= sqrt m + sqrt n (Gordon), and Var ||G|| <= 1 because the norm is 1-Lipschitz (Poincare).
    Source: arXiv 2605.19018, Lemma 4.

    >>> import linreg_lora as ll
    >>> found = ll.theory.gaussian_norm(20, 24)
    >>> f"{found.sharp:.1f} <= {found.simple:.1f}"
    '88.8 <= 120.0'
    """
    rows, columns = validation.positive_integer("rows", rows), validation.positive_integer("columns", columns)
    return NormBound((math.sqrt(rows) + math.sqrt(columns)) ** 2 + 1, 5.0 * max(rows, columns))


def inverse_moment(size: int, dof: int) -> float:
    """An upper bound on E 1/lmin(W), W white Wishart of `size` m and `dof` M >= m; inf iff M - m <= 1.

        E 1/lmin = int x^{-2} Prob(lmin < x) dx,      Prob(lmin < x) <= min(1, L(x), C(x))
        L(x) = (K_{M,m} / K_{M+1,m-1}) int_0^x u^{(M-m-1)/2} e^{-u/2} du
        C(x) = exp( -(sqrt M - sqrt m - sqrt x)^2 / 2 ),     sqrt x < sqrt M - sqrt m

    L drops u from prod_{i<m} (lambda_i - u) in the joint density of the eigenvalues, whose constant is K: exact for
    m = 1, sharp as x -> 0 (Edelman 1988). C is concentration of the smallest singular value around a mean of at least
    sqrt M - sqrt m (Davidson and Szarek 2001). The integral is an upper Riemann sum. At most 80 % above simulation for
    m <= 300; the bound by the trace, m / (M - m - 1), is m times too large for M >> m.

    >>> import linreg_lora as ll
    >>> f"{ll.theory.inverse_moment(size=1, dof=10):.3f} = 1 / (10 - 2)"
    '0.125 = 1 / (10 - 2)'
    """
    return _inverse_moment(*_wishart_size(size, dof), None)


def condition_number(size: int, dof: int) -> float:
    """An upper bound on E[ lmax(W) / lmin(W) ], W white Wishart; inf iff size > 1 and dof - size <= 1.

        int_0^1 Q(s) (sqrt m + sqrt M + sqrt(-2 log s))^2 ds,       m = size, M = dof

    Each factor is replaced by a variable that dominates it, of quantile function Q(s) (upper, from the tail bound of
    `inverse_moment`) and the square above (concentration of ||Z||_2 around a mean of at most sqrt m + sqrt M); no joint
    law has a larger mean product than the comonotone one.

    >>> import linreg_lora as ll
    >>> limit = ((60**0.5 + 24**0.5) / (60**0.5 - 24**0.5)) ** 2
    >>> f"{ll.theory.condition_number(size=24, dof=60):.1f}, in the limit {limit:.1f}"
    '33.0, in the limit 19.7'
    """
    size, dof = _wishart_size(size, dof)
    return 1.0 if size == 1 else _inverse_moment(size, dof, math.sqrt(size) + math.sqrt(dof))


def _wishart_size(size: int, dof: int) -> tuple[int, int]:
    size, dof = validation.positive_integer("size", size), validation.positive_integer("dof", dof)
    if dof < size:
        raise InvalidInput("dof", f"at least size = {size}", dof, "swap them: W and its transpose share eigenvalues")
    return size, dof


def _inverse_moment(size: int, dof: int, edge: float | None) -> float:
    """int_0^1 Q(s) w(s) ds, w = 1 or (edge + sqrt(-2 log s))^2, as an upper sum over a grid of eigenvalues x.

    Below the grid the tail bound is c x^a, a = (dof - size + 1)/2, and w <= 2 edge^2 - 4 log s: a closed form.
    """
    shape = (dof - size + 1) / 2
    if shape <= 1:
        return math.inf
    log_density = _log_wishart_constant(size, dof) - _log_wishart_constant(size - 1, dof + 1)
    gap = math.sqrt(dof) - math.sqrt(size)
    x = np.geomspace(1e-4 * gap**2, 2.0 * dof, _GRID_POINTS)
    near_zero = log_density + shape * math.log(2) + _log_lower_gamma(shape, x / 2)
    concentrated = -(np.maximum(gap - np.sqrt(x), 0) ** 2) / 2
    log_below = np.minimum(np.minimum(near_zero, concentrated), 0)
    log_below = np.minimum.accumulate(log_below[::-1])[::-1]
    power, first = 1 - 1 / shape, float(log_below[0])
    closed = math.exp((log_density - math.log(shape)) / shape + power * first) / power
    if edge is None:
        weight = np.ones_like(x)
    else:
        weight = (edge + np.sqrt(-2 * log_below)) ** 2
        closed *= 2 * edge**2 - 4 * first + 4 / power
    mass = np.diff(np.exp(log_below), append=1.0)
    return float(closed + np.sum(mass * weight / x))


def _log_wishart_constant(size: int, dof: int) -> float:
    """log K of the joint density K exp(-sum l/2) prod l^{(dof-size-1)/2} prod |l_i - l_j| of ordered eigenvalues."""
    from scipy import special

    less = np.arange(size)
    gammas = special.gammaln((dof - less) / 2) + special.gammaln((size - less) / 2)
    return size / 2 * (math.log(math.pi) - dof * math.log(2)) - float(np.sum(gammas))


def _log_lower_gamma(shape: float, y: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """log int_0^y u^{shape-1} e^{-u} du; where it underflows, an upper bound by the geometric series of its terms."""
    from scipy import special

    share = special.gammainc(shape, y)
    ratio = np.minimum(y / (shape + 1), 1 - 1e-12)
    series = shape * np.log(y) - y - math.log(shape) - np.log1p(-ratio)
    with np.errstate(divide="ignore"):
        return np.where(share > 1e-280, np.log(share) + math.lgamma(shape), series)
