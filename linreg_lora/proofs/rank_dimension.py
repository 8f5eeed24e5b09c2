"""The dimension of rank-r matrices, and what a rank costs when samples are many (theory.capacity)."""

from collections.abc import Iterator

import sympy
from sympy import Rational, pi, sqrt, symbols

from linreg_lora.proofs.algebra import Exact, Matrix, diag, energy, gaussian_mean, jacobian, matrix, zeros
from linreg_lora.proofs.steps import SimulationOnly, Step, register_proof

r, dx, dy, planted, extra = symbols("r dx dy r_star k", positive=True)
s_i, s_j, sigma, e = symbols("s_i s_j sigma e", positive=True)
#: (dy, dx, r) for which the rank of the tangent map is computed.
SIZES = ((2, 2, 1), (3, 2, 1), (3, 3, 1), (3, 3, 2), (4, 3, 2), (3, 3, 3))


def tangent_dimension(rank: Exact, inputs: Exact, outputs: Exact) -> Exact:
    return rank * (inputs + outputs - rank)


def mixing() -> Exact:
    """What under-ranking adds to sigma^2 r (dx + dy - r) for each pair i <= r < j."""
    return s_j**2 * (s_i**2 + 2 * sigma**2) / (s_i**2 - s_j**2)


@register_proof(
    "rank-dimension",
    title="Rank-r matrices have dimension r (dx + dy - r): what LoRA pays at the rank of the shift, and more beside it",
    source="own; docs/theory.md section 10, theory.capacity",
)
def rank_dimension() -> Iterator[Step | SimulationOnly]:
    yield Step(
        "rank of the tangent map",
        f"of (B, A) -> B A at a generic point is r (dx + dy - r), for (dy, dx, r) in {', '.join(map(str, SIZES))}",
        lambda: [_tangent_rank(*size) - tangent_dimension(size[2], size[1], size[0]) for size in SIZES],
    )
    yield Step(
        "the gauge is its kernel",
        "(B K, -K A) does not move B A, for all r x r matrices K: r (dx + dy) - r^2",
        lambda: [_gauge(3, 3, 2), r * (dx + dy) - r**2 - tangent_dimension(r, dx, dy)],
    )
    yield Step(
        "codimension",
        "dx dy - r (dx + dy - r) = (dx - r)(dy - r)",
        lambda: sympy.expand(dx * dy - tangent_dimension(r, dx, dy) - (dx - r) * (dy - r)),
    )
    noise = matrix("N", 2, 2)
    yield Step(
        "LoRA to first order",
        "diag(s, 0) + e N has the best rank-1 fit [[s + e N11, e N12], [e N21, O(e^2)]]: stationary up to O(e^2)",
        lambda: _best_fit(noise),
    )
    yield Step(
        "what it costs at r = r*",
        "the squared first-order errors have mean sigma^2 r (dx + dy - r): 2 x 2, r = 1",
        lambda: (
            gaussian_mean(energy(noise) - noise[1, 1] ** 2, noise, sigma**2) - sigma**2 * tangent_dimension(1, 2, 2)
        ),
    )
    yield SimulationOnly(
        "the limit n -> infinity", "n (E risk_r - tail_r^2) -> V_r, expectations and limits exchanged",
        "test tests/test_theory_capacity.py::test_simulation_agrees_and_rejects_every_rival",
    )  # fmt: skip
    yield Step(
        "over-ranking up to full rank",
        "r* (dx + dy - r*) + E ||G||_F^2 = dx dy, G of size (dy - r*) x (dx - r*): FFT",
        lambda: sympy.expand(tangent_dimension(planted, dx, dy) + (dy - planted) * (dx - planted) - dx * dy),
    )
    yield Step(
        "over-ranking beyond the dimension",
        "V_r / sigma^2 - r (dx + dy - r) = E sum_{i<=k} sigma_i(G)^2 - k (dx + dy - 2 r* - k), k = r - r*",
        lambda: sympy.expand(
            tangent_dimension(planted + extra, dx, dy)
            - tangent_dimension(planted, dx, dy)
            - tangent_dimension(extra, dx - planted, dy - planted)
        ),
    )
    yield Step(
        "it is more: G of size 2 x 2, k = 1",
        "E sigma_1(G)^2 = 2 + pi/2 > 3, by sigma_1 = |z| + |w| with z and w independent complex normal",
        _two_by_two,
    )
    yield Step(
        "under-ranking: the Hessian",
        "half the Hessian of the risk on rank-1 matrices, at diag(s_i, 0) for diag(s_i, s_j), couples the mixed "
        "entries to [[1, -s_j/s_i], [-s_j/s_i, 1]]",
        lambda: _half_hessian() - Matrix([[1, 0, 0], [0, 1, -s_j / s_i], [0, -s_j / s_i, 1]]),
    )
    yield Step(
        "under-ranking: the scores",
        "w_p x_q, w = (0, s_j x_j) + noise, are uncorrelated, of variance sigma^2, + s_j^2 for p = j",
        lambda: _score_covariance() - diag(sigma**2, sigma**2, sigma**2 + s_j**2),
    )
    yield Step(
        "under-ranking: the cost",
        "Tr H^{-1} J = 3 sigma^2 + s_j^2 (s_i^2 + 2 sigma^2)/(s_i^2 - s_j^2)",
        lambda: (
            (_half_hessian().inv() * _score_covariance()).trace() - sigma**2 * tangent_dimension(1, 2, 2) - mixing()
        ),
    )


