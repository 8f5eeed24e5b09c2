"""Alignment: of the shift with the inputs, whose metric LoRA truncates in, and of the shift with A0."""

import numpy as np

from linreg_lora.claims.library import experiments
from linreg_lora.claims.registry import Sample, register_experiment
from linreg_lora.claims.settings import Rank
from linreg_lora.problem import Problem


def _norms(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.norm(matrices, axis=(-2, -1))


def _truncated(matrices: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrices, full_matrices=False)
    return (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]


# -- the shift and the inputs -------------------------------------------------------------------------------------


@register_experiment("population-risk", pathwise=True)
def population_risk(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """risk(D_r) on noiseless designs with X X^T = n Sigma exactly, as infinitely many samples would have it.

    X = (n Sigma)^{1/2} Q, Q dx x n with random orthonormal rows, n >= dx.
    """
    r = int(rank)
    draws = np.random.default_rng(seed).standard_normal((trials, problem.n, problem.dx))
    x = np.sqrt(problem.n) * problem.sigma_sqrt @ np.linalg.qr(draws)[0].mT
    residual = problem.shift @ x
    y = residual if problem.pretrained is None else residual + problem.pretrained @ x
    updates = experiments._lora_updates(problem, x, y, r)
    risk = _norms((updates - problem.shift) @ problem.sigma_sqrt) ** 2
    tolerance = experiments._truncation_rounding(x, residual, r)
    return Sample(risk, {"rank": np.asarray(r)}, tolerance=tolerance, scale=np.full(trials, problem.pretrained_risk))


@register_experiment("in-sample-error", pathwise=True)
def in_sample_error(problem: Problem, trials: int, seed: int, *, rank: Rank) -> Sample:
    """||(D_r - Delta) X||_F; context: what trunc_r(Delta) leaves, ||(Delta - trunc_r(Delta)) X||_F, and ||E P||_2."""
    x, y = experiments._data(problem, trials, seed)
    r = int(rank)
    error = _norms((experiments._lora_updates(problem, x, y, r) - problem.shift) @ x)
    residual = experiments._residual(problem, x, y)
    rows = np.linalg.svd(x, full_matrices=False)[2]
    noise = np.linalg.norm((residual - problem.shift @ x) @ rows.mT, 2, axis=(-2, -1))
    missed = _norms((problem.shift - _truncated(problem.shift, r)) @ x)
    context = {"missed": missed, "noise": noise, "rank": np.asarray(r)}
    tolerance = experiments._truncation_rounding(x, residual, r)
    return Sample(error, context, tolerance=tolerance, scale=_norms(residual))


# -- the shift and A0 ---------------------------------------------------------------------------------------------


@register_experiment("input-rise-gain")
def input_rise_gain(problem: Problem, trials: int, seed: int, *, rank: Rank, alignment: float) -> Sample:
    """||A0 + D_r||_F^2 - ||A0 + D_FFT||_F^2: how much less LoRA's loss rises under input noise, if negative.

    A0 is that of the problem (zero without one) plus `alignment` times Delta. No update depends on A0.
    """
    x, y = experiments._data(problem, trials, seed)
    start = alignment * problem.shift + (0.0 if problem.pretrained is None else problem.pretrained)
    full = _norms(start + experiments._fft_updates(problem, x, y)) ** 2
    kept = _norms(start + experiments._lora_updates(problem, x, y, int(rank))) ** 2
    context = {"fft": full, "rank": np.asarray(int(rank)), "start": np.sum(start**2, keepdims=True).ravel()}
    return Sample((kept - full)[:, None], context)


@register_experiment("input-rise-loss")
def input_rise_loss(problem: Problem, trials: int, seed: int, *, rank: Rank, alignment: float) -> Sample:
    """||A0 + D_FFT||_F^2 - ||A0 + D_r||_F^2: how much more LoRA's loss rises under input noise, if negative."""
    sample = input_rise_gain(problem, trials, seed, rank=rank, alignment=alignment)
    return Sample(-sample.statistic, sample.context)
