"""What LoRA keeps, learns and forgets at each rank: the functionals of which its risk is made.

With F = D_FFT X and h the indicator of eigenvalues of F F^T above a cut x, LoRA keeps the directions h selects. The
blocks of M^{-1} (`pencil`) are (M^{-1})_11 = -Q, (M^{-1})_01 = D^T Q, (M^{-1})_00 = (X X^T + eta)^{-1} - D^T Q D, where
Q = (F F^T - z)^{-1} and D = D_FFT, so that contour integrals of four traces of G give

    N(x)  = number of kept directions                g = -Tr G_11
    T1(x) = E Tr Sigma D^T h D                        g = -Tr(Sigma G_00)
    T2(x) = E Tr h D Sigma Delta^T                    g = Tr(Delta Sigma G_01)
    T3(x) = E Tr Sigma_pre D^T h D                    g = -Tr(Sigma_pre G_00)

at the cut x_r with N(x_r) = r. At first order in the dimension the correction adds the same functionals of delta G and
moves the cut so that N + delta N = r: minus (dT / dN) delta N, which vanishes on a spectral gap.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from linreg_lora import runtime
from linreg_lora.errors import NumericalFailure
from linreg_lora.problem import Problem, Regime
from linreg_lora.theory import dyson, pencil, ridgeless
from linreg_lora.theory.cuts import Cuts, Evaluate, find_cuts
from linreg_lora.theory.modes import Pretraining, largest_eigenvalue_bound
from linreg_lora.theory.modes import pencil as pencil_of
from linreg_lora.theory.modes import ridgeless as ridgeless_of

#: How well a cut must keep its number of directions, per output: contour integrals are accurate to some 1e-9 dy.
_COUNT_PER_OUTPUT = 2e-8
_RESIDUAL = 1e-9
#: Cuts, as shares of the bound on the spectrum: the least that is tried, and how far below zero FFT's contour reaches.
_SMALLEST_CUT, _OUTSIDE = 1e-13, 0.1
#: Ridges, as shares of the smallest eigenvalue of X^T X, from which the ridgeless correction is extrapolated.
_EXTRAPOLATION = (0.08, 0.04, 0.02, 0.01)


class Functionals(NamedTuple):
    """N, T1, T2 and T3, one row a rank: `raw`, and the finite-size `correction` to add.

    `gap`: the width of the spectral gap that separates a rank from the next, in log x; 0 where there is none.
    """

    raw: Float[np.ndarray, "m 4"]
    correction: Float[np.ndarray, "m 4"]
    gap: Float[np.ndarray, "m"]


def functionals(
    problem: Problem, ranks: Float[np.ndarray, "m"], *, correction: bool, pretraining: Pretraining = None
) -> Functionals:
    """The functionals at ranks strictly between 0 and full rank, for inputs of full rank.

    `pretraining` is Sigma_pre (None: identity). Without `correction` that part is zero. For n < dx without ridge the
    analytic limit eta -> 0 is used; its correction is extrapolated to eta = 0. Raises `NumericalFailure` where a
    self-consistent equation or a cut was not solved.
    """
    if not len(ranks):
        return Functionals(np.empty((0, 4)), np.empty((0, 4)), np.empty(0))
    evaluate, x_max = _evaluator(problem, pretraining)
    outputs = max(100, problem.dy)
    with runtime.exclusive_device():
        found = find_cuts(evaluate, ranks, _SMALLEST_CUT * x_max, x_max, outputs, _COUNT_PER_OUTPUT * outputs)
        _require_solved(found, ranks, _COUNT_PER_OUTPUT * outputs)
        delta = _correction(problem, found.cut.x, x_max, pretraining) if correction else np.zeros((len(ranks), 4))
    gap, density = found.width > 0, found.cut.density
    slopes = np.where(gap[:, None], 0.0, density / np.where(gap, 1.0, density[:, 0])[:, None])
    raw = found.cut.values + slopes * (ranks - found.cut.values[:, 0])[:, None]
    return Functionals(raw, delta - slopes * delta[:, :1], found.width)


def of_fft(problem: Problem, *, correction: bool, pretraining: Pretraining = None) -> Functionals:
    """The functionals of FFT itself, one row: a contour around the whole spectrum, zero included."""
    evaluate, x_max = _evaluator(problem, pretraining)
    x = np.array([-_OUTSIDE * x_max])
    with runtime.exclusive_device():
        cut = evaluate(x, np.array([x_max]))
        _require_solved(Cuts(cut, np.full(1, np.inf)), cut.values[:, 0], 1.0)
        delta = _correction(problem, x, x_max, pretraining) if correction else np.zeros((1, 4))
    return Functionals(cut.values, delta, np.full(1, np.inf))


def _evaluator(problem: Problem, pretraining: Pretraining) -> tuple[Evaluate, float]:
    limit = _is_limit(problem)
    equations = ridgeless.EQUATIONS if limit else pencil.EQUATIONS
    parameters = ridgeless_of(problem, pretraining) if limit else pencil_of(problem, problem.ridge, pretraining)
    x_max = largest_eigenvalue_bound(problem)
    return functools.partial(dyson.evaluate, equations, parameters), x_max


def _is_limit(problem: Problem) -> bool:
    return problem.ridge == 0 and problem.regime is Regime.UNDERDETERMINED


def _correction(problem: Problem, x: np.ndarray, x_max: float, pretraining: Pretraining) -> np.ndarray:
    """The functionals of delta G at the cuts; in the ridgeless limit by polynomial extrapolation to ridge 0."""
    if not _is_limit(problem):
        return _correction_at(problem, problem.ridge, x, x_max, pretraining)
    ridges = np.array(_EXTRAPOLATION) * problem.smallest_variance * (np.sqrt(problem.dx) - np.sqrt(problem.n)) ** 2
    weights = [np.prod([other / (other - ridge) for other in ridges if other != ridge]) for ridge in ridges]
    at_ridges = np.stack([_correction_at(problem, ridge, x, x_max, pretraining) for ridge in ridges])
    return np.tensordot(np.array(weights), at_ridges, axes=1)


def _correction_at(problem: Problem, ridge: float, x: np.ndarray, x_max: float, pretraining: Pretraining) -> np.ndarray:
    parameters = pencil_of(problem, ridge, pretraining)
    delta, residual, branch = dyson.on_cuts(_corrections, pencil.EQUATIONS, parameters, x, np.full(len(x), x_max))
    for i in np.flatnonzero(~(residual <= _RESIDUAL) | ~branch):
        raise NumericalFailure(
            f"equivalent: expected a residual below {_RESIDUAL:g} on the branch of the resolvent in the correction, "
            f"received {residual[i]:.3g} (branch {'right' if branch[i] else 'wrong'}) at cut {x[i]:.6g}, ridge "
            f"{ridge:.3g}; use correction=False"
        )
    return delta


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


def _require_solved(found: Cuts, ranks: np.ndarray, tolerance: float) -> None:
    cut = found.cut
    for i in np.flatnonzero(~(cut.residual <= _RESIDUAL) | ~cut.branch):
        raise NumericalFailure(
            f"equivalent: expected a residual below {_RESIDUAL:g} on the branch of the resolvent, received "
            f"{cut.residual[i]:.3g} (branch {'right' if cut.branch[i] else 'wrong'}) at rank {ranks[i]:.0f}, cut "
            f"{cut.x[i]:.6g}"
        )
    error = np.abs(cut.values[:, 0] - ranks)
    for i in np.flatnonzero(~(error <= 5 * tolerance)):
        raise NumericalFailure(
            f"equivalent: expected a cut that keeps {ranks[i]:.0f} directions, received one {error[i]:.3g} off at "
            f"{cut.x[i]:.6g}; the direction may be too weak to resolve: drop rank {ranks[i]:.0f}"
        )
