"""Which rank and which ridge: the least leave-one-out error, and a ridge only where it is clear that it pays."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora import validation
from linreg_lora.errors import InvalidInput
from linreg_lora.own_data.curve import TIE, LeaveOneOut, Losses, curve
from linreg_lora.own_data.deletion import Design, deletions
from linreg_lora.own_data.groups import left_out_groups
from linreg_lora.own_data.samples import Samples

AUTO = "auto"
#: Ridges that are tried with every rank, as shares of the largest eigenvalue of X^T X, beside 0; and with FFT alone.
SHARES = np.geomspace(1e-6, 10.0, 8)
RIDGES = 1 + len(SHARES)
_FFT_SHARES = np.geomspace(1e-8, 1e2, 21)
#: In standard errors of the paired difference: by how much a ridge must win.
_CLEARLY = 1.0


class Choice(NamedTuple):
    """A rank and a ridge, with the curves that they were chosen by.

    `rank`; `curve`: at the chosen ridge; `plain`: without one, the same object where none is chosen.
    """

    rank: int
    curve: LeaveOneOut
    plain: LeaveOneOut


class FFTWithRidge(NamedTuple):
    """Full fine-tuning with the ridge of least leave-one-out error: the ridge, that error and its standard error."""

    ridge: float
    error: float
    stderr: float


def choose(
    given: Samples,
    at: Design,
    rank: object = AUTO,
    ridge: object = AUTO,
    progress: Callable[[int], None] = lambda _: None,
) -> Choice:
    """The rank and the ridge of least leave-one-out error.

    `rank`: "auto", or a number, taken for min(rank X, dy) where it is larger; `ridge`: "auto", or a number. A ridge is
    chosen where it lowers the error, rank and all, by more than a standard error of the difference: the smallest errors
    of many are small by luck too. `progress` is called with the number of ridges just tried. Raises `InvalidInput` for
    others.
    """
    fixed_rank = None if isinstance(rank, str) and rank == AUTO else _number(rank)
    if not (isinstance(ridge, str) and ridge == AUTO):
        only = curve(given, at, validation.nonnegative_number("ridge", ridge))
        return Choice(_rank(only, fixed_rank), only, only if only.ridge == 0 else curve(given, at, 0.0))
    plain = curve(given, at, 0.0)
    progress(1)
    own = _rank(plain, fixed_rank)
    best, best_rank = plain, own
    for share in SHARES if at.values.size else ():
        other = curve(given, at, float(share * at.values[0] ** 2))
        progress(1)
        place = _rank(other, fixed_rank)
        if other.error[place] < best.error[best_rank] * (1 - TIE):
            best, best_rank = other, place
    if best is plain or not _clear(best, best_rank, plain, own):
        return Choice(own, plain, plain)
    return Choice(best_rank, best, plain)


def difference(one: LeaveOneOut, rank: int, other: LeaveOneOut, other_rank: int) -> tuple[float, float]:
    """How much less the error of the first is, and the standard error of that on the same samples."""
    paired = one.losses.joined(other.losses)
    weights = np.zeros((2 * len(one.ranks), 1))
    weights[rank], weights[len(one.ranks) + other_rank] = -1.0, 1.0
    mean, stderr = paired.mean_and_error(weights)
    return float(mean[0]), float(stderr[0])


def fft_with_ridge(given: Samples, at: Design) -> FFTWithRidge:
    """Full fine-tuning with its best ridge: what LoRA has to beat."""
    found = FFTWithRidge(0.0, np.inf, np.nan)
    for share in (0.0, *_FFT_SHARES):
        ridge = float(share * at.values[0] ** 2) if at.values.size else 0.0
        lost = Losses(_fft_losses(given, at, ridge)[:, None], None, None, given.groups)
        mean, stderr = lost.mean_and_error(np.ones((1, 1)))
        if mean[0] < found.error * (1 - TIE):
            found = FFTWithRidge(ridge, float(mean[0]), float(stderr[0]))
    return found


def _fft_losses(given: Samples, at: Design, ridge: float) -> Float[np.ndarray, "n"]:
    deleted = deletions(at, given.residual, ridge)
    missed = deleted.missed if given.groups is None else left_out_groups(at, deleted, given.groups, ridge)
    return np.sum(missed**2, axis=1)


def _number(rank: object) -> int:
    if isinstance(rank, str):
        raise InvalidInput("rank", "auto or an integer >= 0", rank)
    return validation.nonnegative_integer("rank", rank)


def _rank(found: LeaveOneOut, fixed: int | None) -> int:
    return found.best_rank if fixed is None else min(fixed, int(found.ranks[-1]))


def _clear(best: LeaveOneOut, rank: int, plain: LeaveOneOut, own: int) -> bool:
    gain, stderr = difference(best, rank, plain, own)
    return gain > _CLEARLY * stderr
