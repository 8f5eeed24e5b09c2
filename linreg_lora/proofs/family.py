"""The two theorems on the family of methods: frozen restrictions, and classes that decouple by output."""

from collections.abc import Iterator

import sympy
from sympy import symbols

from linreg_lora.proofs.algebra import Exact, Matrix, energy, inner, matrix
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

n, k, more, v, b, lower, t = symbols("n k m v b c t", positive=True)


def unitary() -> Exact:
    """A column of length 1 in two dimensions, by the rational points of the circle."""
    return Matrix([[(1 - t**2) / (1 + t**2)], [2 * t / (1 + t**2)]])


def best_coefficients(shift: Exact, sigma: Exact, features: Exact) -> Exact:
    """Delta' = Delta Sigma B^T (B Sigma B^T)^{-1}."""
    return shift * sigma * features.T * (features * sigma * features.T).inv()


def missed(shift: Exact, sigma: Exact, features: Exact) -> Exact:
    """M = Delta Sigma Delta^T - Delta' Sigma' Delta'^T."""
    best = best_coefficients(shift, sigma, features)
    return shift * sigma * shift.T - best * (features * sigma * features.T) * best.T


def risk(samples: Exact, size: Exact, noise: Exact, misfit: Exact) -> Exact:
    """Of one output on `size` features: (v + b) (n - 1)/(n - k - 1) - v."""
    return (noise + misfit) * (samples - 1) / (samples - size - 1) - noise


@register_proof(
    "family",
    title="A frozen restriction is another problem, classes that decouple are exact, and when a hybrid helps",
    source="own; docs/family.md, theory.restricted, theory.decoupled",
)
def family() -> Iterator[Step | SimulationOnly]:
    u, shift, trained = unitary(), matrix("d", 2, 2), matrix("c", 1, 2)
    yield Step(
        "outputs split the loss",
        "||U C - Delta||^2 = ||(I - U U^T) Delta||^2 + ||C - U^T Delta||^2 where U^T U = I: 2 x 2, q = 1",
        lambda: sympy.cancel(
            energy(u * trained - shift) - energy(shift - u * u.T * shift) - energy(trained - u.T * shift)
        ),
    )
    root, features, one = Matrix([[symbols("l1"), 0], symbols("l2 l3")]), matrix("b", 1, 2), matrix("e", 1, 2)
    sigma, c = root * root.T, matrix("c", 1, 1)
    yield Step(
        "features leave noise that is independent",
        "Cov(Delta x - Delta' B x, B x) = (Delta - Delta' B) Sigma B^T = 0",
        lambda: list(
            map(sympy.cancel, (one - best_coefficients(one, sigma, features) * features) * sigma * features.T)
        ),
    )
    yield Step(
        "and its variance is M",
        "(Delta - Delta' B) Sigma (Delta - Delta' B)^T = Delta Sigma Delta^T - Delta' Sigma' Delta'^T",
        lambda: sympy.cancel(_variance(one, sigma, features) - missed(one, sigma, features)[0, 0]),
    )
    yield Step(
        "features split the loss",
        "||(C B - Delta) Sigma^{1/2}||^2 = Tr M + ||(C - Delta') Sigma'^{1/2}||^2 for every C",
        lambda: sympy.cancel(
            inner((c * features - one) * sigma, c * features - one)
            - missed(one, sigma, features)[0, 0]
            - inner(
                (c - best_coefficients(one, sigma, features)) * (features * sigma * features.T),
                c - best_coefficients(one, sigma, features),
            )
        ),
    )
    yield SimulationOnly(
        "the mean of an inverse Wishart matrix",
        "E Tr Sigma (Z Z^T)^{-1} = k / (n - k - 1)",
        "test tests/test_theory_fft.py::test_exact_formulas_agree_with_plain_numpy",
    )
    yield Step(
        "one output",
        "misfit b, and noise v + b in a fit on k features: b + (v + b) k/(n - k - 1) = (v + b)(n - 1)/(n - k - 1) - v",
        lambda: sympy.cancel(b + (v + b) * k / (n - k - 1) - risk(n, k, v, b)),
    )
    yield Step(
        "the hybrid rule",
        "the risk with (b', k') minus that with (b, k) is a positive number times (v + b')/(v + b) - "
        "(n - k' - 1)/(n - k - 1)",
        lambda: sympy.cancel(
            risk(n, more, v, lower)
            - risk(n, k, v, b)
            - (v + b) * (n - 1) / (n - more - 1) * ((v + lower) / (v + b) - (n - more - 1) / (n - k - 1))
        ),
    )
    yield Step(
        "the worth of a sample",
        "risk(n) - risk(n + 1) = (v + b) k / ((n - k - 1)(n - k))",
        lambda: sympy.cancel(risk(n, k, v, b) - risk(n + 1, k, v, b) - (v + b) * k / ((n - k - 1) * (n - k))),
    )
    e, a, w, x = Matrix([1, 0]), matrix("a", 2, 1), matrix("w", 2, 1), matrix("x", 2, 1)
    yield Step(
        "the class of DoRA is not closed",
        "t e a^T - (t e - w)(a - x/t)^T - (e x^T + w a^T) = - w x^T / t, which tends to 0",
        lambda: list(map(sympy.expand, t * e * a.T - (t * e - w) * (a - x / t).T - (e * x.T + w * a.T) + w * x.T / t)),
    )


def _variance(shift: Exact, sigma: Exact, features: Exact) -> Exact:
    left = shift - best_coefficients(shift, sigma, features) * features
    return (left * sigma * left.T)[0, 0]
