"""What truncation can cost: ||M_r - T||_F^2 <= nu ||M - T||_F^2, nu at most the square of the golden ratio."""

from collections.abc import Iterator

import sympy
from sympy import sqrt, symbols

from linreg_lora.proofs.algebra import Exact, energy, matrix, negative_terms, sign_defects
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

#: w = nu - 1 > 0; stays = r - r*, s = how many lost directions T takes, rho = s / (stays + s).
w, stays, s = symbols("w stays s", positive=True)
nu = 1 + w


def constant(rho: Exact) -> Exact:
    """nu(rho)."""
    return 1 + (rho + sqrt(rho * (4 + rho))) / 2


def share(swapped: Exact) -> Exact:
    """rho."""
    return swapped / (stays + swapped)


def left_over(kept: bool, taken: bool) -> Exact:
    """What a direction of M of singular value 1 adds to the least of nu ||M - T||^2 - ||M_r - T||^2 over T."""
    if taken:
        return sympy.Integer(0) if kept else -nu / (nu - 1)
    return nu - 1 if kept else nu


@register_proof(
    "golden-ratio",
    title="Truncation at rank r >= rank(T) costs at most nu <= 2.618 over no truncation, in squared Frobenius norm",
    source="own; docs/theory.md, worst cases; theory.golden_ratio",
)
def golden_ratio() -> Iterator[Step | SimulationOnly]:
    whole, kept, target = (matrix(name, 2, 2) for name in ("M", "K", "T"))
    yield Step(
        "complete the square",
        "nu ||M - T||^2 - ||M_r - T||^2 = (nu - 1)(||T - W||^2 - ||W||^2) + nu ||M||^2 - ||M_r||^2, "
        "W = (nu M - M_r) / (nu - 1)",
        lambda: _square(whole, kept, target),
    )
    yield SimulationOnly(
        "the nearest T",
        "of rank r* to W holds the r* largest singular values of W (Eckart and Young)",
        "test tests/test_theory_worst_case.py::test_the_golden_ratio_is_attained_and_never_passed",
    )
    yield Step(
        "what is left",
        "of a direction of M of singular value m, in units of m^2: nothing of a kept one that T takes, "
        "-nu / (nu - 1) of a lost one, and nu - 1 and nu of those that T does not take",
        _by_direction,
    )
    yield Step(
        "equal values are the worst",
        "kept values are at least m_r and lost ones at most: both only raise it over equal ones (two of each)",
        _unequal,
    )
    yield Step(
        "the least of it",
        "(r - r* + s)(nu - 1) - s nu / (nu - 1) = (r - r* + s) ((nu - 1)^2 - rho nu) / (nu - 1)",
        lambda: sympy.simplify(
            (stays + s) * left_over(True, False)
            + s * left_over(False, True)
            - (stays + s) * ((nu - 1) ** 2 - share(s) * nu) / (nu - 1)
        ),
    )
    rho = symbols("rho", positive=True)
    yield Step(
        "the constant",
        "nu = 1 + (rho + sqrt(rho (4 + rho))) / 2 solves (nu - 1)^2 = rho nu",
        lambda: sympy.expand((constant(rho) - 1) ** 2 - rho * constant(rho)),
    )
    yield Step(
        "no larger nu fails",
        "(nu - 1)^2 / nu rises with nu, and rho with s: the largest s, min(r*, q - r), decides",
        lambda: [
            sign_defects(sympy.together(sympy.diff(w**2 / (1 + w), w))),
            sign_defects(sympy.together(sympy.diff(share(s), s))),
        ],
    )
    yield Step(
        "at r = r*",
        "rho = 1 gives the golden ratio, squared",
        lambda: sympy.expand(constant(sympy.Integer(1)) - ((1 + sqrt(5)) / 2) ** 2),
    )
    yield Step(
        "at r = 2 r*", "rho = 1/2 gives 2", lambda: sympy.simplify(constant(sympy.Rational(1, 2)) - sympy.Integer(2))
    )
    yield Step(
        "attained",
        "r + s singular values 1, T = nu / (nu - 1) in s lost directions and 1 in r* - s kept ones: "
        "||M_r - T||^2 = nu ||M - T||^2 (r - r* = 0, 1, 2, 5 and s = 1, 2, 3)",
        _attained,
    )


def _square(whole: Exact, kept: Exact, target: Exact) -> Exact:
    middle = (nu * whole - kept) / (nu - 1)
    left = nu * energy(whole - target) - energy(kept - target)
    right = (nu - 1) * (energy(target - middle) - energy(middle)) + nu * energy(whole) - energy(kept)
    return sympy.simplify(sympy.expand(left - right))


def _by_direction() -> list[Exact]:
    """One direction: M = 1, M_r = 1 where it is kept and 0 where not, T = W where it is taken and 0 where not."""
    found = []
    for kept in (True, False):
        truncated = sympy.Integer(int(kept))
        for taken in (True, False):
            target = (nu - truncated) / (nu - 1) if taken else sympy.Integer(0)
            value = nu * (1 - target) ** 2 - (truncated - target) ** 2
            found.append(sympy.simplify(value - left_over(kept, taken)))
    return found


def _unequal() -> Exact:
    """m_r^2 = 1 + gap of what it was with values kept 1, 1 + more, lost 1 - less: times nu - 1, no negative term.

    Kept values rise by a, b; lost ones are c / (c + d) of m_r^2 <= 1, so that 1 - their share is d / (c + d).
    """
    a, b, c, d, e, f = symbols("a b c d e f", nonnegative=True)
    equal = 2 * left_over(True, False) + 2 * left_over(False, True)
    kept = (1 + a + 1 + b) * left_over(True, False)
    lost = (c / (c + d) + e / (e + f)) * left_over(False, True)
    return negative_terms(sympy.expand(sympy.simplify((kept + lost - equal) * (nu - 1) * (c + d) * (e + f))))


def _attained() -> list[Exact]:
    found = []
    for over in (0, 1, 2, 5):
        for swapped in (1, 2, 3):
            value = constant(sympy.Rational(swapped, over + swapped))
            lost = value / (value - 1)
            truncated = over + swapped + swapped * lost**2
            untruncated = over + swapped + swapped * (1 - lost) ** 2
            found.append(sympy.radsimp(sympy.expand(truncated - value * untruncated)))
    return [sympy.simplify(value) for value in found]
