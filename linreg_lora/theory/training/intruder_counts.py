"""Counting intruder dimensions of a given A0 and update: by cosine, and by outliers of the bulk.

By cosine: of the leading left singular vectors of A0 + D, those whose largest |cosine| with A0's is below a bound.
By outlier: singular values of A0 + D above the edge of its bulk, less those of A0 above the edge of A0's. The edge is
that of iid entries whose median singular value is the matrix's (Gavish and Donoho 2014), and the 99 % quantile of the
Tracy-Widom law further:

    scale^2 [ (sqrt dx + sqrt dy)^2 + 2.02 (sqrt dx + sqrt dy)(dx^{-1/2} + dy^{-1/2})^{1/3} ].

The two differ: noise on all entries mixes A0's vectors, so that cosines fall, and no value leaves the bulk. An A0 whose
spectrum decays has no bulk; there the number of outliers says how many values lie above what iid entries of its median
would reach, and its change is what D moved there.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory import marchenko_pastur

#: The 99 % quantile of the Tracy-Widom law of real matrices.
_TRACY_WIDOM = 2.0234


class IntruderCount(NamedTuple):
    """`by_cosine` and `by_outlier`; the largest |cosine| with A0's of each leading vector of A0 + D, strongest first;
    the `singular_values` of A0 + D and the `edge` of its bulk."""

    by_cosine: int
    by_outlier: int
    cosines: Float[np.ndarray, "top"]
    singular_values: Float[np.ndarray, "q"]
    edge: float


def count_intruders(pretrained: object, update: object, top: int = 10, cosine: float = 0.5) -> IntruderCount:
    """The intruder dimensions of A0 + D, for A0 `pretrained` and D `update`, dy x dx.

    `top`: how many leading vectors are compared, with all left singular vectors of A0; `cosine`: below which |cosine|
    one is an intruder. `by_outlier` may be negative, where D takes values of A0 into the bulk.

    >>> import linreg_lora as ll
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a0, u, v = rng.standard_normal((60, 80)), rng.standard_normal(60), rng.standard_normal(80)
    >>> found = ll.theory.training.count_intruders(a0, 30 * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v)))
    >>> found.by_cosine, found.by_outlier
    (1, 1)
    """
    a0 = validation.real_array("pretrained", pretrained, "A0, dy x dx")
    if a0.ndim != 2 or min(a0.shape) < 2:
        raise InvalidInput("pretrained", "A0, dy x dx, at least 2 x 2", f"shape {a0.shape}")
    d = validation.matrix("update", update, a0.shape)
    if d is None:
        raise InvalidInput("update", "D, dy x dx", "nothing")
    most = min(a0.shape)
    if (k := validation.positive_integer("top", top)) > most:
        raise InvalidInput("top", f"at most min(dx, dy) = {most}", top)
    bound = validation.nonnegative_number("cosine", cosine)
    if not 0 < bound <= 1:
        raise InvalidInput("cosine", "a number in (0, 1]", cosine)
    before, values, _ = np.linalg.svd(a0, full_matrices=False)
    after, moved, _ = np.linalg.svd(a0 + d, full_matrices=False)
    cosines = np.max(np.abs(before.T @ after[:, :k]), axis=0)
    edge = bulk_edge(moved, *a0.shape)
    outliers = int(np.sum(moved > edge)) - int(np.sum(values > bulk_edge(values, *a0.shape)))
    return IntruderCount(int(np.sum(cosines < bound)), outliers, cosines, moved, edge)


def bulk_edge(singular_values: Float[np.ndarray, "q"], rows: int, columns: int) -> float:
    """Above which a matrix of iid entries with this median singular value has one in one case of a hundred.

    >>> from linreg_lora.theory.training.intruder_counts import bulk_edge
    >>> import numpy as np
    >>> values = np.linalg.svd(np.random.default_rng(0).standard_normal((90, 160)), compute_uv=False)
    >>> f"{bulk_edge(values, 90, 160):.2f} beside {90**0.5 + 160**0.5:.2f}"
    '22.71 beside 22.14'
    """
    median, unit = float(np.median(singular_values)), _median(rows, columns)
    root = math.sqrt(rows) + math.sqrt(columns)
    width = root * (1 / math.sqrt(rows) + 1 / math.sqrt(columns)) ** (1 / 3)
    return median / unit * math.sqrt(root**2 + _TRACY_WIDOM * width)


@functools.lru_cache(maxsize=64)
def _median(rows: int, columns: int) -> float:
    return math.sqrt(marchenko_pastur.quantile(rows, columns, min(rows, columns) / 2))
