"""The exact mean density of eigenvalues of a real Wishart matrix, and the trace of its resolvent with a ridge.

W is m x m with nu >= m degrees of freedom, W = Z Z^T, Z m x nu iid N(0, 1); g = nu - m. De Bruijn's Pfaffian gives

    rho(x) = sum_jk (A^{-1})_kj phi_j(x) (eps phi_k)(x),    A_jk = <phi_j, eps phi_k>,
    phi_j = x^{(g-1)/2} e^{-x/2} p_j(x),    (eps phi)(x) = (1/2) integral of sgn(x - y) phi(y) dy,

p_j orthonormal for x^{max(g-1, 0)} e^{-x}; for odd m A is bordered by (1/2) integral of phi_j, and eps phi_{m+1} = 1/2.
With S(zeta) = E Tr (W + zeta)^{-1}, S(0) = m / (g - 1). By Marchenko and Pastur, and with the first order in 1/m,

    S_0 = 2 m / (b + sqrt(b^2 + 4 m zeta)), b = g + zeta,   S_1 = (S_0 + zeta S_0') / (g + zeta + 2 zeta S_0)

Source: de Bruijn 1955; Mehta 2004; S_1 is the expansion of the exact identity (Stein)
m = (g - 1 + zeta) S + zeta S^2 - zeta S' + zeta Var Tr (W + zeta)^{-1}.
"""

import functools
import math

import numpy as np
from jaxtyping import Complex, Float

from linreg_lora.errors import NumericalFailure

#: Gauss-Legendre nodes in sqrt(x) on a panel, halvings of the first panel towards 0, and panels per oscillation.
_NODES, _HALVINGS, _WAVE = 20, 30, 6.0
#: How far the count of eigenvalues and the mean of Tr W may be off, relatively.
_ACCURACY = 1e-9
#: exp(-x/2) at the largest x is no number beyond this.
_LARGEST = 1300.0


def has_density(m: float | int, nu: float | int) -> bool:
    """Whether the density can be had in double precision: m up to some 200."""
    return (math.sqrt(nu) + math.sqrt(m) + 7) ** 2 < _LARGEST


