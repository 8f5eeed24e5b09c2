"""Ranks of updates and what they forget: what is claimed, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _task_rank(problem: Problem) -> int:
    return int(np.linalg.matrix_rank(problem.shift))


@register_prediction("rank-of-energy.three-times-the-task")
def three_times_the_task(problem: Problem, sample: Sample) -> float:
    """Three times the rank of the shift."""
    return 3.0 * _task_rank(problem)


@register_prediction("rank-of-energy.all-directions")
def all_directions(problem: Problem, sample: Sample) -> float:
    """min(dx, dy)."""
    return float(min(problem.dx, problem.dy))


@register_prediction("rank-of-energy.of-values")
def of_values(problem: Problem, sample: Sample) -> np.ndarray:
    """How many directions hold the share of the sum of singular values: their squares are forgotten."""
    held = np.cumsum(sample.context["values"], axis=1)
    return 1.0 + np.sum(held < sample.context["share"] * held[:, -1:], axis=1, keepdims=True)


@register_prediction("forgetting-of-rank.of-one-more")
def of_one_more(problem: Problem, sample: Sample) -> np.ndarray:
    """What rank r + 1 forgets."""
    return sample.context["more"]


@register_prediction("forgetting-of-rank.in-proportion")
def in_proportion(problem: Problem, sample: Sample) -> np.ndarray:
    """r / (r + 1) of what rank r + 1 forgets."""
    r = int(sample.context["rank"])
    return sample.context["more"] * r / (r + 1)
