"""The metric in which LoRA truncates: the second moment S of a layer's inputs, in factors S = Q T T' Q'.

Full fine-tuning W1 = W0 + D by least squares on inputs of moment S has LoRA of rank r beside it, on the same data:
trunc_r(D S^{1/2}) S^{-1/2}, whose loss is higher by the energy of the singular values of D S^{1/2} that it leaves out.
These are the singular values of D Q T for any factors. Q is an orthonormal basis of what the inputs span; where S is
singular the rest of D is not seen. Where an offset was trained too, S is the covariance. From rows of inputs no square
is taken: T is a triangular factor of the rows.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

import numpy as np
import scipy.linalg
from jaxtyping import Float

from linreg_lora.errors import InvalidInput
from linreg_lora.validation import LARGEST

_TOLERANCE = 5e-4
_EXPECTED_MOMENT = "a symmetric positive semidefinite matrix, not zero"


class Metric(NamedTuple):
    """S = Q T T' Q': `basis` Q (dx k), None for the identity, `factor` T (k m), `variances` the diagonal of S.

    `samples`: how many rows it is of, None where that is not known.
    """

    basis: Float[np.ndarray, "dx k"] | None
    factor: Float[np.ndarray, "k m"]
    variances: Float[np.ndarray, "dx"]
    samples: int | None

    @property
    def rank(self) -> int:
        return len(self.factor)

    def seen(self, update: Float[np.ndarray, "dy dx"]) -> Float[np.ndarray, "dy k"]:
        """D Q: what of an update the inputs reach."""
        return update if self.basis is None else update @ self.basis

    def largest(self, variances: Float[np.ndarray, "dx"]) -> float:
        """The largest eigenvalue of T' Q' diag(v) Q T, to a thousandth."""
        from scipy.sparse.linalg import ArpackNoConvergence, svds

        scaled = np.sqrt(variances)[:, None] * (self.factor if self.basis is None else self.basis @ self.factor)
        if min(scaled.shape) > 2 and np.any(variances):
            start = np.random.default_rng(0).standard_normal(min(scaled.shape))
            try:
                found = svds(scaled, 1, v0=start, tol=_TOLERANCE, return_singular_vectors=False)  # type: ignore[arg-type]
                return float(np.asarray(found)[0]) ** 2
            except ArpackNoConvergence:
                pass
        return float(np.linalg.norm(scaled, 2) ** 2)


def of_rows(name: str, blocks: Iterable[Float[np.ndarray, "k dx"]], *, centred: bool = False) -> Metric:
    """The metric of a layer's inputs, in rows, some at a time; `centred`: their covariance.

    Raises `InvalidInput` naming the row and column of what is no number, and for no rows.
    """
    triangle: np.ndarray | None = None
    mean, count = np.zeros(0), 0
    for block in blocks:
        _require_numbers(name, block, count)
        new = count + len(block)
        if count == 0:
            mean = np.zeros(block.shape[1])
        part = block
        if centred:
            here = block.mean(axis=0)
            between = np.sqrt(count * len(block) / new) * (here - mean)
            part = np.vstack([block - here, between])
            mean = mean + (here - mean) * (len(block) / new)
        count = new
        stacked = part if triangle is None else np.vstack([triangle, part])
        triangle = stacked if len(stacked) < stacked.shape[1] else np.asarray(np.linalg.qr(stacked, mode="r"))
    if triangle is None or not np.any(triangle):
        raise InvalidInput(name, "rows of inputs that are not all zero" if not centred else "rows that differ", "none")
    return _of_factor(triangle.T / np.sqrt(count), count)


def of_moment(name: str, moment: Float[np.ndarray, "dx dx"], eps: float = float(np.finfo(float).eps)) -> Metric:
    """The metric of a second moment S, or a covariance; `eps`: to how much its numbers are rounded, relatively.

    Raises `InvalidInput` for what is none.
    """
    if moment.ndim != 2 or moment.shape[0] != moment.shape[1]:
        raise InvalidInput(name, _EXPECTED_MOMENT, f"shape {moment.shape}")
    _require_numbers(name, moment, 0)
    size, largest = len(moment), float(np.max(np.abs(moment), initial=0.0))
    asymmetry = float(np.max(np.abs(moment - moment.T), initial=0.0))
    if largest == 0 or asymmetry > 4 * eps * largest:
        received = "zero" if largest == 0 else f"asymmetry {asymmetry:.3g}"
        raise InvalidInput(name, _EXPECTED_MOMENT, received, "" if largest == 0 else "use (S + S') / 2")
    moment = (moment + moment.T) / 2
    try:
        return Metric(None, np.linalg.cholesky(moment), np.diag(moment).copy(), None)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(moment)
    if values[0] < -np.sqrt(eps) * values[-1]:
        raise InvalidInput(name, _EXPECTED_MOMENT, f"eigenvalues {values[0]:.3g} to {values[-1]:.3g}")
    rounding = eps * float(np.linalg.norm(values)) + size * np.finfo(float).eps * values[-1]
    above = values > max(rounding, -values[0])
    return Metric(vectors[:, above], np.diag(np.sqrt(values[above])), np.diag(moment).copy(), None)


def _of_factor(factor: Float[np.ndarray, "dx m"], samples: int) -> Metric:
    """From S = L L', L lower triangular if square. What only rounding fills is left out, by pivoted QR."""
    variances, eps = np.sum(factor**2, axis=1), np.finfo(float).eps
    dx, m = factor.shape
    if m == dx and _condition(factor) > dx * eps:
        return Metric(None, factor, variances, samples)
    pivoted = scipy.linalg.qr(factor, mode="economic", pivoting=True, check_finite=False)
    basis, triangle, order = cast("tuple[np.ndarray, np.ndarray, np.ndarray]", pivoted)
    sizes = np.abs(np.diag(triangle))
    rank = int(np.sum(sizes > max(dx, m) * eps * sizes[0]))
    inner = np.empty((rank, m))
    inner[:, order] = triangle[:rank]
    return Metric(np.ascontiguousarray(basis[:, :rank]), inner, variances, samples)


def _condition(lower: Float[np.ndarray, "k k"]) -> float:
    """The reciprocal condition of a triangular matrix, in the 1-norm; 0 where it is singular."""
    if not np.all(np.diag(lower)):
        return 0.0
    (trcon,) = scipy.linalg.get_lapack_funcs(("trcon",), (lower,))
    reciprocal, _ = trcon(lower, uplo="L")
    return float(reciprocal)


def _require_numbers(name: str, block: Float[np.ndarray, "k dx"], before: int) -> None:
    wrong = np.argwhere(~(np.abs(block) <= LARGEST))
    if len(wrong):
        row, column = wrong[0].tolist()
        place = f"{block[row, column]} at [{before + row}, {column}]"
        raise InvalidInput(name, f"finite numbers up to {LARGEST:g}", place)