@functools.lru_cache(maxsize=64)
def density(m: int, nu: float | int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Nodes x and weights with E sum_i f(x_i) = sum weights f(x) for smooth f; no distribution function.

    Raises `NumericalFailure` where the count m or E Tr W = m nu do not come out.

    >>> x, weights = density(4, 8)
    >>> f"{weights.sum():.6f} eigenvalues, E Tr W = {weights @ x:.4f}, E Tr W^-1 = {weights @ (1 / x):.6f}"
    '4.000000 eigenvalues, E Tr W = 32.0000, E Tr W^-1 = 1.333333'
    """
    top = np.sqrt(nu) + np.sqrt(m) + 7
    first = min(top, _WAVE / np.sqrt(m))
    inner = first * 0.5 ** np.arange(_HALVINGS, -1, -1)
    edges = np.concatenate([[0.0], inner, np.arange(2 * first, top + first, first)])
    t, w = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    u = (edges[1:, None] + edges[:-1, None]) / 2 + half * t
    phi = _functions(m, nu - m, u**2) * 2 * u
    left = np.concatenate([np.zeros((m, 1)), np.cumsum(np.sum(w * phi, axis=2) * half[:, 0], axis=1)], axis=1)
    eps = left[:, :-1, None] + phi @ _antiderivative(t).T * half - left[:, -1, None, None] / 2
    weights = (half * w).ravel()
    f, e = phi.reshape(m, -1), eps.reshape(m, -1)
    pairs = (f * weights) @ e.T
    pairs = (pairs - pairs.T) / 2
    if m % 2:
        border = left[:, -1:] / 2
        pairs = np.block([[pairs, border], [-border.T, np.zeros((1, 1))]])
        e, f = np.vstack([e, np.full(e.shape[1], 0.5)]), np.vstack([f, np.zeros(f.shape[1])])
    x, found = u.ravel() ** 2, np.sum((np.linalg.inv(pairs).T @ e) * f, axis=0) * weights
    if not (abs(found.sum() / m - 1) < _ACCURACY and abs(found @ x / (m * nu) - 1) < _ACCURACY):
        raise NumericalFailure(
            f"laguerre: expected m = {m} eigenvalues of mean {nu}, received {found.sum():.6g} of mean "
            f"{found @ x / m:.6g}; move n or raise ridge"
        )
    return x, found


def exact(
    zeta: Complex[np.ndarray, "p"] | float | complex, m: float | int, nu: float | int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """S = E Tr (W + zeta)^{-1} and its first two derivatives in zeta, away from the negative real axis.

    `nu` may be any number from m + 1 on. Between whole m, and between m and m + 1, what S_0 + S_1, S_0' and S_0'' leave
    is continued by the quadratic through its values at the three nearest whole numbers.

    >>> f"{float(exact(0.1, 25, 27)[0]):.6f}"
    '9.992019'
    """
    if float(m).is_integer() and (float(nu).is_integer() or nu >= m + 1):
        return _resolvent(zeta, int(m), nu)
    n, other = (nu, m) if float(m).is_integer() else (m, nu)
    whole = round(n)
    before, at, after = (_left(zeta, *sorted((k, int(other)))) for k in (whole - 1, whole, whole + 1))
    way = n - whole
    left = at + way * (after - before) / 2 + way**2 * (after - 2 * at + before) / 2
    s, first, second, more = marchenko_pastur(zeta, m, nu)
    values = (left[0] + s + more, left[1] + first, left[2] + second)
    s, first, second = (np.asarray(value if np.iscomplexobj(zeta) else np.real(value)) for value in values)
    return s, first, second


def _left(zeta: Complex[np.ndarray, "p"] | float | complex, m: int, nu: int) -> np.ndarray:
    """S - S_0 - S_1, S' - S_0' and S'' - S_0''; 0 where there is no eigenvalue."""
    if m == 0:
        return np.zeros((3, *np.shape(zeta)))
    s, first, second, more = marchenko_pastur(zeta, m, nu)
    return np.stack(_resolvent(zeta, m, nu)) - np.stack([s + more, first, second])


def _resolvent(
    zeta: Complex[np.ndarray, "p"] | float | complex, m: int, nu: float | int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, weights = density(m, nu)
    inverse = 1 / (np.asarray(zeta)[..., None] + x)
    square = inverse * inverse
    sums = (inverse @ weights, -(square @ weights), 2 * ((square * inverse) @ weights))
    return np.asarray(sums[0]), np.asarray(sums[1]), np.asarray(sums[2])


def marchenko_pastur(
    zeta: Complex[np.ndarray, "p"] | float | complex, m: float | int, nu: float | int
) -> tuple[np.ndarray, ...]:
    """S_0, its first two derivatives in zeta, and S_1.

    >>> s, _, _, first = marchenko_pastur(0.1, 25, 27)
    >>> f"{float(s.real):.6f} + {float(first.real):.6f}"
    '8.480253 + 1.676057'
    """
    g, root = nu - m, 2j * np.sqrt(m * np.asarray(zeta, dtype=complex))
    b = g + zeta
    s = 2 * m / (b + np.sqrt(b + root) * np.sqrt(b - root))
    slack = g + zeta + 2 * zeta * s
    first = -(s + s * s) / slack
    second = -(first * (1 + 2 * s) * slack - (s + s * s) * (1 + 2 * s + 2 * zeta * first)) / slack**2
    return tuple(np.asarray(part) for part in (s, first, second, (s + zeta * first) / slack))


def _functions(m: int, g: float | int, x: np.ndarray) -> np.ndarray:
    """phi_j, j < m, by the recurrence of Laguerre's polynomials."""
    alpha = max(g - 1.0, 0.0)
    phi = np.empty((m, *x.shape))
    phi[0] = np.exp((g - 1) / 2 * np.log(x) - x / 2 - 0.5 * math.lgamma(alpha + 1))
    before = np.zeros_like(x)
    for k in range(m - 1):
        next_ = (2 * k + 1 + alpha - x) * phi[k] - np.sqrt(k * (k + alpha)) * before
        before, phi[k + 1] = phi[k], next_ / np.sqrt((k + 1) * (k + 1 + alpha))
    return phi


def _antiderivative(t: np.ndarray) -> np.ndarray:
    """The matrix that integrates, from -1 to each node, the polynomial through values at the nodes."""
    values = np.polynomial.legendre.legvander(t, len(t))
    integrals = np.empty((len(t), len(t)))
    integrals[:, 0] = t + 1
    for k in range(1, len(t)):
        integrals[:, k] = (values[:, k + 1] - values[:, k - 1]) / (2 * k + 1)
    return integrals @ np.linalg.inv(values[:, :-1])
