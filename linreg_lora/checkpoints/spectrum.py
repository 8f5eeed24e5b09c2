"""Singular values: exactly, or of large matrices by the eigenvalues of a Gram matrix where that loses nothing.

Squares lose half of the digits. With q = min(rows, columns) the eigenvalue s_j^2 of the Gram matrix is off by about
q eps s_1^2, so that s_j is off by q eps s_1^2 / (2 s_j): nothing for sums of squares, all of it below sqrt(q eps) s_1.
Where the median is off by more than a thousandth, the values are computed again without squares. Where it is not, the
smallest ones may still be: they are then no more than their bound, and the numerical rank is not known.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

#: Smaller matrices are not worth the squares: seconds by one core.
SMALL = 2048
_MEDIAN_OFF = 1e-3


class SingularValues(NamedTuple):
    """`values`, from large to small; `squared`: whether they are roots of the eigenvalues of a Gram matrix; `resolved`:
    whether the smallest is told from rounding."""

    values: Float[np.ndarray, "q"]
    squared: bool
    resolved: bool


def singular_values(matrix: Float[np.ndarray, "rows columns"], *, exact: bool = False) -> SingularValues:
    """The singular values of a matrix; `exact`: without squares, whatever it takes (three times as long)."""
    size = min(matrix.shape)
    if not exact and size > SMALL:
        gram = matrix @ matrix.T if matrix.shape[0] == size else matrix.T @ matrix
        values = np.sqrt(np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None))
        del gram
        off = size * np.finfo(float).eps * values[0] ** 2
        if np.median(values) ** 2 >= off / (2 * _MEDIAN_OFF):
            return SingularValues(values, True, bool(values[-1] ** 2 >= off))
    return SingularValues(np.linalg.svd(matrix, compute_uv=False), False, True)
