"""What a problem's functionals are made of: its equations, the cuts at every rank, and the integrals above them.

Integrals are added up from the top of the spectrum, from one end to the next: a cut, or a point of a gap. Each is
certified by the number of directions between its ends, and by delta N, which have closed forms on the real axis.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linreg_lora.problem import Problem
from linreg_lora.theory.contours import paths, points
from linreg_lora.theory.contours.corrected import Equations, equations_of
from linreg_lora.theory.contours.cuts import Cuts, find_cuts, first_points
from linreg_lora.theory.contours.modes import Pretraining, largest_eigenvalue_bound
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.shift import shifted
from linreg_lora.theory.contours.solver import RESIDUAL, Solver

#: How well a cut must keep its number of directions, per output.
_COUNT_PER_OUTPUT = 2e-8
#: To what the directions, and delta N, of an integral between cuts must agree with what is known of them, but for
#: rounding; by how much better between gaps, whose bands may lie far above what is asked for; by how many times
#: that they may be off where more nodes do not help. By how much delta N may be off at all: next to an edge it jumps.
_COUNT, _MOVED, _SHARPER, _ENOUGH, _MOVED_TOLERATED = 1e-12, 1e-10, 1e-2, 1e2, 1e-3
#: Cuts, as shares of the bound on the spectrum: the least that is tried.
_SMALLEST_CUT = 1e-13
#: In log x: cuts further apart than this have points of gaps between them, that far from either; and how flat the count
#: is on a gap.
_FAR, _APART, _FLAT = 3.0, 1.0, 1e-6


#: Which of some ranks to look at, given how points are evaluated and those that are known; and more such points.
Choose = Callable[[Callable[..., Points], Points, Float[np.ndarray, "m"]], tuple[Bool[np.ndarray, "m"], Points]]


class Above(NamedTuple):
    """What lies above each cut: `values`, and what the correction adds, `delta`; zeros without one.

    `integrals`: those between the ends, from the top; that above the cut of a row is the sum of the first `ends` + 1.
    `failures`: why a row was not certified.
    """

    values: Float[np.ndarray, "m 4"]
    delta: Float[np.ndarray, "m 4"]
    integrals: paths.Integrals
    ends: Int[np.ndarray, "m"]
    failures: dict[int, str]


class Way(NamedTuple):
    """From each cut to the one where N + delta N is the rank: where that is `known`, by how much more lies above it.

    `rows`: those whose cut moves, `to` where, by which `integrals` (from there up to the cut, so that `more` is minus
    their values).
    """

    known: Bool[np.ndarray, "m"]
    more: Float[np.ndarray, "m 8"]
    rows: Int[np.ndarray, "r"]
    to: Points | None
    integrals: paths.Integrals | None


class Traced(NamedTuple):
    """One problem at some ranks, with its correction or without (then nothing moves)."""

    ranks: Float[np.ndarray, "m"]
    equations: Equations
    found: Cuts
    above: Above
    way: Way
    failures: dict[int, str]


def trace(
    problem: Problem,
    ranks: Float[np.ndarray, "m"],
    *,
    correction: bool,
    pretraining: Pretraining = None,
    choose: Choose | None = None,
) -> Traced:
    """Cuts and integrals of a problem whose inputs have full rank, at ranks strictly between 0 and full rank.

    `choose` leaves some of the ranks out.
    """
    equations = equations_of(problem, pretraining, correction=correction)
    x_max, outputs = largest_eigenvalue_bound(problem), max(100, problem.dy)
    tolerance = _COUNT_PER_OUTPUT * outputs
    evaluate = functools.partial(points.evaluate, equations.solver)
    x_min = _SMALLEST_CUT * x_max
    known = None if choose is None else first_points(evaluate, x_min, x_max)
    if choose is not None and known is not None:
        chosen, known = choose(evaluate, known, ranks)
        ranks = ranks[chosen]
    found = find_cuts(evaluate, ranks, x_min, x_max, outputs, tolerance, around=correction, known=known)
    failures = _failures(found.cut, ranks, tolerance)
    ends = _ladder(equations.solver, found, x_max)
    above = _integrals(equations, found, ends, tolerance)
    if above.failures and len(equations.shares) > 1:
        equations = equations_of(problem, pretraining, correction=True, one_sided=True)
        above = _integrals(equations, found, ends, tolerance)
    failures = above.failures | failures
    way = _no_way(len(ranks))
    if correction:
        way = _way_to_shifted(equations, found, ranks, above.delta[:, 0], failures)
    return Traced(ranks, equations, found, above, way, failures)


def _no_way(rows: int) -> Way:
    return Way(np.zeros(rows, dtype=bool), np.zeros((rows, 8)), np.arange(0), None, None)


def _integrals(equations: Equations, found: Cuts, ends: Points, tolerated: float) -> Above:
    solver, shares = equations.solver, equations.shares
    corrected = bool(shares)
    low, high = ends.at(slice(1, None)), ends.at(slice(-1))
    # Directions far below others are known up to rounding of those.
    rounding = np.finfo(float).eps * ends.x[0] / low.x
    on_gap = np.isin(ends.x, np.append(found.cut.x[found.width > 0], ends.x[0]))
    sharp = np.where(on_gap[1:] & on_gap[:-1], _SHARPER, 1.0)
    known, tolerance = [low.count - high.count], [_COUNT * sharp]
    if corrected:
        # Values at small ridges, near 1 / ridge, cancel: they have to be known better.
        moved, _ = equations.moved(ends)
        known, tolerance = (
            [*known, moved[1:] - moved[:-1]],
            [*tolerance, _MOVED * sharp * (_SHARPER if len(shares) > 1 else 1.0)],
        )
    enough = _ENOUGH * (1 + rounding / (_COUNT * sharp))
    integrals = paths.between(solver, low, high, equations.integrand, tuple(known), tuple(tolerance), enough)
    values = np.cumsum(integrals.values, axis=0)
    rows = np.searchsorted(-ends.x, -found.cut.x) - 1
    limits = np.array([tolerated, _MOVED_TOLERATED])[: len(known)]
    bad = ~(np.all(integrals.off <= limits[:, None] + rounding, axis=0) & (integrals.residual <= RESIDUAL))
    failures = {}
    if np.any(bad):
        first = int(np.argmax(bad))
        reason = _uncertified(integrals, first, low.x[first])
        failures = dict.fromkeys(np.flatnonzero(rows >= first).tolist(), reason)
    delta = values[rows, 4:] if corrected else np.zeros((len(rows), 4))
    return Above(values[rows, :4], delta, integrals, rows, failures)


def _way_to_shifted(
    equations: Equations,
    found: Cuts,
    ranks: Float[np.ndarray, "m"],
    start: Float[np.ndarray, "m"],
    failures: dict[int, str],
) -> Way:
    """The way from cuts where delta N is `start`."""
    solver, nothing = equations.solver, _no_way(len(ranks))
    known, more = nothing.known, nothing.more
    rows = np.flatnonzero((found.width == 0) & (found.cut.density[:, 0] > 0))
    rows = rows[~np.isin(rows, list(failures))]
    if not rows.size:
        return nothing
    cut = found.cut.at(rows)
    to, ok = shifted(functools.partial(points.evaluate, solver), equations.moved, cut, ranks[rows], start[rows])
    known[rows[ok & (to.x == cut.x)]] = True
    ok &= to.x != cut.x
    rows, cut, to = rows[ok], cut.at(ok), to.at(ok)
    if not rows.size:
        return nothing
    counts = (cut.count - to.count, equations.moved(cut)[0] - equations.moved(to)[0])
    tolerance = (np.full(len(rows), _COUNT), np.full(len(rows), _MOVED))
    enough = np.full(len(rows), _ENOUGH)
    integrals = paths.between(solver, cut, to, equations.integrand, counts, tolerance, enough)
    more[rows] = -integrals.values
    known[rows] = (integrals.off[1] < _MOVED_TOLERATED) & (integrals.residual <= RESIDUAL)
    return Way(known, more, rows, to, integrals)


def _ladder(solver: Solver, found: Cuts, x_max: float) -> Points:
    """Ends of the integrals, from the top down: the cuts, and points inside gaps between such that are far apart."""
    top = points.evaluate(solver, np.array([x_max]), found.pool)
    ends = top.with_(found.cut)
    _, first = np.unique(-ends.x, return_index=True)
    ends, pool = ends.at(first), found.pool
    level = np.round(pool.count)
    flat = np.abs(pool.count - level) < _FLAT
    inside = np.flatnonzero(flat[1:-1] & (level[:-2] == level[2:]) & flat[:-2] & flat[2:]) + 1
    each = [inside[level[inside] == value] for value in np.unique(level[inside]) if value > 0]
    for place in (gap[len(gap) // 2] for gap in each):
        distance = np.log(ends.x / pool.x[place])
        if (
            np.any(distance < 0)
            and np.min(np.abs(distance)) > _APART
            and distance[distance > 0].min() - distance[distance < 0].max() > _FAR
        ):
            ends = ends.with_(pool.at(np.array([place])))
    return ends


def _failures(cut: Points, ranks: np.ndarray, tolerance: float) -> dict[int, str]:
    error, failures = np.abs(cut.count - ranks), {}
    for i in np.flatnonzero(~(error <= 5 * tolerance)):
        failures[int(i)] = (
            f"equivalent: expected a cut that keeps {ranks[i]:.0f} directions, received one {error[i]:.3g} off at "
            f"{cut.x[i]:.6g}; the direction may be too weak to resolve: leave out rank {ranks[i]:.0f}"
        )
    return failures


def _uncertified(integrals: paths.Integrals, place: int, x: float) -> str:
    if not integrals.residual[place] <= RESIDUAL:
        return unsolved(float(integrals.residual[place]), False, f"above cut {x:.6g}")
    return (
        f"equivalent: expected numbers of directions that agree, received {integrals.off[:, place].max():.3g} between "
        f"an integral and what is known of it above cut {x:.6g}"
    )


def unsolved(residual: float, branch: bool, where: str) -> str:
    """Why there are no states somewhere."""
    return (
        f"equivalent: expected a residual below {RESIDUAL:g} on the branch of the resolvent, received {residual:.3g} "
        f"(branch {'right' if branch else 'wrong'}) {where}"
    )
