"""Where the bands of a spectrum begin and end: real zeta at which z'(zeta) = 0, next to gaps.

Between two poles z' is sampled; roots are bracketed by its signs, and by its local maxima, where
z'' = 0: a narrow gap may lie between two samples. Whether all bands were found the numbers of directions say that
they hold (`nodes`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linreg_lora.theory.bands.rational import Curve

#: Samples between two poles, and outside of all, there from how near to how far, in units of the curve's.
_INSIDE, _OUTSIDE, _NEAREST, _FARTHEST = 32, 160, 1e-9, 1e6
_HALVINGS = 50
#: Of the upper edge: a lower one below this is zero.
_ZERO = 1e-10


class Edges(NamedTuple):
    """Bands from the top: `upper` and `lower` in zeta, `top` and `bottom` in z; `at_zero` where a bottom is z = 0."""

    upper: Float[np.ndarray, "b"]
    lower: Float[np.ndarray, "b"]
    top: Float[np.ndarray, "b"]
    bottom: Float[np.ndarray, "b"]

    @property
    def at_zero(self) -> np.ndarray:
        return self.bottom <= _ZERO * self.top


def edges_of(curve: Curve) -> Edges:
    """The bands between neighbouring gaps of the positive axis."""
    samples, interval = _samples(curve.poles, curve.size)
    with np.errstate(all="ignore"):
        first, second = curve(samples)[1:]
        roots, place = _roots(curve, samples, interval, first, second)
        low, high, lowest = _segments(samples, interval, roots, place)
        middle = np.where(
            np.isinf(low), high - curve.size, np.where(np.isinf(high), low + curve.size, (low + high) / 2)
        )
        at = curve(middle)
        # z grows from minus infinity through 0 in the first one; the last one ends there.
        gaps = (at.first > 0) & ((at.z > 0) | lowest) & curve.is_gap(middle)
        order = np.flatnonzero(gaps)[np.argsort(-at.z[gaps])]
        upper, lower = low[order[:-1]], high[order[1:]]
        return Edges(upper, lower, curve(upper).z, np.maximum(curve(lower).z, 0.0))


def _samples(poles: Float[np.ndarray, "k"], size: float) -> tuple[np.ndarray, np.ndarray]:
    """Points between poles, denser next to them, and the number of the interval that each is in."""
    share = (1 - np.cos(np.pi * (np.arange(_INSIDE) + 0.5) / _INSIDE)) / 2
    inside = poles[:-1, None] + np.diff(poles)[:, None] * share
    away = np.geomspace(_NEAREST, _FARTHEST, _OUTSIDE) * size
    parts = [poles[0] - away[::-1], *inside, poles[-1] + away]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _roots(
    curve: Curve, samples: np.ndarray, interval: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Zeros of z', and the interval of each."""
    same = interval[1:] == interval[:-1]
    peaks = np.flatnonzero(same & (second[:-1] > 0) & (second[1:] < 0) & (first[:-1] < 0) & (first[1:] < 0))
    if peaks.size:
        top = _highest(curve, samples[peaks], samples[peaks + 1])
        samples, interval = np.append(samples, top), np.append(interval, interval[peaks])
        order = np.argsort(samples, kind="stable")
        samples, interval = samples[order], interval[order]
        first = curve(samples).first
        same = interval[1:] == interval[:-1]
    change = np.flatnonzero(same & (np.sign(first[1:]) != np.sign(first[:-1])))
    a, b, rising = samples[change], samples[change + 1], first[change] < 0
    for _ in range(_HALVINGS):
        middle = (a + b) / 2
        left = (curve(middle).first < 0) == rising
        a, b = np.where(left, middle, a), np.where(left, b, middle)
    return (a + b) / 2, interval[change]


def _highest(curve: Curve, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where z'' = 0 between a and b."""
    for _ in range(_HALVINGS):
        middle = (a + b) / 2
        left = curve(middle).second > 0
        a, b = np.where(left, middle, a), np.where(left, b, middle)
    return (a + b) / 2


def _segments(
    samples: np.ndarray, interval: np.ndarray, roots: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What roots and poles cut the axis into, as low and high ends; whether a segment is the first of all."""
    low, high = [], []
    for number in range(interval[-1] + 1):
        own = samples[interval == number]
        ends = [
            own[0] if number else -np.inf,
            *np.sort(roots[place == number]),
            own[-1] if number < interval[-1] else np.inf,
        ]
        low += ends[:-1]
        high += ends[1:]
    return np.array(low), np.array(high), np.isinf(low) & (np.arange(len(low)) == 0)
