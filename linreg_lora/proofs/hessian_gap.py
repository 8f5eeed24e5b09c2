"""The Hessian perturbation gap: what retraining in LoRA's tangent space leaves of a random perturbation."""

from collections.abc import Iterator

import sympy
from sympy import Rational, sqrt, symbols

from linreg_lora.proofs.algebra import (
    Exact,
    Matrix,
    diag,
    energy,
    eye,
    gaussian_mean,
    inner,
    jacobian,
    matrix,
    symmetric,
)
from linreg_lora.proofs.steps import Step, register_proof

tau, s1, s2, p, q = symbols("tau s1 s2 p q", positive=True)


def unreachable(sigma: Exact, rows: Exact) -> Exact:
    """Sigma - Sigma V (V^T Sigma V)^{-1} V^T Sigma."""
    return sigma - sigma * rows * (rows.T * sigma * rows).inv() * rows.T * sigma


def expected_gap(sigma: Exact, rows: Exact, outputs: int, columns: int) -> Exact:
    """tau^2 (dy - b) [Tr Sigma - Tr((V^T Sigma V)^{-1} V^T Sigma^2 V)], for the loss without 1/2."""
    seen = ((rows.T * sigma * rows).inv() * rows.T * sigma**2 * rows).trace()
    return tau**2 * (outputs - columns) * (sigma.trace() - seen)


def expected_gap_at_optimum() -> Exact:
    """Of diag(s1, s2) at rank 1, Sigma = diag(p, q) in the basis of its right singular vectors."""
    return tau**2 * (q - s2**2 * (p + q) / (s1**2 - s2**2))


@register_proof(
    "hessian-gap",
    title="The Hessian perturbation gap is a Schur complement of Sigma, and curvature can reverse it",
    source="arXiv 2505.22355 (summary), theorem on the Hessian; docs/theory.md section 13, theory.hessian",
)
def hessian_gap() -> Iterator[Step]:
    a, shift, sigma, e = matrix("D", 2, 2), matrix("S", 2, 2), symmetric("c", 2), matrix("e", 2, 2)
    yield Step(
        "the Hessian",
        "of Tr (D - Delta) Sigma (D - Delta)^T in row-major entries is 2 I (x) Sigma, at every point",
        lambda: sympy.hessian(_loss(a, shift, sigma), list(a)) - 2 * sympy.kronecker_product(eye(2), sigma),
    )
    yield Step(
        "the rise without retraining",
        "L(D + e) - L(D) = 2 <(D - Delta) Sigma, e> + Tr e Sigma e^T, exactly",
        lambda: _rise(a, shift, sigma, e) - 2 * inner((a - shift) * sigma, e) - (e * sigma * e.T).trace(),
    )
    other = matrix("F", 2, 2)
    yield Step(
        "no gap on average",
        "the rises at two points differ by 2 <(D_1 - D_2) Sigma, e>, mean 0, variance 4 tau^2 ||(D_1 - D_2) Sigma||^2",
        lambda: _difference_of_rises(a, other, shift, sigma, e),
    )
    k = symbols("k", real=True)
    rows = Matrix([1 - k**2, 2 * k]) / (1 + k**2)
    columns = Matrix([Rational(3, 5), Rational(4, 5)])
    yield Step(
        "retraining leaves a Schur complement",
        "min over phi = U a + b V^T is Tr P_perp e [Sigma - Sigma V (V^T Sigma V)^{-1} V^T Sigma] e^T, every unit V",
        lambda: _least(sigma, rows, columns, e) - _gap(sigma, rows, columns, e),
    )
    yield Step(
        "its mean",
        "over e ~ N(0, tau^2 I): tau^2 (dy - r)[Tr Sigma - Tr((V^T Sigma V)^{-1} V^T Sigma^2 V)], any Sigma",
        lambda: gaussian_mean(_gap(sigma, rows, columns, e), e, tau**2) - expected_gap(sigma, rows, 2, 1),
    )
    yield Step(
        "isotropic inputs",
        "tau^2 (dx - r)(dy - r): dx = 4, dy = 3, r = 2",
        lambda: expected_gap(eye(4), eye(4)[:, :2], 3, 2) - tau**2 * (4 - 2) * (3 - 2),
    )
    yield Step(
        "LoRA's start",
        "at B = 0 only B moves: phi = b V^T leaves tau^2 dy (dx - r), dx = dy = 2, r = 1",
        lambda: gaussian_mean(_gap(eye(2), rows, None, e), e, tau**2) - tau**2 * 2 * (2 - 1),
    )
    yield Step(
        "at the optimum below the rank of the shift",
        "half the Laplacian of the least squared singular value of (Delta - e) Sigma^{1/2}, dx = dy = 2, r = 1, is "
        "Tr Sigma - w_1 - s_2^2 (w_1 + w_2)/(s_1^2 - s_2^2)",
        lambda: _mean_of_retrained_loss(e) - expected_gap_at_optimum(),
    )
    yield Step(
        "where retraining gains",
        "s_2 = 9/10 s_1, Sigma = I: the mean gap is -143/19 tau^2 < 0",
        lambda: expected_gap_at_optimum().subs({p: 1, q: 1, s2: s1 * Rational(9, 10)}) + Rational(143, 19) * tau**2,
    )


