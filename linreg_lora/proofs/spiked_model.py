"""The spiked model: where a rank-one shift's singular value lies, its overlaps, and when it is detectable.

The residual in units of sigma is t u v^T + G, m x N with N(0, 1) entries. With x = lambda^2, the resolvents of the
noise seen from u and from v tend to g = u^T (x - G G^T)^{-1} u and h = v^T (x - G^T G)^{-1} v with

    x h (1 - m g) = 1,   x g (1 - N h) = 1,

and the terms that mix u and v vanish.
"""

from collections.abc import Iterator

import sympy
from sympy import Rational, sqrt, symbols

from linreg_lora.proofs.algebra import Exact, Matrix, diag, eye, zeros
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

t2, m, N, x, g, h, sigma, s, n = symbols("t2 m N x g h sigma s n", positive=True)


def location() -> Exact:
    """lambda^2 / sigma^2, with t2 = t^2."""
    return (t2 + m) * (t2 + N) / t2


def left_overlap() -> Exact:
    """rho_u^2."""
    return (t2**2 - m * N) / (t2**2 + m * t2)


def right_overlap() -> Exact:
    """rho_v^2."""
    return (t2**2 - m * N) / (t2**2 + N * t2)


def threshold() -> Exact:
    """The value of t^2 above which a direction is detectable."""
    return sqrt(m * N)


@register_proof(
    "spiked-model",
    title="A rank-one shift in Gaussian noise: singular value, overlaps, detection above t^4 = m N, keep-or-drop rule",
    source="Benaych-Georges and Nadakuditi 2012; docs/theory.md section 10, theory.spiked",
)
def spiked_model() -> Iterator[Step | SimulationOnly]:
    yield SimulationOnly(
        "the noise alone", "resolvents concentrate: x h (1 - m g) = 1 and x g (1 - N h) = 1, and u^T ... v vanishes",
        "test tests/test_theory_spiked.py::test_noise_quantiles_are_those_of_simulated_noise",
    )  # fmt: skip
    yield Step(
        "the shift adds a 2 x 2 problem",
        "the resolvent of [[0, X], [X^T, 0]] on (u, v) is (K^{-1} - t J)^{-1}, K that of the noise: exact, G 2 x 2",
        _compression,
    )
    seen = _perturbed_resolvent()
    yield Step(
        "resolvent seen from u",
        "u^T (x - X X^T)^{-1} u = g / (1 - t^2 x g h), so that a singular value splits off where t^2 x g h = 1",
        lambda: seen - g / (1 - t2 * x * g * h),
    )
    yield Step(
        "where the noise ends",
        "the equation of g alone has a double root at x = (sqrt m +- sqrt N)^2",
        lambda: [sympy.discriminant(_noise_alone()).subs(x, (sqrt(m) + sign * sqrt(N)) ** 2) for sign in (1, -1)],
    )
    yield Step(
        "location",
        "the equations have one solution: lambda^2 = sigma^2 (t^2 + m)(t^2 + N)/t^2, g = 1/(t^2 + m), h = 1/(t^2 + N)",
        _location,
    )
    yield Step(
        "left overlap",
        "the residue at lambda^2 is rho_u^2 = (t^4 - m N)/(t^4 + m t^2)",
        lambda: _residue(g) - left_overlap(),
    )
    yield Step(
        "right overlap",
        "the same seen from v: rho_v^2 = (t^4 - m N)/(t^4 + N t^2)",
        lambda: _residue(h) - right_overlap(),
    )
    yield Step(
        "detection",
        "at t^4 = m N overlaps vanish and lambda^2, which is least there, is the edge (sqrt m + sqrt N)^2 of the noise",
        lambda: [
            left_overlap().subs(t2, threshold()),
            right_overlap().subs(t2, threshold()),
            sympy.diff(location(), t2).subs(t2, threshold()),
            sympy.diff(location(), t2, 2) - 2 * m * N / t2**3,
            location().subs(t2, threshold()) - (sqrt(m) + sqrt(N)) ** 2,
        ],
    )
    yield Step(
        "nothing splits off below",
        "x g h, which falls with x beyond the noise, is 1/sqrt(m N) at its edge: t^2 x g h = 1 needs t^2 > sqrt(m N)",
        lambda: _product_at_edge() - 1 / threshold(),
    )
    yield Step(
        "in units of the shift",
        "t = s sqrt(n)/sigma: the threshold is s = sigma (m N)^{1/4} / sqrt(n)",
        lambda: [root - sigma * (m * N) ** Rational(1, 4) / sqrt(n)
                 for root in sympy.solve(s**2 * n / sigma**2 - threshold(), s)],
    )  # fmt: skip
    yield Step(
        "keep or drop, n >> dx",
        "n times the gain, lambda^2 - 2 lambda t rho_u rho_v, changes sign at Gavish and Donoho's hard threshold "
        "lambda^2 / N = 2 (b + 1) + 8 b / (b + 1 + sqrt(b^2 + 14 b + 1)), b = m/N",
        _hard_threshold,
    )
    yield SimulationOnly(
        "at finite size", "risks by these formulas are those of simulations",
        "test tests/test_theory_spiked.py::test_agrees_with_the_equivalent_and_simulation_at_the_planted_ranks",
    )  # fmt: skip


