"""From the equation of weighted samples to ranks: cuts, and contour integrals of its traces above them.

    value(x) = -(1/2 pi i) contour integral of g(z) dz around (x, infinity),      N(x_r) = r,

for g = g_N, g_T1 and g_T2 of `weighted`, as in `theory.equivalent`. A cut in a gap is its middle. Where r lies inside
a band the first order moves the cut: T -> T + dT - (dT/dN) dN there. For n < dx without ridge the values at four small
ridges are extrapolated to none: they are analytic in the ridge down to minus the least eigenvalue of X^T X.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from linreg_lora.theory.weighted import Equation, State, corrections, march, solve

#: Gauss-Legendre nodes on the upper half of a contour, clustered at the cut.
_NODES = 64
#: Points of the grid on which cuts are bracketed, over this range of the largest eigenvalue; steps of their search.
_GRID, _RANGE, _STEPS = 96, 1e-7, 60
#: Where the search of a cut ends: its error in N, as a share of what follows, or in log x. A linear step does the rest.
_NEAR, _WIDTH = 0.1, 1e-4
#: N at the two cuts between which there may be a gap, and the ratio of these from which there is one.
_BESIDE, _GAP = 1e-4, 1.01
#: The largest share of a direction that the first order may move over a true gap.
_MOVED = 0.02
#: Numbers that one call of the equation holds: cuts are searched in groups.
_MOST = 2_000_000


class Parts(NamedTuple):
    """(N, T1, T2) at each rank: `raw`, and the `change` by the first order; `slope` dT/dN of T1 - 2 T2, 0 in gaps."""

    raw: Float[np.ndarray, "m 3"]
    change: Float[np.ndarray, "m 3"]
    slope: Float[np.ndarray, "m"]
    gap: Bool[np.ndarray, "m"]
    ranks: Float[np.ndarray, "m"]

    @property
    def risk(self) -> Float[np.ndarray, "m"]:
        """T1 - 2 T2, without the first order."""
        return self.raw[:, 1] - 2 * self.raw[:, 2] - self.slope * (self.raw[:, 0] - self.ranks)

    @property
    def correction(self) -> Float[np.ndarray, "m"]:
        """What the first order adds to it."""
        return self.change[:, 1] - 2 * self.change[:, 2] - self.slope * self.change[:, 0]


def at_ranks(
    equation: Equation,
    right: float,
    ranks: Float[np.ndarray, "m"],
    correction: bool,
    limit: Sequence[tuple[float, float]] = (),
) -> Parts:
    """The parts at `ranks`, of a spectrum that lies below `right`; nan where a cut is not found.

    `limit`: ridges and weights whose sum is taken, at the cuts of the equation's own ridge.
    """
    above, below = np.split(_cuts(equation, right, np.concatenate([ranks + _BESIDE, ranks - _BESIDE])), 2)
    gap = below > _GAP * above
    cuts = np.where(gap, np.sqrt(above * below), (above + below) / 2)
    raw, change = _summed(equation, right, cuts, correction, limit)
    raw[np.abs(raw[:, 0] - ranks) > _MOVED] = np.nan
    density, first, second = (np.imag(trace) for trace in solve(equation, cuts * (1 + 1e-9j)).traces)
    slope = np.where(gap | ~(density > 0), 0.0, (first - 2 * second) / np.where(density > 0, density, 1.0))
    return Parts(raw, change, slope, gap & (np.abs(change[:, 0]) < _MOVED), ranks)


def of_everything(
    equation: Equation, right: float, correction: bool, limit: Sequence[tuple[float, float]] = ()
) -> Parts:
    """The parts of FFT, above no cut."""
    raw, change = _summed(equation, right, np.array([-0.1 * right]), correction, limit)
    return Parts(raw, change, np.zeros(1), np.ones(1, dtype=bool), raw[:, 0])


def _summed(
    equation: Equation, right: float, cuts: np.ndarray, correction: bool, limit: Sequence[tuple[float, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Integrals above the cuts, or the sum of those at each ridge of `limit`."""
    pairs = limit or [(equation.ridge, 1.0)]
    found = [(w, *_integrals(equation._replace(ridge=eta), right, cuts, correction)[:2]) for eta, w in pairs]
    return sum(w * raw for w, raw, _ in found), sum(w * change for w, _, change in found)  # type: ignore[return-value]


