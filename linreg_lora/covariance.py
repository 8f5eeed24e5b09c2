"""A covariance as it was given: nothing for the identity, a vector for a diagonal, or a matrix.

Its rank is exact where it is diagonal, for variances have units and a small one counts; of another matrix it is
numerical. Arrays are read-only and validated already (`validation.covariance`).
"""

import dataclasses
import functools
import math

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput

#: Means of more standard deviations leave fewer than half of the digits of the inputs.
_LARGEST_MEAN = 1e8


@dataclasses.dataclass(frozen=True, eq=False)
class Covariance:
    """A symmetric positive semidefinite matrix of `size` rows; `given` is None, its diagonal, or the matrix."""

    given: np.ndarray | None
    size: int

    @functools.cached_property
    def matrix(self) -> np.ndarray:
        """All of it, size x size."""
        if self.given is None:
            return validation.frozen(np.eye(self.size))
        return self.given if self.given.ndim == 2 else validation.frozen(np.diag(self.given).copy())

    @functools.cached_property
    def sqrt(self) -> np.ndarray:
        """The symmetric square root."""
        return validation.frozen(symmetric_sqrt(self.matrix))

    @property
    def trace(self) -> float:
        """The sum of the variances."""
        if self.given is None:
            return float(self.size)
        return float(np.sum(self.given) if self.given.ndim == 1 else np.trace(self.given))

    @functools.cached_property
    def isotropic_scale(self) -> float | None:
        """c where it is c I with c > 0, else None."""
        if self.given is None:
            return 1.0
        scale = float(self.given.flat[0])
        reference = np.full(self.size, scale) if self.given.ndim == 1 else scale * np.eye(self.size)
        return scale if scale > 0 and np.array_equal(self.given, reference) else None

    @functools.cached_property
    def diagonal(self) -> np.ndarray | None:
        """The variances where it was given and is diagonal, else None."""
        if self.given is None or self.given.ndim == 1:
            return self.given
        return np.diagonal(self.given) if _is_diagonal(self.given) else None

    @functools.cached_property
    def rank(self) -> int:
        """The number of positive variances where it is diagonal; of eigenvalues above size eps times the largest
        otherwise, because those below cannot be told from rounding."""
        if self.given is None:
            return self.size
        if self.diagonal is not None:
            return int(np.count_nonzero(self.diagonal))
        values = np.linalg.eigvalsh(self.given)
        return int(np.sum(values > self.size * np.finfo(float).eps * np.max(values)))

    @functools.cached_property
    def smallest_positive(self) -> float:
        """The smallest positive eigenvalue, as `rank` counts them."""
        if self.given is None:
            return 1.0
        if self.diagonal is not None:
            return float(np.min(self.diagonal[self.diagonal > 0]))
        return float(np.linalg.eigvalsh(self.given)[-self.rank])

    @property
    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """The positive eigenvalues, ascending, and their eigenvectors as columns."""
        values, vectors = np.linalg.eigh(self.matrix)
        return values[-self.rank :], vectors[:, -self.rank :]

    def require_mean(self, field: str, mean: np.ndarray) -> None:
        """Raise `InvalidInput` where inputs of this covariance cannot have the mean, or float64 cannot hold it."""
        length, spread = float(np.linalg.norm(mean)), math.sqrt(self.smallest_positive)
        if length > _LARGEST_MEAN * spread:
            raise InvalidInput(
                field, f"a norm of at most {_LARGEST_MEAN:g} times the inputs' least standard deviation",
                f"{length:.3g} beside {spread:.3g}", "take it off the inputs: float64 loses them beside it",
            )  # fmt: skip
        if self.rank == self.size:
            return
        if self.diagonal is not None:
            outside = float(np.linalg.norm(mean[self.diagonal == 0]))
        else:
            variances, basis = self.modes
            outside = float(np.linalg.norm(mean - basis @ (basis.T @ mean)))
            outside = outside if outside > 10 * self.size * np.finfo(float).eps * length else 0.0
            # Centred samples keep rounding of eps |mu| where Sigma has no variance, which must count as none.
            largest = math.sqrt(self.size * float(np.max(variances)))
            if outside == 0 and length > largest:
                raise InvalidInput(
                    field, f"a norm of at most {largest:.3g} where a matrix Sigma is singular", f"{length:.3g}",
                    "rotate the inputs, so that Sigma is diagonal",
                )  # fmt: skip
        if outside > 0:
            raise InvalidInput(
                field, "a mean in the range of Sigma", f"{outside:.3g} outside of it",
                "a constant input is an offset: leave it out and train a bias, as in lora:3+bias",
            )  # fmt: skip


def symmetric_sqrt(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semidefinite matrix."""
    if _is_diagonal(matrix):
        return np.diag(np.sqrt(np.diagonal(matrix)))
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _is_diagonal(matrix: np.ndarray) -> bool:
    return np.count_nonzero(matrix) == np.count_nonzero(np.diagonal(matrix))
