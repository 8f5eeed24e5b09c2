"""What lies above any point of a spectrum, from series of the densities inside each of its bands.

With z on the real axis, g a trace of the resolvent and z = z(theta) in a band, Im g dz / d theta is an even, smooth and
periodic function: its cosine series is integrated term by term. What the correction adds has, at both ends of a band,
a pole on top of an inverse square root: the mass of the pole is -lim (z - edge) delta g, read off the series of

    (y - top)(y - bottom) (dz / dy) delta g,          y = c + h cos(theta).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from scipy.fft import dct, dst

from linreg_lora.theory.bands.nodes import Scale, Series, midpoints, series

_LAST = 0.8
#: exp(i k theta) is the product of that of the remainder and of the multiple of this: few sines make many.
_STRIDE = 32


class Above(NamedTuple):
    """At points: `values` above them, their `slope` in theta, both (p columns)."""

    values: Float[np.ndarray, "p c"]
    slope: Float[np.ndarray, "p c"]


class Band(NamedTuple):
    """One band: `zeta` inside it; cosines of -d values / d theta, `above` it, and its mass at the `top` and in all.

    Columns: directions, energy, overlap, forgetting, and what the correction adds to each, if there is one.
    """

    scale: Scale
    zeta: Series
    density: Float[np.ndarray, "k c"]
    above: Float[np.ndarray, "c"]
    at_top: Float[np.ndarray, "c"]
    whole: Float[np.ndarray, "c"]

    def at(self, theta: Float[np.ndarray, "p"]) -> Above:
        turned = _turned(theta, len(self.density))
        first, rest = self.density[0], self.density[1:] / np.arange(1, len(self.density))[:, None]
        values = self.above + self.at_top + theta[:, None] * first + np.imag(turned)[:, 1:] @ rest
        return Above(values, np.real(turned) @ self.density)

    def counts(self, intervals: int) -> Float[np.ndarray, "p"]:
        """Directions above the ends of equal intervals of theta, more than there are terms."""
        rest, waves = np.zeros(intervals - 1), np.arange(1, len(self.density))
        rest[: len(waves)] = self.density[1:, 0] / waves
        counts = self.above[0] + self.at_top[0] + np.linspace(0, np.pi, intervals + 1) * self.density[0, 0]
        counts[1:-1] += np.asarray(dst(rest, type=1)) / 2
        return counts


def _turned(theta: Float[np.ndarray, "p"], terms: int) -> Complex[np.ndarray, "p k"]:
    """exp(i k theta) for k below the number of terms."""
    near = np.exp(1j * np.outer(theta, np.arange(_STRIDE)))
    far = np.exp(1j * np.outer(theta, np.arange(0, terms, _STRIDE)))
    return (far[:, :, None] * near[:, None, :]).reshape(len(theta), -1)[:, :terms]


def band(scale: Scale, zeta: Series, traces: Complex[np.ndarray, "c k"], above: Float[np.ndarray, "c"]) -> Band:
    """A band from its traces at midpoints; from the fifth on they are corrections, with poles at both ends."""
    nodes = traces.shape[1]
    theta, cosines = midpoints(nodes), _cosines(scale, traces)
    at_top, at_bottom = np.zeros(len(above)), np.zeros(len(above))
    if len(above) > 4:
        poles = series(-traces[4:] * scale.half * np.sin(theta) * scale.slope(theta)).cosines
        signs = (-1.0) ** np.arange(nodes)
        at_top[4:] = -np.sum(poles, axis=1) / (2 * scale.half)
        at_bottom[4:] = np.sum(poles * signs, axis=1) / (2 * scale.half)
    return Band(scale, zeta, cosines.T, above, at_top, at_top + at_bottom + np.pi * cosines[:, 0])


def tail_of(scale: Scale, traces: Complex[np.ndarray, "c k"]) -> float:
    """What is left of the series of densities in their last fifth, of their largest terms."""
    size = np.abs(_cosines(scale, traces))
    size = size[np.any(size > 0, axis=1)]
    last = size[:, int(_LAST * size.shape[1]) :]
    return float(np.max(np.max(last, axis=1) / np.max(size, axis=1)))


def _cosines(scale: Scale, traces: Complex[np.ndarray, "c k"]) -> Float[np.ndarray, "c k"]:
    nodes = traces.shape[1]
    cosines = dct(np.imag(traces) * scale.slope(midpoints(nodes)) / np.pi, type=2, axis=1) / nodes
    cosines[:, 0] /= 2
    return cosines
