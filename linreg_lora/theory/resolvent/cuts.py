"""Where to cut a spectrum so that a given number of directions lies above, and where its gaps are."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.errors import NumericalFailure
from linreg_lora.theory.resolvent.dyson import Cut

_GRID_POINTS, _GRID_STEP, _SEARCH_STEPS = 64, 16, 60
#: Below this density, in directions per unit of log x and output, a rank may lie on a gap.
_LOW_DENSITY_PER_OUTPUT = 5e-3
#: A ratio of its two ends above this is a spectral gap.
_GAP_RATIO = 1.001
#: A gap is known when this share of where it may extend to is; cuts tried at once when looking for its ends.
_KNOWN_SHARE, _PASS = 0.8, 64

#: A cut below a wide gap is measured from inside the gap, if that is this many times further up.
_RUNG_RATIO = 2.0

#: From a cut to those around it: the directions between, and the longest step in log x.
_HALF, _LONGEST_STEP = 0.5, 0.5

#: What lies between cuts x and points further right.
Evaluate = Callable[[np.ndarray, np.ndarray], Cut]


class Cuts(NamedTuple):
    """One cut a rank, what lies above it, and the width of the spectral gap that it halves.

    `width` is the difference of log x between the ends of the gap, 0 where there is none. `ladder`: see there.
    `around`: cuts some half a direction above and below each; empty unless asked for.
    """

    cut: Cut
    width: Float[np.ndarray, "m"]
    ladder: "Ladder"
    around: tuple[Cut, ...]


class Ladder:
    """Points inside wide gaps, from the top down, with what lies above them: no contour needs to span many scales."""

    def __init__(self, x_max: float) -> None:
        self.x = np.array([x_max])

    def rungs(self, x: Float[np.ndarray, "m"]) -> np.ndarray:
        """For each cut, the lowest point that is well above it (0: the top)."""
        return np.maximum(np.searchsorted(-self.x, -_RUNG_RATIO * x, side="right") - 1, 0)

    def total(self, between: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
        """What lies above cuts `x`, added up from what lies `between` cuts and points further right."""
        above = self.rungs(x)
        used: list[int] = []
        pending = sorted(set(above.tolist()) - {0}, reverse=True)
        while pending:
            rung = pending.pop(0)
            used.append(rung)
            upper = int(self.rungs(self.x[rung : rung + 1])[0])
            if upper and upper not in used and upper not in pending:
                pending = sorted([*pending, upper], reverse=True)
        ends = np.concatenate([x, self.x[used]])
        parts = between(ends, self.x[self.rungs(ends)])
        at_rung = {0: np.zeros(parts.shape[1])}
        for k, rung in sorted(enumerate(used), key=lambda pair: pair[1]):
            at_rung[rung] = parts[len(x) + k] + at_rung[int(self.rungs(self.x[rung : rung + 1])[0])]
        return parts[: len(x)] + np.stack([at_rung[int(rung)] for rung in above])

    def extend(self, pool: Cut, tolerance: float) -> np.ndarray:
        """Take the middle of every three neighbouring cuts of the pool that keep the same directions; their places."""
        count = pool.values[:, 0]
        flat = (np.abs(count - np.round(count)) < tolerance) & (count > 0.5)
        same = np.abs(np.diff(count)) < tolerance
        middle = np.flatnonzero(flat[1:-1] & same[:-1] & same[1:])[::-1] + 1
        self.x = np.concatenate([self.x[:1], pool.x[middle]])
        return middle


class _Above:
    """What lies above cuts, by steps down the ladder, whose rungs keep the values that were measured there."""

    def __init__(self, between: Evaluate, x_max: float) -> None:
        self._between, self.ladder, self._values = between, Ladder(x_max), np.zeros((1, 1))

    def __call__(self, x: np.ndarray) -> Cut:
        rungs = self.ladder.rungs(x)
        cut = self._between(x, self.ladder.x[rungs])
        return cut._replace(values=cut.values + self._values[rungs])

    def learn(self, pool: Cut, tolerance: float) -> None:
        middle = self.ladder.extend(pool, tolerance)
        nothing = np.zeros((1, pool.values.shape[1]))
        self._values = np.concatenate([nothing, pool.values[middle]])


def find_cuts(
    between: Evaluate,
    ranks: Float[np.ndarray, "m"],
    x_min: float,
    x_max: float,
    outputs: int,
    tolerance: float,
    *,
    around: bool = False,
) -> Cuts:
    """The cuts that keep `ranks` directions: value_0(x) = rank within `tolerance`.

    A logarithmic grid from `x_max` down, at most to `x_min`, brackets every rank. Newton's method in log x, whose slope
    is the density, then closes in from the nearer end of the bracket, falling back on bisection where it leaves it;
    every cut tried narrows the brackets of all ranks. On a spectral gap any cut serves; it is moved halfway.
    """
    evaluate = _Above(between, x_max)
    pool = _grid(evaluate, float(np.max(ranks)), x_min, x_max, tolerance)
    if not pool.x.size:
        raise NumericalFailure(
            f"equivalent: expected cuts from {x_min:.3g} to {x_max:.3g} on the branch of the resolvent, received none"
        )
    for _ in range(_SEARCH_STEPS):
        missing = np.min(np.abs(pool.values[:, 0] - ranks[:, None]), axis=1) > tolerance
        if not np.any(missing):
            break
        pool = _merge(pool, _solved(evaluate(np.unique(_guesses(pool, ranks[missing])))))
    nearest = np.argmin(np.abs(pool.values[:, 0] - ranks[:, None]), axis=1)
    found = Cut(*(part[nearest] for part in pool))
    width = np.zeros(len(ranks))
    sparse = np.flatnonzero(found.density[:, 0] < _LOW_DENSITY_PER_OUTPUT * outputs)
    low, high = _ends(evaluate, pool, ranks[sparse], np.log(found.x[sparse]), 5 * tolerance)
    width[sparse] = np.where(high - low > np.log(_GAP_RATIO), high - low, 0.0)
    gap = width > 0
    if np.any(gap):
        middle = np.exp((low + high) / 2)[gap[sparse]]
        for part, moved in zip(found, evaluate(middle), strict=True):
            part[gap] = moved
    return Cuts(found, width, evaluate.ladder, _around(evaluate, found, x_max) if around else ())


def _around(evaluate: _Above, found: Cut, x_max: float) -> tuple[Cut, ...]:
    """Cuts half a direction above and below each, by its density: in log x a step of 1/2 over it."""
    with np.errstate(divide="ignore"):
        step = np.minimum(_HALF / found.density[:, 0], _LONGEST_STEP)
    above = np.minimum(found.x * np.exp(step), 0.999 * x_max)
    both = evaluate(np.concatenate([above, found.x * np.exp(-step)]))
    first, second = (Cut(*(part[side] for part in both)) for side in (slice(len(step)), slice(len(step), None)))
    return first, second


def _grid(evaluate: _Above, most: float, x_min: float, x_max: float, tolerance: float) -> Cut:
    """A logarithmic grid of cuts, from the top to where more than `most` directions are kept."""
    grid = np.geomspace(x_min, 0.999 * x_max, _GRID_POINTS)[::-1]
    pool = _solved(evaluate(grid[_GRID_STEP - 1 :: -1]))
    for part in np.split(grid, range(_GRID_STEP, _GRID_POINTS, _GRID_STEP))[1:]:
        if np.any(pool.values[:, 0] > most):
            break
        evaluate.learn(pool, tolerance)
        pool = _merge(pool, _solved(evaluate(part)))
    return pool


def _guesses(pool: Cut, ranks: np.ndarray) -> np.ndarray:
    u, count, slope = np.log(pool.x), pool.values[:, 0], pool.density[:, 0]
    above = count[None, :] > ranks[:, None]
    low = np.clip(len(u) - 1 - np.argmax(above[:, ::-1], axis=1), 0, len(u) - 2)
    low = np.where(np.any(above, axis=1), low, 0)
    high = low + 1
    near = np.where(np.abs(count[low] - ranks) < np.abs(count[high] - ranks), low, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        guess = u[near] + (count[near] - ranks) / slope[near]
    inside = (guess > u[low]) & (guess < u[high])
    return np.exp(np.where(inside, guess, (u[low] + u[high]) / 2))


def _ends(
    evaluate: _Above, pool: Cut, ranks: np.ndarray, u: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Between which log x the count stays at each rank around u, by multisection of all plateaus at once."""
    x, count = np.log(pool.x), pool.values[:, 0]
    outside = np.array(
        [
            [np.max(x[count > r + tolerance], initial=x[0]), np.min(x[count < r - tolerance], initial=x[-1])]
            for r in ranks
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
        counted = evaluate(tried.ravel()).values[:, 0].reshape(tried.shape)
        on_plateau = np.abs(counted - ranks[open_][:, None]) <= tolerance
        last = np.sum(np.cumprod(on_plateau, axis=0), axis=0) / (points + 1)
        width = (stop - start) / (points + 1)
        inside[open_] = start + last * (stop - start)
        outside[open_] = inside[open_] + width
    return inside[:, 0], inside[:, 1]


def _solved(cut: Cut) -> Cut:
    """The cuts on the branch of the resolvent: the others say nothing."""
    return Cut(*(part[cut.branch] for part in cut))


def _merge(pool: Cut, more: Cut) -> Cut:
    x = np.concatenate([pool.x, more.x])
    order = np.argsort(x, kind="stable")
    return Cut(*(np.concatenate(parts)[order] for parts in zip(pool, more, strict=True)))
