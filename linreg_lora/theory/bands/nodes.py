"""States inside bands, at nodes of theta in (0, pi) where y = c + h cos(theta) runs from a band's top to its bottom.

y is the square root of z, or z itself where a band ends at zero. There zeta is analytic in exp(i theta): a short series
of cosines and sines, the further from other bands the shorter. A few nodes are followed down from the top, whose
neighbourhood is known; the series then guesses at twice as many, until its tail has vanished.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Inexact
from scipy.fft import dct, dst

from linreg_lora.theory.bands.edges import Edges
from linreg_lora.theory.bands.rational import Curve
from linreg_lora.theory.contours.blocks import summed

#: Numbers of nodes that are followed, and steps between two of them; the most nodes that a band may need.
_MARCHES, _MOST = ((12, 1), (24, 2), (64, 2)), 1024
#: What is left of a series in its last fifth, of its largest term.
_TAIL, _LAST = 1e-10, 0.8
_NEWTON_STEPS, _STEP = 12, 1e-9
#: How many past points extrapolate to the next.
_KNOWN = 4


class Scale(NamedTuple):
    """z = (centre + half cos theta)^power, one band or one row a band."""

    centre: Float[np.ndarray, "*b"]
    half: Float[np.ndarray, "*b"]
    power: Float[np.ndarray, "*b"]

    def z(self, theta: np.ndarray | float) -> np.ndarray:
        return (self.centre + self.half * np.cos(theta)) ** self.power

    def slope(self, theta: np.ndarray) -> np.ndarray:
        """-dz / d theta."""
        y = self.centre + self.half * np.cos(theta)
        return self.half * np.sin(theta) * self.power * y ** (self.power - 1)

    def theta(self, z: np.ndarray) -> np.ndarray:
        return np.arccos(np.clip((z ** (1 / self.power) - self.centre) / self.half, -1, 1))

    def row(self, place: int | np.ndarray) -> "Scale":
        return Scale(*(part[place] for part in self))

    @property
    def columns(self) -> "Scale":
        return Scale(*(part[:, None] for part in self))


class Series(NamedTuple):
    """A function of theta as cosines of its real part and sines of its imaginary part."""

    cosines: Float[np.ndarray, "*b k"]
    sines: Float[np.ndarray, "*b k"]

    @property
    def tail(self) -> np.ndarray:
        size = np.maximum(np.abs(self.cosines), np.abs(self.sines))
        last = size[..., int(_LAST * size.shape[-1]) :]
        return np.asarray(np.max(last, axis=-1) / np.max(size[..., 1:], axis=-1))

    def __call__(self, theta: Float[np.ndarray, "p"]) -> np.ndarray:
        angles = np.outer(np.arange(self.cosines.shape[-1]), theta)
        return self.cosines @ np.cos(angles) + 1j * (self.sines @ np.sin(angles))


def midpoints(nodes: int) -> Float[np.ndarray, "k"]:
    return (np.arange(nodes) + 0.5) * np.pi / nodes


def series(values: Inexact[np.ndarray, "*b k"]) -> Series:
    """The series through values at midpoints."""
    nodes = values.shape[-1]
    cosines, sines = dct(np.real(values), type=2) / nodes, dst(np.imag(values), type=2) / nodes
    cosines[..., 0] /= 2
    # Sines of a half wave more than the nodes can tell are left out.
    return Series(cosines, np.concatenate([np.zeros((*values.shape[:-1], 1)), sines[..., :-1]], axis=-1))


def scale_of(edges: Edges) -> Scale:
    power = np.where(edges.at_zero, 1.0, 2.0)
    top, bottom = edges.top ** (1 / power), np.where(edges.at_zero, 0.0, edges.bottom) ** (1 / power)
    return Scale((top + bottom) / 2, (top - bottom) / 2, power)


def solve(curve: Curve, edges: Edges, scale: Scale) -> list[Series] | None:
    """zeta inside each band; None where a band was not resolved."""
    found: list[Series | None] = [None] * len(edges.top)
    todo = np.arange(len(found))
    for nodes, steps in _MARCHES:
        before = np.full(len(found), np.inf)
        values = _follow(curve, edges, scale.row(todo), todo, nodes, steps)
        good = _is_right(values)
        active, values, todo = todo[good], values[good], todo[~good]
        while active.size:
            known = series(values)
            done = known.tail < _TAIL
            for place in np.flatnonzero(done):
                found[active[place]] = Series(known.cosines[place], known.sines[place])
            active, known, tail = active[~done], Series(known.cosines[~done], known.sines[~done]), known.tail[~done]
            if not active.size:
                break
            # Where bands within a band nearly part, twice the nodes take little off the tail.
            fall = np.log(before[active] / tail) / (_LAST * nodes / 2)
            if np.any(nodes + np.log(tail / _TAIL) / fall > _MOST):
                return None
            before[active] = tail
            nodes *= 2
            if nodes > _MOST:
                return None
            theta = midpoints(nodes)
            values = newton(curve, known(theta), scale.row(active).columns.z(theta))
            good = _is_right(values)
            todo, active, values = np.append(todo, active[~good]), active[good], values[good]
        if not todo.size:
            return [band for band in found if band is not None]
    return None


def newton(curve: Curve, zeta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """zeta with z(zeta) = z, from near it."""
    for _ in range(_NEWTON_STEPS):
        at = curve(zeta)
        step = (at.z - z) / at.first
        zeta = zeta - step
        # The next step would be its square.
        if np.all(np.abs(step) <= _STEP * np.abs(zeta)):
            break
    return zeta


def _is_right(values: Complex[np.ndarray, "b k"]) -> Bool[np.ndarray, "b"]:
    return np.all(np.isfinite(values) & (np.imag(values) > 0), axis=1)


def _follow(
    curve: Curve, edges: Edges, scale: Scale, bands: np.ndarray, nodes: int, steps: int
) -> Complex[np.ndarray, "b k"]:
    """zeta at midpoints, followed from the top of each band, where zeta - zeta_top = i rise theta."""
    top = edges.upper[bands]
    rise = np.sqrt(np.abs(scale.slope(np.full(len(top), 1e-8)) * 1e8 / curve(top).second))
    first = np.pi / (2 * nodes)
    way = [first / 8, first / 4, first / 2, *(first + np.arange((nodes - 1) * steps + 1) * np.pi / (nodes * steps))]
    known, values = [0.0], [top + 0j]
    for theta in way:
        if len(known) == 1:
            guess = top + 1j * rise * theta
        else:
            past = np.array(known[-_KNOWN:])
            weights = [np.prod([(theta - q) / (p - q) for q in past if q != p]) for p in past]
            guess = summed(weight * value for weight, value in zip(weights, values[-_KNOWN:], strict=True))
        values.append(newton(curve, guess, scale.z(theta) + 0j))
        known.append(theta)
    return np.stack(values[4::steps], axis=1)
