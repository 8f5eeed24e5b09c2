"""Ascent of LoRA's risk over label poisons of a given size: a local maximum of what `theory.poisoning_budget` bounds.

In coordinates of the row space of the design, Z (dy x k) the labels that full fine-tuning sees, LoRA is the best
approximation T(Z) of rank r, and its risk f(Z) = ||T(Z) S + M||_F^2, S (k x dx) from labels to updates. With
Z = U diag(sigma) V^T, G = 2 (T(Z) S + M) S^T and H = U^T G V the gradient is U J V^T, where

    J_ij = H_ij                                                                  i, j <= r
    J_ij = (sigma_i^2 H_ij + sigma_i sigma_j H_ji) / (sigma_i^2 - sigma_j^2)     one of them <= r, the larger first
    J_ij = 0                                                                     i, j > r

for the derivative of T is self-adjoint (first-order perturbation of singular vectors; sigma = 0 beyond the smaller
side). A step goes along it by the size of the poison, back to the sphere; the best of the way is returned, so that the
result is never below the start. Not the global maximum: f is not convex. Source: derived here.
"""

import numpy as np
from jaxtyping import Float

_STEPS = 40


def risk_and_gradient(
    labels: Float[np.ndarray, "dy k"], solve: Float[np.ndarray, "k dx"], missed: Float[np.ndarray, "dy dx"], rank: int
) -> tuple[float, Float[np.ndarray, "dy k"]]:
    """f and its gradient; where sigma_r = sigma_{r+1} there is none, and such pairs are left out.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> labels, identity = np.diag([2.0, 1.0]), np.eye(2)
    >>> risk, gradient = ll.theory.poison_ascent.risk_and_gradient(labels, identity, -identity, 1)
    >>> risk, gradient.tolist()
    (2.0, [[2.0, 0.0], [0.0, 0.0]])
    """
    u, values, vt = np.linalg.svd(labels)
    kept = (u[:, :rank] * values[:rank]) @ vt[:rank]
    error = kept @ solve + missed
    turned = u.T @ (2 * error @ solve.T) @ vt.T
    rows, columns = (np.concatenate([values, np.zeros(size - len(values))]) for size in turned.shape)
    swapped = np.zeros(turned.shape)
    both = min(turned.shape)
    swapped[:both, :both] = turned[:both, :both].T
    large = np.maximum(rows[:, None], columns)
    gap = np.abs(rows[:, None] ** 2 - columns**2)
    moved = np.zeros(turned.shape)
    np.divide(large**2 * turned + rows[:, None] * columns * swapped, gap, out=moved, where=gap > 0)
    moved[:rank, :rank] = turned[:rank, :rank]
    moved[rank:, rank:] = 0
    return float(np.sum(error**2)), u @ moved @ vt


def ascend(
    labels: Float[np.ndarray, "dy k"],
    solve: Float[np.ndarray, "k dx"],
    missed: Float[np.ndarray, "dy dx"],
    rank: int,
    start: Float[np.ndarray, "dy k"],
    budget: float,
) -> Float[np.ndarray, "dy k"]:
    """The worst poison of Frobenius norm `budget` on a way up from `start`: labels + poison in place of Z."""
    poison, best, worst = start, start, -np.inf
    for _ in range(_STEPS):
        risk, gradient = risk_and_gradient(labels + poison, solve, missed, rank)
        if risk > worst:
            best, worst = poison, risk
        size = np.linalg.norm(gradient)
        if not (size > 0 and np.isfinite(size)):
            break
        ahead = poison + budget * gradient / size
        reached = np.linalg.norm(ahead)
        if not reached > 0:
            break
        poison = ahead * (budget / reached)
    return best