def _integrals(
    equation: Equation, right: float, cuts: Float[np.ndarray, "m"], correction: bool, start: np.ndarray | None = None
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 3"], Complex[np.ndarray, "4 m z"]]:
    """Above each cut, in groups of cuts; with the solutions on the contours, which `start` other contours nearby."""
    size = max(1, _MOST // (_NODES * max(len(equation.scales.p), len(equation.modes.copies))))
    parts = []
    for first in range(0, len(cuts), size):
        z, weights = _contour(right, cuts[first : first + size])
        if start is None:
            state = march(equation, z)
        else:
            near = solve(equation, z.ravel(), start[:, first : first + size].reshape(4, -1))
            state = State(near.t.reshape(4, *z.shape), near.traces.reshape(3, *z.shape))

        def integrated(traces: np.ndarray, weights: np.ndarray = weights) -> np.ndarray:
            """-(1/pi) Im of the upper half. What is real and the same at all z has none; at small ridges it is big."""
            shaped = traces.reshape(3, *weights.shape)
            return -np.imag(np.sum((shaped - np.real(shaped[..., -1:])) * weights, axis=2)).T / np.pi

        raw = integrated(state.traces)
        flat = State(state.t.reshape(4, -1), state.traces.reshape(3, -1))
        change = integrated(corrections(equation, z.ravel(), flat)) if correction else np.zeros_like(raw)
        parts.append((raw, change, state.t))
    raw, change, t = zip(*parts, strict=True)
    return np.concatenate(raw), np.concatenate(change), np.concatenate(t, axis=1)


def _contour(right: float, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes on upper half circles through each cut and `right`, and weights dz; dense on every scale from cut to right.

    Angles from the cut: pi t^2 (exp(a t) - 1) / (exp(a) - 1), 0 < t < 1, a = log(right / cut).
    """
    t, weights = np.polynomial.legendre.leggauss(_NODES)
    t, weights = (t + 1) / 2, weights / 2
    a = np.clip(np.log(right / np.where(cuts > 0, cuts, right)), 0.1, 25.0)[:, None]
    angle = np.pi * t**2 * np.expm1(a * t) / np.expm1(a)
    slope = np.pi * (2 * t * np.expm1(a * t) + t**2 * a * np.exp(a * t)) / np.expm1(a)
    turn = np.exp(1j * (np.pi - angle))
    middle, radius = (right + cuts)[:, None] / 2, (right - cuts)[:, None] / 2
    return middle + radius * turn, radius * 1j * slope * weights * turn


def _cuts(equation: Equation, right: float, counts: np.ndarray) -> np.ndarray:
    """x with N(x) = each of `counts`, all together: a grid in log x, then secants that keep their brackets."""
    grid = np.linspace(np.log(_RANGE * right), np.log(0.999 * right), _GRID)
    found, _, states = _integrals(equation, right, np.exp(grid), correction=False)
    known = np.minimum.accumulate(found[:, 0])
    place = np.clip(np.sum(known[None, :] > counts[:, None], axis=1), 1, _GRID - 1)
    state = states[:, place - 1]

    def count(log_x: np.ndarray, which: np.ndarray) -> np.ndarray:
        found, _, state[:, which] = _integrals(equation, right, np.exp(log_x), False, state[:, which])
        return found[:, 0]

    return np.exp(_bracketed(count, counts, grid[place - 1], grid[place], known[place - 1], known[place]))


def _bracketed(
    count: Callable[[np.ndarray, np.ndarray], np.ndarray],
    wanted: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    at_low: np.ndarray,
    at_high: np.ndarray,
) -> np.ndarray:
    """Roots of the decreasing count(x, place) = wanted in [low, high]: the Illinois method, each on its own."""
    low, high, f_low, f_high = low.copy(), high.copy(), at_low - wanted, at_high - wanted
    found, active, width = (low + high) / 2, np.ones(len(wanted), dtype=bool), high - low
    for step in range(_STEPS):
        i = np.flatnonzero(active)
        if not len(i):
            break
        drop = f_low[i] - f_high[i]
        x = (f_low[i] * high[i] - f_high[i] * low[i]) / np.where(drop > 0, drop, 1.0)
        slow = (step % 4 == 3) & (high[i] - low[i] > width[i] / 8)
        x = np.where(slow | ~((x > low[i]) & (x < high[i])), (low[i] + high[i]) / 2, x)
        width[i] = np.where(step % 4 == 3, high[i] - low[i], width[i])
        f = count(x, i) - wanted[i]
        found[i] = x
        left = f > 0
        f_high[i], f_low[i] = np.where(left, f_high[i] / 2, f), np.where(left, f, f_low[i] / 2)
        low[i], high[i] = np.where(left, x, low[i]), np.where(left, high[i], x)
        active[i] = (np.abs(f) > _NEAR * _BESIDE) & (high[i] - low[i] > _WIDTH)
    return found
