"""The leave-group-out error of LoRA at every rank: deleting m samples together is a change of rank 2 m.

For rows that belong together (copies of one another, one speaker, one day) and for cross-validation in folds. With the
symbols of `deletion`, M = (I - H - 11^T/n)_gg and G the deviations of the group's outputs from the mean of the others,

    E = M^{-1} [(I - H - 11^T/n) R]_g,      A_g = A - G^T (I - 11^T/n) G + E^T M E,

and G - E is what FFT without the group predicts of it (11^T/n and the mean only with an intercept). Where directions of
the inputs are the group's own, M vanishes on some of its combinations like eta, and E and E^T M E have limits.
"""

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.errors import InvalidInput
from linreg_lora.own_data.deletion import Deletions, Design
from linreg_lora.own_data.losses import Directions, LeftOut, gains

#: Below this a combination of the group's samples counts as one that nothing else reaches.
_OWN = 1e-8


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
        target, missed, added = _without(at, deletions, rows, ridge)
        m = len(rows)
        removed = np.eye(m) - (1 / at.samples if at.intercept else 0.0)
        basis = _basis(fit, np.vstack([target, missed]))
        target, missed = target @ basis, missed @ basis
        change = missed.T @ added @ missed - target.T @ removed @ target
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
        found[rows] = _without(at, deletions, rows, ridge)[1]
    return found


def _without(
    at: Design, deletions: Deletions, rows: Int[np.ndarray, "m"], ridge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """G, E and M of a group."""
    n, m = at.samples, len(rows)
    left, target, inside = at.left[rows], deletions.target[rows], at.left.T @ deletions.target
    free = np.eye(m) - left @ left.T - (1 / n if at.intercept else 0.0)
    values, turn = np.linalg.eigh(free)
    reached, alone, values = turn[:, values >= _OWN], turn[:, values < _OWN], values[values >= _OWN]
    # Of order eta, but for this factor where there is no ridge.
    lost = ridge / (at.values**2 + ridge) if ridge > 0 else 1 / at.values**2
    kernel, shares = (left * lost) @ left.T, left @ (lost[:, None] * inside)
    ours, outside = reached.T @ kernel @ alone, reached.T @ (target - left @ inside)
    core, right = np.diag(values), outside
    if ridge > 0:
        core, right = core + reached.T @ kernel @ reached, outside + reached.T @ shares
    solved = np.linalg.solve(core, np.hstack([right, ours if ridge > 0 else 0 * ours]))
    missed, felt = solved[:, : right.shape[1]], solved[:, right.shape[1] :]
    rest = np.linalg.solve(alone.T @ kernel @ alone - ours.T @ felt, alone.T @ shares - ours.T @ missed)
    added = reached * values @ reached.T + (kernel if ridge > 0 else 0.0)
    deviation = target + np.sum(target, axis=0) / (n - m) if at.intercept else target
    return deviation, reached @ (missed - felt @ rest) + alone @ rest, added


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
