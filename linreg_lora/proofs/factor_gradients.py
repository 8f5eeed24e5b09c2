"""The gradients of LoRA's two factors, in the order in which their products stand."""

from collections.abc import Iterator

from sympy import symbols

from linreg_lora.proofs.algebra import Exact, Matrix, energy, gaussian_mean, jacobian, matrix
from linreg_lora.proofs.steps import Step, register_proof

#: (dy, dx, r, n)
SIZES = ((2, 2, 1, 2), (2, 3, 2, 2), (3, 2, 1, 1))
eta, sigma = symbols("eta sigma", positive=True)


def gradient_a(b: Exact, a: Exact, x: Exact, residual: Exact) -> Exact:
    """-2 B^T (R - B A X) X^T + 2 eta B^T B A."""
    return -2 * b.T * (residual - b * a * x) * x.T + 2 * eta * b.T * b * a


def gradient_b(b: Exact, a: Exact, x: Exact, residual: Exact) -> Exact:
    """-2 (R - B A X) X^T A^T + 2 eta B A A^T."""
    return -2 * (residual - b * a * x) * x.T * a.T + 2 * eta * b * a * a.T


@register_proof(
    "factor-gradients",
    title="The gradients of ||R - B A X||^2 + eta ||B A||^2 in B and A, and what gradient flow conserves",
    source="own; the loss of docs/theory.md section 1",
)
def factor_gradients() -> Iterator[Step]:
    problems = [_problem(*size) for size in SIZES]
    sizes = ", ".join(map(str, SIZES))
    yield Step(
        "gradient in A",
        f"-2 B^T (R - B A X) X^T + 2 eta B^T B A, (dy, dx, r, n) in {sizes}",
        lambda: [_derivative(problem, problem[1]) - gradient_a(*problem) for problem in problems],
    )
    yield Step(
        "gradient in B",
        f"-2 (R - B A X) X^T A^T + 2 eta B A A^T, (dy, dx, r, n) in {sizes}",
        lambda: [_derivative(problem, problem[0]) - gradient_b(*problem) for problem in problems],
    )
    b, a, x, residual = problems[1]
    start = b * 0
    yield Step(
        "at B = 0",
        "the gradient in A vanishes, that in B is -2 R X^T A^T: only B moves at first",
        lambda: [
            _derivative(problems[1], a).subs(dict.fromkeys(b, 0)),
            gradient_b(start, a, x, residual) + 2 * residual * x.T * a.T,
        ],
    )
    yield Step(
        "both at once from the product",
        "with G the gradient in D = B A, they are B^T G and G A^T",
        lambda: [
            (gradient_a(b, a, x, residual) - b.T * _gradient_of_product(b * a, x, residual)).expand(),
            (gradient_b(b, a, x, residual) - _gradient_of_product(b * a, x, residual) * a.T).expand(),
        ],
    )
    yield Step(
        "what gradient flow conserves",
        "B^T B - A A^T, because B^T (gradient in B) = (gradient in A) A^T",
        lambda: (b.T * gradient_b(b, a, x, residual) - gradient_a(b, a, x, residual) * a.T).expand(),
    )
    yield Step(
        "on average over the noise",
        "R = Delta X + E: the mean of the loss is ||(Delta - B A) X||^2 + eta ||B A||^2 + n Tr Sigma_eps",
        lambda: _mean_loss(*problems[0]),
    )


def _problem(outputs: int, inputs: int, rank: int, samples: int) -> tuple[Exact, Exact, Exact, Exact]:
    sizes = {"B": (outputs, rank), "A": (rank, inputs), "X": (inputs, samples), "R": (outputs, samples)}
    b, a, x, residual = (matrix(name, *size) for name, size in sizes.items())
    return b, a, x, residual


def _loss(b: Exact, a: Exact, x: Exact, residual: Exact) -> Exact:
    return energy(residual - b * a * x) + eta * energy(b * a)


def _derivative(problem: tuple[Exact, Exact, Exact, Exact], factor: Exact) -> Exact:
    return jacobian(Matrix([_loss(*problem)]), list(factor)).reshape(*factor.shape).expand()


def _gradient_of_product(d: Exact, x: Exact, residual: Exact) -> Exact:
    free = matrix("D", *d.shape)
    loss = energy(residual - free * x) + eta * energy(free)
    gradient = jacobian(Matrix([loss]), list(free)).reshape(*d.shape)
    return gradient.subs(dict(zip(free, d, strict=True)))


def _mean_loss(b: Exact, a: Exact, x: Exact, residual: Exact) -> Exact:
    delta, noise = matrix("S", b.shape[0], a.shape[1]), matrix("E", *residual.shape)
    mean = gaussian_mean(_loss(b, a, x, delta * x + noise).expand(), noise, sigma**2)
    expected = energy((delta - b * a) * x) + eta * energy(b * a) + x.shape[1] * b.shape[0] * sigma**2
    return (mean - expected).expand()
