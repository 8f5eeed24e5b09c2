"""The self-consistent equation behind LoRA's risk, reduced to Marchenko-Pastur without a shift and to FFT at full rank.

G = [diag(eta, z) + n w o V]^{-1},   w = (L + t)^{-1},   t_kl = Tr V_lk G_kl,   L = [[0, 1], [1, -1]]
"""

import functools
from collections.abc import Iterator

import sympy
from sympy import symbols

from linreg_lora.proofs.algebra import Exact, Matrix, diag, eye, matrix, zeros
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

L = Matrix([[0, 1], [1, -1]])
n, dx, dy, eta, kappa, noise = symbols("n dx dy eta kappa sigma_squared", positive=True)
z, g11, t00, t01, t11 = symbols("z G11 t00 t01 t11")
l2, s1, s2 = symbols("l2 s1 s2", positive=True)
#: Two pairs of one input and one output direction: variance and shift; `dy` - 2 outputs have noise only. The unit of x
#: is chosen to make the first variance 1.
PAIRS = ((sympy.Integer(1), s1), (l2, s2))


def marchenko_pastur(columns: Exact) -> Exact:
    """1/G_11 of noise with `columns` columns: z - sigma^2 N / (1 - sigma^2 dy G_11)."""
    return z - noise * columns / (1 - noise * dy * g11)


def fft_equivalent() -> Exact:
    """The documented deterministic equivalent of FFT's risk, for `PAIRS`."""
    df2 = sum(c**2 / (c + kappa) ** 2 for c, _ in PAIRS)
    bias = kappa**2 * sum(s**2 * c / (c + kappa) ** 2 for c, s in PAIRS) / (1 - df2 / n)
    return bias + dy * noise * df2 / (n - df2)


@register_proof(
    "fixed-point",
    title="The self-consistent equation is Marchenko-Pastur's without a shift, and gives FFT's risk at full rank",
    source="own; docs/theory.md sections 4, 5 and 7, theory.pencil, theory.ridgeless",
)
def fixed_point() -> Iterator[Step | SimulationOnly]:
    yield Step(
        "the blocks of the inverse",
        "(M^{-1})_11 = -Q, (M^{-1})_01 = D^T Q, (M^{-1})_00 = S^{-1} - D^T Q D, Q = (D S D^T - z)^{-1}: dx = dy = 2",
        _blocks,
    )
    yield Step(
        "a sample adds rank two",
        "M - C = sum of U K U^T with K = L^{-1} = [[1, 1], [1, 0]]",
        _one_sample,
    )
    yield SimulationOnly(
        "the mean of M^{-1}", "is G, up to relative O(1/d), as dimensions grow in proportion",
        "test tests/test_theory_equivalent.py::test_simulation_agrees",
    )  # fmt: skip
    w = (L + diag(t00, t11)).inv()
    yield Step(
        "no shift, n > dx",
        "with Delta = 0, Sigma = I, eta = 0: 1/G_11 = z - sigma^2 dx/(1 - sigma^2 dy G_11), noise of dx columns",
        lambda: _without_shift_overdetermined(w) - marchenko_pastur(dx),
    )
    yield Step(
        "no shift, n < dx",
        "as eta -> 0+, n w_00 ~ eta/kappa with dx/(1 + kappa) = n, and the noise has n columns",
        lambda: _without_shift_underdetermined(w),
    )
    yield Step(
        "FFT: effective regularisation",
        "at z = infinity with n w_00 = eta/kappa: n - eta/kappa = sum l_i/(l_i + kappa)",
        lambda: _at_infinity()[eta] / kappa - n + sum(c / (c + kappa) for c, _ in PAIRS),
    )
    yield Step(
        "FFT: risk",
        "||Delta Sigma^{1/2}||^2 + T_1 - 2 T_2 from the 1/z terms is the equivalent of theory.fft, any ridge",
        lambda: _full_rank_risk() - fft_equivalent(),
    )
    yield Step(
        "FFT: no ridge, n > dx",
        "kappa -> 0 leaves Tr(Sigma_eps) dx/(n - dx), dx = 2: the exact risk but for the 1 of n - dx - 1",
        lambda: _full_rank_risk().subs(kappa, 0) - dy * noise * 2 / (n - 2),
    )
    yield Step(
        "FFT: no ridge, n < dx, isotropic",
        "kappa = dx/n - 1 leaves ||Delta||^2 (1 - n/dx) + Tr(Sigma_eps) n/(dx - n), dx = 2",
        lambda: _isotropic(),
    )


