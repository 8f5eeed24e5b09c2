"""How the functionals move with a parameter of the problem, by implicit differentiation.

Let theta be a parameter. States move as their equation w = image(z, w; theta) says, at fixed z

    d w / d theta = (1 - d image / d w)^{-1} d image / d theta,

which moves the traces, and so the integrals above a fixed cut x. With N the (corrected) number of directions above x,
rho_N and rho_T what N and T lose per unit of log x, the cut at which N is the rank moves by

    d log x / d theta = (d N / d theta) / rho_N,      d T_r / d theta = d T / d theta - (rho_T / rho_N) d N / d theta,

where both are derivatives at fixed x; on a gap the cut may stay. Contours, cuts, and which rule holds at which rank are
those of the problem itself. Derivatives of explicit functions, along the tangents, are central differences between two
problems a small `step` of theta to either side.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from linreg_lora.problem import Problem
from linreg_lora.theory.contours import paths, points
from linreg_lora.theory.contours.corrected import Equations, equations_of
from linreg_lora.theory.contours.cuts import Cuts, half_apart
from linreg_lora.theory.contours.edges import number_variance
from linreg_lora.theory.contours.functionals import Functionals
from linreg_lora.theory.contours.measured import curvature_of, sides_of, slopes_of
from linreg_lora.theory.contours.paths import Nodes
from linreg_lora.theory.contours.pencil import Equation
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.solver import States, solve_small
from linreg_lora.theory.contours.traced import Traced
from linreg_lora.theory.fft import pole_factor


class Sides(NamedTuple):
    """The problem at theta + `step` and at theta - `step`."""

    plus: Problem
    minus: Problem
    step: float


class _Moved(NamedTuple):
    """The equations at theta + `by`."""

    problem: Problem
    equations: Equations
    by: float


class Tangents:
    """Derivatives of the functionals of one problem; each call is for one parameter."""

    def __init__(self, problem: Problem, traced: Traced, found: Functionals) -> None:
        self.problem, self.traced, self.found = problem, traced, found
        self.one_sided = len(traced.equations.shares) > 2
        equation, way = traced.equations.solver.equation, traced.way.integrals
        self.above = [_Linear(equation, at) for at in traced.above.integrals.nodes if at.rows.size]
        self.way = [_Linear(equation, at) for at in (() if way is None else way.nodes) if at.rows.size]

    def __call__(self, sides: Sides) -> Float[np.ndarray, "m 4"]:
        """d (raw + correction) / d theta, one row a rank; nan where the functionals are."""
        correction = bool(self.traced.equations.shares)
        both = tuple(
            _Moved(problem, equations_of(problem, None, correction=correction, one_sided=self.one_sided), by)
            for problem, by in ((sides.plus, sides.step), (sides.minus, -sides.step))
        )
        traced, cut = self.traced, self.traced.found.cut
        above = self._integrals(self.above, len(traced.above.integrals.values), both)
        fixed = np.cumsum(above, axis=0)[traced.above.ends]
        count = _slope(both, lambda side: _counts(side, cut, traced.equations))
        gap = traced.found.width > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.where(gap, 0.0, count[0] / cut.density[:, 0])
        if not correction:
            return self._checked(fixed[:, :4] - cut.density * log_x[:, None])
        pole = pole_factor(self.problem)
        pole_slope = (pole_factor(sides.plus) - pole_factor(sides.minus)) / (2 * sides.step)
        delta = traced.above.delta + np.where(traced.way.known[:, None], traced.way.more[:, 4:], 0.0)
        moved = self._to_shifted(fixed, both, pole) + pole_slope * delta
        linear = self._linear(fixed, count, log_x, both, pole, pole_slope)
        found = np.where(gap[:, None] | traced.way.known[:, None], moved, linear)
        rows = self.found.sharpened
        if np.any(rows):
            slope = _slope(both, lambda side: _curvature(side.equations, self._cuts(side, log_x)))
            found[rows] += (number_variance(traced.ranks[rows] - self.found.separate) / 2)[:, None] * slope[rows]
        return self._checked(found)

    def _checked(self, found: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "m 4"]:
        found[list(self.traced.failures)] = np.nan
        return found

    @staticmethod
    def _integrals(parts: list["_Linear"], rows: int, both: tuple[_Moved, ...]) -> Float[np.ndarray, "rows 8"]:
        """d / d theta of integrals between fixed ends."""
        found = np.zeros((rows, 8))
        for part in parts:
            integrals = paths.integrated(_slope(both, part.traces), part.nodes.weights).T
            found[part.nodes.rows, : integrals.shape[1]] = integrals
        return found

    def _to_shifted(self, fixed: np.ndarray, both: tuple[_Moved, ...], pole: float) -> Float[np.ndarray, "m 4"]:
        """At cuts where N + delta N is the rank; on gaps, where none moves, what lies above."""
        way, cut = self.traced.way, self.traced.found.cut
        fixed, at = fixed.copy(), Points(*(part.copy() for part in cut))
        if way.to is not None and way.integrals is not None:
            fixed[way.rows] -= self._integrals(self.way, len(way.rows), both)
            for part, new in zip(at, way.to, strict=True):
                part[way.rows] = new
        equations = self.traced.equations
        count = np.sum(_slope(both, lambda side: _counts(side, at, equations)), axis=0)
        density = _densities(equations, at)
        total = fixed[:, :4] + pole * fixed[:, 4:]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_x = np.where(self.traced.found.width > 0, 0.0, count / (density[:, 0] + density[:, 4]))
        return total - (density[:, :4] + pole * density[:, 4:]) * log_x[:, None]

    def _linear(
        self, fixed: np.ndarray, count: np.ndarray, log_x: np.ndarray, both: tuple[_Moved, ...], pole: float,
        pole_slope: float,
    ) -> Float[np.ndarray, "m 4"]:  # fmt: skip
        """Where the cut was moved by -delta N / (dN / dx): T + pole (delta T - (dT / dN) delta N) at the raw cut."""
        found, delta = self.traced.found, self.traced.above.delta
        density, slopes, moved = _densities(self.traced.equations, found.cut), _slopes(found), delta[:, :1]
        at_cut = fixed - density * log_x[:, None]
        along = _slope(both, lambda side: _slopes(self._cuts(side, log_x)))
        corrected = at_cut[:, 4:] - slopes * at_cut[:, 4:5] - along * moved
        return at_cut[:, :4] + pole * corrected + pole_slope * (delta - slopes * moved)

    def _cuts(self, side: _Moved, log_x: Float[np.ndarray, "m"]) -> Cuts:
        """The raw cuts, and those around, of a neighbour."""
        found = self.traced.found
        cut = points.evaluate(side.equations.solver, found.cut.x * np.exp(side.by * log_x), found.cut)
        known = found.cut.with_(found.around[0]).with_(found.around[1])

        def evaluate(x: np.ndarray, _: Points) -> Points:
            return points.evaluate(side.equations.solver, x, known)

        return Cuts(cut, found.width, known, half_apart(evaluate, cut, known, np.inf))


def _slopes(found: Cuts) -> Float[np.ndarray, "m 4"]:
    return slopes_of(found.cut.density, found.width)


def _curvature(equations: Equations, found: Cuts) -> Float[np.ndarray, "m 4"]:
    return curvature_of(sides_of(equations, found.cut, found.around), found.width)


class _Linear:
    """Nodes, and the equation linearised at their states."""

    def __init__(self, equation: Equation, nodes: Nodes) -> None:
        self.nodes, self.z = nodes, nodes.z.ravel()
        step = equation.step(self.z, nodes.states.w)
        self.system, self.right, self.slope = step.system, step.right, step.slope

    def traces(self, side: _Moved) -> Complex[np.ndarray, "t p"]:
        """The traces at theta + `by`: states move along tangents, and by one step of Newton's method."""
        states, equation = self.nodes.states, side.equations.solver.equation
        (change,) = solve_small(self.system, equation.step(self.z, states.w).right - self.right)
        w = states.w + change
        at = equation.step(self.z, w)
        more, slope = solve_small(at.system, at.right, at.slope)
        return side.equations.integrand(self.z, States(w + more, slope, states.residual, states.proper.copy()))


def _slope(both: tuple[_Moved, ...], value: Callable[[_Moved], np.ndarray]) -> np.ndarray:
    """d value / d theta, from both sides."""
    plus, minus = both
    return (value(plus) - value(minus)) / (plus.by - minus.by)


def _counts(side: _Moved, at: Points, equations: Equations) -> Float[np.ndarray, "2 m"]:
    """N and delta N of a neighbour at the same x; delta N up to what does not depend on theta."""
    there = points.evaluate(side.equations.solver, at.x, at)
    if not equations.shares:
        return np.stack([there.count, np.zeros_like(there.count)])
    here, moved = equations.moved(at)[0], side.equations.moved(there)[0]
    return np.stack([there.count, moved + np.round(2 * (here - moved)) / 2])


def _densities(equations: Equations, at: Points) -> Float[np.ndarray, "m 8"]:
    """-d / d log x of the values above x, and of what the correction adds to them."""
    states = States(at.state.T, at.slope.T, np.zeros(len(at.x)), at.solved.copy())
    return (at.x * np.imag(equations.integrand(at.z, states)) / np.pi).T
