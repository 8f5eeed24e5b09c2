"""The correction as a weighted sum over equations, at points: one for problems with ridge, two around none.

In the limit of no ridge for n < dx the equation of `pencil` is singular, and so is its correction. It is regular in
scaled unknowns (`PencilEquation`), beyond a ridge of zero too, where the energy's part A / eta + B + C eta + ... has
its B as the mean of two ridges.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.problem import Problem, Regime
from linreg_lora.theory.contours.correction import correction as correction_at
from linreg_lora.theory.contours.correction import moved as moved_at
from linreg_lora.theory.contours.modes import Pretraining
from linreg_lora.theory.contours.modes import pencil as pencil_of
from linreg_lora.theory.contours.modes import ridgeless as ridgeless_of
from linreg_lora.theory.contours.pencil import PencilEquation
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.ridgeless import RidgelessEquation
from linreg_lora.theory.contours.solver import Solver, States, newton, relative_size
from linreg_lora.theory.contours.threshold import Threshold
from linreg_lora.theory.effective import input_variances, lower_edge, toward_no_ridge
from linreg_lora.theory.fft import hard_edge

#: Ridges around none, as a share of the radius of convergence.
_STEP = 1e-4
#: How far states at negative ridges are from those without, relatively.
_NEAR_LIMIT = 0.5


class Share(NamedTuple):
    """A part of the correction: its weight, the equation at a ridge, and guesses of its states (z, states) -> w."""

    weight: float
    solver: Solver
    guess: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def states(self, z: np.ndarray, w: np.ndarray) -> States:
        """The states, from those of the raw equation. Past eta = 0 none is proper: they must stay near the guess."""
        link, guess = _pencil(self.solver).link, self.guess(z, w)
        each = np.ndim(link) > 0
        if not each and np.imag(link) == 0:
            return self.solver(z, guess)
        found = newton(self.solver.equation, z, guess, together=each)
        return found._replace(proper=relative_size(found.w - guess, guess) < _NEAR_LIMIT)


def shares_of(
    problem: Problem,
    solver: Solver,
    pretraining: Pretraining,
    *,
    one_sided: bool = False,
    closer: float | Float[np.ndarray, "p"] = 1.0,
) -> list[Share]:
    """Equations of which the correction is a weighted sum.

    In the limit of no ridge delta T1 = A / eta + B + C eta + ..., where A does not depend on z. B is the mean
    at two ridges h and -h, a share of the radius of convergence: off by h^2, and by rounding over h. Next to an edge
    beyond which there is no solution at negative ridges, it is extrapolated from four positive ones. Edges move with
    the ridge: the nearer to one a point is, the `closer` to none its two ridges have to be, and a pole there is known
    the better for it that it is large.
    """
    limit = solver.equation
    if not isinstance(limit, RidgelessEquation):
        return [Share(1.0, solver, lambda _, w: w)]
    if one_sided:
        ridges, weights = toward_no_ridge(problem)
    else:
        step = _STEP * lower_edge(input_variances(problem), problem.n) * closer
        ridges, weights = [step, -step], np.full(2, 0.5)
    pencil = pencil_of(problem, 1.0, pretraining)
    links = [(weight, np.sqrt(ridge + 0j)) for ridge, weight in zip(ridges, weights.tolist(), strict=True)]
    return [
        Share(weight, Solver(PencilEquation(pencil, link)), functools.partial(limit.linked, link=link))
        for weight, link in links
    ]


class Equations(NamedTuple):
    """The raw equation of a problem, and what its correction is made of: `shares`, none without one, and `near`."""

    solver: Solver
    shares: list[Share]
    near: Threshold | None

    def integrand(self, z: np.ndarray, states: States) -> np.ndarray:
        """The four traces, and what the correction adds to them."""
        parts = [self.solver.equation.traces(z, states.w)]
        for place, share in enumerate(self.shares):
            at = states if share.solver is self.solver else share.states(z, states.w)
            states.proper[~at.solved] = False
            delta = share.weight * correction_at(_pencil(share.solver), z, at.w)
            parts = [parts[0], delta if place == 0 else parts[1] + delta]
        if self.near is not None:
            parts[1] -= self.near(self.solver.equation, z, states, parts[1][0])
        return np.concatenate(parts)

    def moved(self, at: Points) -> tuple[np.ndarray, np.ndarray]:
        """delta N at real points, up to halves, and its density -d delta N / d log x."""
        both = [_moved(_pencil(share.solver), at, self._known(share, at.z, at.state.T)) for share in self.shares]
        weights = np.array([share.weight for share in self.shares])
        return self._mean([count for count, _ in both]), weights @ np.stack([density for _, density in both])

    def moved_inside(self, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        """delta N at points of bands, up to halves."""
        return self._mean([moved_at(_pencil(share.solver), z, self._known(share, z, w)) for share in self.shares])

    def _known(self, share: Share, z: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The unknowns of a share, which are those of the raw equation if it is that itself."""
        return w if share.solver is self.solver else share.states(z, w).w

    def _mean(self, each: list[np.ndarray]) -> np.ndarray:
        counts = np.stack(each)
        counts += np.round(2 * (counts[0] - counts)) / 2
        return np.array([share.weight for share in self.shares]) @ counts


def equations_of(problem: Problem, pretraining: Pretraining, *, correction: bool, one_sided: bool = False) -> Equations:
    """The equations of a problem whose inputs have full rank; `one_sided` as in `shares_of`."""
    solver = solver_of(problem, pretraining)
    if not correction:
        return Equations(solver, [], None)
    shares = shares_of(problem, solver, pretraining, one_sided=one_sided)
    return Equations(solver, shares, threshold_of(problem, pretraining))


def threshold_of(problem: Problem, pretraining: Pretraining) -> Threshold | None:
    """What the correction misses of the weakest inputs, where that is known."""
    problem.require_gaussian("the deterministic equivalent")
    if not hard_edge(problem):
        return None
    (part,) = pencil_of(problem, 1.0, pretraining).parts
    # Their directions are random: they forget on Sigma_pre what they cost on Sigma, in the ratio of the traces.
    ratio = np.sum(part.copies * part.pretraining) / np.sum(part.copies * part.inputs)
    return Threshold(problem, float(ratio))


def _moved(equation: PencilEquation, ends: Points, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """delta N at real points, up to halves, from just above them to first order, and -d delta N / d log x."""
    trace = correction_at(equation, ends.z, w)[0]
    return moved_at(equation, ends.z, w) + np.imag(ends.z) * np.real(trace) / np.pi, ends.x * np.imag(trace) / np.pi


def _pencil(solver: Solver) -> PencilEquation:
    assert isinstance(solver.equation, PencilEquation)
    return solver.equation


def _is_limit(problem: Problem) -> bool:
    return problem.ridge == 0 and problem.regime is Regime.UNDERDETERMINED


def solver_of(problem: Problem, pretraining: Pretraining) -> Solver:
    problem.require_gaussian("the deterministic equivalent")
    if _is_limit(problem):
        return Solver(RidgelessEquation(ridgeless_of(problem, pretraining)))
    return Solver(PencilEquation(pencil_of(problem, problem.ridge, pretraining)))
