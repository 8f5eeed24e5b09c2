"""The expected risk of LoRA at every rank: a deterministic equivalent, with its first-order finite-size correction.

With F = D_FFT X and h the indicator of eigenvalues of F F^T above a cut x, LoRA keeps the directions h selects. The
blocks of M^{-1} (`pencil`) are (M^{-1})_22 = -Q, (M^{-1})_12 = D^T Q, (M^{-1})_11 = (X X^T + eta)^{-1} - D^T Q D, where
Q = (F F^T - z)^{-1} and D = D_FFT, so that contour integrals of three traces of G give

    N(x)  = number of kept directions                g = -Tr G_22
    T1(x) = E Tr Sigma D^T h D                        g = -Tr(Sigma G_11)
    T2(x) = E Tr h D Sigma Delta^T                    g = Tr(Delta Sigma G_12)
    risk_r = ||Delta Sigma^{1/2}||_F^2 + T1(x_r) - 2 T2(x_r),      N(x_r) = r.

The correction adds delta T1 - 2 delta T2 and moves the cut so that N + delta N = r: minus (d risk / d N) delta N, which
vanishes on a spectral gap. Errors are O(1/d) without it and O(1/d^2) with it, for dimensions of order d.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linreg_lora import runtime
from linreg_lora.errors import InvalidInput, NumericalFailure
from linreg_lora.problem import Moments, Problem, Regime
from linreg_lora.risk_curve import valid_ranks
from linreg_lora.theory import dyson, pencil, ridgeless
from linreg_lora.theory.fft import fft_risk
from linreg_lora.theory.modes import largest_eigenvalue_bound, modes
from linreg_lora.theory.modes import pencil as pencil_of
from linreg_lora.theory.modes import ridgeless as ridgeless_of

#: On a gap a rank is cut halfway, in log x, between where N = rank + h and where N = rank - h; h is this times dy. The
#: contour integral of N is accurate to some 1e-9 dy.
_HALF_STEP_PER_OUTPUT = 1e-7
#: Below this density, in directions per unit of log x and output, a rank may lie on a gap.
_LOW_DENSITY_PER_OUTPUT = 5e-3
#: A ratio of these two places above this is a spectral gap.
_GAP_RATIO = 1.001
#: The first ranks below a spectral edge, where the correction may overshoot.
_NEAR_EDGE = 3
_RESIDUAL = 1e-9
#: Allowed where an edge of a gap is only located: two solutions meet there, and Newton's method is slow.
_RESIDUAL_AT_EDGE = 1e-3
_SMALLEST_CUT = 1e-13
#: Ridges, as shares of the smallest eigenvalue of X^T X, from which the ridgeless correction is extrapolated.
_EXTRAPOLATION = (0.08, 0.04, 0.02, 0.01)
#: Full-size blocks above this dx + dy take too long to correct without ridge.
_LARGEST_FULL_BLOCK = 200


class Parts(NamedTuple):
    """N, T1 and T2 above each cut: `kept` directions, `energy` of the update, `overlap` with the shift."""

    kept: Float[np.ndarray, "m"]
    energy: Float[np.ndarray, "m"]
    overlap: Float[np.ndarray, "m"]


@dataclass(frozen=True)
class Equivalent:
    """The deterministic equivalent at some ranks.

    `risk` includes the correction where `corrected` says so; `raw` never does. `parts` belong to `raw`. `gap`: ranks
    that a spectral gap separates from the next; `flagged`: ranks just below a spectral edge, where the correction may
    overshoot. At rank 0 and at full rank `risk` is exact, or FFT's own equivalent, and `parts` are nan.
    """

    ranks: Int[np.ndarray, "m"]
    risk: Float[np.ndarray, "m"]
    raw: Float[np.ndarray, "m"]
    parts: Parts
    gap: Bool[np.ndarray, "m"]
    flagged: Bool[np.ndarray, "m"]
    corrected: bool


def equivalent(problem: Problem, ranks: object = None, *, correction: bool = True) -> Equivalent:
    """Expected excess risk of LoRA by the deterministic equivalent: any Delta, Sigma, Sigma_eps, ridge eta >= 0.

    `ranks` in 0..min(n, dx, dy), default all. Isotropic or diagonal covariances, and all ridgeless problems with n > dx
    and isotropic noise, cost the same in any dimension; other problems use one block of size dx + dy. For n < dx
    without ridge the analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0.

    Raises `InvalidInput` for ranks that do not exist and where the mean is infinite, `NumericalFailure` where a
    self-consistent equation or a cut was not solved.
    """
    chosen = valid_ranks(ranks, problem)
    if problem.moments is Moments.NO_MEAN:
        raise InvalidInput("problem", "a mean that exists", problem.moments_note)
    reduced = problem.without_null_inputs()
    full = _rank_of_full_fit(reduced)
    wanted = {rank - below for rank in chosen.tolist() for below in range(_NEAR_EDGE + 1)}
    interior = np.array(sorted(rank for rank in wanted if 0 < rank < full), dtype=int)
    correction = correction and (reduced.ridge > 0 or _can_be_corrected(reduced))
    with runtime.exclusive_device():
        solved = _solve(reduced, interior, correction) if interior.size else _nothing()
    size = problem.max_rank + 1
    raw, risk = np.full(size, fft_risk(problem).risk), np.full(size, fft_risk(problem).risk)
    raw[0] = risk[0] = problem.pretrained_risk
    gap, parts = np.zeros(size, dtype=bool), np.full((size, 3), np.nan)
    gap[0] = True
    raw[interior], risk[interior], gap[interior], parts[interior] = solved
    edge = np.array([not gap[r] and bool(np.any(gap[max(0, r - _NEAR_EDGE) : r])) for r in range(size)])
    edge[full:] = False
    return Equivalent(chosen, risk[chosen], raw[chosen], Parts(*parts[chosen].T), gap[chosen], edge[chosen], correction)


def _solve(problem: Problem, ranks: np.ndarray, correction: bool) -> tuple[np.ndarray, ...]:
    """Raw risk, risk, gap and parts at interior ranks."""
    limit = problem.ridge == 0 and problem.regime is Regime.UNDERDETERMINED
    equations = ridgeless.EQUATIONS if limit else pencil.EQUATIONS
    parameters = ridgeless_of(problem) if limit else pencil_of(problem, problem.ridge)
    x_max = largest_eigenvalue_bound(problem)
    bounds = (jnp.asarray(x_max), jnp.asarray(_SMALLEST_CUT * x_max))
    x, gap, cut = _cuts(equations, parameters, ranks, bounds, max(100, problem.dy))
    m = len(ranks)
    values, density = np.asarray(cut.values)[:m], np.asarray(cut.density)[:m]
    slopes = np.where(gap[:, None], 0.0, density / np.where(gap, 1.0, density[:, 0])[:, None])
    values = values + slopes * (ranks - values[:, 0])[:, None]
    raw = problem.pretrained_risk + values[:, 1] - 2 * values[:, 2]
    if not correction:
        return raw, raw, gap, values
    delta = _correction(problem, limit, x, bounds[0])[:m]
    delta = delta - slopes * delta[:, :1]
    return raw, raw + delta[:, 1] - 2 * delta[:, 2], gap, values


def _cuts(
    equations: dyson.Equations, parameters: Any, ranks: np.ndarray, bounds: tuple[Array, Array], outputs: int
) -> tuple[np.ndarray, np.ndarray, dyson.Cut]:
    """Cuts (padded), whether each lies in a spectral gap, and what lies above them.

    Where the density at a rank is low there may be a gap: its two edges are found, and the cut moves halfway.
    """
    half_step = _HALF_STEP_PER_OUTPUT * outputs
    asked, tolerance = _padded(ranks), jnp.asarray(half_step / 5)
    cut = dyson.find_cuts(equations, parameters, jnp.asarray(asked), *bounds, tolerance)
    _require_solved(cut, asked, asked, half_step)
    x, gap = np.array(cut.x), np.zeros(len(asked), dtype=bool)
    sparse = np.flatnonzero(np.asarray(cut.density)[: len(ranks), 0] < _LOW_DENSITY_PER_OUTPUT * outputs)
    if sparse.size:
        near = _padded(ranks[sparse])
        sides = []
        for targets in (near + half_step, near - half_step):
            edge = dyson.find_cuts(equations, parameters, jnp.asarray(targets), *bounds, tolerance)
            _require_solved(edge, targets, near, half_step, _RESIDUAL_AT_EDGE)
            sides.append(np.asarray(edge.x)[: sparse.size])
        left, right = sides
        gap[sparse] = right / left > _GAP_RATIO
        x[sparse] = np.where(gap[sparse], np.sqrt(left * right), x[sparse])
        x[len(ranks) :] = x[len(ranks) - 1]
        cut = _evaluate(equations, parameters, jnp.asarray(x), bounds[0])
        _require_solved(cut, asked, asked, half_step)
    return x, gap[: len(ranks)], cut


_evaluate = jax.jit(dyson.evaluate, static_argnums=0)


def _correction(problem: Problem, limit: bool, x: np.ndarray, x_max: Array) -> np.ndarray:
    """delta N, delta T1, delta T2 at the cuts; in the ridgeless limit by polynomial extrapolation to ridge 0."""
    if not limit:
        return _correction_at(problem, problem.ridge, x, x_max)
    ridges = np.array(_EXTRAPOLATION) * problem.smallest_variance * (np.sqrt(problem.dx) - np.sqrt(problem.n)) ** 2
    weights = [np.prod([other / (other - ridge) for other in ridges if other != ridge]) for ridge in ridges]
    at_ridges = np.stack([_correction_at(problem, ridge, x, x_max) for ridge in ridges])
    return np.tensordot(np.array(weights), at_ridges, axes=1)


def _correction_at(problem: Problem, ridge: float, x: np.ndarray, x_max: Array) -> np.ndarray:
    delta, residual = (np.asarray(part) for part in _corrections(pencil_of(problem, ridge), jnp.asarray(x), x_max))
    if not np.max(residual) <= _RESIDUAL:
        raise NumericalFailure(
            f"equivalent: expected a residual below {_RESIDUAL:g} in the correction, received {np.max(residual):.3g} "
            f"at cut {x[np.argmax(residual)]:.6g}, ridge {ridge:.3g}; use correction=False"
        )
    return delta


@dyson.relaxed
@jax.jit
def _corrections(
    parameters: pencil.Pencil, x: Float[Array, "m"], x_max: Float[Array, ""]
) -> tuple[Float[Array, "m 3"], Float[Array, "m"]]:
    def node(z: Array, state: Array) -> Array:
        return pencil.weigh(parameters, pencil.correction(parameters, z, state))

    def one(x: Array) -> tuple[Array, Array]:
        z, weights = dyson.contour(x, x_max)
        states, residual = dyson.solve_on_contour(pencil.EQUATIONS, parameters, z)
        return dyson.integrate(weights, jax.vmap(node)(z, states)), jnp.max(residual)

    return jax.lax.map(one, x, batch_size=dyson.cuts_at_once(parameters))


def _rank_of_full_fit(problem: Problem) -> int:
    """The rank at which LoRA is FFT: min(n, dx, dy), or rank(Delta) if that is less and there is no noise."""
    if problem.noise_trace > 0:
        return problem.max_rank
    return min(problem.max_rank, int(np.count_nonzero(np.asarray(problem.spectrum))))


def _can_be_corrected(problem: Problem) -> bool:
    if problem.regime is Regime.OVERDETERMINED:
        return True
    return modes(problem) is not None or problem.dx + problem.dy <= _LARGEST_FULL_BLOCK


def _nothing() -> tuple[np.ndarray, ...]:
    return np.empty(0), np.empty(0), np.empty(0, dtype=bool), np.empty((0, 3))


def _padded(ranks: np.ndarray) -> np.ndarray:
    """Ranks padded to a multiple of 8 by repeating the last: fewer shapes, fewer compilations."""
    return np.pad(ranks.astype(float), (0, -len(ranks) % 8), mode="edge")


def _require_solved(
    cut: dyson.Cut, targets: np.ndarray, ranks: np.ndarray, half_step: float, residual_bound: float = _RESIDUAL
) -> None:
    residual, branch = np.asarray(cut.residual), np.asarray(cut.branch)
    for i in np.flatnonzero(~(residual <= residual_bound) | ~branch):
        raise NumericalFailure(
            f"equivalent: expected a residual below {residual_bound:g} on the branch of the resolvent, received "
            f"{residual[i]:.3g} (branch {'right' if branch[i] else 'wrong'}) at rank {ranks[i]:.0f}, cut {cut.x[i]:.6g}"
        )
    error = np.abs(np.asarray(cut.values)[:, 0] - targets)
    for i in np.flatnonzero(~(error <= half_step)):
        raise NumericalFailure(
            f"equivalent: expected a cut that keeps {targets[i]:.5f} directions, received one {error[i]:.3g} off at "
            f"{cut.x[i]:.6g}; the direction may be too weak to resolve: drop rank {ranks[i]:.0f}"
        )
