"""The leave-one-out error of LoRA at every rank, in closed form: deleting a sample is a change of rank two.

FFT's fit decides LoRA's directions by A = R^T H R (`deletion` has the symbols). Without sample i it is

    A_i = A - kappa R_i R_i^T + (1 - h_i) e_i e_i^T,

and LoRA of rank r projects on the leading r eigenvectors w_k of it, so that with R'_i = kappa R_i and d_i = R'_i - e_i,
what FFT predicts of the sample that it has not seen,

    loss_i(r) = |R'_i|^2 + sum_{k <= r} (w_k.d_i)^2 - 2 (w_k.d_i)(w_k.R'_i).

One eigendecomposition a sample gives all ranks: of q + 2 dimensions, q the rank of the fit, however many outputs there
are. Nothing is assumed of the data, and nothing of them estimated. For independent samples of one law

    E LOO_r(n) = E risk_r(n - 1) + Tr Sigma_eps

exactly, wherever the right-hand side is finite. Source: ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.own_data.deletion import Deletions

#: Numbers in the matrices of samples that are decomposed together.
_CHUNK = 2**20


class Directions(NamedTuple):
    """Directions of the fit, strongest first: `basis` U (dy q) and `strengths` lambda^2 (q), the eigenvalues of A."""

    basis: Float[np.ndarray, "dy q"]
    strengths: Float[np.ndarray, "q"]


def directions(deletions: Deletions) -> Directions:
    """LoRA's directions, min(rank X, dy) of them: where the fit has fewer, the last ones have no strength."""
    _, values, basis = np.linalg.svd(deletions.coordinates, full_matrices=False)
    return Directions(basis.T, values**2)


class LeftOut(NamedTuple):
    """Of samples that were left out: `losses`, squared errors summed over outputs, at ranks 0..q; and `energies`, what
    the fit without a sample predicts of it along each direction, squared, (w_k.d_i)^2."""

    losses: Float[np.ndarray, "*g m ranks"]
    energies: Float[np.ndarray, "*g m q"]


def losses(deletions: Deletions, fit: Directions, rows: Int[np.ndarray, "m"] | None = None) -> LeftOut:
    """The left-out samples `rows` (None: all)."""
    chosen = slice(None) if rows is None else rows
    target, missed = deletions.share * deletions.target[chosen], deletions.missed[chosen]
    weight, q = deletions.weight[chosen], len(fit.strengths)
    target, missed, outside = _coordinates(fit, target, missed)
    size = q + outside
    strengths = np.append(fit.strengths, np.zeros(outside))
    found, energies = np.empty((len(weight), q + 1)), np.empty((len(weight), q))
    step = max(1, _CHUNK // size**2)
    for start in range(0, len(weight), step):
        part = slice(start, start + step)
        r, e = target[part], missed[part]
        change = weight[part, None, None] * (e[:, :, None] * e[:, None, :])
        change -= (r[:, :, None] * r[:, None, :]) / deletions.share
        change[:, np.arange(size), np.arange(size)] += strengths
        at = gains(change, r[:, None], e[:, None], q)
        found[part], energies[part] = at.losses[:, 0], at.energies[:, 0]
    return LeftOut(found, energies)


def gains(
    changed: Float[np.ndarray, "g p p"], target: Float[np.ndarray, "g m p"], missed: Float[np.ndarray, "g m p"], q: int
) -> LeftOut:
    """m samples each, by the leading eigenvectors of what A is without them; a leading axis g more."""
    vectors = np.linalg.eigh(changed)[1][:, :, ::-1][:, :, :q]
    predicted = (target - missed) @ vectors
    gain = predicted * (predicted - 2 * (target @ vectors))
    nothing = np.sum(target**2, axis=-1, keepdims=True)
    found = np.concatenate([nothing, nothing + np.cumsum(gain, axis=-1)], axis=-1)
    # Squares: below zero only by rounding.
    return LeftOut(np.maximum(found, 0.0), predicted**2)


def _coordinates(fit: Directions, target: np.ndarray, missed: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """R' and e in the basis U and, beyond it, in two directions of each sample's own; and how many beyond."""
    dy, q = fit.basis.shape
    inside_target, inside_missed = target @ fit.basis, missed @ fit.basis
    if dy <= q + 2:
        if dy == q:
            return inside_target, inside_missed, 0
        rest = np.linalg.svd(fit.basis, full_matrices=True)[0][:, q:]
        return np.hstack([inside_target, target @ rest]), np.hstack([inside_missed, missed @ rest]), dy - q
    outside_target = target - inside_target @ fit.basis.T
    outside_missed = missed - inside_missed @ fit.basis.T
    length = np.linalg.norm(outside_target, axis=1)
    along = np.sum(outside_target * outside_missed, axis=1) / np.where(length > 0, length, 1.0)
    unit = outside_target / np.where(length > 0, length, 1.0)[:, None]
    across = np.linalg.norm(outside_missed - along[:, None] * unit, axis=1)
    zero = np.zeros(len(target))
    return (
        np.column_stack([inside_target, length, zero]),
        np.column_stack([inside_missed, along, across]),
        2,
    )
