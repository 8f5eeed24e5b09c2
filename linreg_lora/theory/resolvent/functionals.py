"""What LoRA keeps, learns and forgets at each rank: the functionals of which its risk is made.

With F = D_FFT X and h the indicator of eigenvalues of F F^T above a cut x, LoRA keeps the directions h selects. The
blocks of M^{-1} (`pencil`) are (M^{-1})_11 = -Q, (M^{-1})_01 = D^T Q, (M^{-1})_00 = (X X^T + eta)^{-1} - D^T Q D, where
Q = (F F^T - z)^{-1} and D = D_FFT, so that contour integrals of four traces of G give

    N(x)  = number of kept directions                g = -Tr G_11
    T1(x) = E Tr Sigma D^T h D                        g = -Tr(Sigma G_00)
    T2(x) = E Tr h D Sigma Delta^T                    g = Tr(Delta Sigma G_01)
    T3(x) = E Tr Sigma_pre D^T h D                    g = -Tr(Sigma_pre G_00)

at the cut x_r with N(x_r) = r. At first order in the dimension the correction adds the same functionals of delta G and
moves the cut so that N + delta N = r: minus (dT / dN) delta N, which vanishes on a spectral gap. Without ridge, for n >
dx and for Sigma = c I, that is 1/g + 1/g^2, g = |n - dx|, for the 1/(g - 1) of inverse Wishart matrices, so the
correction is taken g/(g - 1) times. Elsewhere weak inputs or the ridge remove the pole, and it is taken once.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from linreg_lora import runtime
from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.contours.modes import Pretraining, largest_eigenvalue_bound
from linreg_lora.theory.effective import toward_no_ridge
from linreg_lora.theory.fft import pole_factor
from linreg_lora.theory.resolvent import dyson, pencil, ridgeless
from linreg_lora.theory.resolvent.cuts import Cuts, Evaluate, Ladder, find_cuts
from linreg_lora.theory.resolvent.modes import pencil as pencil_of
from linreg_lora.theory.resolvent.modes import ridgeless as ridgeless_of

#: How well a cut must keep its number of directions, per output: contour integrals are accurate to some 1e-9 dy.
_COUNT_PER_OUTPUT = 2e-8
_RESIDUAL = 1e-9
#: Cuts, as shares of the bound on the spectrum: the least that is tried, and how far below zero FFT's contour reaches.
_SMALLEST_CUT, _OUTSIDE = 1e-13, 0.1
#: The fewest directions between two cuts from which a curvature is taken.
_LEAST_APART = 0.05
#: Of the density at a cut: what is seen of it outside of the spectrum.
_OUTSIDE_BAND = 1e-3


class Functionals(NamedTuple):
    """N, T1, T2 and T3, one row a rank: `raw`, and the finite-size `correction` to add.

    `gap`: the width of the spectral gap that separates a rank from the next, in log x; 0 where there is none.
    `curvature`: d^2 T / dN^2 at the cut, 0 on a gap. `spread`: directions between cuts that would be half a direction
    above and below, were the density what it is at the cut: more than 1 where it is lower than around it, and a gap
    opens. `moved`: delta N, by how many directions the correction moves the cut. `failures`: why a row was not solved,
    by row; its numbers are nan.
    """

    raw: Float[np.ndarray, "m 4"]
    correction: Float[np.ndarray, "m 4"]
    gap: Float[np.ndarray, "m"]
    curvature: Float[np.ndarray, "m 4"]
    spread: Float[np.ndarray, "m"]
    moved: Float[np.ndarray, "m"]
    failures: dict[int, str]


def functionals(
    problem: Problem, ranks: Float[np.ndarray, "m"], *, correction: bool, pretraining: Pretraining = None
) -> Functionals:
    """The functionals at ranks strictly between 0 and full rank, for inputs of full rank.

    `pretraining` is Sigma_pre (None: identity). Without `correction` that part is zero, and so are `curvature` and
    `moved`. For n < dx without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0.
    """
    if not len(ranks):
        return _nothing(0)
    evaluate, x_max = _evaluator(problem, pretraining)
    outputs = max(100, problem.dy)
    tolerance = _COUNT_PER_OUTPUT * outputs
    delta, curvature, failures = np.zeros((len(ranks), 4)), np.zeros((len(ranks), 4)), {}
    spread = np.ones(len(ranks))
    with runtime.exclusive_device():
        found = find_cuts(evaluate, ranks, _SMALLEST_CUT * x_max, x_max, outputs, tolerance, around=correction)
        failures |= _failures(found.cut, ranks, tolerance)
        if correction:
            delta, more = _correction(problem, found.cut.x, found.ladder, pretraining)
            failures = more | failures
            curvature, spread = _curvature(found), _spread(found)
    gap, density = found.width > 0, found.cut.density
    slopes = np.where(gap[:, None], 0.0, density / np.where(gap, 1.0, density[:, 0])[:, None])
    raw = found.cut.values + slopes * (ranks - found.cut.values[:, 0])[:, None]
    moved = delta[:, 0].copy()
    delta = delta - slopes * delta[:, :1]
    delta *= pole_factor(problem)
    rows = list(failures)
    for part in (raw, delta, curvature, spread, moved):
        part[rows] = np.nan
    return Functionals(raw, delta, found.width, curvature, spread, moved, failures)


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
    evaluate, x_max = _evaluator(problem, pretraining)
    x, delta, failures = np.array([-_OUTSIDE * x_max]), np.zeros((1, 4)), {}
    with runtime.exclusive_device():
        cut = evaluate(x, np.array([x_max]))
        failures |= _failures(cut, cut.values[:, 0], 1.0)
        if correction:
            delta, more = _correction(problem, x, Ladder(x_max), pretraining)
            failures = more | failures
    if failures:
        raise NumericalFailure(failures[0])
    return _nothing(1)._replace(raw=cut.values, correction=delta * pole_factor(problem), gap=np.full(1, np.inf))


def _nothing(rows: int) -> Functionals:
    four, one = np.zeros((rows, 4)), np.zeros(rows)
    return Functionals(four, four.copy(), one, four.copy(), one + 1, one.copy(), {})


def _curvature(found: Cuts) -> Float[np.ndarray, "m 4"]:
    """d^2 T / dN^2, from the slopes dT / dN at the cuts around each: 0 on a gap, inf where neither side is solved.

    A side that lies on a gap gives way to the cut itself.
    """
    counts, slopes = [], []
    for side in found.around:
        own = (side.density[:, :1] <= _OUTSIDE_BAND * found.cut.density[:, :1]) | ~side.branch[:, None]
        density = np.where(own, found.cut.density, side.density)
        counts.append(np.where(own[:, 0], found.cut.values[:, 0], side.values[:, 0]))
        slopes.append(density / np.where(density[:, :1] > 0, density[:, :1], 1.0))
    apart = (counts[1] - counts[0])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = np.where(apart > _LEAST_APART, (slopes[1] - slopes[0]) / apart, np.inf)
    return np.where(found.width[:, None] > 0, 0.0, curvature)


def _spread(found: Cuts) -> Float[np.ndarray, "m"]:
    above, below = found.around
    return below.values[:, 0] - above.values[:, 0]


def _evaluator(problem: Problem, pretraining: Pretraining) -> tuple[Evaluate, float]:
    limit = _is_limit(problem)
    equations = ridgeless.EQUATIONS if limit else pencil.EQUATIONS
    parameters = ridgeless_of(problem, pretraining) if limit else pencil_of(problem, problem.ridge, pretraining)
    x_max = largest_eigenvalue_bound(problem)
    return functools.partial(dyson.evaluate, equations, parameters), x_max


def _is_limit(problem: Problem) -> bool:
    return problem.ridge == 0 and problem.regime is Regime.UNDERDETERMINED


def _correction(
    problem: Problem, x: np.ndarray, ladder: Ladder, pretraining: Pretraining
) -> tuple[np.ndarray, dict[int, str]]:
    """The functionals of delta G at the cuts; in the ridgeless limit by polynomial extrapolation to ridge 0."""
    if not _is_limit(problem):
        return _correction_at(problem, problem.ridge, x, ladder, pretraining)
    ridges, weights = toward_no_ridge(problem)
    each = [_correction_at(problem, ridge, x, ladder, pretraining) for ridge in ridges]
    failures: dict[int, str] = {}
    for _, more in each:
        failures = more | failures
    return np.tensordot(weights, np.stack([delta for delta, _ in each]), axes=1), failures


def _correction_at(
    problem: Problem, ridge: float, x: np.ndarray, ladder: Ladder, pretraining: Pretraining
) -> tuple[np.ndarray, dict[int, str]]:
    parameters, failures = pencil_of(problem, ridge, pretraining), {}

    def between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        delta, residual, branch = dyson.on_cuts(_corrections, pencil.EQUATIONS, parameters, left, right)
        failures.update(_unsolved(residual, branch, left[: len(x)], f"in the correction, ridge {ridge:.3g}"))
        solved = (residual <= _RESIDUAL) & branch
        return np.where(solved[:, None], delta, np.nan)

    total = ladder.total(between, x)
    for row in np.flatnonzero(np.any(np.isnan(total), axis=1)).tolist():
        failures.setdefault(row, "equivalent: the correction was not solved in a gap above")
    return total, failures


@dyson.relaxed
@functools.partial(jax.jit, static_argnums=0)
def _corrections(
    equations: dyson.Equations, parameters: Any, x: Float[Array, "m"], right: Float[Array, "m"]
) -> tuple[Float[Array, "m 4"], Float[Array, "m"], Bool[Array, "m"]]:
    def one(x: Array, right: Array) -> tuple[Array, Array, Array]:
        z, weights = dyson.contour(x, right)
        states, residual, branch = dyson.solve_on_contour(equations, parameters, z)
        delta = jax.vmap(functools.partial(pencil.correction, parameters))(z, states)
        return dyson.integrate(weights, delta), residual, branch

    return jax.vmap(one)(x, right)


def _failures(cut: dyson.Cut, ranks: np.ndarray, tolerance: float) -> dict[int, str]:
    failures = _unsolved(cut.residual, cut.branch, cut.x, "on the contour")
    error = np.abs(cut.values[:, 0] - ranks)
    for i in np.flatnonzero(~(error <= 5 * tolerance)):
        failures[int(i)] = (
            f"equivalent: expected a cut that keeps {ranks[i]:.0f} directions, received one {error[i]:.3g} off at "
            f"{cut.x[i]:.6g}; the direction may be too weak to resolve: leave out rank {ranks[i]:.0f}"
        )
    return failures


def _unsolved(residual: np.ndarray, branch: np.ndarray, x: np.ndarray, where: str) -> dict[int, str]:
    bad = np.flatnonzero(~(residual[: len(x)] <= _RESIDUAL) | ~branch[: len(x)])
    return {
        int(i): f"equivalent: expected a residual below {_RESIDUAL:g} on the branch of the resolvent, received "
        f"{residual[i]:.3g} (branch {'right' if branch[i] else 'wrong'}) {where}, cut {x[i]:.6g}"
        for i in bad
    }
