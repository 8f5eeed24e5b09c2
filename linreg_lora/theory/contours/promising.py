"""Which ranks may have the least risk: from the sign and the integral of dT / dN, without a contour.

With T = T1 - 2 T2, the risk of a cut that keeps N directions changes by dT / dN = Im(g_T1 - 2 g_T2) / Im g_N at
z = x + i0: it has its dips where that turns from negative to positive, and on gaps. Which dip is the lowest says

    R(r) = ||Delta Sigma^{1/2}||^2 + integral from 0 to r of (dT / dN) dN = R_FFT - integral from r to full rank,

by the trapezoidal rule over points of the real axis, each of which costs some steps of Newton's method. Between points
where dT / dN is monotone its error is at most half of what dT / dN changes by, times the directions between: both
integrals are taken, and that of the smaller error is kept. The correction is not known here: ranks are left out whose
risk would have to be lowered by more than an `allowance` to be of interest.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.problem import Problem
from linreg_lora.theory import fft
from linreg_lora.theory.contours.edges import few_planted
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.notes import FLAGGED

#: Of the risk: the error that an interval may have, and by how much both integrals of the whole may differ.
_SHARE, _WHOLE = 0.01, 0.05
_ROUNDS, _MOST_POINTS = 8, 500
#: Directions per log x below which a point lies on a gap, and directions between two such points that are none.
_GAP, _NONE = 1e-6, 1e-6
#: By what share the correction may move a risk at least, and how many times what it moves FFT's by; the most of both.
_MOVED, _TIMES, _MOST_MOVED = 0.1, 2.0, 0.7
#: Above this share of all ranks nothing is saved.
_MANY = 0.6


class Estimate(NamedTuple):
    """The raw risk at some ranks, up to `error`, by how much of it a correction may move it, and which `kept`."""

    ranks: Float[np.ndarray, "m"]
    risk: Float[np.ndarray, "m"]
    error: Float[np.ndarray, "m"]
    allowance: float
    kept: Bool[np.ndarray, "m"]

    def within(self, least: float) -> Bool[np.ndarray, "m"]:
        """Ranks that may be better than `least`, or in doubt against it if they are flagged."""
        return (self.risk - self.error) * (1 - FLAGGED) / (1 + self.allowance) <= least


class Search:
    """Chooses ranks (`traced.Choose`) for one problem; `estimate` is None until asked, and where all are chosen."""

    def __init__(self, problem: Problem, *, correction: bool) -> None:
        self.start, self.raw = problem.pretrained_risk, fft.as_lora(problem, correction=False)
        self.full = fft.as_lora(problem, correction=correction)
        self.planted = few_planted(problem) or 0
        self.estimate: Estimate | None = None

    def __call__(
        self, evaluate: Callable[..., Points], pool: Points, ranks: Float[np.ndarray, "m"]
    ) -> tuple[Bool[np.ndarray, "m"], Points]:
        everything = np.ones(len(ranks), dtype=bool)
        allowance = _MOVED + _TIMES * abs(self.full / self.raw - 1) if self.raw > 0 else np.inf
        if not allowance <= _MOST_MOVED:
            return everything, pool
        for _ in range(_ROUNDS):
            risk, error, each, apart = self._integrated(pool)
            wide = (each > _SHARE * np.minimum(risk[1:], risk[:-1])) | ~np.isfinite(each)
            if not np.any(wide) or len(pool.x) + np.sum(wide) > _MOST_POINTS:
                break
            tried = evaluate(np.sqrt(pool.x[1:] * pool.x[:-1])[wide], pool, patient=False)
            pool = pool.with_(tried.at(tried.solved))
        risk, error, each, apart = self._integrated(pool)
        if not apart <= _WHOLE * self.raw:
            return everything, pool
        place = np.clip(np.searchsorted(pool.count, ranks), 1, len(pool.x) - 1)
        estimate = Estimate(
            ranks, np.interp(ranks, pool.count, risk), np.maximum(error[place - 1], error[place]) + each[place - 1],
            allowance, everything,
        )  # fmt: skip
        least = min(self.start, self.full, float(np.min((estimate.risk + estimate.error) * (1 + allowance / 2))))
        kept = estimate.within(least) | (ranks <= self.planted)
        kept[np.argmin(estimate.risk - estimate.error)] = True
        if np.mean(kept) > _MANY:
            return everything, pool
        self.estimate = estimate._replace(kept=kept)
        return kept, pool

    def _integrated(self, pool: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """The risk above each point, its error, that of each interval, and how far both integrals are apart."""
        density = pool.density
        inside = density[:, 0] > _GAP
        slope = np.where(inside, (density[:, 1] - 2 * density[:, 2]) / np.where(inside, density[:, 0], 1.0), 0.0)
        directions = np.maximum(np.diff(pool.count), 0.0)
        both, none = inside[1:] & inside[:-1], ~inside[1:] & ~inside[:-1]
        # Next to a gap the slope of the one end is all that is known.
        mean = np.where(both, (slope[1:] + slope[:-1]) / 2, slope[1:] + slope[:-1])
        spread = np.where(both, np.abs(np.diff(slope)) / 2, np.abs(mean))
        each = np.where(none & (directions > _NONE), np.inf, spread * directions)
        change = np.append(0.0, np.cumsum(mean * directions))
        down, up = np.append(0.0, np.cumsum(each)), np.append(np.cumsum(each[::-1])[::-1], 0.0)
        first, last = self.start + change, self.raw - (change[-1] - change)
        risk, error = np.where(down <= up, first, last), np.minimum(down, up)
        return risk, error, each, float(abs(first[-1] - self.raw)) if np.isfinite(down[-1]) else np.inf
