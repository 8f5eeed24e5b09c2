"""The landscape of the loss in LoRA's two factors: every critical update, its saddle's index, and its flat directions.

With F = D_FFT S^{1/2} of distinct singular values f_1 > .. > f_q > 0, q = min(n, dx, dy), U its left singular vectors,
and P the projector on the range of X, the critical points of (1 / 2n) ||R - g B A X||_F^2 have

    D P = U_I U_I^T D_FFT,    I any subset of {1..q} with |I| = k <= min(r, q):     sum_{k <= min(r, q)} C(q, k) of them

while D (I - P) = g B A (I - P) is free for n < dx. At the point whose other r - k columns of B and rows of A are zero,

    index   = #{ (i in I, j not in I): f_j > f_i } + (r - k)(q - k)
    nullity = k^2 + (r - k)(dy - q + min(n, dx) - q + 2 k) + r (dx - min(n, dx))

so that I = {1..min(r, q)} is the only one of index 0: no local minimum is spurious, every other critical point is a
strict saddle. Proof: the gradient in A says D P = P_B D_FFT P with P_B the projector on B's range, and that in B that
P_B commutes with F F^T; the Hessian then splits into blocks of a kept direction i and a missed one j, whose determinant
has the sign of f_i^2 - f_j^2, and of an empty column with a missed direction, [[0, -f_j], [-f_j, 0]]. Replacing A by A
S^{1/2} is a congruence, so that S does not matter.

*Decay* lam on both factors is the penalty mu = lam / g on ||D||_*. For S = c I a mode that decay swallows, c f_j <= mu,
cannot be kept; the others are kept at f_i - mu / c. With q_mu modes above mu / c,

    count = sum_{k <= min(r, q_mu)} C(q_mu, k)
    index = #{ (i in I, j not in I): f_j > f_i } + (r - k) #{ j not in I: c f_j > mu }
    nullity = r (r - 1)/2 - (r - k)(r - k - 1)/2                        the rotations that both factors share

with c f_j != mu. Decay in other metrics: no closed form of the critical points is known. Sources: without decay this is
Baldi and Hornik 1989, in the metric of S; index, nullity and decay are derived here.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.theory.training import checks

#: More subsets than anybody reads.
_MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class CriticalPoint:
    """One critical update: `kept` modes (0 is the strongest), `index`, `nullity`, and its loss above that of FFT."""

    kept: tuple[int, ...]
    index: int
    nullity: int
    excess_loss: float


def critical_count(modes: int, rank: int) -> int:
    """sum_{k <= min(r, q)} C(q, k); `modes`: q, or with decay the number q_mu of modes above mu / c.

    >>> import linreg_lora as ll
    >>> [ll.theory.training.critical_count(q, r) for q, r in ((5, 2), (5, 3), (4, 4))]
    [16, 26, 16]
    """
    q, r = validation.nonnegative_integer("modes", modes), validation.positive_integer("rank", rank)
    return sum(math.comb(q, k) for k in range(min(q, r) + 1))


def saddle_index(kept: Sequence[int], modes: int, rank: int) -> int:
    """The number of negative Hessian eigenvalues where the modes `kept` are learnt, of q `modes` with 0 the strongest.

    For k = 0 and decay, q is the number of modes that decay does not swallow.

    >>> import linreg_lora as ll
    >>> ll.theory.training.saddle_index((1, 3), 5, 2), ll.theory.training.saddle_index((), 5, 2)
    (3, 10)
    """
    q, r = validation.nonnegative_integer("modes", modes), validation.positive_integer("rank", rank)
    if not isinstance(kept, (tuple, list)):
        raise InvalidInput("kept", f"a tuple of modes of 0..{q - 1}", kept)
    chosen = {validation.nonnegative_integer("kept", mode) for mode in kept}
    if len(chosen) != len(kept) or len(chosen) > min(q, r) or any(mode >= q for mode in chosen):
        raise InvalidInput("kept", f"at most min(q, r) = {min(q, r)} different modes of 0..{q - 1}", tuple(kept))
    stronger = sum(mode - sum(other < mode for other in chosen) for mode in chosen)
    return stronger + (r - len(chosen)) * (q - len(chosen))


def critical_points(
    values: object,
    rank: int,
    shape: tuple[int, int],
    samples: int,
    *,
    decay: float = 0.0,
    variance: float = 1.0,
) -> list[CriticalPoint]:
    """Every critical update of rank-r factors, the least loss first.

    | argument   | symbol       | meaning                                                                            |
    |------------|--------------|------------------------------------------------------------------------------------|
    | `values`   | f_i          | without decay singular values of D_FFT S^{1/2}; with decay those of D_FFT          |
    | `rank`     | r            | of the factors                                                                     |
    | `shape`    | (dy, dx)     | outputs and inputs                                                                 |
    | `samples`  | n            | rank min(n, dx) of S; with decay n >= dx                                           |
    | `decay`    | mu = lam / g | on ||D||_*, and S = c I; 0: any S                                                  |
    | `variance` | c            | of S, with decay                                                                   |

    The loss has a factor 1/2, as (1 / 2n) ||R - D X||_F^2 has, with decay + mu ||D||_*. `InvalidInput` unless the
    min(n, dx, dy) values are distinct and positive, where decay meets a mode exactly, and for over a million points.

    >>> import linreg_lora as ll
    >>> for point in ll.theory.training.critical_points((3.0, 2.0, 1.0), 1, (3, 4), 9):
    ...     print(point)
    CriticalPoint(kept=(0,), index=0, nullity=1, excess_loss=2.5)
    CriticalPoint(kept=(1,), index=1, nullity=1, excess_loss=5.0)
    CriticalPoint(kept=(2,), index=2, nullity=1, excess_loss=6.5)
    CriticalPoint(kept=(), index=3, nullity=1, excess_loss=7.0)
    """
    f, c = checks.singular_values(values), checks.positive("variance", variance)
    mu, r = validation.nonnegative_number("decay", decay), validation.positive_integer("rank", rank)
    dy, dx = checks.shape_of_update(shape)
    seen = min(validation.positive_integer("samples", samples), dx)
    q = min(dy, seen)
    if len(f) != q or np.any(np.diff(f) >= 0) or f[-1] == 0:
        raise InvalidInput("values", f"min(n, dx, dy) = {q} distinct positive singular values", values)
    if mu > 0 and seen < dx:
        raise InvalidInput("samples", f"n >= dx = {dx} with decay", samples, "S = c I has full rank")
    if mu > 0 and np.any(c * f == mu):
        raise InvalidInput("decay", "a penalty that no mode meets exactly", decay)
    above = int(np.sum(c * f > mu))
    if critical_count(above, r) > _MOST_POINTS:
        raise InvalidInput("values", f"at most {_MOST_POINTS} critical points", critical_count(above, r))
    metric = c if mu > 0 else 1.0
    points = []
    for k in range(min(r, above) + 1):
        if mu > 0:
            nullity = r * (r - 1) // 2 - (r - k) * (r - k - 1) // 2
        else:
            nullity = k**2 + (r - k) * (dy - q + seen - q + 2 * k) + r * (dx - seen)
        for kept in itertools.combinations(range(above), k):
            size = f[list(kept)] - mu / metric
            missed = np.delete(f, list(kept))
            loss = metric * np.sum(missed**2) / 2 + mu**2 * k / (2 * metric) + mu * np.sum(size)
            points.append(CriticalPoint(kept, saddle_index(kept, above, r), nullity, float(loss)))
    return sorted(points, key=lambda point: point.excess_loss)
