"""Small tools of the proofs: symbolic matrices, signs of polynomials, means over Gaussian variables."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import sympy
from sympy import Symbol

#: A sympy expression, matrix or number: sympy's own annotations are too loose for a type checker to follow.
Exact: TypeAlias = Any
Matrix: Any = sympy.Matrix
diag: Any = sympy.diag
zeros: Any = sympy.zeros
eye: Any = sympy.eye


def matrix(name: str, rows: int, columns: int) -> Exact:
    """A matrix of independent real symbols."""
    return Matrix(rows, columns, lambda i, j: Symbol(f"{name}{i + 1}{j + 1}", real=True))


def symmetric(name: str, size: int) -> Exact:
    return Matrix(size, size, lambda i, j: Symbol(f"{name}{min(i, j) + 1}{max(i, j) + 1}", real=True))


def energy(a: Exact) -> Exact:
    """||a||_F^2."""
    return inner(a, a)


def inner(a: Exact, b: Exact) -> Exact:
    """Tr(a^T b)."""
    return sympy.Add(*(x * y for x, y in zip(a, b, strict=True)))


def negative_terms(polynomial: Exact) -> Exact:
    """The terms with a negative coefficient: 0 shows that it is >= 0 wherever its symbols are."""
    terms = sympy.expand(polynomial).as_ordered_terms()
    return sympy.Add(*(term for term in terms if term.as_coeff_Mul()[0] < 0))


def sign_defects(fraction: Exact) -> list[Exact]:
    """The negative terms of numerator and denominator: without any, the fraction is >= 0 wherever its symbols are."""
    return [negative_terms(part) for part in sympy.fraction(sympy.cancel(fraction))]


def gaussian_mean(quadratic: Exact, variables: Iterable[Exact], variance: Exact = 1) -> Exact:
    """The mean over independent N(0, variance) variables of a polynomial of degree at most two in them."""
    mean = sympy.Integer(0)
    for powers, coefficient in sympy.Poly(quadratic, *variables).terms():
        if sum(powers) > 2:
            raise ValueError(f"expected a polynomial of degree 2, received a term of degree {sum(powers)}")
        if sum(powers) == 0 or max(powers) == 2:
            mean += coefficient * variance ** (sum(powers) // 2)
    return mean


def jacobian(image: Exact, variables: Sequence[Exact]) -> Exact:
    """Derivatives of all entries of `image`."""
    return Matrix(list(image)).jacobian(Matrix(list(variables)))
