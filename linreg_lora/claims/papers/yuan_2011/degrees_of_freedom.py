"""What degrees of freedom of low-rank fits are compared with: counts of parameters, and plausible mistakes."""

import numpy as np

from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


def _sizes(problem: Problem, sample: Sample) -> tuple[int, int]:
    """r, and N + dy, N = min(n, dx)."""
    return int(sample.context["rank"]), min(problem.n, problem.dx) + problem.dy


@register_prediction("degrees-of-freedom.parameters")
def free_parameters(problem: Problem, sample: Sample) -> float:
    """r (N + dy - r)."""
    r, total = _sizes(problem, sample)
    return r * (total - r)


@register_prediction("degrees-of-freedom.factors")
def entries_of_factors(problem: Problem, sample: Sample) -> float:
    """r (N + dy): the entries of two factors."""
    r, total = _sizes(problem, sample)
    return r * total


@register_prediction("degrees-of-freedom.exact")
def exact(problem: Problem, sample: Sample) -> float:
    """r (N + dy - r) + 2 E sum_{i <= r < j} s_j^2 / (s_i^2 - s_j^2), s the singular values of the fit of full rank."""
    return free_parameters(problem, sample) + 2 * float(np.mean(sample.context["pairs"]))


@register_prediction("degrees-of-freedom.pairs-once")
def pairs_once(problem: Problem, sample: Sample) -> float:
    """The same with the sum once."""
    return free_parameters(problem, sample) + float(np.mean(sample.context["pairs"]))


@register_prediction("shrinkage-surplus.of-truncation")
def of_truncation(problem: Problem, sample: Sample) -> float:
    """That of a fit that keeps the same directions and does not shrink them."""
    return float(np.mean(sample.context["hard"]))
