"""FFT's exact risk on both sides of the threshold n = dx: where it comes from, and how it moves with n."""

from collections.abc import Iterator

import sympy
from sympy import Rational, symbols

from linreg_lora.proofs.algebra import Exact, matrix, sign_defects, symmetric
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

n, dx, trace, shift = symbols("n dx Tr_Sigma_eps c_Delta_squared", positive=True)
more, rest = symbols("more rest", nonnegative=True)


def overdetermined() -> Exact:
    return trace * dx / (n - dx - 1)


def underdetermined_bias() -> Exact:
    """`shift` is c ||Delta||_F^2."""
    return shift * (1 - n / dx)


def underdetermined_variance() -> Exact:
    return trace * n / (dx - n - 1)


def mean_inverse(size: Exact, samples: Exact) -> Exact:
    """E Tr W^{-1}, W ~ Wishart_size(I, samples): each diagonal entry is one over a chi-square variable."""
    return size * _mean_inverse_chi_square(samples - size + 1)


@register_proof(
    "fft-in-n",
    title="FFT's risk falls with n above the threshold; below it the bias falls, the variance rises",
    source="arXiv 2605.19018, Propositions 3 and 5; docs/theory.md section 3, theory.fft",
)
def fft_in_n() -> Iterator[Step | SimulationOnly]:
    over, bias, variance = overdetermined(), underdetermined_bias(), underdetermined_variance()
    yield Step(
        "no bias above the threshold",
        "(Delta X + E) X^T (X X^T)^{-1} - Delta = E X^T (X X^T)^{-1}: dx = 2, n = 3",
        _error_is_noise,
    )
    yield Step(
        "an inverse's diagonal",
        "1 / (S^{-1})_11 = S_11 - S_12 S_22^{-1} S_21: the squared distance of row 1 of X from the span of the others",
        lambda: _inverse_diagonal(symmetric("S", 3)),
    )
    yield SimulationOnly(
        "that distance", "is chi-square with n - dx + 1 degrees of freedom", "claim prop3-fft-overdetermined"
    )
    yield Step(
        "mean of the inverse of a chi-square variable",
        "E 1/chi2_k = 1/(k - 2), by its density for k = 3..6 and by its Gamma functions for any k",
        lambda: [
            *(_mean_inverse_by_density(k) - _mean_inverse_chi_square(sympy.Integer(k)) for k in range(3, 7)),
            _mean_inverse_by_gamma(n) - _mean_inverse_chi_square(n),
        ],
    )
    yield Step(
        "risk above the threshold",
        "Tr(Sigma_eps) E Tr S^{-1} = Tr(Sigma_eps) dx/(n - dx - 1)",
        lambda: trace * mean_inverse(dx, n) - over,
    )
    yield Step(
        "it falls with n",
        "risk(n) - risk(n+1) = Tr(Sigma_eps) dx/((n - dx - 1)(n - dx)) > 0",
        lambda: [
            over - over.subs(n, n + 1) - trace * dx / ((n - dx - 1) * (n - dx)),
            *sign_defects((over - over.subs(n, n + 1)).subs(n, dx + 2 + more)),
        ],
    )
    yield Step("unseen share", "Tr X (X^T X)^{-1} X^T = n: dx = 3, n = 2", _seen_dimension)
    yield SimulationOnly("isotropy", "the seen space is uniformly distributed: a share n/dx of Delta is seen",
                         "claim lemma5-seen-share")  # fmt: skip
    yield Step(
        "variance below the threshold",
        "Tr(Sigma_eps) E Tr (X^T X)^{-1}, with n and dx in each other's place",
        lambda: trace * mean_inverse(n, dx) - variance,
    )
    yield Step(
        "the bias falls",
        "bias(n) - bias(n+1) = c ||Delta||^2 / dx > 0",
        lambda: bias - bias.subs(n, n + 1) - shift / dx,
    )
    rise = sympy.cancel(variance.subs(n, n + 1) - variance)
    yield Step(
        "the variance rises",
        "variance(n+1) - variance(n) = Tr(Sigma_eps)(dx - 1)/((dx - n - 1)(dx - n - 2)) > 0 for n <= dx - 3, dx >= 2",
        lambda: [
            rise - trace * (dx - 1) / ((dx - n - 1) * (dx - n - 2)),
            *sign_defects(rise.subs(dx, n + 3 + more)),
        ],
    )
    harm = sympy.cancel((bias + variance).subs(n, n + 1) - bias - variance)
    yield Step(
        "more samples can hurt",
        "dx = 10, c ||Delta||^2 = 1, Tr(Sigma_eps) = 1: risk(2) - risk(1) = 17/280 > 0",
        lambda: [
            harm.subs({n: 1, dx: 10, shift: 1, trace: 1}) - (Rational(2, 7) - Rational(1, 8) - Rational(1, 10)),
            harm.subs({n: 1, dx: 10, shift: 1, trace: 1}) > 0,
        ],
    )
    yield Step(
        "but not without noise",
        "risk(n+1) - risk(n) = -c ||Delta||^2 / dx where Tr(Sigma_eps) = 0",
        lambda: harm.subs(trace, 0) + shift / dx,
    )
    best = dx - 1 - sympy.sqrt(trace * dx * (dx - 1) / shift)
    yield Step(
        "where it turns",
        "d risk / dn = 0 at n = dx - 1 - sqrt(Tr(Sigma_eps) dx (dx - 1) / (c ||Delta||^2)), a minimum",
        lambda: [
            sympy.diff(bias + variance, n).subs(n, best),
            *sign_defects(sympy.diff(variance, n, 2).subs(dx, n + 1 + rest)),
        ],
    )


def _error_is_noise() -> Exact:
    x, delta, noise = matrix("X", 2, 3), matrix("D", 1, 2), matrix("E", 1, 3)
    gram = x * x.T
    pseudo_inverse = x.T * gram.adjugate() / gram.det()
    return ((delta * x + noise) * pseudo_inverse - delta - noise * pseudo_inverse).applyfunc(sympy.cancel)


def _inverse_diagonal(s: Exact) -> Exact:
    schur = s[0, 0] - (s[0, 1:] * s[1:, 1:].inv() * s[1:, 0])[0]
    return s.det() / s[1:, 1:].det() - schur


def _mean_inverse_chi_square(k: Exact) -> Exact:
    return 1 / (k - 2)


def _mean_inverse_by_density(k: int) -> Exact:
    x, half = symbols("x", positive=True), Rational(k, 2)
    density = x ** (half - 1) * sympy.exp(-x / 2) / (2**half * sympy.gamma(half))
    return sympy.integrate(density / x, (x, 0, sympy.oo))


def _mean_inverse_by_gamma(k: Exact) -> Exact:
    return sympy.gammasimp(sympy.gamma(k / 2 - 1) / (2 * sympy.gamma(k / 2)))


def _seen_dimension() -> Exact:
    x = matrix("X", 3, 2)
    gram = x.T * x
    return sympy.cancel((x * gram.adjugate() * x.T).trace() / gram.det()) - 2
