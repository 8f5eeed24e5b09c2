"""Full fine-tuning stopped early, for any Sigma: its bias and variance as contour integrals of the filter k.

With S = X X^T / n, l_i the eigenvalues of Sigma and Q(z) = (a(z) Sigma - z)^{-1}, a(z) = -z v(z),

    1/v = -z + (1/n) sum_i l_i / (1 + l_i v)                              (E (S - z)^{-1} ~ Q, Im v > 0 with Im z > 0)
    variance = (Tr(Sigma_eps) / n) (1 / 2 pi i) contour ((2 k - k^2) / z) Tr Sigma Q(z) dz
    bias = (1 / 2 pi i)^2 double contour k(z1) k(z2) Tr[Delta^T Delta Q1 Sigma Q2] / (1 - a1 a2 q) dz1 dz2,
           q = (1/n) Tr Sigma Q1 Sigma Q2

around the spectrum and 0, where S has a pole for n < dx; of (1 - k)^2 / z the part 1/z leaves nothing around all that.
On a generous contour e^{-z t} is huge, and turns often: this ellipse passes left of 0 at 0.3 / t, where |k| < e^{0.3},
is as high as sqrt(width / t), so that k has decayed before it turns, and has nodes where k is not negligible, clustered
at both ends. For descent with rate < 2/x+ it ends before 2/rate, where k grows again. Source of the equivalent of two
resolvents: Ledoit and Peche 2011.
"""

import math

import numpy as np
from jaxtyping import Complex, Float

from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.theory.effective import effective, input_variances, lower_edge, shift_energies
from linreg_lora.theory.fft import first_order
from linreg_lora.theory.training.filters import Filter
from linreg_lora.theory.training.search import least

#: Nodes of each half of the contour; left of 0 by this over t; right of the spectrum by this share of its edge; the
#: height in units of sqrt(width / t), and the angle beyond which |k| < e^{-45} in those of 1 / sqrt(width t).
_NODES, _LEFT, _RIGHT, _HEIGHT, _DECAYED = 64, 0.3, 0.3, 3.0, 10.0
_ITERATIONS, _RESIDUAL = 50, 1e-11
#: Below this k is 0 in float64, and what is left for n < dx is full fine-tuning: its integrals would cancel.
_OVER = 1e-17


def bias_and_variance(problem: Problem, found: Filter) -> tuple[float, float]:
    """Bias and variance of full fine-tuning whose residuals are filtered by k. Inputs of full rank."""
    problem.require_gaussian("the risk of stopped training")
    values, energies, n = input_variances(problem), shift_energies(problem), problem.n
    if found.time == 0:
        return float(values @ energies), 0.0
    edge = upper_edge(values, n)
    if n < len(values) and max(abs(found.left(lower_edge(values, n) / n)), abs(found.left(edge))) < _OVER:
        end = first_order(problem)
        return end.bias, end.variance
    paths, v = _contour(edge, found), []
    for (nodes, _), start in zip(paths, (_left_of_all, _right_of_all), strict=False):
        at = float(nodes[0].real)
        v.append(_companion(nodes, at, start(at, values, n), values, n))
    z, dz, v = np.concatenate([p[0] for p in paths]), np.concatenate([p[1] for p in paths]), np.concatenate(v)
    a, q = -z * v, -1 / (z[:, None] * (1 + np.outer(v, values)))
    weight = dz / (2j * math.pi)
    k = found.left(z)
    variance = 2 * np.real(np.sum(weight * k * (2 - k) / z * (q @ values)))
    w = weight * k
    bias = 0.0
    for w2, a2, q2 in ((w, a, q), (w.conj(), a.conj(), q.conj())):
        shared = np.outer(a, a2) * ((q * values**2) @ q2.T) / n
        bias += 2 * float(np.real(w @ (((q * values * energies) @ q2.T) / (1 - shared)) @ w2))
    return bias, problem.noise_trace / n * float(variance)


def upper_edge(values: Float[np.ndarray, "k"], n: int) -> float:
    """The largest eigenvalue of S in the limit: the least -1/v + (1/n) sum l / (1 + l v) over -1/max(l) < v < 0.

    >>> from linreg_lora.theory.training.stopped_contours import upper_edge
    >>> f"{upper_edge(np.ones(25), 100):.4f} = (1 + sqrt(25 / 100))^2"
    '2.2500 = (1 + sqrt(25 / 100))^2'
    """
    return _edge(values, n)[1]


