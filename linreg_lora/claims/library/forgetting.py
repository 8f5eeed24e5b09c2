"""Forgetting: how far an update moves the model on its pretraining inputs, ||D Sigma_pre^{1/2}||_F^2."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem

_PRETRAINING_SEED = 4


def _pretraining_root(dx: int, rng: np.random.Generator, count: int) -> np.ndarray:
    """Roots of second moments Sigma_pre = C C^T: C = Q diag(roots), condition 100, in random bases that share nothing
    with Sigma or Delta; count x dx x dx.
    """
    basis = np.linalg.qr(rng.standard_normal((count, dx, dx)))[0]
    return basis * np.geomspace(10**-0.5, 10**0.5, dx)


def _norms(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.norm(matrices, axis=(-2, -1))


@register_experiment("lora-forgetting", pathwise=True)
def lora_forgetting(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||D_r Sigma_pre^{1/2}||_F with another Sigma_pre for every draw; context: that of FFT on the same data."""
    x, y = experiments._data(problem, trials, seed)
    root = _pretraining_root(problem.dx, np.random.default_rng([seed, 1]), trials)
    full = _norms(experiments._fft_updates(problem, x, y) @ root)
    kept = _norms(experiments._lora_updates(problem, x, y, int(rank)) @ root)
    context = {"full": full, "rank": np.asarray(int(rank)), "largest_rank": np.asarray(problem.max_rank)}
    return Sample(kept, context, tolerance=experiments._rounding(x, squared=True), scale=full)


@register_experiment("lora-divergence", pathwise=True)
def lora_divergence(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """(Tr D_r^T Sigma_eps^{-1} D_r)^{1/2}: forgetting in units of the noise of each output, Sigma_pre = I.

    Half its square is the mean Kullback-Leibler divergence of the fine-tuned from the pretrained model of y given x.
    """
    x, y = experiments._data(problem, trials, seed)
    whitening = np.linalg.inv(problem.sigma_eps_sqrt)
    full = _norms(whitening @ experiments._fft_updates(problem, x, y))
    kept = _norms(whitening @ experiments._lora_updates(problem, x, y, int(rank)))
    context = {"full": full, "rank": np.asarray(int(rank)), "largest_rank": np.asarray(problem.max_rank)}
    tolerance = experiments._rounding(x, squared=True) * np.linalg.cond(whitening)
    return Sample(kept, context, tolerance=tolerance, scale=full)


@register_experiment("fft-forgetting")
def fft_forgetting(problem: Problem, trials: int, seed: int) -> Sample:
    """||D_FFT Sigma_pre^{1/2}||_F^2 for one Sigma_pre that commutes with nothing; context: Sigma_pre."""
    x, y = experiments._data(problem, trials, seed)
    root = _pretraining_root(problem.dx, np.random.default_rng(_PRETRAINING_SEED), 1)[0]
    moved = _norms(experiments._fft_updates(problem, x, y) @ root) ** 2
    return Sample(moved[:, None], {"pretraining": root @ root.T})
