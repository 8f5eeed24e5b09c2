"""What singular values say without a noise level: ranks for a share of the energy, effective ranks, and what is saved.

The energy of s_1 >= s_2 >= ... is sum s_j^2. The best update of rank r keeps the first r of them.
"""

import numpy as np
from jaxtyping import Float


def lost(values: Float[np.ndarray, "q"]) -> Float[np.ndarray, "q+1"]:
    """The share of the energy that ranks 0..q leave out, from 1 to 0; zeros where there is none."""
    if not values.size or values[0] <= 0:
        return np.zeros(len(values) + 1)
    tails = np.concatenate([np.cumsum((values[::-1] / values[0]) ** 2)[::-1], [0.0]])
    return tails / tails[0]


def rank_for(values: Float[np.ndarray, "q"], share: float, size: int) -> int:
    """The least rank that keeps a share of the energy; of all of it: `numerical_rank` of a matrix whose larger side
    is `size`."""
    if share == 1:
        return numerical_rank(values, size)
    rounding = len(values) * np.finfo(float).eps
    return int(np.argmax(lost(values) <= 1 - share + rounding))


def numerical_rank(values: Float[np.ndarray, "q"], size: int) -> int:
    """How many values are more than rounding: above size eps s_1."""
    return int(np.sum(values > size * np.finfo(float).eps * values[0])) if values.size else 0


def stable_rank(values: Float[np.ndarray, "q"]) -> float:
    """sum s_j^2 / s_1^2, at most the rank; 0 of zeros."""
    return float(np.sum((values / values[0]) ** 2)) if values.size and values[0] > 0 else 0.0


def effective_rank(values: Float[np.ndarray, "q"]) -> float:
    """exp of the entropy of s_j / sum s (Roy and Vetterli 2007); 0 of zeros."""
    total = float(np.sum(values))
    if total <= 0:
        return 0.0
    p = values[values > 0] / total
    return float(np.exp(-np.sum(p * np.log(p))))


def largest_rank(dy: int, dx: int) -> int:
    """The largest rank r at which B and A are fewer numbers than the matrix: r (dx + dy) < dx dy."""
    return (dx * dy - 1) // (dx + dy)
