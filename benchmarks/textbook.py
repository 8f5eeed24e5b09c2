"""The textbook way to simulate LoRA and FFT, for comparison: explicit data, everything recomputed for every rank.

NumPy alone. Per draw: all of X and E, a pseudoinverse of X, and for every rank again a singular value decomposition of
S = X X^T, a pseudoinverse of S^{1/2} and a singular value decomposition of D_FFT S^{1/2}, as in

    D_r = trunc_r( D_FFT S^{1/2} ) (S^{1/2})^+        (arXiv 2605.19018, Proposition 2)
"""

from collections.abc import Sequence

import numpy as np

from linreg_lora.problem import Problem


def draw_risks(problem: Problem, ranks: Sequence[int], seed: int) -> np.ndarray:
    """Excess risks of LoRA at each rank and, last, of FFT, on one data set; Sigma = I and isotropic noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((problem.dx, problem.n))
    residual = problem.shift @ inputs + problem.noise_std * rng.standard_normal((problem.dy, problem.n))
    update = residual @ np.linalg.pinv(inputs)
    gram = inputs @ inputs.T
    risks = [np.sum((low_rank_update(update, gram, rank) - problem.shift) ** 2) for rank in ranks]
    return np.array([*risks, np.sum((update - problem.shift) ** 2)])


def low_rank_update(update: np.ndarray, gram: np.ndarray, rank: int) -> np.ndarray:
    """D_r by whitening, truncating and unwhitening."""
    left, values, _ = np.linalg.svd(gram)
    root = (left * np.sqrt(values)) @ left.T
    inverse_root = np.linalg.pinv(root)
    u, s, vt = np.linalg.svd(update @ root)
    return (u[:, :rank] * s[:rank]) @ vt[:rank] @ inverse_root


def mean_risks(problem: Problem, ranks: Sequence[int], trials: int, seed: int) -> np.ndarray:
    """Mean risks over `trials` data sets."""
    return np.mean([draw_risks(problem, ranks, seed + i) for i in range(trials)], axis=0)
