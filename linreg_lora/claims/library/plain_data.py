"""Data in plain NumPy, and what training sees of them: no compilation, and no code in common with the package's.

X X^T = A T T^T A^T in law, A = Sigma^{1/2}, with T Bartlett's lower triangular factor for n >= dx and dx x n iid below;
given X, E X^T is Sigma_eps^{1/2} N (A T)^T with N iid. So X = A T and R = Delta X + Sigma_eps^{1/2} N have the law of
the data in all that S = X X^T / n and H = R X^T / n decide.
"""

import numpy as np

from linreg_lora.problem import Problem


def reduced(problem: Problem, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (trials x dx x k) and R (trials x dy x k), k = min(n, dx)."""
    rng, n, dx = np.random.default_rng(seed), problem.n, problem.dx
    if n >= dx:
        factor = np.tril(rng.standard_normal((trials, dx, dx)), -1)
        factor += np.sqrt(rng.chisquare(n - np.arange(dx), (trials, dx)))[:, :, None] * np.eye(dx)
    else:
        factor = rng.standard_normal((trials, dx, n))
    x = problem.sigma_sqrt @ factor
    noise = rng.standard_normal((trials, problem.dy, factor.shape[2]))
    return x, problem.shift @ x + problem.sigma_eps_sqrt @ noise


def full_and_truncated(x: np.ndarray, residual: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """D_FFT and LoRA's D_r of such data."""
    full = residual @ np.linalg.pinv(x)
    leading = np.linalg.svd(full @ x, full_matrices=False)[0][:, :, :rank]
    return full, leading @ (leading.mT @ full)


def risks(problem: Problem, updates: np.ndarray) -> np.ndarray:
    """||(D - Delta) Sigma^{1/2}||_F^2."""
    error = updates - problem.shift
    return np.sum((error @ problem.sigma) * error, axis=(-2, -1))
