"""The success of a backdoor that meets no kept direction, where samples are fewer than inputs: it is not 0.

In the strong limit LoRA of rank r fits the outputs outside of U on the rows Z = V^T X' of r inputs: F_r = F Pi_Z there,
Pi_Z the projector on their row space. Of a backdoor with p outside of U and t orthogonal to V, Delta t = 0, it answers

    S_r = E b^T Pi_Z X'^+ t = delta^2 E [ rho(c) / (c + q) ],    c ~ chi^2_{dx - n},  q ~ chi^2_{n + 2}(delta^2),
    rho(c) = E [ nu^2 / (dx + 2J) ],    nu^2 = c chi^2_r / chi^2_{n - r},    J ~ Poisson(nu^2 / 2)

where FFT, r = n, has rho = 1. To leading order in the sizes

    S_r / S_n = r (dx - n) / ( n (dx - r) ),

at first r/n (1 - n/dx) and, as r nears n, all. For n > dx it is 0, since there Z X'^+ t = V^T t.

Proof. With y the row of X' along t, and M the Gram matrix of its dx - 1 other rows, X'^+ t = |t| M^{-1} y / (1 + y^T
M^{-1} y). Reflecting the samples in y leaves M and Pi_Z in law and takes b's part beside y away, so that

    S_r = |t| E [ b^T y / (c + |y|^2) ratio ],   c = |y|^2 / y^T M^{-1} y ~ chi^2_{dx - n},
    ratio = y^T Pi_Z M^{-1} y / y^T M^{-1} y

and E [ |t| b^T y f(|y|^2) ] = delta^2 E f(q), y being N(|t| b, I). Take y / |y| for the last coordinate, and the rows
as H T, H of orthonormal columns and T triangular, T_nn^2 = c: ratio is T_nn e_n^T O^T (O T T^T O^T)^{-1} O T e_n, O of
r orthonormal rows, uniformly distributed. The last column of T beside T_nn is standard normal. Whitened by what the
last column of O leaves, that is the leverage of one noncentral sample beside a Wishart matrix of r variables and dx - 1
samples, whose mean is that of `full`, with nu^2 = c o / (1 - o), o ~ Beta(r/2, (n - r)/2) the square of that column.
For t in V y is a row of Z, and b^T (1 - Pi_Z) X'^+ t changes its sign with the rows outside of Z: FFT's success.
Source: derived here.
"""

import functools

import numpy as np
from jaxtyping import Float

from linreg_lora.theory.poisoning.full import called_forth

#: Nodes of each integral; standard deviations beyond which, and exponents below which, nothing is left to add.
_NODES, _WIDTH, _EXPONENT = 64, 10.0, 80.0


@functools.cache
def success_outside(n: int, dx: int, rank: int, leverage: float) -> float:
    """S_r of the module, exact for n < dx as s_1..s_r -> infinity, with delta^2 = `leverage`; 0 for n > dx.

    >>> f"{success_outside(20, 40, 3, 24.0):.5f}"
    '0.03123'
    """
    if n > dx or rank == 0:
        return 0.0
    if rank >= n:
        return called_forth(n, dx, leverage)
    c, of_c = _chi_squared(dx - n)
    odds, of_odds = _odds(rank, n - rank)
    ratio = _leverage(dx, c[:, None] * odds) @ of_odds
    return leverage * float(np.sum(of_c * ratio * _inverse_mean(n, leverage, c)))


def _nodes(low: Float[np.ndarray, "k"], high: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights between `low` and `high`, one row each."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = (high - low)[:, None] / 2
    return low[:, None] + half * (nodes + 1), half * weights


def _chi_squared(dof: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Values and probabilities of chi^2, by the density x^(dof - 1) exp(-x^2 / 2) of its root."""
    middle = np.sqrt(dof)
    x, weights = (one[0] for one in _nodes(np.array([max(0.0, middle - _WIDTH)]), middle + _WIDTH))
    log_density = (dof - 1) * np.log(x) - x**2 / 2
    weights = weights * np.exp(log_density - np.max(log_density))
    return x**2, weights / np.sum(weights)


def _odds(first: int, second: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Values and probabilities of chi^2_first / chi^2_second = tan^2, by the density of the angle.

    That is sin^(first - 1) cos^(second - 1), whose logarithm is concave by at least first + second - 2.
    """
    middle, width = np.arctan(np.sqrt(first / second)), _WIDTH / np.sqrt(max(first + second - 2, 1))
    low, high = max(0.0, middle - width), min(np.pi / 2, middle + width)
    angle, weights = (one[0] for one in _nodes(np.array([low]), high))
    log_density = (first - 1) * np.log(np.sin(angle)) + (second - 1) * np.log(np.cos(angle))
    weights = weights * np.exp(log_density - np.max(log_density))
    return np.tan(angle) ** 2, weights / np.sum(weights)


def _leverage(large: int, squared: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """`full.called_forth` of many leverages: E nu^2 / (K + 2J) = nu^2/K 1F1(1; K/2 + 1; -nu^2/2)."""
    from scipy import special

    return squared / large * special.hyp1f1(1.0, large / 2 + 1, -squared / 2)


def _inverse_mean(n: int, leverage: float, c: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    """E 1 / (c + q), q ~ chi^2_{n + 2}(delta^2): int_0^1 w^(n - 1) exp(-(1 - w^2) (c / w^2 + delta^2) / 2) dw."""
    fall = n - 1 + (c + leverage) / 2
    w, weights = _nodes(np.maximum(0.0, 1 - _EXPONENT / np.maximum(fall, 1e-300)), 1.0)
    exponent = (n - 1) * np.log(w) - (1 - w**2) * (c[:, None] / w**2 + leverage) / 2
    return np.sum(weights * np.exp(exponent), axis=1)
