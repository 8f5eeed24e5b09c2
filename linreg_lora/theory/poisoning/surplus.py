"""What ranks beyond the detectable directions take up of planted ones: spectral measures inside the noise.

F = sum_i theta_i u_i v_i^T + sigma W, W a dy x k matrix of noise. With D(z) = z m_1(z) m_2(z) = 1/y of W,

    z / sigma^2 = y + dy + k + dy k / y,    u_i^T (F F^T - z)^{-1} F v_i = -theta_i / (sigma^2 y - theta_i^2),

and on the noise's spectrum y = sqrt(dy k) e^{-i phi}, from phi = 0 at its upper edge to pi at its lower one. So the
directions down to phi = Phi hold of planted direction i, a = theta_i^2 / (sigma^2 sqrt(dy k)), the share

    h(a, Phi) = (2 / pi) int_0^Phi sin^2 / (1 - 2 a cos + a^2)  of u_i^T F v_i = theta_i and of |F v_i|^2

(of theta_i^2 + sigma^2 dy), besides 1 - 1/a^2 in the singular direction that stands out if a > 1: h(a, pi) is 1 for
a <= 1 and 1/a^2 beyond, so that rank min(dy, k) holds everything. A detected direction makes

    xi(a, phi) = arg(1 - a e^{-i phi}) / pi

of the singular values move above phi, W itself has N(Phi) = (dy b^2) h(-b, Phi) there, b = sqrt(k/dy), and rank r
reaches down to the Phi with N + sum_i xi_i = r: so for energies, of which that is the stationary point. For shares the
detected directions leave (dy - d) x (k - d) noise, which keeps its distance from them. Source: Benaych-Georges and Nadakuditi 2012 for the resolvent; derived
here.
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


def _above(dy: int, k: int, angle: np.ndarray) -> np.ndarray:
    """N(Phi) of dy x k noise."""
    return k * share(-np.sqrt(k / dy), angle) if min(dy, k) > 0 else np.zeros(len(angle))


def surplus(strengths: Float[np.ndarray, "k"], noise: float, dy: int, k: int) -> Surplus:
    """Shares and energies for planted `strengths` theta_i in `noise` of variance sigma^2 on a dy x k matrix."""
    root = np.sqrt(float(dy) * k)
    angle = np.linspace(0.0, np.pi, _ANGLES)
    level = dy + k + 2 * root * np.cos(angle)
    above = _above(dy, k, angle)
    a = strengths**2 / (noise * root)
    moved = np.array([np.arctan2(x * np.sin(angle), 1 - x * np.cos(angle)) / np.pi for x in a]).reshape(-1, _ANGLES)
    moved[:, 0] = a > 1
    ranks = np.arange(min(dy, k) + 1)
    detected = int(np.sum(a > 1))
    count = np.maximum.accumulate(above + np.sum(moved, axis=0))
    reached = np.where(ranks <= detected, 0.0, np.interp(ranks, count, angle))
    of_noise = scipy.integrate.cumulative_trapezoid(level, above, initial=0.0)
    outside = np.where(a > 1, a * root + dy + k + root / np.maximum(a, 1.0) - level[0], 0.0)
    of_planted = np.sum(outside) - scipy.integrate.cumulative_trapezoid(np.sum(moved, axis=0), level, initial=0.0)
    energy = of_noise - level * (above - count) + of_planted
    at = np.interp(reached, angle, energy) + np.interp(reached, angle, level) * (ranks - np.interp(reached, angle, count))
    spikes = np.concatenate([[0.0], np.cumsum((outside + level[0])[a > 1])])
    at[: detected + 1] = spikes[: len(ranks)][: detected + 1]
    beside = _above(dy - detected, k - detected, angle) + np.sum(moved[a <= 1], axis=0)
    reached = np.where(ranks <= detected, 0.0, np.interp(ranks - detected, np.maximum.accumulate(beside), angle))
    reached[-1] = np.pi
    held = np.array([share(x, reached) for x in a]).reshape(-1, len(ranks)).T
    return Surplus(held, noise * at)
