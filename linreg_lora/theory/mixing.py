"""How kept directions of finite strength mix with dropped ones: T_r of `theory.complexity`, and levels that repel.

    T_r = sum_{i<=r<j} s_j^2 (s_j^2 + e_i + e_j) / (s_i^2 - s_j^2),      e_i = (U^T Sigma_eps U)_ii

What n samples see of directions i < j that stand out mixes by m_ij^2 = s_j^2 (s_j^2 + e_i + e_j) / n. T_r / n is its
first order, infinite at ties; the levels s_i^2 and s_j^2 repel by (sqrt(gap^2 + 4 m_ij^2) - gap) / 2, which is finite.
Source: derived here.
"""

import math

import numpy as np
from jaxtyping import Float

#: Relative differences of singular values below which they count as equal.
_TIE = 1e-12


def mixing(s: Float[np.ndarray, "dy"], e: Float[np.ndarray, "dy"], rank: int) -> float:
    """T_r of the module, from singular values and noise variances of all outputs; inf where s_r = s_{r+1} > 0."""
    return float(np.sum(mixed_pairs(s, e, rank)))


def mixed_pairs(s: Float[np.ndarray, "dy"], e: Float[np.ndarray, "dy"], rank: int) -> Float[np.ndarray, "r weak"]:
    """The terms of T_r: kept directions in rows, dropped ones that are not 0 in columns."""
    weak = s[rank:]
    weak, noise = weak[weak > 0], e[rank:][weak > 0]
    if rank and weak.size and not s[rank - 1] - weak[0] > _TIE * s[0]:
        return np.full((1, 1), math.inf)
    strong = s[:rank, None] ** 2
    return weak**2 * (weak**2 + e[:rank, None] + noise) / (strong - weak**2)


def repulsion(s: Float[np.ndarray, "dy"], e: Float[np.ndarray, "dy"], n: int) -> Float[np.ndarray, "dy dy"]:
    """What the levels i and j > i move apart by, at [i, j]; 0 elsewhere."""
    level = s**2
    gap, mixed = level[:, None] - level, level * (level + e[:, None] + e) / n
    with np.errstate(invalid="ignore"):
        apart = 2 * mixed / (gap + np.sqrt(gap**2 + 4 * mixed))
    return np.triu(np.where(mixed > 0, apart, 0.0), 1)
