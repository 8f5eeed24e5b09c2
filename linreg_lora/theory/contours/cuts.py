"""Where to cut a spectrum so that a given number of directions lies above, and where its gaps are."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import NumericalFailure
from linreg_lora.theory.contours.points import Points

_GRID_POINTS, _SEARCH_STEPS = 64, 60
#: Steps of the search without halving.
_DIRECT = 4
#: Below this density, in directions per unit of log x and output, a rank may lie on a gap.
_LOW_DENSITY_PER_OUTPUT = 5e-3
#: A ratio of its two ends above this is a spectral gap.
_GAP_RATIO = 1.001
#: A gap is known when this share of where it may extend to is; cuts tried at once when looking for its ends.
_KNOWN_SHARE, _PASS = 0.8, 64
#: From a cut to those around it: the directions between, and the longest step in log x.
_HALF, _LONGEST_STEP = 0.5, 0.5

#: Points at cuts x, reached from points that are known (`points.evaluate`).
Evaluate = Callable[..., Points]


class Cuts(NamedTuple):
    """One cut a rank, and the width of the spectral gap that it halves.

    `width` is the difference of log x between the ends of the gap, 0 where there is none. `pool`: every point that was
    evaluated. `around`: cuts some half a direction above and below each; empty unless asked for.
    """

    cut: Points
    width: Float[np.ndarray, "m"]
    pool: Points
    around: tuple[Points, ...]


def first_points(evaluate: Evaluate, x_min: float, x_max: float) -> Points:
    """The points of a logarithmic grid from `x_max` down to `x_min` where the equation was solved."""
    pool = _solved(evaluate(np.geomspace(0.999 * x_max, x_min, _GRID_POINTS), patient=False))
    if not pool.x.size:
        raise NumericalFailure(
            f"equivalent: expected cuts from {x_min:.3g} to {x_max:.3g} on the branch of the resolvent, received none"
        )
    return pool


def find_cuts(
    evaluate: Evaluate,
    ranks: Float[np.ndarray, "m"],
    x_min: float,
    x_max: float,
    outputs: int,
    tolerance: float,
    *,
    around: bool = False,
    known: Points | None = None,
) -> Cuts:
    """The cuts that keep `ranks` directions: count(x) = rank, to a thousandth of `tolerance` if it can be had.

    A logarithmic grid from `x_max` down to `x_min`, or points that are `known`, brackets every rank. Inverse cubic
    interpolation in log x between the ends of the bracket, whose slopes are the densities, then closes in, falling back
    on bisection where it leaves it; every cut tried narrows the brackets of all ranks. On a spectral gap any cut
    serves; it is moved halfway.
    """
    pool = first_points(evaluate, x_min, x_max) if known is None else known
    sharp, last = 1e-3 * tolerance, np.inf
    for step in range(_SEARCH_STEPS):
        error = np.min(np.abs(pool.count - ranks[:, None]), axis=1)
        worst = float(np.max(error))
        if worst <= sharp or (last <= tolerance and worst >= 0.5 * last):
            break
        last = worst
        tried = np.unique(_guesses(pool, ranks[error > sharp], halve=step > _DIRECT and step % 2 == 1))[::-1]
        pool = pool.with_(_solved(evaluate(tried, pool, patient=step > 2)))
    nearest = np.argmin(np.abs(pool.count - ranks[:, None]), axis=1)
    found, width = pool.at(nearest), np.zeros(len(ranks))
    sparse = np.flatnonzero(found.density[:, 0] < _LOW_DENSITY_PER_OUTPUT * outputs)
    if sparse.size:
        low, high = _ends(evaluate, pool, ranks[sparse], np.log(found.x[sparse]), 5 * tolerance)
        width[sparse] = np.where(high - low > np.log(_GAP_RATIO), high - low, 0.0)
        gap = width > 0
        if np.any(gap):
            middle = _within_gaps(evaluate, pool, ranks[gap], ((low + high) / 2)[gap[sparse]], 5 * tolerance)
            for part, new in zip(found, middle, strict=True):
                part[gap] = new
    return Cuts(found, width, pool, half_apart(evaluate, found, pool, x_max) if around else ())


def half_apart(evaluate: Evaluate, found: Points, pool: Points, x_max: float) -> tuple[Points, ...]:
    """Cuts half a direction above and below each, by its density: in log x a step of 1/2 over it."""
    with np.errstate(divide="ignore"):
        step = np.minimum(_HALF / found.density[:, 0], _LONGEST_STEP)
    above = np.minimum(found.x * np.exp(step), 0.999 * x_max)
    both = evaluate(np.concatenate([above, found.x * np.exp(-step)]), pool)
    return both.at(slice(len(step))), both.at(slice(len(step), None))


def _guesses(pool: Points, ranks: np.ndarray, *, halve: bool) -> np.ndarray:
    """The next cuts to try: the last point with fewer directions than a rank, and the one after it, bracket it.

    Next to an edge, where slopes say little, interpolation may creep from one end: then to `halve` brackets helps.
    """
    u, count = np.log(pool.x), pool.count
    above = count[None, :] > ranks[:, None]
    first = np.where(np.any(above, axis=1), np.argmax(above, axis=1), len(u) - 1)
    high = np.clip(first - 1, 0, len(u) - 2)
    low = high + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (ranks - count[high]) / (count[low] - count[high])
        slopes = [-(count[low] - count[high]) / pool.density[side, 0] for side in (high, low)]
        rest = 1 - share
        guess = (
            u[high] * rest**2 * (1 + 2 * share)
            + u[low] * share**2 * (1 + 2 * rest)
            + share * rest * (rest * slopes[0] - share * slopes[1])
        )
        inside = (guess > u[low]) & (guess < u[high]) & (not halve)
    return np.exp(np.where(inside, guess, (u[low] + u[high]) / 2))


def _ends(
    evaluate: Evaluate, pool: Points, ranks: np.ndarray, u: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Between which log x the count stays at each rank around u, by multisection of all plateaus at once."""
    x, count = np.log(pool.x), pool.count
    outside = np.array(
        [
            [
                np.max(x[(x < at) & (count > r + tolerance)], initial=x[-1]),
                np.min(x[(x > at) & (count < r - tolerance)], initial=x[0]),
            ]
            for r, at in zip(ranks, u, strict=True)
        ]
    ).reshape(-1, 2)
    inside = np.stack([u, u], axis=1)
    for _ in range(_SEARCH_STEPS):
        known, possible = np.diff(inside)[:, 0], np.diff(outside)[:, 0]
        open_ = (possible > np.log(_GAP_RATIO)) & (known < _KNOWN_SHARE * possible)
        if not np.any(open_):
            break
        start, stop = inside[open_], outside[open_]
        points = max(1, _PASS // start.size)
        shares = np.arange(1, points + 1)[:, None, None] / (points + 1)
        tried = np.exp(start + shares * (stop - start))
        counted = evaluate(tried.ravel(), pool, patient=False)
        count = np.where(counted.solved, counted.count, np.inf).reshape(tried.shape)
        on_plateau = np.abs(count - ranks[open_][:, None]) <= tolerance
        last = np.sum(np.cumprod(on_plateau, axis=0), axis=0) / (points + 1)
        width = (stop - start) / (points + 1)
        inside[open_] = start + last * (stop - start)
        outside[open_] = inside[open_] + width
    return inside[:, 0], inside[:, 1]


def _within_gaps(evaluate: Evaluate, pool: Points, ranks: np.ndarray, u: np.ndarray, tolerance: float) -> Points:
    """Cuts at log x = u, in gaps that keep `ranks`; where the equation has another solution there, the known cut of the
    gap that is nearest."""
    points = evaluate(np.exp(u), pool)
    for i in np.flatnonzero(~points.solved | (np.abs(points.count - ranks) > tolerance)):
        far = np.where(np.abs(pool.count - ranks[i]) <= tolerance, np.abs(np.log(pool.x) - u[i]), np.inf)
        if np.isfinite(np.min(far)):
            for part, known in zip(points, pool.at(np.argmin(far, keepdims=True)), strict=True):
                part[i] = known[0]
    return points


def _solved(points: Points) -> Points:
    """The points where the equation was solved: the others say nothing."""
    return points.at(points.solved)
