"""What LoRA of a rank leaves of the labels of fewer samples than inputs, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("residual-of-rank.interpolates")
def interpolates(problem: Problem, sample: Sample) -> np.ndarray:
    """0."""
    return np.zeros(len(sample.statistic))


@register_prediction("residual-of-rank.tail")
def tail(problem: Problem, sample: Sample) -> np.ndarray:
    """sum_{i > r} s_i(R)^2 / ||R||_F^2."""
    return np.sum(sample.context["values"][:, int(sample.context["rank"]) :], axis=1)


@register_prediction("residual-of-rank.share")
def share(problem: Problem, sample: Sample) -> np.ndarray:
    """1 - r / min(n, dy): all directions of R are taken to weigh the same."""
    return np.full(len(sample.statistic), 1 - int(sample.context["rank"]) / min(problem.n, problem.dy))
