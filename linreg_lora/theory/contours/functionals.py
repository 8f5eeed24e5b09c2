"""What LoRA keeps, learns and forgets at each rank: the functionals of which its risk is made.

With F = D_FFT X and h the indicator of eigenvalues of F F^T above a cut x, LoRA keeps the directions h selects. The
blocks of M^{-1} (`pencil`) are (M^{-1})_11 = -Q, (M^{-1})_01 = D^T Q, (M^{-1})_00 = (X X^T + eta)^{-1} - D^T Q D, where
Q = (F F^T - z)^{-1} and D = D_FFT, so that contour integrals of four traces of G give

    N(x)  = number of kept directions                g = -Tr G_11
    T1(x) = E Tr Sigma D^T h D                        g = -Tr(Sigma G_00)
    T2(x) = E Tr h D Sigma Delta^T                    g = Tr(Delta Sigma G_01)
    T3(x) = E Tr Sigma_pre D^T h D                    g = -Tr(Sigma_pre G_00)

at the cut x_r with N(x_r) = r; N has a closed form, which finds the cuts and certifies the integrals. At first order in
the dimension the correction adds the same functionals of delta G and moves the cut so that N + delta N = r: minus
(dT / dN) delta N, which vanishes on a spectral gap. Without ridge, for n > dx and for Sigma = c I, that is 1/g + 1/g^2,
g = |n - dx|, for the 1/(g - 1) of inverse Wishart matrices, so the correction is taken g/(g - 1) times. Elsewhere weak
inputs or the ridge remove the pole, and it is taken once.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora import runtime
from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Problem
from linreg_lora.theory.contours import paths, points
from linreg_lora.theory.contours.corrected import (
    Share,
    integrand_of,
    moved_by,
    shares_of,
    solver_of,
    threshold_of,
)
from linreg_lora.theory.contours.cuts import Cuts, find_cuts
from linreg_lora.theory.contours.edges import band_of_noise, number_variance
from linreg_lora.theory.contours.modes import Pretraining, largest_eigenvalue_bound
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.shift import shifted
from linreg_lora.theory.contours.solver import RESIDUAL, Solver, States
from linreg_lora.theory.contours.threshold import Threshold
from linreg_lora.theory.fft import pole_factor

#: How well a cut must keep its number of directions, per output.
_COUNT_PER_OUTPUT = 2e-8
#: To what the directions, and delta N, of an integral between cuts must agree with what is known of them, but for
#: rounding; by how much better between gaps, whose bands may lie far above what is asked for; by how many times
#: that they may be off where more nodes do not help. By how much delta N may be off at all: next to an edge it jumps.
_COUNT, _MOVED, _SHARPER, _ENOUGH, _MOVED_TOLERATED = 1e-12, 1e-10, 1e-2, 1e2, 1e-3
#: Cuts, as shares of the bound on the spectrum: the least that is tried, and how far below zero FFT's contour reaches.
_SMALLEST_CUT, _OUTSIDE = 1e-13, 0.1
#: In log x: cuts further apart than this have points of gaps between them, that far from either; and how flat the count
#: is on a gap.
_FAR, _APART, _FLAT = 3.0, 1.0, 1e-6
#: Nodes of FFT's contour.
_NODES = 96
#: The fewest directions between two cuts from which a curvature is taken.
_LEAST_APART = 0.05
#: Of the raw density, what the corrected one must be.
_HALVED = 0.5
#: Of the density at a cut: what is seen of it outside of the spectrum.
_OUTSIDE_BAND = 1e-3


class Functionals(NamedTuple):
    """N, T1, T2 and T3, one row a rank: `raw`, and the finite-size `correction` to add.

    `gap`: the width of the spectral gap that separates a rank from the next, in log x; 0 where there is none.
    `curvature`: d^2 T / dN^2 at the cut, 0 on a gap. `spread`: directions between cuts that would be half a direction
    above and below, were the density what it is at the cut: more than 1 where it is lower than around it, and a gap
    opens. `moved`: delta N, by how many directions the correction moves the cut. `failures`: why a row was not solved,
    by row; its numbers are nan. `sharpened`: where the correction includes what a cut misplaces (`edges`).
    """

    raw: Float[np.ndarray, "m 4"]
    correction: Float[np.ndarray, "m 4"]
    gap: Float[np.ndarray, "m"]
    curvature: Float[np.ndarray, "m 4"]
    spread: Float[np.ndarray, "m"]
    moved: Float[np.ndarray, "m"]
    failures: dict[int, str]
    sharpened: Bool[np.ndarray, "m"]


def functionals(
    problem: Problem, ranks: Float[np.ndarray, "m"], *, correction: bool, pretraining: Pretraining = None
) -> Functionals:
    """The functionals at ranks strictly between 0 and full rank, for inputs of full rank.

    `pretraining` is Sigma_pre (None: identity). Without `correction` that part is zero, and so are `curvature` and
    `moved`. For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0.
    """
    if not len(ranks):
        return _nothing(0)
    planted = band_of_noise(problem)
    if correction and planted is not None and 0 < planted < np.max(ranks) and planted not in ranks:
        # Whether the planted directions lie above the band is seen at their rank.
        more = functionals(problem, np.append(ranks, planted), correction=True, pretraining=pretraining)
        failures = {row: reason for row, reason in more.failures.items() if row < len(ranks)}
        first = [part[:-1] for part in more[:6]]
        return Functionals(first[0], first[1], first[2], first[3], first[4], first[5], failures, more.sharpened[:-1])
    solver, x_max = solver_of(problem, pretraining), largest_eigenvalue_bound(problem)
    outputs = max(100, problem.dy)
    tolerance = _COUNT_PER_OUTPUT * outputs
    evaluate = functools.partial(points.evaluate, solver)
    # Points that are lost say so by their residuals.
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        found = find_cuts(evaluate, ranks, _SMALLEST_CUT * x_max, x_max, outputs, tolerance, around=correction)
        failures = _failures(found.cut, ranks, tolerance)
        ends, shares = _ladder(solver, found, x_max), shares_of(problem, solver, pretraining) if correction else []
        near = threshold_of(problem, pretraining) if correction else None
        values, delta, more = _integrals(solver, found, ends, shares, tolerance, near)
        if more and len(shares) > 1:
            shares = shares_of(problem, solver, pretraining, one_sided=True)
            values, delta, more = _integrals(solver, found, ends, shares, tolerance, near)
        failures = more | failures
        way, there = np.zeros((len(ranks), 8)), np.zeros(len(ranks), dtype=bool)
        if correction:
            way, there = _way_to_shifted(solver, evaluate, found, ranks, delta[:, 0], shares, near, failures)
        curvature, spread = np.zeros((len(ranks), 4)), np.ones(len(ranks))
        if correction:
            curvature, spread = _curvature(solver, found, shares, near), _spread(found)
    gap, density = found.width > 0, found.cut.density
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.where(gap[:, None], 0.0, density / np.where(gap, 1.0, density[:, 0])[:, None])
    raw = values + slopes * (ranks - found.cut.count)[:, None]
    moved = delta[:, 0].copy()
    if correction:
        linear = (delta - slopes * moved[:, None]) * pole_factor(problem)
        whole = values + way[:, :4] + (delta + way[:, 4:]) * pole_factor(problem) - raw
        delta = np.where(there[:, None], whole, linear)
    sharpened = np.zeros(len(ranks), dtype=bool)
    if correction and planted is not None and (planted == 0 or bool(np.any(gap & (ranks == planted)))):
        sharpened = (ranks > planted) & ~gap & there & np.isfinite(curvature[:, 1])
        misplaced = number_variance(ranks[sharpened] - planted) / 2
        delta[sharpened] += misplaced[:, None] * curvature[sharpened]
    rows = list(failures)
    for part in (raw, delta, curvature, spread, moved):
        part[rows] = np.nan
    return Functionals(raw, delta, found.width, curvature, spread, moved, failures, sharpened)


def fft_functionals(problem: Problem, *, correction: bool, pretraining: Pretraining = None) -> Functionals:
    """The functionals of FFT itself, one row: a contour around the whole spectrum, zero included.

    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0, 1.0), noise_std=1.0)
    >>> found = ll.theory.fft_functionals(problem, correction=True)
    >>> (found.raw + found.correction)[0].round(3).tolist()
    [20.0, 27.714, 14.0, 27.714]
    >>> f"risk: {14 + 27.714 - 2 * 14:.3f}"
    'risk: 13.714'
    """
    solver, x_max = solver_of(problem, pretraining), largest_eigenvalue_bound(problem)
    t, w = np.polynomial.legendre.leggauss(_NODES)
    turn, radius = np.exp(1j * np.pi * (1 - (t + 1) / 2)), x_max * (1 + _OUTSIDE) / 2
    z, weights = x_max - radius + radius * turn, -0.5j * np.pi * w * radius * turn
    with runtime.one_numpy_thread(), np.errstate(all="ignore"):
        states = solver(z)
        shares = shares_of(problem, solver, pretraining) if correction else []
        near = threshold_of(problem, pretraining) if correction else None
        traces = integrand_of(solver, shares, near)(z, states)
    if not np.all(states.solved):
        raise NumericalFailure(_unsolved(float(np.max(states.residual)), bool(np.all(states.proper)), "around FFT"))
    raw, delta = traces[:4], traces[4:] if correction else np.zeros_like(traces)
    raw, delta = (((weights * part).sum(axis=1).imag / np.pi)[None] for part in (raw, delta))
    return _nothing(1)._replace(raw=raw, correction=delta * pole_factor(problem), gap=np.full(1, np.inf))


def _nothing(rows: int) -> Functionals:
    four, one = np.zeros((rows, 4)), np.zeros(rows)
    return Functionals(four, four.copy(), one, four.copy(), one + 1, one.copy(), {}, np.zeros(rows, dtype=bool))


def _curvature(solver: Solver, found: Cuts, shares: list[Share], near: Threshold | None) -> Float[np.ndarray, "m 4"]:
    """d^2 T / dN^2 of the corrected functionals, from the slopes dT / dN at the cuts around each.

    0 on a gap, inf where neither side is solved. A side that lies on a gap gives way to the cut itself.
    """
    counts, slopes = [], []
    for side in found.around:
        own = (side.density[:, 0] <= _OUTSIDE_BAND * found.cut.density[:, 0]) | ~side.solved
        at = Points(*(np.where(own.reshape(-1, *[1] * (part.ndim - 1)), ours, part) for part, ours in zip(side, found.cut, strict=True)))  # fmt: skip  # noqa: E501
        z, w = at.z, at.state.T
        both = np.imag(integrand_of(solver, shares, near)(z, States(w, at.slope.T, np.zeros(len(z)), at.solved.copy())))
        density = (both[:4] + both[4:]).T
        # Next to an edge the first order of the density is no correction: there the density itself is used.
        density = np.where(density[:, :1] > _HALVED * both[:1].T, density, both[:4].T)
        counts.append(at.count)
        slopes.append(density / np.where(density[:, :1] > 0, density[:, :1], 1.0))
    apart = (counts[1] - counts[0])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = np.where(apart > _LEAST_APART, (slopes[1] - slopes[0]) / apart, np.inf)
    return np.where(found.width[:, None] > 0, 0.0, curvature)


def _spread(found: Cuts) -> Float[np.ndarray, "m"]:
    above, below = found.around
    return below.count - above.count


def _integrals(
    solver: Solver,
    found: Cuts,
    ends: Points,
    shares: list[Share],
    tolerated: float,
    near: Threshold | None,
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """What lies above each cut, raw and corrected, added up from the top, and which rows were not solved."""
    corrected = bool(shares)
    low, high = ends.at(slice(1, None)), ends.at(slice(-1))
    # Directions far below others are known up to rounding of those.
    rounding = np.finfo(float).eps * ends.x[0] / low.x
    on_gap = np.isin(ends.x, np.append(found.cut.x[found.width > 0], ends.x[0]))
    sharp = np.where(on_gap[1:] & on_gap[:-1], _SHARPER, 1.0)
    known, tolerance = [low.count - high.count], [_COUNT * sharp]
    if corrected:
        # Values at small ridges, near 1 / ridge, cancel: they have to be known better.
        moved, _ = moved_by(shares, ends)
        known, tolerance = (
            [*known, moved[1:] - moved[:-1]],
            [*tolerance, _MOVED * sharp * (_SHARPER if len(shares) > 1 else 1.0)],
        )

    integrand = integrand_of(solver, shares, near)
    integrals = paths.between(
        solver, low, high, integrand, tuple(known), tuple(tolerance), _ENOUGH * (1 + rounding / (_COUNT * sharp))
    )
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
    return values[rows, :4], delta, failures


def _way_to_shifted(
    solver: Solver,
    evaluate: Callable[..., Points],
    found: Cuts,
    ranks: np.ndarray,
    start: np.ndarray,
    shares: list[Share],
    near: Threshold | None,
    failures: dict[int, str],
) -> tuple[np.ndarray, np.ndarray]:
    """What lies between each cut and the one where N + delta N = rank, and for which rows that was solved."""

    way, there = np.zeros((len(ranks), 8)), np.zeros(len(ranks), dtype=bool)
    rows = np.flatnonzero((found.width == 0) & (found.cut.density[:, 0] > 0))
    rows = rows[~np.isin(rows, list(failures))]
    if not rows.size:
        return way, there
    cut = found.cut.at(rows)
    to, ok = shifted(evaluate, functools.partial(moved_by, shares), cut, ranks[rows], start[rows])
    there[rows[ok & (to.x == cut.x)]] = True
    ok &= to.x != cut.x
    rows, cut, to = rows[ok], cut.at(ok), to.at(ok)
    if not rows.size:
        return way, there
    known = (cut.count - to.count, moved_by(shares, cut)[0] - moved_by(shares, to)[0])
    tolerance = (np.full(len(rows), _COUNT), np.full(len(rows), _MOVED))
    integrals = paths.between(
        solver, cut, to, integrand_of(solver, shares, near), known, tolerance, np.full(len(rows), _ENOUGH)
    )
    good = (integrals.off[1] < _MOVED_TOLERATED) & (integrals.residual <= RESIDUAL)
    way[rows], there[rows] = -integrals.values, good
    return way, there


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
        return _unsolved(float(integrals.residual[place]), False, f"above cut {x:.6g}")
    return (
        f"equivalent: expected numbers of directions that agree, received {integrals.off[:, place].max():.3g} between "
        f"an integral and what is known of it above cut {x:.6g}"
    )


def _unsolved(residual: float, branch: bool, where: str) -> str:
    return (
        f"equivalent: expected a residual below {RESIDUAL:g} on the branch of the resolvent, received {residual:.3g} "
        f"(branch {'right' if branch else 'wrong'}) {where}"
    )
