"""What storing W1 in few bits leaves in the update: rounding, which is nearly white and has no low rank.

A number w kept in p bits after its first has a unit in the last place u(w) = 2^(floor(log2 |w|) - p), and an error of
variance v = u^2 / 12, as if even and independent. In the metric S the noise E has E |E S^{1/2}|^2 = sum v_ij S_jj, and
its largest singular value is, but for terms of lower order (Bandeira and van Handel 2016; Bandeira, Boedihardjo and van
Handel 2023), at most

    sqrt(largest eigenvalue of S^{1/2} diag(sum_i v_ij) S^{1/2}) + max_i sqrt(sum_j v_ij S_jj).

Rows of W1 that are W0's to the last bit have no error: they were not trained. Where every number of W1 has no more
than the bits of a smaller kind, as when a checkpoint in bf16 was written as f32, p is of that kind.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.checkpoints.metric import Metric

#: Bits after the first, and the exponent of the smallest normal number.
_BITS = {"F64": (52, -1022), "F32": (23, -126), "F16": (10, -14), "BF16": (7, -126)}


class Rounding(NamedTuple):
    """`share`: of the update's energy, what rounding alone is expected to have, at most 1; `edge`: of its largest
    singular value; `rank`: how many directions are above it."""

    share: float
    edge: float
    rank: int


class RoundingErrors:
    """Variances of the errors of a matrix, gathered some rows at a time: sums over outputs, and over inputs."""

    def __init__(self, kind: str, shape: tuple[int, int], variances: Float[np.ndarray, "dx"] | None) -> None:
        self._kind, self._variances = kind, variances
        self._bits = min(bits for bits, _ in _BITS.values())
        self._outputs, self._inputs = np.zeros(shape[0]), np.zeros(shape[1])

    def add(
        self, start: int, after: Float[np.ndarray, "k c"], update: Float[np.ndarray, "k c"], *, transposed: bool
    ) -> None:
        """Rows from `start` on, as stored; `transposed`: rows are inputs."""
        while self._bits < _BITS[self._kind][0] and not _has_bits(after, self._bits):
            self._bits = min(bits for bits, _ in _BITS.values() if bits > self._bits)
        errors = error_variances(after, self._kind) * np.any(update != 0, axis=1)[:, None]
        at = slice(start, start + len(after))
        weights = np.ones(len(self._inputs)) if self._variances is None else self._variances
        if transposed:
            self._inputs[at] += errors.sum(axis=1)
            self._outputs += weights[at] @ errors
        else:
            self._inputs += errors.sum(axis=0)
            self._outputs[at] += errors @ weights

    def against(self, values: Float[np.ndarray, "q"], metric: Metric | None) -> Rounding:
        """Beside the singular values of the update, in the same metric."""
        coarser = 4.0 ** (_BITS[self._kind][0] - self._bits)
        inputs, outputs, energy = coarser * self._inputs, coarser * self._outputs, float(np.sum(values**2))
        column = float(np.max(inputs)) if metric is None else metric.largest(inputs)
        edge = float(np.sqrt(column) + np.sqrt(np.max(outputs)))
        share = min(1.0, float(np.sum(outputs)) / energy) if energy > 0 else 0.0
        return Rounding(share, edge, int(np.sum(values > edge)))


def _has_bits(numbers: np.ndarray, bits: int) -> bool:
    scaled = np.ldexp(np.frexp(numbers)[0], bits + 1)
    return bool(np.all(scaled == np.rint(scaled)))


def error_variances(numbers: np.ndarray, kind: str) -> np.ndarray:
    """u^2 / 12 of numbers as a kind stores them."""
    bits, least = _BITS[kind]
    _, exponent = np.frexp(numbers)
    exponent = np.where(numbers == 0, least, np.maximum(exponent - 1, least)) - bits
    return np.ldexp(1.0, 2 * exponent) / 12
