"""Ranks that the condition of Jang, Lee and Ryu allows, and plausible mistakes."""

import math

import numpy as np

from linreg_lora.claims.library.training import Factors
from linreg_lora.claims.registry import Sample, register_prediction
from linreg_lora.problem import Problem


@register_prediction("rank-of-the-fit.triangular")
def triangular(problem: Problem, sample: Sample) -> float:
    """The largest r with r (r + 1) / 2 <= n dy."""
    return float((math.isqrt(1 + 8 * problem.n * problem.dy) - 1) // 2)


@register_prediction("rank-of-the-fit.parameters")
def parameters(problem: Problem, sample: Sample) -> float:
    """The largest r with r (dx + dy) <= n dy: the factors have no more parameters than there are labels."""
    return float(problem.n * problem.dy // (problem.dx + problem.dy))


def _is_minimum(case: Factors, sample: Sample) -> np.ndarray:
    """Whether the modes of a critical point are the min(r, q) leading ones."""
    kept, modes = sample.context["kept"], sample.context["modes"]
    leading = np.arange(kept.shape[1]) < np.minimum(case.rank, modes)[:, None]
    return np.all(kept == leading, axis=1)


@register_prediction("saddle-index.one-way-down")
def one_way_down(case: Factors, sample: Sample) -> np.ndarray:
    """1, but 0 at the minimum: every other critical point has a way down."""
    return np.where(_is_minimum(case, sample), 0.0, 1.0)


@register_prediction("saddle-index.as-many-as-the-rank")
def as_many_as_the_rank(case: Factors, sample: Sample) -> np.ndarray:
    """r, but 0 at the minimum: every column of B is taken to have a way down of its own."""
    return np.where(_is_minimum(case, sample), 0.0, float(case.rank))