_NOISE = (x * h * (1 - m * g) - 1, x * g * (1 - N * h) - 1)


def _perturbed_resolvent() -> Exact:
    """The (u, u) entry of (K^{-1} - t J)^{-1} / lambda, K = lambda diag(g, h)."""
    t, size = sqrt(t2), sqrt(x)
    return sympy.cancel(((size * diag(g, h)).inv() - t * Matrix([[0, 1], [1, 0]])).inv()[0, 0] / size)


def _compression() -> Exact:
    """For u = e_1, v = e_1, G rational, at a symbolic point."""
    size, t = symbols("lambda t")
    noise = Matrix([[Rational(1, 2), -1], [Rational(2, 3), Rational(3, 4)]])
    spike = Matrix([[t, 0], [0, 0]])

    def compressed(a: Exact) -> Exact:
        block = Matrix([[zeros(2, 2), a], [a.T, zeros(2, 2)]])
        return (size * eye(4) - block).inv().extract([0, 2], [0, 2])

    swap = Matrix([[0, 1], [1, 0]])
    return compressed(noise + spike) - (compressed(noise).inv() - t * swap).inv()


def _noise_alone() -> Exact:
    """The quadratic in g that is left when h is eliminated."""
    (eliminated,) = sympy.solve(_NOISE[0], h)
    return sympy.Poly(sympy.numer(sympy.together(_NOISE[1].subs(h, eliminated))), g)


def _product_at_edge() -> Exact:
    """x g h at x = (sqrt m + sqrt N)^2, where the quadratic has a double root."""
    curvature, slope, _ = _noise_alone().all_coeffs()
    edge = {x: (sqrt(m) + sqrt(N)) ** 2}
    root = sympy.simplify((-slope / (2 * curvature)).subs(edge))
    (other,) = sympy.solve(_NOISE[0].subs(edge), h)
    return sympy.simplify((x * g * h).subs(h, other).subs(edge).subs(g, root))


def _location() -> list[Exact]:
    solutions = sympy.solve([*_NOISE, t2 * x * g * h - 1], [x, g, h], dict=True)
    found = solutions[0]
    return [len(solutions) == 1, found[x] - location(), found[g] - 1 / (t2 + m), found[h] - 1 / (t2 + N)]


def _residue(numerator: Exact) -> Exact:
    """numerator / (-t^2 d(x g h)/dx) at the singular value, the slopes of g and h by implicit differentiation."""
    dg, dh = symbols("dg dh")
    slopes = sympy.solve([sympy.diff(f, x) + sympy.diff(f, g) * dg + sympy.diff(f, h) * dh for f in _NOISE], [dg, dh])
    slope = g * h + x * slopes[dg] * h + x * g * slopes[dh]
    found = -numerator / (t2 * slope)
    return found.subs({g: 1 / (t2 + m), h: 1 / (t2 + N)}).subs(x, location())


def _hard_threshold() -> list[Exact]:
    """lambda rho_u rho_v t is rational in t^2: the roots of a quadratic."""
    product = (t2**2 - m * N) / t2
    gain = location() - 2 * product
    beta = m / N
    donoho = 2 * (beta + 1) + 8 * beta / (beta + 1 + sqrt(beta**2 + 14 * beta + 1))
    (root,) = (z for z in sympy.solve(sympy.numer(sympy.together(gain)), t2) if z.subs({m: 1, N: 1}) > 0)
    return [product**2 - location() * left_overlap() * right_overlap() * t2, location().subs(t2, root) / N - donoho]
