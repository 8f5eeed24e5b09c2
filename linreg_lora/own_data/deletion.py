"""What deleting a sample does to least squares: leave-one-out residuals of FFT, and their weights, in closed form.

Samples are rows: X is n x dx, R = Y - A0 X is n x dy. With an intercept both are centred. With X = V S W^T,

    F = H R,  H = V f V^T,  f = s^2 / (s^2 + eta)          the fit of full fine-tuning, with ridge eta >= 0
    I - H - 11^T/n = C + V (1 - f) V^T,                    C: the projector on what X and the intercept do not reach
    e_i = [(I - H - 11^T/n) R]_i / (I - H - 11^T/n)_ii     what FFT without sample i misses of it

(11^T/n only with an intercept). Where C_ii = 0 a sample has leverage one: some direction of the inputs is its own.
There both sides of the ratio vanish like eta, and the limit is e_i = [K^+ R]_i / [K^+]_ii with the kernel K = X X^T. It
is taken sample by sample: duplicated rows and constant columns leave some with leverage one, and others without.

Where C_ii is small and not zero the others barely know a direction of sample i: C_ii is the difference of numbers next
to one and e_i is large. There the others are factorised, X' = U S W^T, centred with an intercept, and with z = W^T x',
x' and R' the sample's deviations from their mean,

    C_ii = 1 / (1 + |S^{-1} z|^2 + 1/(n - 1)),    e_i = R'_i - z^T S (S^2 + eta)^{-1} U^T R'.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import InvalidInput

_EPS = float(np.finfo(float).eps)
#: Below this share of a sample that X does not reach, more than half of its digits are lost to those of 1.
_NEARLY_ALONE = 1e-7
#: Relative singular values above this are far from rank deficiency.
_FAR_FROM_DEFICIENT = float(np.sqrt(_EPS))


class Others(NamedTuple):
    """All samples but one, `row`, factorised: `left` U (n - 1 m), `values` S (m), and `turned` z (m)."""

    row: int
    left: Float[np.ndarray, "others m"]
    values: Float[np.ndarray, "m"]
    turned: Float[np.ndarray, "m"]


class Design(NamedTuple):
    """The inputs, centred with an intercept: X = V S W^T over singular values that are not rounding.

    `left` V (n k), `values` s (k), `right` W (dx k); `free`: C_ii, exactly 0 at samples of leverage one; `mean`: of the
    inputs, 0 without an intercept; `nearly_alone`: the others of samples whose C_ii is small.
    """

    left: Float[np.ndarray, "n k"]
    values: Float[np.ndarray, "k"]
    right: Float[np.ndarray, "dx k"]
    free: Float[np.ndarray, "n"]
    mean: Float[np.ndarray, "dx"]
    intercept: bool
    nearly_alone: tuple[Others, ...] = ()

    @property
    def samples(self) -> int:
        return len(self.left)

    @property
    def leverage(self) -> Float[np.ndarray, "n"]:
        """Of each sample in FFT without ridge, the intercept's share included."""
        return 1 - self.free

    def shrinkage(self, ridge: float) -> Float[np.ndarray, "k"]:
        """f = s^2 / (s^2 + eta)."""
        return 1 / (1 + ridge / self.values**2)


class Deletions(NamedTuple):
    """FFT's fit at one ridge, and what deleting each sample does.

    `target` R, centred with an intercept, and `share` kappa = n / (n - 1) with one, else 1: the deviation of sample i
    from the others' mean is kappa R_i. `coordinates` f^{1/2} V^T R (k dy), whose Gram matrix is A = R^T H R;
    `missed` e (n dy); `weight` 1 - h_i (n), 0 at leverage one without ridge.
    """

    target: Float[np.ndarray, "n dy"]
    share: float
    coordinates: Float[np.ndarray, "k dy"]
    missed: Float[np.ndarray, "n dy"]
    weight: Float[np.ndarray, "n"]


def design(inputs: Float[np.ndarray, "n dx"], *, intercept: bool) -> Design:
    """Factorise the inputs. Raises `InvalidInput` where their rank depends on their units."""
    n, dx = inputs.shape
    mean = np.mean(inputs, axis=0) if intercept else np.zeros(dx)
    centred = inputs - mean
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    # Rounding in centred inputs is relative to the inputs themselves.
    kept = values > max(n, dx) * _EPS * max(values[0], float(np.max(np.abs(inputs))))
    _require_clear_rank(inputs, centred, int(np.sum(kept)))
    left, values, right = left[:, kept], values[kept], right[kept].T
    free = 1 - np.sum(left**2, axis=1) - (1 / n if intercept else 0.0)
    if len(values) >= n - intercept:
        return Design(left, values, right, np.zeros(n), mean, intercept)
    alone = []
    for row in np.flatnonzero(free < _NEARLY_ALONE).tolist():
        others = _others(centred, row, values, intercept)
        free[row] = 0.0 if others is None else _free(others, 0.0, n, intercept)
        alone += [] if others is None else [others]
    return Design(left, values, right, free, mean, intercept, tuple(alone))


