"""The Frobenius error of truncating T + N: the constants 8r, for any T, and r + 4 rank(T) <= 5r."""

from collections.abc import Iterator

import sympy
from sympy import sqrt, symbols

from linreg_lora.proofs.algebra import Exact, Matrix, diag, energy, inner, matrix, negative_terms, zeros
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

r, rho, nu = symbols("r rho nu", positive=True)


def noise_part() -> Exact:
    """The square of 2c in ||M_r - T||_F <= tail_r(T) + 2c."""
    return 8 * r * nu**2


def low_rank_bound(planted: Exact) -> Exact:
    """Of ||M_r - T||_F^2 where rank(T) = `planted` <= r."""
    return (r + 4 * planted) * nu**2


@register_proof(
    "truncation-error",
    title="The error of truncating T + N: tail_r(T) + sqrt(8r) ||N||_2, and sqrt(5r) ||N||_2 where rank(T) <= r",
    source="own; docs/theory.md section 11, theory.truncation",
)
def truncation_error() -> Iterator[Step | SimulationOnly]:
    target, noise, best, planted = (matrix(name, 2, 2) for name in ("T", "N", "M", "P"))
    a, b, c = symbols("a b c", positive=True)
    yield Step(
        "expand the best fit",
        "||M - T_r||^2 - ||M - M_r||^2 = b^2 - a^2 + 2 <N, M_r - T_r>, a = ||M_r - T||, b = ||T - T_r||, M = T + N",
        lambda: sympy.expand(
            energy(target + noise - planted)
            - energy(target + noise - best)
            - (energy(target - planted) - energy(best - target) + 2 * inner(noise, best - planted))
        ),
    )
    yield SimulationOnly(
        "the best fit",
        "M_r is the best approximation of M of rank r (Eckart and Young), so that the left side is not negative",
        "test tests/test_theory_bounds.py::test_truncation_errors_stay_below_their_bounds",
    )
    yield Step(
        "the rank of M_r - T_r",
        "is at most 2r: the determinant of a sum of two 3 x 3 matrices of rank 1 is 0",
        lambda: sympy.expand((matrix("u", 3, 1) * matrix("v", 1, 3) + matrix("w", 3, 1) * matrix("z", 1, 3)).det()),
    )
    yield Step(
        "trace against Frobenius norm",
        "<N, W> <= nu sum s_i(W) <= nu sqrt(p) ||W||_F for rank p: p sum s_i^2 - (sum s_i)^2 = sum (s_i - s_j)^2",
        lambda: _lagrange(4),
    )
    yield Step(
        "solve for a",
        "a^2 <= b^2 + 2c (a + b) factors: a^2 - b^2 - 2c (a + b) = (a + b)(a - b - 2c)",
        lambda: sympy.factor(a**2 - b**2 - 2 * c * (a + b)) / (a + b) - (a - b - 2 * c),
    )
    yield Step(
        "the constant 8r",
        "c = sqrt(p) nu with the rank p = 2r, and (2c)^2 = 8r nu^2",
        lambda: (2 * sqrt(2 * r) * nu) ** 2 - noise_part(),
    )
    yield Step(
        "split by the columns of M_r",
        "with M = diag(D_1, D_2), M_r = P M: M_r - T = P N - (I - P) T, two orthogonal parts",
        _two_parts,
    )
    yield Step(
        "next singular value of M",
        "rank(T) <= r makes s_{r+1}(M) <= nu: on the null vector x of T, M x = N x (2 x 2, r = 1)",
        lambda: _on_null_vector(matrix("u", 2, 1), matrix("v", 2, 1), noise),
    )
    yield SimulationOnly(
        "at any size",
        "s_{r+1}(M) <= s_{r+1}(T) + nu (Weyl)",
        "test tests/test_theory_bounds.py::test_low_rank_truncation_errors_stay_below_their_bound",
    )
    yield Step(
        "the constant r + 4 rank(T)",
        "r nu^2 for P N, and rank(T) (s_{r+1}(M) + nu)^2 = 4 rank(T) nu^2 for (I - P) T = (I - P)(M - N)",
        lambda: r * nu**2 + rho * (nu + nu) ** 2 - low_rank_bound(rho),
    )
    gap = symbols("gap", nonnegative=True)
    yield Step(
        "the constant 5r",
        "5r - (r + 4 rho) >= 0 for r = rho + gap",
        lambda: negative_terms((5 * r * nu**2 - low_rank_bound(rho)).subs(r, rho + gap)),
    )
    yield Step(
        "5r is reached",
        "T = diag(2 - d, 0), N = diag(-1, 1), r = 1: ||M_1 - T||_F^2 -> 5 as d -> 0+, so the constant is sharp",
        _swapped_directions,
    )


def _lagrange(p: int) -> Exact:
    values = symbols(f"s1:{p + 1}", nonnegative=True)
    pairs = sum((values[i] - values[j]) ** 2 for i in range(p) for j in range(i))
    return sympy.expand(p * sum(x**2 for x in values) - sum(values) ** 2 - pairs)


def _two_parts() -> list[Exact]:
    """Sizes 3 x 3, r = 1; D_2 any 2 x 2 matrix. Also that the energies of the two parts add up."""
    noise, rest, first = matrix("N", 3, 3), matrix("D", 2, 2), symbols("D1", real=True)
    whole, truncated, kept = diag(first, rest), diag(first, zeros(2, 2)), diag(1, 0, 0)
    target, lost = whole - noise, diag(0, 1, 1)
    error = truncated - target
    parts = energy(kept * noise) + energy(lost * target)
    return [error - (kept * noise - lost * target), sympy.expand(energy(error) - parts)]


def _on_null_vector(left: Exact, right: Exact, noise: Exact) -> list[Exact]:
    null = Matrix([-right[1], right[0]])
    target = left * right.T
    return [((target + noise) * null - noise * null).expand(), target.det().expand()]


def _swapped_directions() -> list[Exact]:
    d = symbols("d", positive=True)
    target, noise = diag(2 - d, 0), diag(-1, 1)
    both = target + noise
    error = energy(diag(0, both[1, 1]) - target)
    return [
        (both[1, 1] ** 2 - both[0, 0] ** 2).subs(d, sympy.Rational(1, 1000)) > 0,
        sympy.limit(error, d, 0) - 5,
        sympy.limit(error, d, 0) - low_rank_bound(r).subs({r: 1, nu: 1}),
    ]
