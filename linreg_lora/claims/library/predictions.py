"""Predictions that several papers share: LoRA's closed form on explicit data, and no difference.

A prediction maps a case and its sample to a value that broadcasts against the statistic: one number, or one a draw.
"""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem

# -- updates on explicit data -------------------------------------------------------------------------------------


@register_prediction("lora-update.whitened")
def lora_update_whitened(problem: Problem, sample: Sample) -> np.ndarray:
    """trunc_r(D S^{1/2}) (S^{1/2})^+, from the singular value decomposition of X.

    D is the full update, S = X X^T, or X X^T + eta I with ridge.
    """
    full, u, s = _full_update(problem, sample)
    root = np.sqrt(s**2 + problem.ridge)[:, None]
    return _truncate(full @ (u * root) @ u.mT, int(sample.context["rank"])) @ (u / root) @ u.mT


@register_prediction("lora-update.unwhitened")
def lora_update_unwhitened(problem: Problem, sample: Sample) -> np.ndarray:
    """Truncating the full update itself."""
    return _truncate(_full_update(problem, sample)[0], int(sample.context["rank"]))


@register_prediction("lora-update.from-zero")
def lora_update_from_zero(problem: Problem, sample: Sample) -> np.ndarray:
    """The whitening formula with A0 left in the residual."""
    context = {**sample.context, "residual": sample.context["y"]}
    return lora_update_whitened(problem, Sample(sample.statistic, context))


@register_prediction("lora-risk.whitened")
def lora_risk_whitened(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of the whitening formula on the same data."""
    return _risk(problem, sample, lora_update_whitened(problem, sample))


@register_prediction("lora-risk.unwhitened")
def lora_risk_unwhitened(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of truncating D_FFT itself."""
    return _risk(problem, sample, lora_update_unwhitened(problem, sample))


@register_prediction("lora-risk.from-zero")
def lora_risk_from_zero(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk of the whitening formula with A0 left in the residual."""
    return _risk(problem, sample, lora_update_from_zero(problem, sample))


def _full_update(problem: Problem, sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R X^T (X X^T + eta I)^{-1}, by the singular value decomposition of X; with its left vectors and values."""
    u, s, vt = np.linalg.svd(sample.context["x"], full_matrices=False)
    return (sample.context["residual"] @ vt.mT * (s / (s**2 + problem.ridge))[:, None]) @ u.mT, u, s


def _risk(problem: Problem, sample: Sample, updates: np.ndarray) -> np.ndarray:
    """||(D - Delta) Sigma^{1/2}||_F^2, in the sample's own coordinates where it has some."""
    shift = sample.context.get("shift", problem.shift)
    root = sample.context.get("sigma_sqrt", problem.sigma_sqrt)
    return np.sum(((updates - shift) @ root) ** 2, axis=(-2, -1))


def _truncate(matrix: np.ndarray, rank: int) -> np.ndarray:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return (u[..., :rank] * s[..., None, :rank]) @ vt[..., :rank, :]


# -- LoRA against FFT -------------------------------------------------------------------------------------------------


@register_prediction("difference.zero")
def no_difference(problem: Problem, sample: Sample) -> float:
    """Nothing: both have the same mean."""
    return 0.0


@register_prediction("difference.half")
def half_less(problem: Problem, sample: Sample) -> float:
    """Half of what it is compared with less."""
    return -float(np.mean(sample.context["fft"])) / 2


@register_prediction("difference.all")
def all_less(problem: Problem, sample: Sample) -> float:
    """All of what it is compared with less."""
    return -float(np.mean(sample.context["fft"]))