def _others(centred: Float[np.ndarray, "n dx"], row: int, all_values: np.ndarray, intercept: bool) -> Others | None:
    """All samples but one; None where these do not reach all that the samples do."""
    rest = np.delete(centred, row, axis=0)
    centre = np.mean(rest, axis=0) if intercept else np.zeros(rest.shape[1])
    left, values, right = np.linalg.svd(rest - centre, full_matrices=False)
    kept = values > max(centred.shape) * _EPS * all_values[0]
    if np.sum(kept) < len(all_values):
        return None
    return Others(row, left[:, kept], values[kept], right[kept] @ (centred[row] - centre))


def _free(others: Others, ridge: float, n: int, intercept: bool) -> float:
    """C_ii, or what takes its place with a ridge: 1 less the sample's weight in its own fit."""
    size = float(np.sum(others.turned**2 / (others.values**2 + ridge)))
    return 1 / (1 + size + (1 / (n - 1) if intercept else 0.0))


def deletions(at: Design, residual: Float[np.ndarray, "n dy"], ridge: float) -> Deletions:
    """What deleting each sample does to FFT of this residual, with this ridge.

    Raises `InvalidInput` for a single sample with an intercept, which leaves nothing to centre by.
    """
    n = at.samples
    if at.intercept and n < 2:
        raise InvalidInput("samples", "at least 2 with an intercept", n, "fit without one")
    target = residual - np.mean(residual, axis=0) if at.intercept else residual
    inside, keep = at.left.T @ target, at.shrinkage(ridge)
    lost = ridge / (at.values**2 + ridge) if ridge > 0 else np.zeros(len(at.values))
    outside = np.where(at.free[:, None] > 0, target - at.left @ inside, 0.0)
    weight = at.free + at.left**2 @ lost
    missed = outside + at.left @ (lost[:, None] * inside)
    alone = weight == 0
    if np.any(alone):
        rows, inverse = at.left[alone], 1 / at.values**2
        missed[alone], weight[alone] = rows @ (inverse[:, None] * inside), rows**2 @ inverse
    missed = missed / weight[:, None]
    weight = np.where(alone, 0.0, weight)
    # With a ridge the part of a direction that no other sample has is lost already, and known.
    for others in at.nearly_alone:
        rest = np.delete(target, others.row, axis=0)
        centre = np.mean(rest, axis=0) if at.intercept else np.zeros(target.shape[1])
        gain = others.turned * others.values / (others.values**2 + ridge)
        missed[others.row] = target[others.row] - centre - gain @ (others.left.T @ (rest - centre))
        weight[others.row] = _free(others, ridge, n, at.intercept)
    share = n / (n - 1) if at.intercept else 1.0
    return Deletions(target, share, np.sqrt(keep)[:, None] * inside, missed, weight)


def update(at: Design, residual: Float[np.ndarray, "n dy"], ridge: float) -> Float[np.ndarray, "dy dx"]:
    """D_FFT, or with ridge D_eta."""
    target = residual - np.mean(residual, axis=0) if at.intercept else residual
    inverse = at.shrinkage(ridge) / at.values
    return (target.T @ at.left) @ (inverse[:, None] * at.right.T)


def _require_clear_rank(inputs: np.ndarray, centred: np.ndarray, rank: int) -> None:
    """Refuses inputs of deficient rank whose rank is larger when columns are brought to the same scale."""
    if rank == min(centred.shape):
        return
    size = np.maximum(np.max(np.abs(inputs), axis=0), np.finfo(float).tiny)
    balanced = np.linalg.svd(centred / size, compute_uv=False)
    clear = int(np.sum(balanced > _FAR_FROM_DEFICIENT * max(1.0, balanced[0])))
    if clear > rank:
        raise InvalidInput(
            "inputs",
            "columns whose rank does not depend on units",
            f"rank {rank} to rounding, but {clear} when rescaled",
            "bring the columns to similar scales",
        )
