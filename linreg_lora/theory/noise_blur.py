"""What noise in the directions that LoRA keeps adds to its risk, and the noise that can take their place.

A kept task direction i, u_i with strength s_i, stands in the projected residual F = R X^+ X (dy x k, k = min(n, dx)
columns that matter) with energy n s_i^2 + k e_i, e_i = u_i^T Sigma_eps u_i. *Outputs of equal noise*: to the next order
of the spiked model (`theory.spiked`), with a factor that bounds what follows, g = |n - dx| - 1,

    blur_r = 3 dy k sigma^4 / (g n) sum_{i<=r} 1 / s_i^2 .

*Any Sigma_eps*, eigenvalues l_j, l_1 the largest. The strongest direction of noise has energy at most about
(sqrt(k l_1) + sqrt(Tr Sigma_eps))^2 (Gordon's bound, the mean over draws), of which equal noise of the level of i would
have (sqrt k + sqrt dy)^2 min(e_i, Tr Sigma_eps / dy) anyway. What it has more leaves i the room

    h_i = s_i^2 - [(sqrt(k l_1) + sqrt(Tr Sigma_eps))^2 - (sqrt k + sqrt dy)^2 min(e_i, Tr Sigma_eps / dy)]_+ / n

and blur_r is infinite where some h_i <= 0: noise can take the place of direction i. Otherwise u_i tilts towards noise j
by a mean square of (e_j n s_i^2 + k e_i e_j) / (n h_i)^2 at most, which costs s_i^2 + k e_j / g each, so that

    blur_r = 3 k / (g n) { sum_{i<=r} (s_i / h_i)^2 sum_j l_j max(e_i, l_j)
                           + (k + 1) sum_{i<=r<j} (u_i^T Sigma_eps u_j)^2 / (h_i - s_j^2) }
             + 1/n sum_{i<=r<j} T_ij { ((s_i^2 - s_j^2) / (h_i - s_j^2))^2 - 1 }

with the tilt of the mean of E E^T = k Sigma_eps in the second line and the terms T_ij of first-order mixing, larger as
there is less room, in the third. With Sigma_eps = sigma^2 I it is the first formula. A bound to the orders named, which
errs on the side of more. Source: derived here.
"""

import numpy as np
from jaxtyping import Float, Int

from linreg_lora.problem import Problem


def noise_blur(
    problem: Problem,
    s: Float[np.ndarray, "dy"],
    noise: Float[np.ndarray, "dy dy"],
    ranks: Int[np.ndarray, "m"],
    *,
    n: float | None = None,
    levels: Float[np.ndarray, "dy"] | None = None,
) -> Float[np.ndarray, "m"]:
    """blur_r at `ranks`, of all s and of Sigma_eps in the left singular vectors; `n` samples instead of the problem's.

    `levels`: the eigenvalues of Sigma_eps, l_1 last, where they are known.

    >>> import numpy as np
    >>> import linreg_lora as ll
    >>> problem = ll.Problem(n=60, dx=24, dy=20, spectrum=(3.0, 2.0), noise_std=1.0)
    >>> s = np.array([3.0, 2.0] + [0.0] * 18)
    >>> found = ll.theory.noise_blur.noise_blur(problem, s, np.eye(20), np.array([1]))
    >>> f"{found[0]:.4f} = {3 * 20 * 24 / (35 * 60 * 9):.4f}"
    '0.0762 = 0.0762'
    """
    n = problem.n if n is None else n
    dx, dy = problem.dx, problem.dy
    k, g, e, level = min(n, dx), abs(n - dx) - 1, np.diagonal(noise), s**2
    there = s > 0
    if problem.isotropic_noise_scale is not None:
        each = np.divide(1.0, level, out=np.zeros(dy), where=there)
        return np.concatenate([[0.0], np.cumsum(3 * dy * k * np.mean(e) ** 2 / (g * n) * each)])[ranks]
    levels = np.maximum(np.linalg.eigvalsh(noise) if levels is None else levels, 0.0)
    room = room_left(s, noise, levels, n, dx)
    moments = np.maximum(e[:, None], levels) @ levels
    each = np.divide(level * moments, room**2, out=np.full(dy, np.inf), where=room > 0)
    each = np.concatenate([[0.0], np.cumsum(3 * k / (g * n) * np.where(there, each, 0.0))])
    pairs = _pairs(level, room, noise, k, g, n)
    pairs[~there] = 0.0
    return np.array([each[rank] + np.sum(pairs[:rank, rank:]) for rank in np.asarray(ranks).tolist()])


def room_left(
    s: Float[np.ndarray, "dy"], noise: Float[np.ndarray, "dy dy"], levels: Float[np.ndarray, "dy"], n: float, dx: int
) -> Float[np.ndarray, "dy"]:
    """h_i of the module; 0 or less where noise may take the place of direction i. `levels`: l_j, l_1 last."""
    k, dy, total = min(n, dx), len(s), float(np.sum(levels))
    loudest = (np.sqrt(k * levels[-1]) + np.sqrt(total)) ** 2
    equal = (np.sqrt(k) + np.sqrt(dy)) ** 2 * np.minimum(np.diagonal(noise), total / dy)
    return s**2 - np.maximum(loudest - equal, 0.0) / n


def quietest(noise: Float[np.ndarray, "dy dy"]) -> Float[np.ndarray, "ranks"]:
    """The share of the noise outside of the first r directions that the quietest dy - r have at least, r = 0..dy - 1.

    It only falls with r: what a higher rank may drop of a bulk, a lower one may.
    """
    least = np.cumsum(np.maximum(np.linalg.eigvalsh(noise), 0.0))[::-1]
    dropped = np.cumsum(np.diagonal(noise)[::-1])[::-1]
    share = np.divide(least, dropped, out=np.ones(len(least)), where=dropped > 0)
    return np.minimum.accumulate(np.minimum(share, 1.0))


def _pairs(
    level: np.ndarray, room: np.ndarray, noise: np.ndarray, k: float, g: float, n: float
) -> Float[np.ndarray, "dy dy"]:
    """The terms of pairs i, j of blur_r; infinite where j can take the place of i."""
    e = np.diagonal(noise)
    left = room[:, None] - level
    tilted = 3 * k * (k + 1) / (g * n) * noise**2
    mixed = level * (level + e[:, None] + e) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = level[:, None] - level
        more = mixed / gap * ((gap / left) ** 2 - 1)
        terms = tilted / left + np.where(mixed > 0, np.maximum(more, 0.0), 0.0)
    return np.where(left > 0, terms, np.where((tilted > 0) | (mixed > 0), np.inf, 0.0))