def _edge(values: Float[np.ndarray, "k"], n: int) -> tuple[float, float]:
    """-v and the largest eigenvalue of S."""
    found = least(lambda share: _outside(share, values, n), 1e-12, 1 - 1e-12)
    return found.at / float(np.max(values)), found.value


def _outside(share: float, values: Float[np.ndarray, "k"], n: int) -> float:
    """z at v = -share / max(l), 0 < share < 1."""
    largest = float(np.max(values))
    relative = values / largest
    return largest * (1 / share + float(np.sum(relative / (1 - relative * share))) / n)


def _contour(edge: float, found: Filter) -> list[tuple[Complex[np.ndarray, "k"], Complex[np.ndarray, "k"]]]:
    """Nodes in the upper half plane and dz, of the path from right to left: of its end, counted from the left, and of
    its beginning, counted from the right, where k matters there."""
    left, right = min(_LEFT / found.time, edge), (1 + _RIGHT) * edge
    if found.rate > 0:
        right = min(right, (edge + 2 / found.rate) / 2)
    centre, radius = (right - left) / 2, (right + left) / 2
    height = min(radius, _HEIGHT * math.sqrt(radius / found.time))
    reach = min(math.pi / 2, _DECAYED / math.sqrt(found.time * radius))
    t, weights = np.polynomial.legendre.leggauss(_NODES)
    angles, turns = [], []
    for gap in (left, right - edge):
        near = gap / height
        steep = math.asinh(reach / near)
        angles.append(near * np.sinh(steep * (t + 1) / 2))
        turns.append(near * steep * np.cosh(steep * (t + 1) / 2) * weights / 2)
    paths = [(angles[0], turns[0]), (math.pi - angles[1], turns[1])]
    return [
        (
            centre - radius * np.cos(angle) + 1j * height * np.sin(angle),
            -(radius * np.sin(angle) + 1j * height * np.cos(angle)) * turn,
        )
        for angle, turn in paths[: 1 if found.rate == 0 and reach < math.pi / 2 else 2]
    ]


def _left_of_all(z: float, values: Float[np.ndarray, "d"], n: int) -> float:
    """v > 0 at z < 0."""
    return 1 / effective(values, n, -z * n).kappa


def _right_of_all(z: float, values: Float[np.ndarray, "d"], n: int) -> float:
    """v < 0 at z beyond the upper edge."""
    from scipy.optimize import brentq

    top, largest = _edge(values, n)[0], float(np.max(values))
    share = brentq(lambda share: _outside(share, values, n) - z, largest / (2 * z), top * largest)
    return -float(share) / largest  # pyright: ignore[reportArgumentType]


def _companion(
    z: Complex[np.ndarray, "k"], at: float, v: complex, values: Float[np.ndarray, "d"], n: int
) -> Complex[np.ndarray, "k"]:
    """v at points on from the real point `at`: by Newton from point to point, each with Im v > 0 and a residual near
    rounding, which makes it the one (Silverstein and Bai 1995)."""
    before, found = complex(at), np.empty(len(z), dtype=complex)
    for k, point in enumerate(z):
        v += (point - before) * _newton(v, before, values, n)[1]
        for _ in range(_ITERATIONS):
            residual, slope = _newton(v, point, values, n)
            step = residual * slope
            step *= min(1.0, 0.9 * v.imag / -step.imag) if step.imag < 0 else 1.0
            v += step
            if abs(step) <= _RESIDUAL * abs(v):
                break
        else:
            raise NumericalFailure(
                f"stopped training: expected a solution at z = {point:.4g}, received none after "
                f"{_ITERATIONS} steps; move time or n"
            )
        found[k], before = v, point
    return found


def _newton(v: complex, z: complex, values: Float[np.ndarray, "d"], n: int) -> tuple[complex, complex]:
    """1/v + z - (1/n) sum l / (1 + l v), and dv/dz where that is 0: minus the inverse of its derivative in v."""
    ratio = values / (1 + values * v)
    return 1 / v + z - complex(np.sum(ratio)) / n, 1 / (1 / v**2 - complex(np.sum(ratio**2)) / n)