def _tangent_rank(outputs: int, inputs: int, rank: int) -> int:
    """At B = [I; P], A = [I, Q] with rational P and Q: the rank is the same at all factors of full rank."""
    b, a = matrix("B", outputs, rank), matrix("A", rank, inputs)
    generic_b = Matrix(outputs, rank, lambda i, j: int(i == j) if i < rank else Rational(i + 2 * j + 1, i + j + 2))
    generic_a = Matrix(rank, inputs, lambda i, j: int(i == j) if j < rank else Rational(3 * i + j + 1, i + j + 3))
    point = dict(zip([*b, *a], [*generic_b, *generic_a], strict=True))
    return jacobian(b * a, [*b, *a]).subs(point).rank()


def _gauge(outputs: int, inputs: int, rank: int) -> Exact:
    b, a, k = matrix("B", outputs, rank), matrix("A", rank, inputs), matrix("K", rank, rank)
    return (jacobian(b * a, [*b, *a]) * Matrix([*(b * k), *(-k * a)])).applyfunc(sympy.expand)


def _best_fit(noise: Exact) -> list[Exact]:
    """Of rank 1, and its error is orthogonal to the tangent space there up to O(e^2)."""
    data = diag(s_i, 0) + e * noise
    fit = Matrix([[data[0, 0], data[0, 1]], [data[1, 0], data[1, 0] * data[0, 1] / data[0, 0]]])
    error = data - fit
    normal = [error * fit[0, :].T, error.T * fit[:, 0]]
    return [fit.det(), *(sympy.limit(entry / e, e, 0) for block in normal for entry in block)]


def _two_by_two() -> list[Exact]:
    g = matrix("G", 2, 2)
    z2 = ((g[0, 0] + g[1, 1]) ** 2 + (g[1, 0] - g[0, 1]) ** 2) / 4
    w2 = ((g[0, 0] - g[1, 1]) ** 2 + (g[1, 0] + g[0, 1]) ** 2) / 4
    x = symbols("x", positive=True)
    modulus = sympy.integrate(x * 2 * x * sympy.exp(-(x**2)), (x, 0, sympy.oo))
    largest = gaussian_mean(z2, g) + gaussian_mean(w2, g) + 2 * modulus**2
    return [
        sympy.expand(2 * (z2 + w2) - energy(g)),
        sympy.expand((z2 - w2) - g.det()),
        gaussian_mean(z2, g) - 1,
        modulus - sqrt(pi) / 2,
        largest - 2 - pi / 2,
        largest > tangent_dimension(1, 2, 2),
    ]


def _half_hessian() -> Exact:
    x, y, w = symbols("x y w", real=True)
    update = Matrix([[s_i + x, y], [w, w * y / (s_i + x)]])
    risk = energy(update - diag(s_i, s_j))
    return sympy.hessian(risk, (x, y, w)).subs({x: 0, y: 0, w: 0}) / 2


def _score_covariance() -> Exact:
    """Of the entries (i, i), (i, j), (j, i), by the fourth moments of independent normal inputs."""
    x = symbols("x_i x_j", real=True)
    noise = symbols("eps_i eps_j", real=True)
    residual = (noise[0], s_j * x[1] + noise[1])
    scores = Matrix([residual[0] * x[0], residual[0] * x[1], residual[1] * x[0]])
    covariance = zeros(3, 3)
    for a in range(3):
        for b in range(3):
            given_inputs = gaussian_mean(sympy.expand(scores[a] * scores[b]), noise, sigma**2)
            covariance[a, b] = gaussian_mean(gaussian_mean(given_inputs, [x[0]]), [x[1]])
    return covariance
