"""Contour integrals between neighbouring cuts, certified by counts that are known without them.

A resolvent trace g(z) carries a measure on the eigenvalues of F F^T; its share between two cuts is

    value = (1 / pi) Im integral of g dz from x to y through the upper half plane.

The path is an arc of log z, at most `_HEIGHT` high. Where both ends lie inside one band g continues through the
axis and a few Gauss-Legendre nodes do; next to spectral edges nodes cluster at both ends like the third power of the
distance. Their number is doubled until the number of directions, for the correction delta N, is what the ends say.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from linreg_lora.theory.contours.blocks import summed
from linreg_lora.theory.contours.points import Points
from linreg_lora.theory.contours.solver import Solver, States

#: Numbers of nodes, and whether they cluster at the ends.
_RULES = ((12, False), (24, True), (48, True), (96, True), (192, True))
_HEIGHT = 1.0
#: What doubling the nodes must leave of an error at most, to be worth it.
_WORTH = 0.1

#: Traces to integrate at nodes z, given the states there: (traces, nodes).
Integrand = Callable[[np.ndarray, States], np.ndarray]


class Nodes(NamedTuple):
    """Where the integrals of `rows` were taken: nodes z with weights dz, and the states there."""

    rows: Int[np.ndarray, "r"]
    z: Complex[np.ndarray, "r k"]
    weights: Complex[np.ndarray, "r k"]
    states: States

    def at(self, keep: Bool[np.ndarray, "r"]) -> "Nodes":
        everywhere = np.repeat(keep, self.z.shape[1])
        return Nodes(self.rows[keep], self.z[keep], self.weights[keep], self.states.at(everywhere))


class Integrals(NamedTuple):
    """Integrals of every trace between cuts, how far those that are known are off, and the largest residual.

    `nodes`: where they were taken, by rule.
    """

    values: Float[np.ndarray, "m traces"]
    off: Float[np.ndarray, "known m"]
    residual: Float[np.ndarray, "m"]
    nodes: tuple[Nodes, ...]


def between(
    solver: Solver,
    low: Points,
    high: Points,
    integrand: Integrand,
    known: tuple[Float[np.ndarray, "m"], ...],
    tolerance: tuple[Float[np.ndarray, "m"], ...],
    enough: Float[np.ndarray, "m"],
) -> Integrals:
    """The integrals from each cut of `low` to that of `high`.

    `known`: what traces 0, 4, ... must integrate to, within `tolerance`; from the second on up to whole halves. Below
    `enough` times that nodes are doubled only as long as that takes most of what they are off away.
    """
    m = len(low.x)
    values, error, residual = None, np.full(m, np.inf), np.full(m, np.inf)
    miss = np.full((len(known), m), np.inf)
    open_, tried, last = np.arange(m), [], np.zeros(m, dtype=int)
    for rule, (nodes, clustered) in enumerate(_RULES):
        a, b = low.at(open_), high.at(open_)
        z, weights = arc(a.x, b.x, nodes, clustered)
        states = solver(z.ravel(), _hermite(a, b, z))
        tried.append(Nodes(open_, z, weights, states))
        found = integrated(integrand(z.ravel(), states), weights)
        off = np.stack([np.abs(found[4 * k] - known[k][open_]) for k in range(len(known))])
        off[1:] = np.abs(off[1:] - np.round(2 * off[1:]) / 2)
        worst = np.max(off / np.stack([allowed[open_] for allowed in tolerance]), axis=0)
        left = np.where(states.solved, states.residual, np.inf).reshape(z.shape).max(axis=1)
        worst[~(np.isfinite(left) & np.isfinite(worst))] = np.inf
        values = np.zeros((m, len(found))) if values is None else values
        before = error[open_]
        taken = open_[worst < before]
        last[taken] = rule
        miss[:, taken] = off[:, worst < before]
        values[taken], error[taken], residual[taken] = (part[worst < before] for part in (found.T, worst, left))
        open_ = open_[~(worst <= 1) & ~((worst <= enough[open_]) & (worst >= _WORTH * before))]
        if not open_.size:
            break
    assert values is not None
    return Integrals(values, miss, residual, tuple(at.at(last[at.rows] == rule) for rule, at in enumerate(tried)))


def integrated(traces: Complex[np.ndarray, "traces rk"], weights: Complex[np.ndarray, "r k"]) -> np.ndarray:
    """(1 / pi) Im of the sums over nodes, (traces r)."""
    traces = traces.reshape(-1, *weights.shape)
    # Real constants integrate to real numbers: without them less is lost to rounding.
    traces = traces - np.real(traces[:, :, weights.shape[1] // 2, None])
    return np.sum(weights * traces, axis=2).imag / np.pi


def arc(
    x: Float[np.ndarray, "m"], y: Float[np.ndarray, "m"], nodes: int, clustered: bool
) -> tuple[Complex[np.ndarray, "m k"], Complex[np.ndarray, "m k"]]:
    """Nodes z on the way from x to y, and weights dz."""
    t, w = _rule(nodes, clustered)
    turn = np.exp(1j * np.pi * (1 - t))
    half, middle = (np.log(y / x) / 2)[:, None], np.log(x * y)[:, None] / 2
    height = np.copysign(np.minimum(np.abs(half), _HEIGHT), 1.0)
    u = middle + half * np.real(turn) + 1j * height * np.imag(turn)
    du = np.pi * w * (half * np.imag(turn) - 1j * height * np.real(turn))
    z = np.exp(u)
    return z, z * du


@functools.cache
def _rule(nodes: int, clustered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on (0, 1)."""
    t, w = np.polynomial.legendre.leggauss(nodes)
    t, w = (t + 1) / 2, w / 2
    if clustered:
        t, w = t**3 * (10 - 15 * t + 6 * t * t), 30 * t**2 * (1 - t) ** 2 * w
    return t, w


def _hermite(low: Points, high: Points, z: Complex[np.ndarray, "m k"]) -> Complex[np.ndarray, "s mk"]:
    """The cubic through states and slopes at both ends, at the nodes."""
    start, step = low.z[:, None], (high.z - low.z)[:, None]
    share = (z - start) / step
    rest = 1 - share
    weights = (
        rest**2 * (1 + 2 * share),
        share**2 * (1 + 2 * rest),
        share * rest**2 * step,
        -rest * share**2 * step,
    )
    ends = (low.state, high.state, low.slope, high.slope)
    guess = summed(end[:, None, :] * weight[:, :, None] for end, weight in zip(ends, weights, strict=True))
    return guess.reshape(-1, guess.shape[2]).T
