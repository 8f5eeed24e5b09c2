"""Degrees of freedom of shrunk singular values, what their selection reaches, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _kept_and_pairs(problem: Problem, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """sum_i [ 1(s_i > t) + |N - dy| (1 - t/s_i)_+ ] and sum_{i != j} s_i (s_i - t)_+ / (s_i^2 - s_j^2)."""
    s, t = sample.context["strengths"], float(sample.context["threshold"])
    left = np.maximum(s - t, 0.0)
    over = abs(min(problem.n, problem.dx) - problem.dy)
    apart = s[:, :, None] ** 2 - s[:, None, :] ** 2
    apart[:, np.arange(s.shape[1]), np.arange(s.shape[1])] = np.inf
    return np.sum((s > t) + over * left / s, axis=1), np.sum((s * left)[:, :, None] / apart, axis=(1, 2))


@register_prediction("shrinkage-degrees.exact")
def exact(problem: Problem, sample: Sample) -> float:
    """E sum_i [ 1(s_i > t) + |N - dy| (1 - t/s_i)_+ ] + 2 E sum_{i != j} s_i (s_i - t)_+ / (s_i^2 - s_j^2)."""
    kept, pairs = _kept_and_pairs(problem, sample)
    return float(np.mean(kept + 2 * pairs))


@register_prediction("shrinkage-degrees.pairs-once")
def pairs_once(problem: Problem, sample: Sample) -> float:
    """The same with the sum over pairs once."""
    kept, pairs = _kept_and_pairs(problem, sample)
    return float(np.mean(kept + pairs))


@register_prediction("shrinkage-degrees.parameters")
def parameters(problem: Problem, sample: Sample) -> float:
    """E k (N + dy - k), k the rank that is left."""
    k = np.sum(sample.context["strengths"] > sample.context["threshold"], axis=1)
    return float(np.mean(k * (min(problem.n, problem.dx) + problem.dy - k)))


@register_prediction("degrees-of-freedom.of-all-inputs")
def of_all_inputs(problem: Problem, sample: Sample) -> float:
    """r (dx + dy - r) and the sum over pairs: inputs that no sample shows are counted."""
    r = int(sample.context["rank"])
    return r * (problem.dx + problem.dy - r) + 2 * float(np.mean(sample.context["pairs"]))


@register_prediction("degrees-of-freedom.parameters-and-a-twentieth")
def parameters_and_a_twentieth(problem: Problem, sample: Sample) -> float:
    """1.05 r (N + dy - r)."""
    r = int(sample.context["rank"])
    return 1.05 * r * (min(problem.n, problem.dx) + problem.dy - r)


@register_prediction("degrees-of-freedom.of-the-inputs")
def of_the_inputs(problem: Problem, sample: Sample) -> float:
    """r N: one trained factor is counted."""
    return float(sample.context["rank"] * min(problem.n, problem.dx))


@register_prediction("selection-gain.best-rank")
def gain_of_the_best_rank(problem: Problem, sample: Sample) -> np.ndarray:
    """The error at the rank of the least mean error less that at the rank that parameters select."""
    outputs = sample.context["outputs"]
    return outputs[:, np.argmin(np.mean(outputs, axis=0))] - sample.context["fft"]


@register_prediction("selection-gain.pairs-once")
def gain_of_pairs_once(problem: Problem, sample: Sample) -> np.ndarray:
    """The error at the rank that df with the sum over pairs once selects, less that at the rank that parameters do."""
    return (sample.context["once"] - sample.context["fft"])[:, None]


@register_prediction("selected-rank-risk.best-and-a-tenth")
def best_and_a_tenth(problem: Problem, sample: Sample) -> float:
    """1.1 times the least of the ranks' mean risks."""
    return 1.1 * float(np.min(np.mean(sample.context["risks"], axis=0)))


@register_prediction("selected-rank-risk.least-of-the-draw")
def least_of_the_draw(problem: Problem, sample: Sample) -> np.ndarray:
    """The least of each draw's risks: selection is taken not to err."""
    return np.min(sample.context["risks"], axis=1)[:, None]


@register_prediction("selected-rank-risk.pairs-once")
def risk_of_pairs_once(problem: Problem, sample: Sample) -> np.ndarray:
    """The risk at the rank that df with the sum over pairs once selects."""
    return sample.context["once"][:, None]
