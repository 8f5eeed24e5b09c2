"""The directions that a task shift couples, and those that it leaves alone.

Inputs of equal variance may be rotated among themselves, and so may outputs of equal noise. In each such eigenspace
only the row space (column space) of Delta restricted to it takes part; its complement is independent of all the rest.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

#: Relative to the largest: eigenvalues closer than this are equal, singular values below it are zero.
_EQUAL = 1e-12


class Coupling(NamedTuple):
    """Delta on the directions it couples, where Sigma and Sigma_eps are diagonal, and the rest.

    `inputs` (dx x i) and `other_inputs`: orthonormal bases in the original coordinates.
    """

    shift: Float[np.ndarray, "o i"]
    variances: Float[np.ndarray, "i"]
    noise: Float[np.ndarray, "o"]
    inputs: Float[np.ndarray, "dx i"]
    other_inputs: Float[np.ndarray, "dx j"]
    other_variances: Float[np.ndarray, "j"]
    other_noise: Float[np.ndarray, "p"]


def couple(
    sigma: Float[np.ndarray, "dx dx"], shift: Float[np.ndarray, "dy dx"], sigma_eps: Float[np.ndarray, "dy dy"]
) -> Coupling:
    """Split inputs and outputs into those that Delta (`shift`) couples and those that it leaves alone."""
    threshold = _EQUAL * float(np.linalg.norm(shift, 2))
    inputs, variances, other_inputs, other_variances = _split(sigma, shift, threshold)
    outputs, noise, _, other_noise = _split(sigma_eps, shift.T, threshold)
    return Coupling(outputs.T @ shift @ inputs, variances, noise, inputs, other_inputs, other_variances, other_noise)


def _split(
    covariance: np.ndarray, rows: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Eigenbasis of a covariance, split by whether `rows` see it: vectors and values seen, then unseen."""
    values, vectors = np.linalg.eigh(covariance)
    starts = np.flatnonzero(np.diff(values, prepend=-np.inf) > _EQUAL * np.max(np.abs(values)))
    seen, unseen = [], []
    for space in np.split(np.arange(len(values)), starts[1:]):
        _, strengths, right = np.linalg.svd(rows @ vectors[:, space])
        count = int(np.count_nonzero(strengths > threshold))
        rotated, mean = vectors[:, space] @ right.T, np.full(len(space), np.mean(values[space]))
        seen.append((rotated[:, :count], mean[:count]))
        unseen.append((rotated[:, count:], mean[count:]))
    return *_joined(seen), *_joined(unseen)


def _joined(pieces: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    vectors, values = zip(*pieces, strict=True)
    return np.concatenate(vectors, axis=1), np.concatenate(values)
