"""The bands of a problem without ridge, and what lies in and between them, certified by whole numbers of directions."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.problem import Problem
from linreg_lora.theory.bands.between import Atom, atoms
from linreg_lora.theory.bands.edges import edges_of
from linreg_lora.theory.bands.integrals import Band, band, tail_of
from linreg_lora.theory.bands.nodes import Scale, Series, midpoints, newton, scale_of, solve
from linreg_lora.theory.bands.rational import Curve, curve_of
from linreg_lora.theory.contours.corrected import Equations, equations_of, shares_of
from linreg_lora.theory.contours.modes import Pretraining
from linreg_lora.theory.contours.solver import States

#: More poles than this make so many bands, or such that nearly touch, that contours are faster.
_MOST_POLES = 24
#: How near bands come to whole numbers of directions.
WHOLE = 1e-7
#: What may be left of the series of the densities.
_TAIL, _MOST_NODES = 1e-9, 1024


class Equation(NamedTuple):
    """The equations of a problem, and the curve that solves them."""

    problem: Problem
    pretraining: Pretraining
    equations: Equations
    curve: Curve

    @property
    def columns(self) -> int:
        """Four traces, and what a correction adds to them."""
        return 8 if self.equations.shares else 4

    def at(self, theta: np.ndarray) -> Equations:
        """The equations at points theta of a band, where those of a limit are as close to it as edges ask for."""
        equations = self.equations
        if len(equations.shares) < 2:
            return equations
        shares = shares_of(self.problem, equations.solver, self.pretraining, closer=np.sin(theta) ** 2)
        return equations._replace(shares=shares)

    def states(self, zeta: np.ndarray, z: np.ndarray) -> States:
        """The states at z, from a zeta near theirs."""
        w, slope = self.curve.unknowns(newton(self.curve, zeta, z))
        return States(w, slope, np.zeros(len(z)), self.equations.solver.equation.proper(w))


class Spectrum(NamedTuple):
    """Bands from the top, and the atoms in the gap above each."""

    equation: Equation
    bands: list[Band]
    atoms: list[list[Atom]]

    def at(self, x: Float[np.ndarray, "p"]) -> tuple[np.ndarray, np.ndarray]:
        """What bands hold above points, and densities, -d / d log x, (p columns) each; on gaps these are zero."""
        values, density = np.zeros((2, len(x), self.equation.columns))
        for part in self.bands:
            top, bottom = part.scale.z(np.array([0.0, np.pi]))
            inside, below = (x <= top) & (x > bottom), x <= bottom
            values[below] = part.above + part.whole
            if np.any(inside):
                theta = part.scale.theta(x[inside])
                found = part.at(theta)
                values[inside] = found.values
                density[inside] = (x[inside] / part.scale.slope(theta))[:, None] * found.slope
        return values, density


def spectrum_of(problem: Problem, pretraining: Pretraining, *, correction: bool) -> Spectrum | None:
    """The bands of a problem; None if its equation is no curve, or if one is not resolved."""
    equations = equations_of(problem, pretraining, correction=correction)
    noise = problem.noise_std**2 * (problem.isotropic_noise_scale or 0.0)
    curve = curve_of(equations.solver.equation, problem.dx, noise)
    if curve is None or len(curve.poles) > _MOST_POLES:
        return None
    edges = edges_of(curve)
    scale = scale_of(edges)
    solved = solve(curve, edges, scale) if len(edges.top) else None
    if solved is None:
        return None
    equation = Equation(problem, pretraining, equations, curve)
    traces = _traces(equation, scale, solved)
    if traces is None:
        return None
    bands, above, between = [], np.zeros(equation.columns), atoms(curve, equations, edges)
    for place, (zeta, outliers) in enumerate(zip(solved, between, strict=True)):
        above = above + np.sum([outlier.masses for outlier in outliers], axis=0)
        bands.append(band(scale.row(place), zeta, traces[place], above))
        above = above + bands[-1].whole
        if abs(above[0] - np.round(above[0])) > WHOLE:
            return None
    return Spectrum(equation, bands, between) if abs(above[0] - curve.total) <= WHOLE else None


def _traces(equation: Equation, scale: Scale, solved: list[Series]) -> list[np.ndarray] | None:
    """The traces of every band at midpoints, as many as their series need."""
    nodes = [len(zeta.cosines) for zeta in solved]
    found: list[np.ndarray | None] = [None] * len(solved)
    todo = list(range(len(solved)))
    while max(nodes) <= _MOST_NODES:
        theta = [midpoints(nodes[place]) for place in todo]
        z = np.concatenate([scale.row(place).z(at) for place, at in zip(todo, theta, strict=True)]) + 0j
        zeta = np.concatenate([solved[place](at) for place, at in zip(todo, theta, strict=True)])
        states = equation.states(zeta, z)
        if not np.all(states.proper):
            return None
        traces = equation.at(np.concatenate(theta)).integrand(z, states)
        parts = np.split(traces, np.cumsum([nodes[place] for place in todo])[:-1], axis=1)
        left = []
        for place, part in zip(todo, parts, strict=True):
            found[place] = part
            if tail_of(scale.row(place), part) > _TAIL:
                left.append(place)
        if not left:
            return [part for part in found if part is not None]
        todo = left
        for place in todo:
            nodes[place] *= 2
    return None
