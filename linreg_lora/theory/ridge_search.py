"""The ridge of least risk for many estimators at once: one evaluation gives all their risks, so they share the ridges.

Risks are looked at on a grid, two ridges a decade, that covers the eigenvalues of X X^T, beside no ridge and no update
(an infinite ridge). They are sums over eigenvalues lam of functions of eta / (lam + eta), which change over a factor of
ten or so in eta: the grid sees every dip. Each dip is closed in on by parabolas, in log eta inside, in eta next to no
ridge and in 1/eta next to no update, until they expect no gain above a tolerance.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

#: A hundredth of what risks that are not flagged may be off by.
TOLERANCE = 1e-4
#: Steps of the grid, and beyond it.
_STEP, _BEYOND = math.sqrt(10.0), 10.0
#: The share of the tolerance at which a gain is not worth a ridge; the rest is for what parabolas miss.
_WORTH = 0.5
#: Neighbours of a least value are this near in log eta at `TOLERANCE`: a parabola through them misses the least by a
#: share (h^2 f'''/6 f'')^2 f''/2 f, which is 3e-5 for f = (S eta^2 + V) / (1 + eta)^2, S = V, and grows with h^4.
_WIDE = 0.25
#: Dips whose least value so far is above the least of all by less than this share are looked into.
_RIVAL = 0.05
#: Ridges this near in log eta are the same, at `TOLERANCE`.
_SAME = 0.02
#: How far below and above the grid, and how many evaluations, at most.
_FAR, _MOST = 1e8, 120
#: Evaluations that a search mostly takes.
USUAL = 30


class Least(NamedTuple):
    """The ridge of least risk of each estimator: 0, one that was evaluated, or inf.

    `bracketed`: whether its neighbours were known, and larger.
    """

    ridge: Float[np.ndarray, "k"]
    bracketed: Bool[np.ndarray, "k"]


class Wanted(NamedTuple):
    """A ridge to look at next, and by what share of a risk it may lower it."""

    gain: float
    ridge: float


def least(
    evaluate: Callable[[float], Float[np.ndarray, "k"]],
    no_update: Float[np.ndarray, "k"] | float,
    *,
    low: float,
    high: float,
    start: float,
    tolerance: float = TOLERANCE,
) -> Least:
    """The ridge of least risk of each of k estimators, with a risk above the least by a share of `tolerance` at most.

    `evaluate`: a ridge >= 0 -> k risks (nan: unknown; inf: no mean); `no_update`: the risk at an infinite ridge.
    `low`, `high`: about the smallest and the largest eigenvalue of X X^T; `start`: a ridge > 0 that the grid contains.
    No ridge is preferred where the best one gains no more than the tolerance.

    >>> def two_ridge_risks(eta):
    ...     return np.array([(eta**2 + 4.0 * 9.0) / (9.0 + eta) ** 2, (eta**2 + 9.0) / (9.0 + eta) ** 2])
    >>> found = least(two_ridge_risks, 1.0, low=9.0, high=9.0, start=1.0)
    >>> bool(np.all(np.abs(np.log(found.ridge / [4.0, 1.0])) < 0.05))
    True
    """
    seen = {0.0: np.asarray(evaluate(0.0), dtype=float)}
    top = np.broadcast_to(np.asarray(no_update, dtype=float), seen[0.0].shape)
    first = math.floor(math.log(low / start) / math.log(_STEP))
    last = math.ceil(math.log(high / start) / math.log(_STEP))
    for power in range(first - 1, last + 2):
        ridge = start * _STEP**power
        seen[ridge] = np.asarray(evaluate(ridge), dtype=float)
    bounds = min(seen.keys() - {0.0}) / _FAR, max(seen) * _FAR
    while len(seen) < _MOST:
        ridges = np.array(sorted(seen))
        table = np.array([seen[ridge] for ridge in ridges.tolist()])
        wanted = [
            found
            for column in range(len(top))
            for found in _wanted(ridges, table[:, column], float(top[column]), tolerance)
            if bounds[0] <= found.ridge <= bounds[1]
        ]
        if not wanted:
            break
        ridge = max(wanted).ridge
        seen[ridge] = np.asarray(evaluate(ridge), dtype=float)
    ridges = np.array(sorted(seen))
    table = np.array([seen[ridge] for ridge in ridges.tolist()])
    found = [_best(ridges, table[:, column], float(top[column]), tolerance) for column in range(len(top))]
    return Least(np.array([ridge for ridge, _ in found]), np.array([sure for _, sure in found], dtype=bool))


def _wanted(ridges: Float[np.ndarray, "m"], risk: Float[np.ndarray, "m"], top: float, tolerance: float) -> list[Wanted]:
    """Ridges that may lower the risk of one estimator by more than the tolerance; `ridges` begin with 0."""
    near = _SAME * math.sqrt(tolerance / TOLERANCE)
    known = np.isfinite(risk[1:])
    x, f = np.log(ridges[1:][known]), risk[1:][known]
    if not f.size:
        return []
    zero = float(risk[0]) if np.isfinite(risk[0]) else math.inf
    limit = min(float(np.min(f)), zero, top) * (1 + _RIVAL)
    found: list[Wanted | None] = []
    if min(zero, f[0]) <= limit:
        found.append(_at_end(np.exp(x), f, zero, tolerance))
    if min(top, f[-1]) <= limit:
        end = _at_end(np.exp(-x[::-1]), f[::-1], top, tolerance)
        found.append(None if end is None else Wanted(end.gain, 1 / end.ridge))
    for m in range(1, len(f) - 1):
        if f[m] <= min(f[m - 1], f[m + 1]) and f[m] <= limit:
            found.append(_inside(x[m - 1 : m + 2], f[m - 1 : m + 2], tolerance, near))
    at = np.log(ridges[1:])
    return [one for one in found if one is not None and np.min(np.abs(at - math.log(one.ridge))) > near]


def _inside(x: Float[np.ndarray, "3"], f: Float[np.ndarray, "3"], tolerance: float, near: float) -> Wanted | None:
    """Inside a dip: where the parabola is least or, where that is no gain, the middle of a wide side."""
    place, value = _vertex(x, f)
    if (gain := f[1] - value) > _WORTH * tolerance * f[1] and abs(place - x[1]) > near:
        return Wanted(gain / f[1], math.exp(place))
    sides = np.diff(x)
    if np.max(sides) > _WIDE * (tolerance / TOLERANCE) ** 0.25:
        wider = int(np.argmax(sides))
        return Wanted(tolerance, math.exp((x[wider] + x[wider + 1]) / 2))
    return None


def _at_end(t: Float[np.ndarray, "m"], f: Float[np.ndarray, "m"], end: float, tolerance: float) -> Wanted | None:
    """Next to t = 0, where the risk is `end`: by the parabola through it.

    Where the risk at the nearest t is infinite, or so different that it says nothing of the slope at 0: nearer to 0.
    """
    if len(t) < 2 or f[1] < min(f[0], end):
        return None
    if not math.isfinite(end):
        return Wanted(1.0, t[0] / _BEYOND) if f[0] < f[1] else None
    if 0 < end * (1 + _RIVAL) < f[0]:
        return Wanted(1.0, t[0] / _BEYOND)
    place, value = _vertex(np.array([0.0, t[0], t[1]]), np.array([end, f[0], f[1]]))
    best = min(end, f[0])
    if 0 < place < t[1] and best - value > _WORTH * tolerance * best:
        return Wanted((best - value) / best, max(place, t[0] / _BEYOND))
    return None


def _vertex(x: Float[np.ndarray, "3"], f: Float[np.ndarray, "3"]) -> tuple[float, float]:
    """Where a parabola through three points is least, and its value there; the middle point where it is not convex."""
    left, right = (f[1] - f[0]) / (x[1] - x[0]), (f[2] - f[1]) / (x[2] - x[1])
    bend = (right - left) / (x[2] - x[0])
    if not bend > 0:
        return float(x[1]), float(f[1])
    slope = left + bend * (x[1] - x[0])
    return float(x[1] - slope / (2 * bend)), float(f[1] - slope**2 / (4 * bend))


def _best(
    ridges: Float[np.ndarray, "m"], risk: Float[np.ndarray, "m"], top: float, tolerance: float
) -> tuple[float, bool]:
    """The ridge of least risk of one estimator, and whether it is bracketed."""
    finite = np.where(np.isfinite(risk), risk, math.inf)
    place = int(np.argmin(finite))
    if not finite[place] < top:
        zero_too = finite[0] <= top
        return (0.0, True) if zero_too else (math.inf, not np.any(np.isnan(risk[-1:])))
    if finite[0] <= finite[place] * (1 + tolerance):
        return 0.0, not np.isnan(risk[1])
    after = top if place + 1 == len(risk) else risk[place + 1]
    before = risk[place - 1] if place > 1 or math.isfinite(risk[0]) else math.nan
    return float(ridges[place]), not (math.isnan(before) or math.isnan(after))
