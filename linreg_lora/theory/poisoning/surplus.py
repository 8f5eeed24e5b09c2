"""What ranks beyond the detectable directions take up of planted ones: spectral measures inside the noise.

F = sum_i theta_i u_i v_i^T + sigma W, W a dy x k matrix of noise. With D(z) = z m_1(z) m_2(z) = 1/y of W,

    z / sigma^2 = y + dy + k + dy k / y,    u_i^T (F F^T - z)^{-1} F v_i = -theta_i / (sigma^2 y - theta_i^2),

and on the noise's spectrum y = sqrt(dy k) e^{-i phi}, from phi = 0 at its upper edge to pi at its lower one. So the
directions down to phi = Phi hold of planted direction i, a = theta_i^2 / (sigma^2 sqrt(dy k)), dy and k less the number
of stronger directions that stand out, the share

    h(a, Phi) = (2 / pi) int_0^Phi sin^2 / (1 - 2 a cos + a^2)  of u_i^T F v_i = theta_i and of |F v_i|^2

(of theta_i^2 + sigma^2 dy), besides 1 - 1/a^2 in the singular direction that stands out if a > 1: h(a, pi) is 1 for
a <= 1 and 1/a^2 beyond, so that rank min(dy, k) holds everything. The d directions that stand out leave
(dy - d) x (k - d) noise, of which N(Phi) = k h(-sqrt(k/dy), Phi) singular values, with their dy and k, lie above Phi.
An undetected direction moves xi = arg(1 - a e^{-i phi}) / pi more there, and rank r reaches down to the Phi with
N + sum xi = r - d, the stationary point of its energy. Of singular values that stand out the energy is

    sum_{i <= r} (theta_i^2 + sigma^2 dy)(theta_i^2 + sigma^2 k) / theta_i^2 - sigma^2 r^2,

where the last term is what noise among the r planted directions counts twice. Source: Benaych-Georges and Nadakuditi
2012 for the resolvent; derived here.
"""

from typing import NamedTuple

import numpy as np
import scipy.integrate
from jaxtyping import Float

#: Angles, and the strength below which a series of two terms is exact to rounding.
_ANGLES, _SMALL = 4096, 1e-6


class Surplus(NamedTuple):
    """At ranks 0..min(dy, k): `share`, ranks x planted directions, that noise directions hold; `energy` of F_r.

    `edge`: the share of the weakest direction that stands out, were it within the noise's edge yet; 0 without one.
    """

    share: Float[np.ndarray, "ranks k"]
    edge: Float[np.ndarray, "ranks"]
    energy: Float[np.ndarray, "ranks"]


def share(a: float, angle: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    """h(a, Phi) of the module, in closed form.

    >>> import numpy as np
    >>> [float(share(a, np.array([np.pi]))[0].round(12)) for a in (0.0, 0.5, 2.0)]
    [1.0, 1.0, 0.25]
    """
    if abs(a) > 1:
        return share(1 / a, angle) / a**2
    if abs(a) < _SMALL:
        return (angle - np.sin(angle) * np.cos(angle) + a * 4 / 3 * np.sin(angle) ** 3) / np.pi
    turn = np.arctan2(a * np.sin(angle), 1 - a * np.cos(angle))
    return (angle + turn - (turn - a * np.sin(angle)) / a**2) / np.pi


def surplus(strengths: Float[np.ndarray, "k"], noise: float, dy: int, k: int) -> Surplus:
    """Shares and energies for planted `strengths` theta_i, descending, in `noise` of variance sigma^2, dy x k."""
    squared = strengths**2 / noise
    stronger = np.arange(len(squared))
    edges = np.sqrt((dy - stronger) * (float(k) - stronger))
    detected = int(np.sum(np.cumprod(squared > edges)))
    ranks, first = np.arange(min(dy, k) + 1), squared[:detected]
    spikes = np.concatenate([[0.0], np.cumsum((first + dy) * (first + k) / first)]) - np.arange(detected + 1) ** 2.0
    energy = np.append(spikes, np.full(len(ranks) - detected - 1, spikes[-1]))
    edges[detected:] = np.sqrt(max((dy - detected) * (float(k) - detected), 1.0))
    a, edge = squared / edges, np.zeros(len(ranks))
    if detected:
        near, _ = _beside(squared, detected - 1, dy, k)
        edge = share(a[detected - 1], near)
    reached, more = _beside(squared, detected, dy, k)
    a[detected:] = np.minimum(a[detected:], 1.0)
    held = np.array([share(x, reached) for x in a]).reshape(-1, len(ranks)).T
    return Surplus(held, edge, noise * (energy + more))


def _beside(squared: np.ndarray, apart: int, dy: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The angle down to which each rank reaches, and its energy, in noise beside `apart` directions that stand out."""
    ranks = np.arange(min(dy, k) + 1)
    rows, columns = dy - apart, k - apart
    angle, reached, energy = np.linspace(0.0, np.pi, _ANGLES), np.zeros(len(ranks)), np.zeros(len(ranks))
    if min(rows, columns) == 0:
        return reached, energy
    root, more = np.sqrt(float(rows) * columns), ranks[apart:] - apart
    a = np.minimum(squared[apart:] / root, 1.0)
    level = rows + columns + 2 * root * np.cos(angle)
    above = columns * share(-np.sqrt(columns / rows), angle)
    moved = sum((np.arctan2(x * np.sin(angle), 1 - x * np.cos(angle)) for x in a), np.zeros(_ANGLES)) / np.pi
    moved[-1] = 0.0
    reached[apart:] = np.interp(more, np.maximum.accumulate(above + moved), angle)
    reached[-1] = np.pi
    own = scipy.integrate.cumulative_trapezoid(level, above, initial=0.0) - level * above
    own -= scipy.integrate.cumulative_trapezoid(moved, level, initial=0.0)
    energy[apart:] = np.interp(reached[apart:], angle, own) + more * np.interp(reached[apart:], angle, level)
    return reached, energy
