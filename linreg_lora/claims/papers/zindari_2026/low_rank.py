"""Predictions of the paper's results on what LoRA of a given rank reaches, and their rivals."""

import numpy as np

from linreg_lora.claims.library import alignment, predictions
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem
from linreg_lora.theory import bounds


@register_prediction("lora-update.ridge-after-truncation")
def lora_update_ridge_after_truncation(problem: Problem, sample: Sample) -> np.ndarray:
    """Choosing the directions without the penalty: U_r U_r^T D_eta with U from the ridgeless fit."""
    x, rank = sample.context["x"], int(sample.context["rank"])
    rows = np.linalg.svd(x, full_matrices=False)[2]
    leading = np.linalg.svd(sample.context["residual"] @ rows.mT, full_matrices=False)[0][..., :rank]
    return leading @ leading.mT @ predictions._full_update(problem, sample)[0]


@register_prediction("lora-training-loss.eckart-young")
def lora_loss_eckart_young(problem: Problem, sample: Sample) -> np.ndarray:
    """The least loss that any rank-r update can have: ||R (I - P)||_F^2 + sum_{i>r} sigma_i(R P)^2."""
    return _least_loss(sample, int(sample.context["rank"]))


@register_prediction("lora-training-loss.one-rank-more")
def lora_loss_one_rank_more(problem: Problem, sample: Sample) -> np.ndarray:
    """The least loss of rank r + 1."""
    return _least_loss(sample, int(sample.context["rank"]) + 1)


@register_prediction("lora-training-loss.unwhitened")
def lora_loss_unwhitened(problem: Problem, sample: Sample) -> np.ndarray:
    """The loss of truncating D_FFT itself."""
    error = sample.context["residual"] - predictions.lora_update_unwhitened(problem, sample) @ sample.context["x"]
    return np.sum(error**2, axis=(-2, -1))


def _least_loss(sample: Sample, rank: int) -> np.ndarray:
    x, residual = sample.context["x"], sample.context["residual"]
    rows = np.linalg.svd(x, full_matrices=False)[2]
    fitted = residual @ rows.mT
    outside = np.sum((residual - fitted @ rows) ** 2, axis=(-2, -1))
    return outside + np.sum(np.linalg.svd(fitted, compute_uv=False)[:, rank:] ** 2, axis=-1)


@register_prediction("rank-bound.smallest-variance")
def rank_bound(problem: Problem, sample: Sample) -> float:
    """lambda_min(Sigma) sum_{i>r} s_i(Delta)^2."""
    return float(np.linalg.eigvalsh(problem.sigma)[0]) * _tail(problem, int(sample.context["rank"]))


@register_prediction("rank-bound.five-percent-more")
def rank_bound_five_percent_more(problem: Problem, sample: Sample) -> float:
    """1.05 times that: no larger constant will do."""
    return 1.05 * rank_bound(problem, sample)


@register_prediction("rank-bound.largest-variance")
def rank_bound_largest(problem: Problem, sample: Sample) -> float:
    """lambda_max(Sigma) in place of lambda_min."""
    return float(np.linalg.eigvalsh(problem.sigma)[-1]) * _tail(problem, int(sample.context["rank"]))


@register_prediction("rank-bound.tail-from-r")
def rank_bound_tail_from_r(problem: Problem, sample: Sample) -> float:
    """The tail from r, not r + 1, on."""
    return float(np.linalg.eigvalsh(problem.sigma)[0]) * _tail(problem, int(sample.context["rank"]) - 1)


def _tail(problem: Problem, rank: int) -> float:
    return float(np.sum(np.asarray(problem.spectrum)[rank:] ** 2))


@register_prediction("difference.parameter-count")
def parameter_count(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk shrinks by the share of parameters, r (dx + dy) / (dx dy)."""
    rank = float(sample.context["rank"])
    return (rank * (problem.dx + problem.dy) / (problem.dx * problem.dy) - 1) * sample.context["fft"]


@register_prediction("difference.tangent-dimension")
def tangent_dimension(problem: Problem, sample: Sample) -> np.ndarray:
    """The large-n ratio r (dx + dy - r) / (dx dy), taken at finite n."""
    rank = float(sample.context["rank"])
    dimension = rank * (problem.dx + problem.dy - rank)
    return (dimension / (problem.dx * problem.dy) - 1) * sample.context["fft"]


@register_prediction("population-risk.tail-in-the-metric")
def population_tail(problem: Problem, sample: Sample) -> float:
    """sum_{i>r} s_i(Delta Sigma^{1/2})^2."""
    return bounds.least_risk(problem, int(sample.context["rank"]))


@register_prediction("population-risk.tail-of-the-shift")
def population_tail_of_the_shift(problem: Problem, sample: Sample) -> float:
    """sum_{i>r} s_i(Delta)^2."""
    return float(np.sum(np.asarray(problem.spectrum)[int(sample.context["rank"]) :] ** 2))


@register_prediction("population-risk.of-the-truncated-shift")
def population_truncated_shift(problem: Problem, sample: Sample) -> float:
    """||(trunc_r(Delta) - Delta) Sigma^{1/2}||_F^2: LoRA is taken to truncate the shift itself."""
    kept = alignment._truncated(problem.shift, int(sample.context["rank"]))
    return float(np.sum(((kept - problem.shift) @ problem.sigma_sqrt) ** 2))


@register_prediction("samples.tenth")
def samples_tenth(problem: Problem, sample: Sample) -> np.ndarray:
    """A tenth of the risk with n samples."""
    return 0.1 * sample.context["few"]


@register_prediction("samples.as-for-fft")
def samples_as_for_fft(problem: Problem, sample: Sample) -> np.ndarray:
    """What full fine-tuning gains."""
    return sample.context["fft_gain"]


@register_prediction("samples.classical-rate")
def samples_classical_rate(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk falls as 1 / n."""
    return sample.context["few"] * (1 - problem.n / (problem.n + float(sample.context["more"])))
