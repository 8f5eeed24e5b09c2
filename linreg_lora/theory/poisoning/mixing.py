"""What LoRA pays for mixing planted directions it keeps with those it drops, to first order in one over the samples.

The inputs along two planted directions of F, of strengths theta_i > theta_j, are orthogonal on average alone: their
product has the mean square n s_i^2 s_j^2 between directions of the task, m |p|^2 s_i^2 between task and poison. That
turns the left vector u_i towards u_j by an angle of mean square

    task i, poison j:  eps^2 = theta_i^2 m|p|^2 / n / (theta_i^2 - theta_j^2)^2
                               + sigma^2 [ (theta_i^2 + theta_j^2)/(theta_i^2 - theta_j^2)^2 - 1/theta_i^2 ]
    poison i, task j:  eps^2 = theta_j^2 m|p|^2 / n / (theta_i^2 - theta_j^2)^2

where the noise of the spiked model is taken off. With e_i the energy of direction i in the update of FFT, the clean
risk rises by

    task i, poison j:  eps^2 (e_i + e_j)           poison i, task j:  -eps^2 (e_i + e_j)
    task i, task j:    s_j^2 (s_i^2 + 2 sigma^2) / (s_i^2 - s_j^2) / n  (n > dx)
                       -(1 - 2n/dx) s_i^2 s_j^2 / (s_i^2 - s_j^2) / dx  (n < dx)

For strong directions the first is m |p|^2 / n^2 for each kept one, the damage r/dx of FFT's; it grows by
1/(1 - theta_j^2/theta_i^2)^2, so that a poison below its threshold may cost LoRA more than FFT. Of a poison that is
oblique to the task the size of these terms alone is known. The success of the poison changes by eps^2 of what it is
when kept, up where the poison is dropped, down where it is kept. Source: derived here, by u_i to second order.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

#: A mean square angle beyond which two directions have changed places.
_MOST = 0.5


class Directions(NamedTuple):
    """Planted directions, strongest first: `strength` theta_i^2, `energy` e_i, `poison`, which of them is the poison.

    `pure`: each is task or poison. `budget` m |p|^2, `noise` sigma^2.
    """

    strength: Float[np.ndarray, "k"]
    energy: Float[np.ndarray, "k"]
    poison: Bool[np.ndarray, "k"]
    pure: bool
    budget: float
    noise: float


def mixing(found: Directions, n: int, dx: int) -> tuple[Float[np.ndarray, "k k"], Float[np.ndarray, "k k"]]:
    """What the risk, and the share of the poison that is kept, rise by where direction i is kept and a weaker j is not.

    0 for other pairs, nan where strengths are equal.
    """
    kept, dropped = found.strength[:, None], found.strength[None, :]
    energy = found.energy[:, None] + found.energy[None, :]
    below = np.triu(np.ones((len(found.strength),) * 2, dtype=bool), 1) & (dropped > 0)
    gap = np.where(below & (kept > dropped), kept - dropped, np.nan)
    noise = found.noise * np.where(
        found.poison[:, None], 0.0, (kept + dropped) / gap**2 - 1 / np.where(below, kept, 1.0)
    )
    turned = np.where(found.poison[:, None], dropped, kept) * found.budget / n / gap**2 + noise
    near = kept * dropped / n / gap**2
    if n > dx:
        cost = dropped * (kept / n + 2 * found.noise) / gap / n
    else:
        cost = -(1 - 2 * n / dx) * kept * dropped / gap / n / dx
    cost = cost * np.minimum(1.0, _MOST / np.where(near > 0, near, 1.0))
    turned = np.minimum(turned, _MOST)
    turn = np.where(found.poison[None, :], turned, np.where(found.poison[:, None], -turned, 0.0))
    cost = (
        np.where(found.poison[:, None] | found.poison[None, :], turn * energy, cost) if found.pure else turned * energy
    )
    return np.where(below, cost, 0.0), np.where(below & found.pure, turn, 0.0)
