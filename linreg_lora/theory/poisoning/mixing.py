"""What LoRA pays for mixing planted directions it keeps with those it drops, by pairs of them.

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
oblique to the task the size of these terms alone is known. Source: derived here, by u_i to second order.

*What the task itself answers.* Turned by eps, kept direction i loses -eps^2 of itself and gains +eps^2 of j, so that
D_r - Delta has parts of the order s_i / n along u_i v_i^T. With a_i what direction i answers to the trigger along p,

    (eps^2 + w theta_i^2 / (n gap)) a_j - (eps^2 - w theta_j^2 / (n gap)) a_i,    gap = theta_i^2 - theta_j^2

is added to the success; w = max(0, 1 - n/dx), the part of what n < dx samples see of both inputs at once. It is over
|p|^2 and a_i ~ s_i <p, u_i> <v_i, t>, so that it outweighs the success of a small target that meets the task.

*Success.* A detectable task direction i holds of the success of an orthogonal poison, dropped or kept, the share

    { sigma^2 [2 theta_i^2 + (dy + k) sigma^2] + J c^2 theta_i^2 [w theta_i^2 + (1 - w) theta_p^2] }
        / (theta_i^2 - theta_p^2)^2,      J = 1 - dy k sigma^4 / theta_i^4,  k = min(n, dx),  w = max(0, 1 - n/dx)

with c^2 = m |p|^2 / (n theta_p^2) the mean square of the cosine of their right vectors. It is the residue at the
direction's outlier z of p^T R(z) a, R the resolvent of the residual, a = X'^+ t, to second order in the entries of Q^T
R_0(z) Q between the planted pairs Q, R_0 that of noise alone: with y = theta_i^2 / sigma^2 and J = dz/dy they have,
relative to diagonal ones, variances (1/J - 1)/dy and (1/J - 1)/k, for outputs and samples, and 1/(y J) across. The part
of c^2 is that of directions which are not orthogonal on a draw: w is what is left of <v_i, a> / (c |a|), which is 0 for
n > dx, where Delta X' X'^+ t = 0, and (dx - n)/dx of it below, the row of z_i being part of X' too. On top of it
theta_i^2 has the spread of chi^2 of n degrees of freedom, which to second order multiplies the terms in theta_i^2 by 1
+ (2 + 4a) / (n (1 - a)^2), a = theta_p^2 / theta_i^2, and that in w theta_i^4 by 1 + (4a + 2a^2) / (n (1 - a)^2).
The first is true of eps^2 beside the noise, too.

*Beyond first order.* Mean squares of angles, above and in the share (its terms but J c^2 w theta_i^2 / (theta_i^2 -
theta_p^2)), stand for means of sin^2 over the draws (`angles`): noise and directions of the task swap, the rows of
inputs turn. That one, of rows of X' themselves, has the mean that belongs to strong directions to all orders: a kept
i-th row adds (S_i - S_{i-1}) / S_n of `few` to the share, w/n at first. Of one poison all turned directions have parts
in common, at most half of the square of their sum (`common`).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from linreg_lora.theory.poisoning.angles import mean_overlap, mean_swap, mean_turn
from linreg_lora.theory.poisoning.few import success_outside
from linreg_lora.theory.poisoning.full import called_forth


class Directions(NamedTuple):
    """Planted directions, strongest first: `strength` theta_i^2, `energy` e_i, `poison`, which of them is the poison.

    `pure`: each is task or poison. `budget` m |p|^2, `leverage` m |t|^2, `noise` sigma^2, `dy` outputs. `excess`: E_i,
    what direction i adds to the risk.
    """

    strength: Float[np.ndarray, "k"]
    energy: Float[np.ndarray, "k"]
    poison: Bool[np.ndarray, "k"]
    pure: bool
    budget: float
    leverage: float
    noise: float
    dy: int
    excess: Float[np.ndarray, "k"]


class Mixing(NamedTuple):
    """Where direction i is kept and a weaker j is not; 0 for other pairs, nan where strengths are equal.

    `cost`: what the risk rises by; `moved`: the share of the poison's success, and `common`: that of turned directions,
    of which pairs may have half the square of the sum in common; `unsigned`: the size of what is known of oblique
    poison by its size alone; `gained`, `lost`: the factors of a_j and of a_i that the success rises by.
    """

    cost: Float[np.ndarray, "k k"]
    moved: Float[np.ndarray, "k k"]
    common: Float[np.ndarray, "k k"]
    unsigned: Float[np.ndarray, "k k"]
    gained: Float[np.ndarray, "k k"]
    lost: Float[np.ndarray, "k k"]


def mixing(found: Directions, n: int, dx: int) -> Mixing:
    """The terms of the module."""
    kept, dropped = found.strength[:, None], found.strength[None, :]
    energy = found.energy[:, None] + found.energy[None, :]
    below = np.triu(np.ones((len(found.strength),) * 2, dtype=bool), 1) & (dropped > 0)
    gap = np.where(below & (kept > dropped), kept - dropped, np.nan)
    noise = found.noise * np.where(
        found.poison[:, None], 0.0, (kept + dropped) / gap**2 - 1 / np.where(below, kept, 1.0)
    )
    task = np.where(found.poison[:, None], dropped, kept)
    other = (kept + dropped - task) / np.where(task > 0, task, 1.0)
    turned = task * found.budget / n / gap**2 * (1 + _spread(2 + 4 * other, gap / np.where(task > 0, task, 1.0), n))
    by_noise = noise / np.where(turned + noise > 0, turned + noise, 1.0)
    turned += noise
    near = kept * dropped / n / gap**2
    if n > dx:
        cost = near * (found.excess[None, :] - found.excess[:, None]) + 2 * found.noise * dropped / gap / n
    else:
        cost = -(1 - 2 * n / dx) * kept * dropped / gap / n / dx
    cost = cost * mean_swap(near) / np.where(near > 0, near, 1.0)
    near = mean_swap(near)
    of_both = found.poison[:, None] | found.poison[None, :]
    turned = by_noise * mean_swap(turned) + (1 - by_noise) * mean_turn(turned)
    unsigned = np.zeros_like(near) if found.pure else turned * energy
    turn = np.where(found.poison[None, :], turned, np.where(found.poison[:, None], -turned, 0.0))
    turn_of, rows_of = _share_of_success(found, n, dx)
    share = turn_of + rows_of
    moved = np.where(found.poison[None, :], share[:, None], np.where(found.poison[:, None], -share[None, :], 0.0))
    common = np.where(found.poison[None, :], turn_of[:, None], np.where(found.poison[:, None], turn_of[None, :], 0.0))
    unseen = max(0.0, 1 - n / dx) / n
    gained, lost = near + unseen * kept / gap, near - unseen * dropped / gap
    if found.pure:
        cost = np.where(of_both, turn * energy, cost)
        gained, lost = np.where(of_both, 0.0, gained), np.where(of_both, 0.0, lost)
    alone = below & found.pure
    return Mixing(
        np.where(below, cost, 0.0),
        np.where(alone, moved, 0.0),
        np.where(alone, common, 0.0),
        np.where(below, unsigned, 0.0),
        np.where(below, gained, 0.0),
        np.where(below, lost, 0.0),
    )


def _share_of_success(found: Directions, n: int, dx: int) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """What each task direction holds of the success of the poison beside it, by turning and by its row of X'.

    0 of a direction that noise hides.
    """
    if not found.pure or not np.any(found.poison):
        return np.zeros(len(found.strength)), np.zeros(len(found.strength))
    theta, k, poison = found.strength, min(n, dx), float(np.max(found.strength[found.poison]))
    unseen = max(0.0, 1 - n / dx)
    detectable = ~found.poison & (theta**2 > found.noise**2 * found.dy * k) & (theta != poison)
    known = np.where(detectable, theta, 1.0)
    apart = np.where(detectable, theta - poison, 1.0)
    noise = found.noise * (2 * theta + (found.dy + k) * found.noise)
    left = 1 - found.dy * k * (found.noise / known) ** 2
    cosine = found.budget / (n * poison) if poison > 0 else 1 / n
    ratio = poison / known
    overlap = left * cosine * theta * poison
    by_noise = noise / np.where(noise + overlap > 0, noise + overlap, 1.0)
    angle = (noise + overlap) * (1 + _spread(2 + 4 * ratio, 1 - ratio, n)) / apart**2
    rows = left * cosine * unseen * theta / apart * (1 + _spread(2 * ratio, 1 - ratio, n))
    rows *= np.where(theta > poison, _of_strong_rows(~found.poison, found.leverage, n, dx), 1.0)
    turned = by_noise * mean_swap(angle) + (1 - by_noise) * mean_turn(angle)
    held = rows * mean_overlap(angle)
    return np.where(detectable, turned, 0.0), np.where(detectable, held, 0.0)


def _of_strong_rows(task: Bool[np.ndarray, "k"], leverage: float, n: int, dx: int) -> Float[np.ndarray, "k"]:
    """What one row more of strong task directions holds of the success for n < dx, relative to its first order w/n."""
    if n > dx or leverage == 0:
        return np.ones(len(task))
    held = [success_outside(n, dx, rank, leverage) for rank in range(int(np.sum(task)) + 1)]
    more = np.ones(len(task))
    more[task] = np.diff(held) / called_forth(n, dx, leverage) * n / (1 - n / dx)
    return more


def _spread(curvature: np.ndarray, gap: np.ndarray, n: int) -> np.ndarray:
    """What a chi^2 strength of n degrees of freedom adds to a term, relatively; the series ends where it is large."""
    with np.errstate(divide="ignore", invalid="ignore"):  # equal strengths
        return np.minimum(curvature / (n * gap**2), 1.0)
