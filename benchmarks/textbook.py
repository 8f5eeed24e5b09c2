"""The textbook way to simulate LoRA and FFT, for comparison: explicit data, everything recomputed for every rank.

    python benchmarks/textbook.py benchmarks/published/noise.yaml [--workers 2]

NumPy alone. Per draw: all of X and E, a pseudoinverse of X, and for every rank again a singular value decomposition of
S = X X^T, a pseudoinverse of S^{1/2} and a singular value decomposition of D_FFT S^{1/2}, as in

    D_r = trunc_r( D_FFT S^{1/2} ) (S^{1/2})^+        (arXiv 2605.19018, Proposition 2)

The command runs all cells of a sweep file this way, in a pool of processes with one BLAS thread each.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits


def draw_risks(
    shift: np.ndarray, n: int, noise_std: float, ranks: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Excess risks of LoRA at each rank and, last, of FFT, on one data set; Sigma = I and isotropic noise."""
    dy, dx = shift.shape
    inputs = rng.standard_normal((dx, n))
    residual = shift @ inputs + noise_std * rng.standard_normal((dy, n))
    update = residual @ np.linalg.pinv(inputs)
    gram = inputs @ inputs.T
    risks = [np.sum((low_rank_update(update, gram, rank) - shift) ** 2) for rank in ranks]
    return np.array([*risks, np.sum((update - shift) ** 2)])


def low_rank_update(update: np.ndarray, gram: np.ndarray, rank: int) -> np.ndarray:
    """D_r by whitening, truncating and unwhitening."""
    left, values, _ = np.linalg.svd(gram)
    root = (left * np.sqrt(values)) @ left.T
    inverse_root = np.linalg.pinv(root)
    u, s, vt = np.linalg.svd(update @ root)
    return (u[:, :rank] * s[:rank]) @ vt[:rank] @ inverse_root


def mean_risks(cell: tuple[np.ndarray, int, float, Sequence[int], int, int]) -> np.ndarray:
    """Mean risks of one cell: shift, n, noise_std, ranks, trials, seed."""
    shift, n, noise_std, ranks, trials, seed = cell
    rng = np.random.default_rng(seed)
    with threadpool_limits(limits=1, user_api="blas"):
        return np.mean([draw_risks(shift, n, noise_std, ranks, rng) for _ in range(trials)], axis=0)


def main() -> None:
    from linreg_lora.sweeps.config import load_sweep
    from linreg_lora.sweeps.grid import grid

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    config = load_sweep(options.config)
    problems = grid(config.make, config.grid_axes).problems
    cells = [(p.shift, p.n, p.noise_std, config.rank_values, config.trials, i) for i, p in enumerate(problems)]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        risks = np.array(pool.map(mean_risks, cells, chunksize=1))
    print(f"{len(risks)} cells, mean risk of FFT {risks[:, -1].mean():.6g}")


if __name__ == "__main__":
    main()
