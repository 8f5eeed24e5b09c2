"""By how much the selected rank falls with penalties that are often taken for the noise's mean energy."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("penalty-jump.of-parameters")
def of_parameters(problem: Problem, sample: Sample) -> float:
    """With K sigma^2 r (dx + dy - r), which is that energy at full rank and less below."""
    rank = np.arange(min(problem.dx, problem.dy) + 1)
    return _jump(sample, rank * (problem.dx + problem.dy - rank))


@register_prediction("penalty-jump.of-the-edge")
def of_the_edge(problem: Problem, sample: Sample) -> float:
    """With K sigma^2 r (sqrt(dx) + sqrt(dy))^2: every direction is taken to have the noise's largest energy."""
    rank = np.arange(min(problem.dx, problem.dy) + 1)
    return _jump(sample, rank * (np.sqrt(problem.dx) + np.sqrt(problem.dy)) ** 2)


def _jump(sample: Sample, penalty: np.ndarray) -> float:
    """E r(K) - E r(K') on the same draws, of a penalty in units of the noise's variance."""
    gained = sample.context["gained"]
    one, other = (np.mean(np.argmin(times * penalty - gained, axis=1)) for times in sample.context["times"])
    return float(one - other)