def _blocks() -> Exact:
    """At S = [[2, 1], [1, 3]], any D and z."""
    s, d = Matrix([[2, 1], [1, 3]]), matrix("D", 2, 2)
    inverse = Matrix([[s, s * d.T], [d * s, z * eye(2)]]).inv()
    resolvent = (d * s * d.T - z * eye(2)).inv()
    expected = Matrix([[s.inv() - d.T * resolvent * d, d.T * resolvent], [resolvent * d, -resolvent]])
    return inverse - expected


def _one_sample() -> list[Exact]:
    x, residual = matrix("x", 2, 1), matrix("R", 2, 1)
    u, k = Matrix([[x, zeros(2, 1)], [zeros(2, 1), residual]]), Matrix([[1, 1], [1, 0]])
    added = Matrix([[x * x.T, x * residual.T], [residual * x.T, zeros(2, 2)]])
    return [u * k * u.T - added, L * k - eye(2)]


def _without_shift_overdetermined(w: Exact) -> Exact:
    """1/G_11 = z + n w_11 sigma^2 where t_00 = dx/(n w_00) and t_11 = sigma^2 dy G_11."""
    (found,) = sympy.solve(sympy.numer(sympy.together(t00 * n * w[0, 0] - dx)), t00)
    return (z + n * w[1, 1] * noise).subs(t00, found).subs(t11, noise * dy * g11)


def _without_shift_underdetermined(w: Exact) -> list[Exact]:
    """t_00 = dx/(eta + n w_00), and n w_00 = eta/kappa to first order."""
    inputs = dx / (eta + eta / kappa)
    first = sympy.limit(n * w[0, 0].subs(t00, inputs) / eta, eta, 0)
    weight = sympy.limit(w[1, 1].subs(t00, inputs), eta, 0)
    (found,) = sympy.solve(first - 1 / kappa, kappa)
    return [found - (dx / n - 1), (z + n * weight * noise).subs(t11, noise * dy * g11) - marchenko_pastur(n)]


@functools.cache
def _at_infinity() -> dict[Exact, Exact]:
    """eta, and the first 1/z coefficient of t_00, that solve the equation at orders 0 and 1 in 1/z."""
    far, slope = symbols("far slope")
    weight = symbols("w00", positive=True)
    start = sum(c / (eta + n * weight * c) for c, _ in PAIRS)
    (ridge,) = sympy.solve(sympy.numer(sympy.together((weight * (1 + start) - 1).subs(weight, eta / (n * kappa)))), eta)
    w0 = (L + diag(start, 0)).inv().subs(weight, eta / (n * kappa)).subs(eta, ridge).applyfunc(sympy.cancel)
    change = Matrix([[slope, t01], [t01, t11]])
    w = w0 - far * w0 * change * w0
    traces: Exact = sum((_pair_traces(w, c, s, ridge, far) for c, s in PAIRS), zeros(2, 2))
    traces[1, 1] += (dy - 2) * noise
    known = {t01: traces[0, 1], t11: traces[1, 1]}
    (found,) = sympy.solve((traces[0, 0] - slope).subs(known), slope)
    return {eta: ridge, t00: found, t01: traces[0, 1]}


def _pair_traces(w: Exact, c: Exact, s: Exact, ridge: Exact, far: Exact) -> Exact:
    """The 1/z coefficients of V_lk G_kl of one pair, `far` = 1/z."""
    v = Matrix([[c, c * s], [c * s, c * s**2 + noise]])
    a = ridge + n * w[0, 0] * c
    b = n * w[0, 1] * v[0, 1]
    inverse_schur = far / (1 + far * (n * w[1, 1] * v[1, 1] - b**2 / a))
    g = Matrix([[1 / a + b**2 / a**2 * inverse_schur, -b / a * inverse_schur], [-b / a * inverse_schur, inverse_schur]])
    return Matrix(2, 2, lambda i, j: sympy.cancel(sympy.diff(v[j, i] * g[i, j], far).subs(far, 0)))


@functools.cache
def _full_rank_risk() -> Exact:
    """A contour around everything picks the 1/z coefficients: T_1 = t_00's, T_2 = -t_01's."""
    energy, solution = sum(c * s**2 for c, s in PAIRS), _at_infinity()
    return sympy.cancel(energy + solution[t00] + 2 * solution[t01])


def _isotropic() -> Exact:
    risk = _full_rank_risk().subs(l2, 1).subs(kappa, sympy.Integer(2) / n - 1)
    return risk - (s1**2 + s2**2) * (1 - n / 2) - dy * noise * n / (2 - n)
