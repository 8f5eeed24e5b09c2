"""The leave-group-out error of LoRA at every rank: deleting m samples together is a change of rank 2 m.

For rows that belong together (copies of one another, one speaker, one day) and for cross-validation in folds. With the
symbols of `deletion`, M = (I - H - 11^T/n)_gg and G the deviations of the group's outputs from the mean of the others,

    E = M^{-1} [(I - H - 11^T/n) R]_g,      A_g = A - G^T (I - 11^T/n) G + E^T M E,

and G - E is what FFT without the group predicts of it (11^T/n and the mean only with an intercept). Where every sample
is fitted M and its right-hand side vanish like eta, and E has a limit. Where only some direction of the inputs is the
group's own, or nearly, the others are fitted anew.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.own_data.deletion import Deletions, Design
from linreg_lora.own_data.losses import Directions, LeftOut, gains

#: Where an eigenvalue of M is below this, more than half of the digits of E are lost to those of 1.
_NEARLY_OWN = 1e-7


class Left(NamedTuple):
    """A group left out: G, E and, in closed form, M (`added`); where the others were fitted anew `factor`, with
    A_g = factor^T factor."""

    deviation: Float[np.ndarray, "m dy"]
    missed: Float[np.ndarray, "m dy"]
    added: Float[np.ndarray, "m m"] | None
    factor: Float[np.ndarray, "p dy"] | None


def group_losses(
    at: Design, deletions: Deletions, fit: Directions, groups: Int[np.ndarray, "n"], ridge: float
) -> LeftOut:
    """Every sample, left out with its group.

    `groups`: the number of each sample's group, from 0. Raises `InvalidInput` for a single group.
    """
    count = int(np.max(groups)) + 1
    if count < 2:
        raise InvalidInput("groups", "at least 2 different ones", count, "leave them out")
    q = len(fit.strengths)
    found, energies = np.empty((at.samples, q + 1)), np.empty((at.samples, q))
    for group in range(count):
        rows = np.flatnonzero(groups == group)
        left = _without(at, deletions, rows, ridge)
        basis = _basis(fit, np.vstack([left.deviation, left.missed]))
        target, missed = left.deviation @ basis, left.missed @ basis
        if left.factor is not None:
            change = (left.factor @ basis).T @ (left.factor @ basis)
        else:
            removed = np.eye(len(rows)) - (1 / at.samples if at.intercept else 0.0)
            change = missed.T @ left.added @ missed - target.T @ removed @ target
            change[np.arange(q), np.arange(q)] += fit.strengths
        there = gains(change[None], target[None], missed[None], q)
        found[rows], energies[rows] = there.losses[0], there.energies[0]
    return LeftOut(found, energies)


def left_out_groups(
    at: Design, deletions: Deletions, groups: Int[np.ndarray, "n"], ridge: float
) -> Float[np.ndarray, "n dy"]:
    """What FFT without a sample's group misses of it."""
    found = np.empty_like(deletions.missed)
    for group in range(int(np.max(groups)) + 1):
        rows = np.flatnonzero(groups == group)
        found[rows] = _without(at, deletions, rows, ridge).missed
    return found


def _without(at: Design, deletions: Deletions, rows: Int[np.ndarray, "m"], ridge: float) -> Left:
    n, m = at.samples, len(rows)
    left, target, inside = at.left[rows], deletions.target[rows], at.left.T @ deletions.target
    deviation = target + np.sum(target, axis=0) / (n - m) if at.intercept else target
    # Of order eta, but for this factor where there is no ridge.
    lost = ridge / (at.values**2 + ridge) if ridge > 0 else 1 / at.values**2
    kernel, shares = (left * lost) @ left.T, left @ (lost[:, None] * inside)
    if len(at.values) >= n - at.intercept:
        missed = np.linalg.solve(kernel, shares)
        return Left(deviation, missed, kernel if ridge > 0 else np.zeros((m, m)), None)
    core = np.eye(m) - left @ left.T - (1 / n if at.intercept else 0.0)
    if np.linalg.eigvalsh(core)[0] < _NEARLY_OWN:
        return _fitted_anew(at, deletions, rows, ridge, deviation)
    right = target - left @ inside
    if ridge > 0:
        core, right = core + kernel, right + shares
    return Left(deviation, np.linalg.solve(core, right), core, None)


def _fitted_anew(
    at: Design, deletions: Deletions, rows: Int[np.ndarray, "m"], ridge: float, deviation: Float[np.ndarray, "m dy"]
) -> Left:
    inputs, outputs = (at.left * at.values) @ at.right.T, deletions.target
    rest, targets = np.delete(inputs, rows, axis=0), np.delete(outputs, rows, axis=0)
    centre = np.mean(rest, axis=0) if at.intercept else np.zeros(rest.shape[1])
    targets = targets - np.mean(targets, axis=0) if at.intercept else targets
    left, values, right = np.linalg.svd(rest - centre, full_matrices=False)
    kept = values > max(inputs.shape) * np.finfo(float).eps * at.values[0]
    left, values, right = left[:, kept], values[kept], right[kept]
    along, filtered = left.T @ targets, values / (values**2 + ridge)
    predicted = ((inputs[rows] - centre) @ right.T * filtered) @ along
    return Left(deviation, deviation - predicted, None, np.sqrt(values * filtered)[:, None] * along)


def _basis(fit: Directions, vectors: Float[np.ndarray, "m dy"]) -> Float[np.ndarray, "dy p"]:
    """The basis U, continued to hold these vectors."""
    dy, q = fit.basis.shape
    if dy == q:
        return fit.basis
    if dy <= q + len(vectors):
        return np.hstack([fit.basis, np.linalg.svd(fit.basis, full_matrices=True)[0][:, q:]])
    outside = vectors - (vectors @ fit.basis) @ fit.basis.T
    more = np.linalg.qr((outside - (outside @ fit.basis) @ fit.basis.T).T)[0]
    return np.hstack([fit.basis, more - fit.basis @ (fit.basis.T @ more)])
