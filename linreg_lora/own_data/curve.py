"""The leave-one-out curve of a user's data: the test error of LoRA at every rank, with standard errors."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linreg_lora import validation
from linreg_lora.own_data.deletion import Deletions, Design, deletions, design
from linreg_lora.own_data.groups import group_losses
from linreg_lora.own_data.losses import Directions, directions, losses
from linreg_lora.own_data.samples import Samples, samples

#: Up to so many rows all are left out in turn; of more, so many at random.
ALL_ROWS, SOME_ROWS = 1000, 400


class Losses(NamedTuple):
    """Squared errors of rows that were left out, at every rank (columns).

    `exact` (m ranks). Where m < n, `frozen` (m ranks) and `frozen_all` (n ranks) are those of directions that are not
    fitted again: biased, but cheap, and so close to the exact ones that these need few rows,

        mean = mean(exact - frozen) + mean(frozen_all).

    With `groups` what varies independently are these. `energies`: the mean, along each direction, of what fits predict
    of samples that they have not seen, squared.
    """

    exact: Float[np.ndarray, "m ranks"]
    frozen: Float[np.ndarray, "m ranks"] | None
    frozen_all: Float[np.ndarray, "n ranks"] | None
    groups: Int[np.ndarray, "m"] | None = None
    energies: Float[np.ndarray, "q"] | None = None

    def joined(self, other: "Losses") -> "Losses":
        """The ranks of both, side by side: the same samples were left out."""
        parts = [
            None if one is None or its is None else np.hstack([one, its])
            for one, its in zip(self[:3], other[:3], strict=True)
        ]
        assert parts[0] is not None
        return Losses(parts[0], parts[1], parts[2], self.groups)

    def mean_and_error(self, weights: "Float[np.ndarray, 'ranks k']") -> tuple[np.ndarray, np.ndarray]:
        """Means of combinations of ranks, and their standard errors as estimates of the expected ones."""
        exact = self.exact @ weights
        m = len(exact)
        if self.groups is not None:
            mean, count = np.mean(exact, axis=0), int(np.max(self.groups)) + 1
            sums = np.zeros((count, exact.shape[1]))
            np.add.at(sums, self.groups, exact - mean)
            return mean, np.sqrt(np.sum(sums**2, axis=0) * count / (count - 1)) / m
        if self.frozen is None or self.frozen_all is None:
            return np.mean(exact, axis=0), np.std(exact, axis=0, ddof=1) / np.sqrt(m)
        apart, n = exact - self.frozen @ weights, len(self.frozen_all)
        mean = np.mean(apart, axis=0) + np.mean(self.frozen_all @ weights, axis=0)
        variance = np.var(exact, axis=0, ddof=1) / n + np.var(apart, axis=0, ddof=1) * (1 / m - 1 / n)
        return mean, np.sqrt(variance)


@dataclass(frozen=True)
class LeaveOneOut:
    """Leave-one-out test error of LoRA at ranks 0, 1, ..., min(rank X, dy); the last is full fine-tuning.

    `error`: mean squared error of samples that the fit has not seen, summed over outputs, in squared units of y; it
    holds the noise, which no fit can predict. `stderr`: as an estimate of the error expected of n - 1 samples. `ridge`:
    eta; `intercept`: whether there is one. `samples_left_out`: in turn; fewer than there are where these are many.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> x = np.arange(12.0).reshape(4, 3) ** 2 % 7
    >>> found = ll.own_data.leave_one_out(x, x[:, :2], ridge=1.0)
    >>> found.ranks.tolist(), found.samples_left_out
    ([0, 1, 2], 4)
    """

    ranks: Int[np.ndarray, "k"]
    error: Float[np.ndarray, "k"]
    stderr: Float[np.ndarray, "k"]
    ridge: float
    intercept: bool
    samples_left_out: int
    losses: Losses = field(repr=False)

    @property
    def best_rank(self) -> int:
        """The rank of least error, the smallest of those that agree to rounding."""
        least = np.min(self.error) * (1 + TIE) + ROUNDING * self.error[0]
        return int(np.flatnonzero(self.error <= least)[0])

    @property
    def fft_error(self) -> float:
        """The error of full fine-tuning."""
        return float(self.error[-1])


#: Errors that agree to this are one; and what is left of differences of sums as large as the error of rank 0.
TIE, ROUNDING = 1e-9, 1e-13


def leave_one_out(
    inputs: Any,
    outputs: Any,
    base: Any = None,
    *,
    ridge: float = 0.0,
    intercept: bool = True,
    groups: Any = None,
) -> LeaveOneOut:
    """Leave-one-out test error of LoRA at every rank, in closed form (`own_data.losses`).

    | argument    | symbol | meaning                                                                                |
    |-------------|--------|----------------------------------------------------------------------------------------|
    | `inputs`    | X      | n rows of dx numbers, n >= 3                                                           |
    | `outputs`   | Y      | n rows of dy numbers                                                                   |
    | `base`      | A0     | the pretrained map: None, a dy x dx matrix, or anything with `predict`                 |
    | `ridge`     | eta    | penalty eta ||D||_F^2 on the update, >= 0                                              |
    | `intercept` |        | whether the update has an offset, which is not penalised                               |
    | `groups`    |        | a label for each row: rows of one group are left out together                          |

    No noise level, covariance or law is assumed. Up to 1000 rows all are left out in turn; of more, 400, with all rows
    as a control variate. Raises `InvalidInput` for data that are none.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((60, 8))
    >>> y = x[:, :1] @ np.ones((1, 6)) + rng.standard_normal((60, 6))
    >>> found = ll.own_data.leave_one_out(x, y)
    >>> found.best_rank
    1
    """
    given = samples(inputs, outputs, base, groups)
    return curve(given, design(given.inputs, intercept=intercept), validation.nonnegative_number("ridge", ridge))


def curve(
    given: Samples, at: Design, ridge: float, *, most: int = ALL_ROWS, rng: np.random.Generator | None = None
) -> LeaveOneOut:
    """`leave_one_out` of checked samples and their factorised inputs; up to `most` rows all are left out in turn."""
    deleted = deletions(at, given.residual, ridge)
    fit = directions(deleted)
    if given.groups is not None:
        left_out = group_losses(at, deleted, fit, given.groups, ridge)
        found = Losses(left_out.losses, None, None, given.groups, np.mean(left_out.energies, axis=0))
    elif at.samples <= most:
        left_out = losses(deleted, fit)
        found = Losses(left_out.losses, None, None, energies=np.mean(left_out.energies, axis=0))
    else:
        rng = np.random.default_rng(0) if rng is None else rng
        rows = np.sort(rng.choice(at.samples, min(most, SOME_ROWS), replace=False))
        frozen, left_out = _frozen(deleted, fit), losses(deleted, fit, rows)
        found = Losses(left_out.losses, frozen[rows], frozen, energies=np.mean(left_out.energies, axis=0))
    error, stderr = found.mean_and_error(np.eye(found.exact.shape[1]))
    error = np.maximum(error, 0.0)
    return LeaveOneOut(np.arange(len(error)), error, stderr, ridge, at.intercept, len(found.exact), found)


def _frozen(deleted: Deletions, fit: Directions) -> Float[np.ndarray, "n ranks"]:
    """Losses if the directions of all samples were kept: |(I - P_r) R'_i|^2 + |P_r e_i|^2."""
    target, missed = deleted.share * deleted.target, deleted.missed
    whole = np.sum(target**2, axis=1, keepdims=True)
    gain = (missed @ fit.basis) ** 2 - (target @ fit.basis) ** 2
    return np.hstack([whole, whole + np.cumsum(gain, axis=1)])
