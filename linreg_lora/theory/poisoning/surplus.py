"""What ranks beyond the detectable directions take up of planted ones: spectral measures inside the noise.

F = sum_i theta_i u_i v_i^T + sigma W, W a dy x k matrix of noise. With D(z) = z m_1(z) m_2(z) = 1/y of W,

    z / sigma^2 = y + dy + k + dy k / y,    u_i^T (F F^T - z)^{-1} F v_i = -theta_i / (sigma^2 y - theta_i^2),

and on the noise's spectrum y = sqrt(dy k) e^{-i phi}, from phi = 0 at its upper edge to pi at its lower one. So the
directions down to phi = Phi hold of planted direction i, a = theta_i^2 / (sigma^2 sqrt(dy k)), the share

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
    """At ranks 0..min(dy, k): `share`, ranks x planted directions, that noise directions hold; `energy` of F_r."""

    share: Float[np.ndarray, "ranks k"]
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
    detected = int(np.sum(squared > np.sqrt(float(dy) * k)))
    ranks, first = np.arange(min(dy, k) + 1), squared[:detected]
    spikes = np.concatenate([[0.0], np.cumsum((first + dy) * (first + k) / first)]) - np.arange(detected + 1) ** 2.0
    energy = np.append(spikes, np.full(len(ranks) - detected - 1, spikes[-1]))
    rows, columns = dy - detected, k - detected
    angle, reached = np.linspace(0.0, np.pi, _ANGLES), np.zeros(len(ranks))
    a = squared / np.sqrt(float(dy) * k)
    if min(rows, columns) > 0:
        root, more = np.sqrt(float(rows) * columns), ranks[detected:] - detected
        a[detected:] = np.minimum(squared[detected:] / root, 1.0)
        level = rows + columns + 2 * root * np.cos(angle)
        above = columns * share(-np.sqrt(columns / rows), angle)
        moved = sum((np.arctan2(x * np.sin(angle), 1 - x * np.cos(angle)) for x in a[detected:]), np.zeros(_ANGLES))
        moved[-1] = 0.0
        count = np.maximum.accumulate(above + moved / np.pi)
        reached[detected:] = np.interp(more, count, angle)
        reached[-1] = np.pi
        of_noise = scipy.integrate.cumulative_trapezoid(level, above, initial=0.0) - level * above
        of_planted = -scipy.integrate.cumulative_trapezoid(moved / np.pi, level, initial=0.0)
        at = reached[detected:]
        energy[detected:] += np.interp(at, angle, of_noise + of_planted) + more * np.interp(at, angle, level)
    held = np.array([share(x, reached) for x in a]).reshape(-1, len(ranks)).T
    return Surplus(held, noise * energy)
