"""The spectrum of a fit: its rank, how many directions hold its energy, what a rank leaves and forgets. Plain NumPy."""

import numpy as np

from linreg_lora.claims.library.plain_data import full_and_truncated, reduced
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank, Share
from linreg_lora.problem import Problem

_EPS = np.finfo(float).eps


@register_experiment("rank-of-the-fit", pathwise=True)
def rank_of_the_fit(problem: Problem, trials: int, seed: int) -> Sample:
    """Rank of D_FFT, of minimum norm where n < dx: a whole number."""
    x, residual = reduced(problem, trials, seed)
    ranks = np.linalg.matrix_rank(full_and_truncated(x, residual, 1)[0], tol=None).astype(float)
    return Sample(ranks, tolerance=np.zeros(trials), scale=np.ones(trials))


@register_experiment("residual-of-rank", pathwise=True)
def residual_of_rank(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """The training loss of LoRA of `rank` with n < dx, over that of A0; context: shares of R's singular values."""
    x, residual = reduced(problem, trials, seed)
    lora = full_and_truncated(x, residual, int(rank))[1]
    energy = np.sum(residual**2, axis=(1, 2))
    left = np.sum((residual - lora @ x) ** 2, axis=(1, 2)) / energy
    values = np.linalg.eigvalsh(residual @ residual.mT)[:, ::-1] / energy[:, None]
    rounding = 1e2 * _EPS * np.linalg.cond(x)
    return Sample(left, {"values": values, "rank": np.asarray(int(rank))}, tolerance=rounding, scale=np.ones(trials))


@register_experiment("rank-of-energy", bounded=True)
def rank_of_energy(problem: Problem, trials: int, seed: int, *, share: Share) -> Sample:
    """The least number of directions of D_FFT Sigma^{1/2} that hold a `share` of its energy; context: the share, and
    its singular values."""
    full = full_and_truncated(*reduced(problem, trials, seed), 1)[0] @ problem.sigma_sqrt
    energy = np.cumsum(np.linalg.svd(full, compute_uv=False) ** 2, axis=1)
    needed = 1 + np.sum(energy < share * energy[:, -1:], axis=1)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(full @ full.mT)[:, ::-1], 0.0))
    return Sample(needed[:, None].astype(float), {"share": np.asarray(share), "values": values})


@register_experiment("forgetting-of-rank", pathwise=True)
def forgetting_of_rank(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||D_r Sigma_pre^{1/2}||^2, r = `rank`, over that of FFT, for a random Sigma_pre; context: of rank r + 1."""
    x, residual = reduced(problem, trials, seed)
    pre = np.random.default_rng([seed, 1]).standard_normal((trials, problem.dx, problem.dx))
    forgotten = [
        np.sum((update @ pre) ** 2, axis=(1, 2))
        for r in (int(rank), int(rank) + 1)
        for update in full_and_truncated(x, residual, r)[::-1]
    ]
    of_rank, full, of_more, _ = forgotten
    context = {"more": of_more / full, "rank": np.asarray(int(rank))}
    return Sample(of_rank / full, context, tolerance=1e2 * _EPS * np.linalg.cond(x) ** 2, scale=np.ones(trials))
