"""What lies above points of the real axis, in closed form: counts of eigenvalues, densities, and the states there."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from linreg_lora.theory.contours.solver import Solver

#: Points of the real axis are approached from this angle above; counts are corrected for it to first order.
_ANGLE = 1e-10
#: How far down points are followed without patience.
_LEVELS = 3


class Points(NamedTuple):
    """Cuts x in falling order, the directions `count` above each, `density` = -d values / d log x of every trace.

    `state` and `slope`: the unknowns w and dw / dz at z = x + i0. `solved`: whether they are known.
    """

    x: Float[np.ndarray, "p"]
    count: Float[np.ndarray, "p"]  # pyright: ignore[reportIncompatibleMethodOverride]
    density: Float[np.ndarray, "p 4"]
    state: Complex[np.ndarray, "p s"]
    slope: Complex[np.ndarray, "p s"]
    solved: Bool[np.ndarray, "p"]

    @property
    def z(self) -> Complex[np.ndarray, "p"]:
        return above_axis(self.x)

    def at(self, index: np.ndarray | slice) -> "Points":
        return Points(*(part[index] for part in self))

    def with_(self, more: "Points") -> "Points":
        """These points and more, in falling order."""
        x = np.concatenate([self.x, more.x])
        order = np.argsort(-x, kind="stable")
        return Points(*(np.concatenate(parts)[order] for parts in zip(self, more, strict=True)))


def above_axis(x: Float[np.ndarray, "p"]) -> Complex[np.ndarray, "p"]:
    """x + i0."""
    return x * (1 + 1j * _ANGLE)


def evaluate(solver: Solver, x: Float[np.ndarray, "p"], known: Points | None = None, *, patient: bool = True) -> Points:
    """Solve the equation on the real axis, from the nearest of the points that are `known`.

    If not `patient`, points near spectral edges may be left unsolved.
    """
    z, guess = above_axis(x), None
    if known is not None and known.x.size:
        known = known.at(np.argsort(-known.x, kind="stable"))
        place = np.clip(np.searchsorted(-known.x, -x), 1, max(len(known.x) - 1, 1))
        near = place - (x * x > known.x[place - 1] * known.x[np.minimum(place, len(known.x) - 1)])
        near = np.minimum(near, len(known.x) - 1)
        guess = (known.state[near] + known.slope[near] * (z - known.z[near])[:, None]).T
    states, equation = solver(z, guess, *(() if patient else (_LEVELS,))), solver.equation
    with np.errstate(all="ignore"):
        traces = equation.traces(z, states.w)
        count = equation.count(z, states.w) + np.imag(z) * np.real(traces[0]) / np.pi
    density = (x * np.imag(traces) / np.pi).T
    return Points(x, count, density, states.w.T, states.slope.T, states.solved)
