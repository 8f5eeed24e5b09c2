"""Expected excess risk of linear classes that do not decouple by output, D = sum_a th_a L_a, in powers of 1/n.

th* = H^{-1} h is the best of the class, P = Delta - sum_a th*_a L_a what it misses. As n grows,

    n (risk - ||P Sigma^{1/2}||^2) -> Tr H^{-1} J,      H_ab = Tr L_a Sigma L_b^T,   h_a = Tr L_a Sigma Delta^T,
    J_ab = Tr L_a Sigma L_b^T Sigma_eps + 2 Tr S_a Sigma S_b Sigma,      S_a = sym(L_a^T P)

Proof. Least squares solves Hhat (th - th*) = g, with Hhat = H in the mean and g_a the mean over samples of
(L_a x)^T (P x + eps), which has mean 0. Its covariance is J / n, by Isserlis' theorem, and the excess over
||P Sigma^{1/2}||^2 is (th - th*)^T H (th - th*).

Where P = 0 and Sigma_eps = sigma^2 I, g given the inputs has the covariance sigma^2 Hhat / n, so the excess is exactly
(sigma^2/n) E Tr H Hhat^{-1}, and to the second order

    risk = (sigma^2 p / n) (1 + c_2 / (p n)) + ... = sigma^2 p / (n - c_2 / p) + ...,
    c_2 = n E Tr [ H^{-1} (Hhat - H) H^{-1} (Hhat - H) ] = 2 sum_abcd H^{-1}_da H^{-1}_bc Tr G_ab Sigma G_cd Sigma,

G_ab = sym(L_a^T L_b). The last form is exact for scales of independent outputs, where c_2 = 2 p, and for one scale
of an isotropic map. With misfit the second order is not known here.

`InputScales` are classes D = M diag(l) A, which scale the features A x before a frozen M: IA3 on the inputs (A = I,
M = A0), VeRA with its output scales frozen. With Z = A Sigma A^T, G = M^T M, T = M^T P Sigma A^T,

    H = G o Z,   J = (M^T Sigma_eps M + M^T P Sigma P^T M) o Z + T o T^T,
    c_2 = sum_ijkl H^{-1}_li G_ij H^{-1}_jk G_kl (Z_ik Z_jl + Z_il Z_jk)

Generators that are redundant give a pseudo-inverse. Source: derived here.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.problem import Problem
from linreg_lora.theory import restricted

FIRST = "||P Sigma^{1/2}||^2 + Tr(H^{-1} J) / n, to first order in 1/n"
SECOND = "sigma^2 p / (n - c_2 / p), to second order in 1/n"
#: Eigenvalues of H, in units of the largest, below this are rounding of redundant generators.
_ROUNDING = 1e-12


class InputScales(NamedTuple):
    """The class D = M diag(l) A: `left` is M, dy x p, `right` A, p x dx (None: the identity)."""

    left: np.ndarray
    right: np.ndarray | None = None


class LinearClassRisk(NamedTuple):
    """`misspecification` + `excess` = `risk`, in squared units of y, by an expansion in 1/n; `formula` says which.

    `limit`: of n (risk - misspecification). `second_order`: c_2, nan where it is not known. `dimension`: of the class.
    `gap`: what retraining leaves of a perturbation of A0 with tau = 1. `error`: the size of the next term as a share of
    the risk, where one knows it; nan elsewhere.
    """

    misspecification: float
    excess: float
    limit: float
    second_order: float
    dimension: int
    gap: float
    error: float
    formula: str

    @property
    def risk(self) -> float:
        return self.misspecification + self.excess


def input_scales_risk(problem: Problem, scales: InputScales) -> LinearClassRisk:
    """The expected excess risk of D = M diag(l) A, ridgeless, to the order that is known. See the module.

    Raises `InvalidInput` for matrices that do not fit, a ridge, and an n at which the expansion has no value.

    >>> import linreg_lora as ll
    >>> shift = [[1.0, 0.0], [1.0, 0.0]]
    >>> problem = ll.Problem(n=50, dx=2, dy=2, task_shift=shift, noise_std=1.0)
    >>> found = ll.theory.input_scales_risk(problem, ll.theory.InputScales([[1.0, 0.0], [1.0, 1.0]]))
    >>> f"{found.dimension} scales, {found.limit:.1f} / n, c_2 = {found.second_order:.2f}, risk {found.risk:.4f}"
    '2 scales, 2.0 / n, c_2 = 5.00, risk 0.0421'
    """
    problem.require_gaussian("scales of inputs by theory")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge)
    m = validation.real_array("left", scales.left, f"M, {problem.dy} x p")
    if m.ndim != 2 or len(m) != problem.dy:
        raise InvalidInput("left", f"M, {problem.dy} x p", f"shape {m.shape}")
    a = np.eye(problem.dx) if scales.right is None else restricted.matrix_of_rows("right", scales.right, problem.dx)
    if len(a) != m.shape[1]:
        raise InvalidInput("right", f"A, {m.shape[1]} x {problem.dx}", f"shape {a.shape}")
    sigma, shift = problem.sigma, problem.shift
    gram, z = m.T @ m, a @ sigma @ a.T
    inverse, count = _pseudo_inverse(gram * z)
    best = inverse @ np.diagonal(m.T @ shift @ sigma @ a.T)
    whole = shift @ problem.sigma_sqrt
    missed = restricted.without_rounding(whole - (m * best) @ a @ problem.sigma_sqrt, whole)
    t = m.T @ missed @ problem.sigma_sqrt @ a.T
    j = (m.T @ problem.sigma_eps @ m + m.T @ missed @ missed.T @ m) * z + t * t.T
    metric = (gram * (a @ sigma @ sigma @ a.T)).ravel()
    gap = problem.dy * float(np.trace(sigma)) - float(np.dot(inverse.ravel(), metric))
    return _expanded(
        problem, float(np.sum(missed**2)), float(np.sum(inverse * j)), count, gap, lambda: _c2(inverse, gram, z)
    )


def linear_class_risk(problem: Problem, generators: object) -> LinearClassRisk:
    """The expected excess risk of D = sum_a th_a L_a, ridgeless, to the order that is known. See the module.

    `generators` are the L_a, p x dy x dx; a class that decouples has an exact risk (`decoupled`). Raises as
    `input_scales_risk` does.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=50, dx=2, dy=2, task_shift=[[1.0, 0.0], [0.0, 1.0]], noise_std=1.0)
    >>> found = ll.theory.linear_class_risk(problem, [[[1.0, 0.0], [0.0, 1.0]]])
    >>> f"one scale: {found.limit:.1f} / n, c_2 = {found.second_order:.0f}, {found.risk:.5f} = 1 / 49"
    'one scale: 1.0 / n, c_2 = 1, 0.02041 = 1 / 49'
    """
    problem.require_gaussian("linear classes by theory")
    if problem.ridge > 0:
        raise InvalidInput("ridge", "0", problem.ridge)
    expected = f"L_a, p x {problem.dy} x {problem.dx}"
    each = validation.real_array("generators", generators, expected)
    if each.ndim != 3 or each.shape[1:] != (problem.dy, problem.dx):
        raise InvalidInput("generators", expected, f"shape {each.shape}")
    root, sigma, whole = problem.sigma_sqrt, problem.sigma, problem.shift @ problem.sigma_sqrt
    seen = (each @ root).reshape(len(each), -1)
    inverse, count = _pseudo_inverse(seen @ seen.T)
    best = inverse @ (seen @ whole.ravel())
    missed = restricted.without_rounding(whole - (best @ seen).reshape(whole.shape), whole)
    noisy = (problem.sigma_eps_sqrt @ each @ root).reshape(len(each), -1)
    cross = root @ each.mT @ missed  # Sigma^{1/2} L_a^T P Sigma^{1/2}
    symmetric = ((cross + cross.mT) / 2).reshape(len(each), -1)
    j = noisy @ noisy.T + 2 * symmetric @ symmetric.T
    metric = (each @ sigma).reshape(len(each), -1)
    gap = problem.dy * float(np.trace(sigma)) - float(np.sum(inverse * (metric @ metric.T)))

    def c2() -> float:
        products = np.einsum("ix,aoi,boj,jy->abxy", root, each, each, root, optimize=True)
        products = (products + products.mT) / 2
        return 2 * float(np.einsum("da,bc,abxy,cdxy->", inverse, inverse, products, products, optimize=True))

    return _expanded(problem, float(np.sum(missed**2)), float(np.sum(inverse * j)), count, gap, c2)


def _expanded(
    problem: Problem, missed: float, limit: float, count: int, gap: float, c2: Callable[[], float]
) -> LinearClassRisk:
    n = problem.n
    if missed > 0 or problem.isotropic_noise_scale is None:
        return LinearClassRisk(missed, limit / n, limit, math.nan, count, gap, math.nan, FIRST)
    second = c2()
    if not n > second / count:
        expected = f"more than c_2 / p = {second / count:.3g} samples for an expansion in 1/n"
        raise InvalidInput("n", expected, n, "simulate it (monte_carlo)")
    # Of one scale, 1/(n - c) leaves out terms of relative size (c/n)^2.
    error = (second / count / n) ** 2
    return LinearClassRisk(0.0, limit / (n - second / count), limit, second, count, gap, error, SECOND)


def _pseudo_inverse(h: np.ndarray) -> tuple[np.ndarray, int]:
    """H^+ and rank(H)."""
    values, vectors = np.linalg.eigh(h)
    kept = values > _ROUNDING * values[-1]
    if not np.any(kept):
        raise InvalidInput("generators", "a class that moves the outputs", "L_a Sigma^{1/2} = 0")
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T, int(np.sum(kept))


def _c2(inverse: np.ndarray, gram: np.ndarray, z: np.ndarray) -> float:
    mixed = inverse * z
    total = float(np.sum((mixed @ gram) * (mixed @ gram).T))
    for i, row in enumerate(gram):
        left = row[:, None] * inverse  # G_ij H^{-1}_jk
        right = gram * inverse[:, i]  # G_kl H^{-1}_li
        total += float(np.sum(z[i][:, None] * (left.T @ z) * right))
    return total
