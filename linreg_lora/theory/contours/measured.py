"""What is measured of a problem at each rank, from which its functionals are put together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.theory.contours.corrected import Equations
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.solver import States
from linreg_lora.theory.contours.traced import Traced

#: The fewest directions between two cuts from which a curvature is taken.
_LEAST_APART = 0.05
#: Of the raw density, what the corrected one must be.
_HALVED = 0.5
#: Of the density at a cut: what is seen of it outside of the spectrum.
_OUTSIDE_BAND = 1e-3


class Side(NamedTuple):
    """Cuts next to those of the ranks: directions above each, and densities, -d / d log x, of what lies above.

    A side that lies on a gap, or is not known, has the densities of the cut itself, and no directions between.
    """

    count: Float[np.ndarray, "m"]  # pyright: ignore[reportIncompatibleMethodOverride]
    density: Float[np.ndarray, "m 8"]


class Measured(NamedTuple):
    """One row a rank: N, T1, T2, T3, and what the correction adds to them, in this order.

    `count` directions lie above the cut, with the `density` there, -d / d log x of the first four. `width`: of the gap
    around it, in log x, 0 where there is none. `values` and `delta` lie above it. `known`: where the cut with N + delta
    N = rank is, above which `more` lies. `sides`: half a direction above and below the cut, and there how many
    directions lie above it before gaps gave way; none without a correction.
    """

    ranks: Float[np.ndarray, "m"]
    count: Float[np.ndarray, "m"]  # pyright: ignore[reportIncompatibleMethodOverride]
    density: Float[np.ndarray, "m 4"]
    width: Float[np.ndarray, "m"]
    values: Float[np.ndarray, "m 4"]
    delta: Float[np.ndarray, "m 4"]
    known: Bool[np.ndarray, "m"]
    more: Float[np.ndarray, "m 8"]
    sides: tuple[Side, Side] | None
    spread: Float[np.ndarray, "m"]
    failures: dict[int, str]

    @property
    def slopes(self) -> Float[np.ndarray, "m 4"]:
        """dT / dN at the cuts, 0 on a gap."""
        return slopes_of(self.density, self.width)

    @property
    def curvature(self) -> Float[np.ndarray, "m 4"]:
        """`curvature_of` the sides, 0 on a gap."""
        return np.zeros((len(self.ranks), 4)) if self.sides is None else curvature_of(self.sides, self.width)


def from_traced(traced: Traced) -> Measured:
    """What contours found."""
    found, above, way = traced.found, traced.above, traced.way
    sides, spread = None, np.ones(len(traced.ranks))
    if traced.equations.shares:
        sides = sides_of(traced.equations, found.cut, found.around)
        spread = found.around[1].count - found.around[0].count
    return Measured(
        traced.ranks, found.cut.count, found.cut.density, found.width, above.values, above.delta, way.known, way.more,
        sides, spread, traced.failures,
    )  # fmt: skip


def sides_of(equations: Equations, cut: Points, around: tuple[Points, ...]) -> tuple[Side, Side]:
    """The sides of cuts that have states."""
    above, below = (_side(equations, cut, side) for side in around)
    return above, below


def _side(equations: Equations, cut: Points, side: Points) -> Side:
    own = is_outside(side.density[:, 0], cut.density[:, 0]) | ~side.solved
    at = Points(*(np.where(own.reshape(-1, *[1] * (part.ndim - 1)), ours, part) for part, ours in zip(side, cut, strict=True)))  # fmt: skip  # noqa: E501
    states = States(at.state.T, at.slope.T, np.zeros(len(at.x)), at.solved.copy())
    return Side(at.count, (at.x * np.imag(equations.integrand(at.z, states)) / np.pi).T)


def is_outside(density: Float[np.ndarray, "m"], at_cut: Float[np.ndarray, "m"]) -> Bool[np.ndarray, "m"]:
    """Whether densities of directions are those of a gap, next to what they are at the cuts."""
    return density <= _OUTSIDE_BAND * at_cut


def slopes_of(density: Float[np.ndarray, "m 4"], width: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m 4"]:
    """dT / dN at cuts, 0 on a gap."""
    gap = width > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap[:, None], 0.0, density / np.where(gap, 1.0, density[:, 0])[:, None])


def curvature_of(sides: tuple[Side, Side], width: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m 4"]:
    """d^2 T / dN^2 of the corrected functionals, from the slopes dT / dN to both sides of cuts.

    0 on a gap, inf where the sides are not apart.
    """
    slopes = []
    for side in sides:
        raw, corrected = side.density[:, :4], side.density[:, :4] + side.density[:, 4:]
        # Next to an edge the first order of the density is no correction: there the density itself is used.
        density = np.where(corrected[:, :1] > _HALVED * raw[:, :1], corrected, raw)
        slopes.append(density / np.where(density[:, :1] > 0, density[:, :1], 1.0))
    above, below = sides
    apart = (below.count - above.count)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = np.where(apart > _LEAST_APART, (slopes[1] - slopes[0]) / apart, np.inf)
    return np.where(width[:, None] > 0, 0.0, curvature)