def _loss(d: Exact, shift: Exact, sigma: Exact) -> Exact:
    return sympy.expand(((d - shift) * sigma * (d - shift).T).trace())


def _rise(d: Exact, shift: Exact, sigma: Exact, e: Exact) -> Exact:
    return sympy.expand(_loss(d + e, shift, sigma) - _loss(d, shift, sigma))


def _difference_of_rises(first: Exact, second: Exact, shift: Exact, sigma: Exact, e: Exact) -> list[Exact]:
    gap = sympy.expand(_rise(first, shift, sigma, e) - _rise(second, shift, sigma, e))
    slope = jacobian(Matrix([gap]), list(e))
    return [
        gaussian_mean(gap, e, tau**2),
        gap - 2 * inner((first - second) * sigma, e),
        tau**2 * energy(slope) - 4 * tau**2 * energy((first - second) * sigma),
    ]


def _least(sigma: Exact, rows: Exact, columns: Exact, e: Exact) -> Exact:
    """The minimum of Tr (e + phi) Sigma (e + phi)^T over phi = U a + b V^T, by setting its gradient to 0.

    b is taken orthogonal to U, which loses nothing: U a already spans the rest.
    """
    a, across = matrix("a", 1, 2), Matrix([-columns[1], columns[0]])
    b = symbols("b", real=True)
    left = e + columns * a + b * across * rows.T
    loss = (left * sigma * left.T).trace()
    variables = [*a, b]
    solution = sympy.solve(list(jacobian(Matrix([loss]), variables)), variables, dict=True)
    return loss.subs(solution[0])


def _gap(sigma: Exact, rows: Exact, columns: Exact | None, e: Exact) -> Exact:
    beyond = e if columns is None else e - columns * (columns.T * e)
    return (beyond * unreachable(sigma, rows) * beyond.T).trace()


def _mean_of_retrained_loss(e: Exact) -> Exact:
    """tau^2 / 2 times the Laplacian at e = 0 of the least root of y^2 - Tr(M M^T) y + det(M)^2."""
    y = symbols("y", positive=True)
    root_of_sigma = diag(sqrt(p), sqrt(q))
    updated = diag(s1, s2) - e * root_of_sigma
    root = y**2 - energy(updated) * y + updated.det() ** 2
    total = sympy.Integer(0)
    for entry in e:
        others = {other: 0 for other in e if other != entry}
        f = root.subs(others)
        slope = -sympy.diff(f, entry) / sympy.diff(f, y)
        curvature = sympy.diff(slope, entry) + sympy.diff(slope, y) * slope
        total += curvature.subs({entry: 0}).subs(y, s2**2)
    return tau**2 * total / 2
